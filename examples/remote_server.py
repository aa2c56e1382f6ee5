"""A program that serves a folder, or runs a server, for as long as its driver lives.

    python remote_server.py LEFTOVER ... -- http FOLDER PORT
    python remote_server.py LEFTOVER ... -- ftp FOLDER PORT USER
    python remote_server.py LEFTOVER ... -- run COMMAND ...

Its standard input is a pipe from the driver. A ``k`` there means: be dead at once, and
keep what is on the disk. The end of it, or of the driver, means: and remove the
leftovers. FTP's password is in the environment, where other users do not see it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PASSWORD = "REMOTE_COUNTS_PASSWORD"


class Files(SimpleHTTPRequestHandler):
    """Serves files over connections that are kept open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are sent one after the other

    def log_message(self, *_: object) -> None:
        """Keep no log."""


class FileServer(ThreadingHTTPServer):
    """A server that takes many connections at once."""

    request_queue_size = 64
    daemon_threads = True


def serve_http(folder: str, port: str) -> None:
    handler = partial(Files, directory=folder)
    FileServer(("127.0.0.1", int(port)), handler).serve_forever()


def serve_ftp(folder: str, port: str, user: str) -> None:
    from pyftpdlib import (  # type: ignore[import-untyped]  # it ships no types
        authorizers,
        handlers,
        servers,
    )

    authorizer = authorizers.DummyAuthorizer()
    authorizer.add_user(user, os.environ[PASSWORD], folder, perm="elradfmwMT")
    handlers.FTPHandler.authorizer = authorizer
    server = servers.FTPServer(("127.0.0.1", int(port)), handlers.FTPHandler)
    server.serve_forever(handle_exit=False)


def run(obey: Callable[..., None], command: Sequence[str]) -> None:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    told = threading.Event()

    def end() -> None:
        told.set()
        process.kill()
        process.wait()

    threading.Thread(target=obey, args=(end,), daemon=True).start()
    code = process.wait()
    if not told.is_set():
        os._exit(code or 1)
    threading.Event().wait()  # until the other thread ends this program


def obey_driver(leftovers: Sequence[str], end: Callable[[], object]) -> None:
    """Wait for the driver's word or end, and die."""
    keep = sys.stdin.buffer.read(1) == b"k"
    end()
    for path in () if keep else map(Path, leftovers):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    os._exit(0)


def main(*arguments: str) -> None:
    marker = arguments.index("--")
    obey = partial(obey_driver, arguments[:marker])
    kind, *rest = arguments[marker + 1 :]
    if kind == "run":
        run(obey, rest)
    threading.Thread(target=obey, args=(lambda: None,), daemon=True).start()
    if kind == "http":
        serve_http(*rest)
    else:
        serve_ftp(*rest)


if __name__ == "__main__":
    main(*sys.argv[1:])
