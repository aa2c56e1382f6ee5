"""A program that serves a directory by FTP on two ports, plain and with TLS.

python ftp_child.py CONFIG, a file of JSON with the names of `Config`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TypedDict

from pyftpdlib import (  # type: ignore[import-untyped]  # it ships no types
    authorizers,
    handlers,
    ioloop,
    servers,
)

READ = "elr"
READ_AND_WRITE = "elradfmwMT"
"""Rights, a letter for each: see pyftpdlib's DummyAuthorizer."""


class Config(TypedDict):
    """What it serves."""

    root: str
    host: str
    port: int
    tls_port: int
    certificate: str
    password: str
    writer: str
    reader: str


def _serve(config: Config) -> None:
    authorizer = authorizers.DummyAuthorizer()
    root, password = config["root"], config["password"]
    authorizer.add_user(config["writer"], password, root, READ_AND_WRITE)
    authorizer.add_user(config["reader"], password, root, READ)
    plain, tls = handlers.FTPHandler, handlers.TLS_FTPHandler
    # Three seconds by default, against those who guess.
    plain.auth_failed_timeout = tls.auth_failed_timeout = 0
    plain.authorizer = tls.authorizer = authorizer
    tls.certfile = tls.keyfile = config["certificate"]
    tls.tls_control_required = tls.tls_data_required = True
    loop = ioloop.IOLoop()
    servers.FTPServer((config["host"], config["port"]), plain, loop)
    servers.FTPServer((config["host"], config["tls_port"]), tls, loop).serve_forever()


if __name__ == "__main__":
    _serve(json.loads(Path(sys.argv[1]).read_text()))
