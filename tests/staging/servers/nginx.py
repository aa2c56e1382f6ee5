"""nginx: files by HTTP and HTTPS as most of the world serves them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.staging.servers import needs
from tests.staging.servers.endpoint import PASSWORD, USER, Endpoint, Tree

from jackfield_testing.servers._listening import HOST
from jackfield_testing.servers._process import (
    Server,
    connect,
    free_ports,
    running,
)

if TYPE_CHECKING:
    from tests.staging.servers.tls import Authority

WORKER = "nobody"
"""Whom nginx's workers run as, when root starts it."""

SLOW_BYTES_S = 64 * 1024
"""Bytes per second and connection below ``slow/``."""

CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
  log_format requests '$request_method $request_uri $status "$http_range"';
  access_log {directory}/requests requests;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  client_max_body_size 0;
  default_type application/octet-stream;
  server {{
    listen {host}:{port};
    listen {host}:{tls_port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {certificate};
    root {root};
    autoindex on;
    dav_methods PUT DELETE MKCOL COPY MOVE;
    create_full_put_path on;
    location /slow/ {{ limit_rate {rate}; }}
    location /forbidden/ {{ deny all; }}
    location /readonly/ {{ limit_except GET {{ deny all; }} }}
    location /private/ {{
      auth_basic "private";
      auth_basic_user_file {directory}/users;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Nginx(Endpoint):
    """An endpoint with a record of its requests.

    Below ``slow/`` it sends `SLOW_BYTES_S`, below ``forbidden/`` nothing, below
    ``readonly/`` it takes nothing, and below ``private/`` it wants the user and the
    password of the options.
    """

    def requests(self) -> list[str]:
        """Return a line for each request that is done: ``GET /name 206 "bytes=0-"``."""
        return (self.server.directory / "requests").read_text().splitlines()


@contextmanager
def start(directory: Path, authority: Authority) -> Iterator[tuple[Nginx, Nginx]]:
    """Run it, for the same files at two URLs: without and with TLS."""
    nginx = needs.program("nginx", "nginx")
    port, tls_port = free_ports(2)
    worker = WORKER if os.geteuid() == 0 else None
    content = Tree(directory / "files", worker)
    config = directory / "nginx.conf"
    config.write_text(
        CONFIG.format(
            user=_user_directive(worker),
            directory=directory,
            host=HOST,
            port=port,
            tls_port=tls_port,
            certificate=authority.server,
            root=content.root,
            rate=SLOW_BYTES_S,
        )
    )
    (directory / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    command: list[str | Path] = [nginx, "-e", "stderr", "-p", directory, "-c", config]
    server = Server("nginx", command, directory, partial(connect, tls_port))
    login = {"username": USER, "password": PASSWORD}
    with running(server):
        plain = Nginx(f"http://{HOST}:{port}", server, content, login)
        yield (
            plain,
            replace(
                plain,
                url=f"https://{HOST}:{tls_port}",
                options=login | {"ca": authority.ca},
            ),
        )


def _user_directive(worker: str | None) -> str:
    if worker is None:
        return ""
    import grp

    return f"user {worker} {grp.getgrgid(pwd.getpwnam(worker).pw_gid).gr_name};"
