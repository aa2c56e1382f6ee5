"""WsgiDAV: a WebDAV server, and a plain HTTP server of files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.staging.servers import needs
from tests.staging.servers.endpoint import PASSWORD, USER, Endpoint, Tree

from jackfield_testing.servers._listening import HOST
from jackfield_testing.servers._process import (
    Server,
    connect,
    free_ports,
    running,
)


@contextmanager
def start(directory: Path) -> Iterator[Endpoint]:
    """Run it for someone who may write."""
    needs.modules("webdav_server", "wsgidav", "cheroot")
    users = {USER: {"password": PASSWORD}}
    login = {"username": USER, "password": PASSWORD}
    with _run("webdav_server", directory, users) as (url, server, content):
        yield Endpoint(url, server, content, login)


@contextmanager
def start_files(directory: Path) -> Iterator[Endpoint]:
    """Run it for everyone, read-only."""
    needs.modules("http_files", "wsgidav", "cheroot")
    with _run("http_files", directory, True) as (url, server, content):
        yield Endpoint(url, server, content, readonly={})


@contextmanager
def _run(
    name: str, directory: Path, users: dict[str, Any] | bool
) -> Iterator[tuple[str, Server, Tree]]:
    [port] = free_ports()
    content = Tree(directory / "files")
    config = directory / "config.json"
    config.write_text(json.dumps(_config(port, content.root, users)))
    module = "wsgidav.server.server_cli"
    command: list[str | Path] = [sys.executable, "-m", module, "--config", config]
    server = Server(name, command, directory, partial(connect, port))
    with running(server):
        yield f"http://{HOST}:{port}", server, content


def _config(port: int, root: Path, users: dict[str, Any] | bool) -> dict[str, Any]:
    return {
        "host": HOST,
        "port": port,
        "server": "cheroot",
        "provider_mapping": {"/": {"root": str(root), "readonly": users is True}},
        "simple_dc": {"user_mapping": {"*": users}},
        # Digests would need the realm in the clients' set-up; basic does on loopback.
        "http_authenticator": {
            "accept_basic": True,
            "accept_digest": False,
            "default_to_digest": False,
        },
        "verbose": 3,
    }
