"""An FTP server that does on the wire what an honest one cannot be made to do.

pyftpdlib speaks the protocol. It keeps what it knows on classes and in a loop; every
server here has classes and a loop of its own, so that several can run in a process.
"""

from __future__ import annotations

import logging
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from jackfield_testing.servers._ftp_faults import FTPFault, Unknown
from jackfield_testing.servers._ftp_plan import Plan
from jackfield_testing.servers._listening import CLOSE_LIMIT_S, HOST

if TYPE_CHECKING:
    from types import TracebackType

    from jackfield_testing.servers._ftp_faults import FTPCommand

TICK_S: Final = 0.02
"""Seconds after which the loop looks whether it is to end or to release something."""


class HostileFTPServer:
    """Serves a directory on 127.0.0.1 honestly, except where a fault was set.

    It runs from its construction until it is closed, on one daemon thread. One user
    may do everything, ``anonymous`` may read. Passive and active mode, ``EPSV``,
    ``MLSD``, ``SIZE`` (refused in ASCII mode, as many servers do), ``MDTM``, ``REST``.

    ```python
    with HostileFTPServer() as server:
        (server.root / "x").write_bytes(bytes(5000))
        server.fault("RETR", DropData(after=1000), times=1)
        fetch(server.url("x"))
        assert server.transfers == 2
    ```

    Usual faults, each for ``server.fault``:

    ========================  ==================================================
    no ``MLSD``, no ``SIZE``  ``"MLSD", Unknown()`` and ``"SIZE", Unknown()``
    only ``EPSV``             ``"PASV", Unknown()``
    a wrong passive address   ``"PASV", BogusAddress()``
    no login                  ``"PASS", Refuse("530 Login incorrect.")``
    no renaming               ``"RNTO", Refuse("553 Not allowed.")``
    cut and told so           ``"RETR", DropData(1000)``
    cut without a word        ``"RETR", DropData(1000, reply=None)``
    short, said to be whole   ``"RETR", DropData(1000, reply="226 Complete.")``
    disk full                 ``"STOR", DropData(1000, reply="452 No space.")``
    ========================  ==================================================

    All methods may be called on any thread, at any time.

    Attributes:
        root: The directory.
        user: The user's name.
        password: The user's password.
        release: Set it to let all that is stalled go on. Closing sets it.
        stalled: Set when something begins to stall; clear it to wait for the next.
        port: The port of the control connections.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        user: str = "user",
        password: str = "secret",
        anonymous: bool = True,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        """Begin to serve.

        Args:
            root: The directory; by default a temporary one, removed on closing.
            user: A name that may log in.
            password: Its password.
            anonymous: Whether ``anonymous`` may log in too, with any password.
            certificate: A file in PEM format; clients may then ask for TLS by
                ``AUTH TLS``. Needs pyOpenSSL.
            key: The file with the certificate's key, unless it is in the same file.

        Raises:
            ImportError: pyftpdlib is not installed, or pyOpenSSL is needed and not.
        """
        loops, servers = _pyftpdlib()
        from jackfield_testing.servers._ftp_handlers import (
            make_authorizer,
            make_handler,
        )

        self.user: str = user
        self.password: str = password
        self.release: threading.Event = threading.Event()
        self._closed = threading.Event()
        self._temporary = root is None
        # Bound and not listening: whoever connects is refused, and nobody else gets it.
        self._dead = socket.socket()
        self._dead.bind((HOST, 0))
        self._plan = Plan(self._dead.getsockname()[1])
        self.stalled: threading.Event = self._plan.stalled
        if root is None:
            root = Path(tempfile.mkdtemp(prefix="jackfield-ftp-"))
        self.root: Path = root
        self._loop = loops.IOLoop()
        try:
            authorizer = make_authorizer(root, (user, password), anonymous=anonymous)
            handler = make_handler(self._plan, authorizer, certificate, key)
            self._server = servers.FTPServer((HOST, 0), handler, ioloop=self._loop)
        except BaseException:
            self._free()
            raise
        self.port: int = self._server.address[1]
        self._thread = self._start()

    def _start(self) -> threading.Thread:
        name = f"jackfield-server-ftp-{self.port}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        thread.start()
        return thread

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url('')}>"

    def close(self) -> None:
        """Cut all connections, end the thread, remove a temporary directory.

        May be called again.

        Raises:
            RuntimeError: The thread did not end within ten seconds.
        """
        self._closed.set()
        self.release.set()
        self._thread.join(CLOSE_LIMIT_S)
        if self._thread.is_alive():
            raise RuntimeError(f"thread {self._thread.name!r} did not end")

    def url(self, path: str, *, login: bool = False) -> str:
        """Give the URL of a path, with the user's name and password if asked."""
        who = f"{quote(self.user, '')}:{quote(self.password, '')}@" if login else ""
        return f"ftp://{who}{HOST}:{self.port}/{quote(path.lstrip('/'))}"

    def fault(self, command: str, fault: FTPFault, times: int | None = None) -> None:
        """Let a fault happen to a command.

        One fault happens to a command: the first that was set and is not used up.

        Args:
            command: The command, for instance ``"RETR"``.
            fault: What happens.
            times: How often; None stands for always.

        Raises:
            ValueError: The fault cannot happen to this command, or is not one that
                can be counted.
        """
        verb = command.upper()
        if not fault.fits(verb):
            raise ValueError(f"{fault!r} cannot happen to {verb!r}")
        if isinstance(fault, Unknown) and times is not None:
            raise ValueError("a command is unknown always or never: leave times out")
        self._plan.add(verb, fault, times)

    def heal(self, command: str | None = None) -> None:
        """Drop the faults that were set for a command, or all."""
        self._plan.drop(None if command is None else command.upper())

    @property
    def commands(self) -> list[FTPCommand]:
        """The commands so far, of all sessions. A copy."""
        with self._plan.lock:
            return list(self._plan.commands)

    @property
    def sessions(self) -> int:
        """The number of control connections so far."""
        return self._plan.sessions

    @property
    def dead_port(self) -> int:
        """The port that ``BogusAddress`` names; it refuses connections."""
        return self._plan.dead_port

    @property
    def transfers(self) -> int:
        """The number of files whose transfer has begun so far, either way."""
        return self._plan.transfers

    def count(self, command: str) -> int:
        """Count how often a command came."""
        return sum(noted.verb == command.upper() for noted in self.commands)

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                self._loop.loop(timeout=TICK_S, blocking=False)
                if self.release.is_set():
                    self._plan.proceed()
        finally:
            self._free()

    def _free(self) -> None:
        self._loop.close()  # and all that it serves
        self._dead.close()
        if self._temporary:
            shutil.rmtree(self.root, ignore_errors=True)


def _pyftpdlib() -> tuple[Any, Any]:
    """Import pyftpdlib's loop and server."""
    # Without a handler of somebody's it would set one up, and switch off parts of
    # logging for the whole process.
    logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())
    try:
        from pyftpdlib import (  # type: ignore[import-untyped]  # it ships no types
            ioloop,
            servers,
        )
    except ImportError as error:
        raise ImportError(
            "HostileFTPServer needs pyftpdlib: pip install 'jackfield[testing]'"
        ) from error
    return ioloop, servers
