"""pyftpdlib: an FTP server, plain and with TLS."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.staging.servers import needs
from tests.staging.servers.endpoint import PASSWORD, READER, USER, Endpoint, Tree

from jackfield_testing.servers._listening import HOST
from jackfield_testing.servers._process import (
    Server,
    connect,
    free_ports,
    running,
)

if TYPE_CHECKING:
    from tests.staging.servers.tls import Authority


@contextmanager
def start(directory: Path, authority: Authority) -> Iterator[tuple[Endpoint, Endpoint]]:
    """Run it, for the same files and users at two URLs: without and with TLS."""
    needs.modules("ftp_server", "pyftpdlib", "OpenSSL")
    port, tls_port = free_ports(2)
    content = Tree(directory / "files")
    config = directory / "config.json"
    config.write_text(
        json.dumps(
            {
                "root": str(content.root),
                "host": HOST,
                "port": port,
                "tls_port": tls_port,
                "certificate": str(authority.server),
                "password": PASSWORD,
                "writer": USER,
                "reader": READER,
            }
        )
    )

    def ready() -> None:
        connect(port)
        connect(tls_port)

    child = Path(__file__).with_name("ftp_child.py")
    server = Server("ftp_server", [sys.executable, child, config], directory, ready)
    writer = {"username": USER, "password": PASSWORD}
    reader = {"username": READER, "password": PASSWORD}
    ca = {"ca": authority.ca}
    with running(server):
        yield (
            Endpoint(f"ftp://{HOST}:{port}", server, content, writer, reader),
            Endpoint(
                f"ftps://{HOST}:{tls_port}", server, content, writer | ca, reader | ca
            ),
        )
