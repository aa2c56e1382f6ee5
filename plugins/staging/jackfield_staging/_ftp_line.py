"""A control connection to an FTP server.

The standard library's client, with what it lacks: whatever blocks can be cut from
another thread at any time, and names may be any bytes.
"""

from __future__ import annotations

import ftplib
import select
import socket
import ssl
import threading
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from jackfield import ConfigurationError

if TYPE_CHECKING:
    from jackfield_staging._ftp_address import Account

KEEPALIVE_S: Final = 60
"""Seconds after which a silent control connection shows that it lives, so that a router
does not forget it during a long transfer."""


class Line(ftplib.FTP):
    """A connection to a server. For one thread at a time, except ``cut``.

    Attributes:
        account: Where it leads.
        connect_s: Seconds that a connection may take to be made.
        idle_s: Seconds to wait for the next byte.
        broken: Whether it was cut.
        quiet: Whether it is logged in and no transfer is going on, so that a command
            may be sent.
        lacks: Commands that the server has refused to know.
        home: The directory after login, once it was asked for.
    """

    def __init__(self, account: Account, connect_s: float, idle_s: float) -> None:
        super().__init__()
        self.account: Account = account
        self.connect_s: float = connect_s
        self.idle_s: float = idle_s
        self.broken: bool = False
        self.quiet: bool = False
        self.lacks: set[str] = set()
        self.home: str | None = None
        self._lock: threading.Lock = threading.Lock()
        self._blocking: socket.socket | None = None

    def cut(self) -> None:
        """Break what blocks. On any thread.

        While data moves, only the data connection is cut, so that the transfer can
        be cleaned up after on this line.
        """
        with self._lock:
            self.broken = True
            blocking = self._blocking or self.sock
            if blocking is not None:
                with suppress(OSError):
                    # The plain socket's method: a TLS socket's would drop the state
                    # that the other thread is using.
                    socket.socket.shutdown(blocking, socket.SHUT_RDWR)

    def watch(self, blocking: socket.socket | None) -> None:
        """Say which socket is going to block instead of the control connection.

        Raises:
            ConnectionAbortedError: It would not be cut: that has happened already.
        """
        with self._lock:
            self._blocking = blocking
            if self.broken and blocking is not None:
                raise ConnectionAbortedError("the connection was cut")

    # -- The control connection

    def open(self) -> None:
        """Connect and log in.

        Raises:
            OSError: There is no connection, or it breaks.
            ftplib.Error: The server refuses.
            EOFError: The server hangs up.
        """
        account = self.account
        self.host = account.host
        self._adopt(self.dial(account.host, account.port))
        if account.implicit:
            self._secure()
        self.welcome = self.getresp()
        if account.tls and not account.implicit:
            self._demand("AUTH TLS")
            self._secure()
        self.login(account.user, account.password)
        if account.tls:
            self._demand("PBSZ 0")
            self._demand("PROT P")
        self.voidcmd("TYPE I")
        self.quiet = True

    def patience(self, connect_s: float, idle_s: float) -> None:
        """Set how long to wait from now on."""
        self.connect_s, self.idle_s = connect_s, idle_s
        if self.sock is not None:
            self.sock.settimeout(idle_s)

    def alive(self) -> bool:
        """Ask whether the server is still there. One round trip."""
        try:
            self.voidcmd("NOOP")
        except ftplib.all_errors:
            return False
        return True

    def stale(self) -> bool:
        """Whether something has come unasked: a farewell, or the end."""
        poll = select.poll()
        poll.register(self.control(), select.POLLIN)
        return bool(poll.poll(0))

    def leave(self) -> None:
        """Say goodbye, without waiting for an answer, and close."""
        with suppress(OSError):
            self.putcmd("QUIT")
        self.close()

    def putline(self, line: str) -> None:
        """Send a command; a name goes as the bytes that it came as."""
        if "\r" in line or "\n" in line:
            raise ValueError("a command cannot hold a line break")
        self.control().sendall(line.encode("utf-8", "surrogateescape") + b"\r\n")

    def control(self) -> socket.socket:
        """Return the control connection's socket.

        Raises:
            ConnectionAbortedError: It is closed.
        """
        if self.sock is None:
            raise ConnectionAbortedError("the connection is closed")
        return self.sock

    def _adopt(self, control: socket.socket) -> None:
        control.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            control.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        self.af = control.family
        self._read_from(control)
        self.watch(None)

    def _read_from(self, control: socket.socket) -> None:
        """Take replies from this socket; what came before is forgotten."""
        old, self.sock = self.file, control
        control.settimeout(self.idle_s)
        self.file = control.makefile("r", encoding="utf-8", errors="surrogateescape")
        if old is not None:
            old.close()

    def _demand(self, command: str) -> None:
        """Ask for a part of TLS, without which nothing is said or moved."""
        try:
            self.voidcmd(command)
        except ftplib.error_perm as error:
            raise ssl.SSLError(f"the server does not offer it: {error}") from error

    def _secure(self) -> None:
        # What somebody in between may have sent ahead of the handshake, as if it were
        # the server's, is dropped with the old file.
        self._read_from(self.wrapped(self.control()))
        self.watch(None)

    # -- Connections in general

    def dial(self, host: str, port: int) -> socket.socket:
        """Connect to one of a host's addresses.

        Raises:
            OSError: None of them answers, or it was cut.
        """
        failure: OSError | None = None
        for family, kind, number, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            try:
                return self._connected(socket.socket(family, kind, number), address)
            except OSError as error:
                failure = error
        raise failure or ConnectionError(f"{host!r} has no address")

    def _connected(self, connection: socket.socket, address: Any) -> socket.socket:
        try:
            self.watch(connection)
            connection.settimeout(self.connect_s)
            connection.connect(address)
            self.watch(connection)  # cut meanwhile, it looks connected
        except BaseException:
            connection.close()
            raise
        return connection

    def wrapped(
        self, plain: socket.socket, like: ssl.SSLSocket | None = None
    ) -> ssl.SSLSocket:
        """Speak TLS on a socket, which is closed where that fails.

        Args:
            plain: The socket; it cannot be used by itself afterwards.
            like: A connection whose session is to be resumed.

        Raises:
            OSError: The other side does not speak it, or is not to be trusted.
            ConfigurationError: ``ca_file`` cannot be used.
        """
        context = like.context if like else _context(self.account.ca_file)
        secured = context.wrap_socket(
            plain,
            server_hostname=self.account.host,
            session=like.session if like else None,
            do_handshake_on_connect=False,
        )
        try:
            self.watch(secured)
            secured.settimeout(self.connect_s)
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        return secured


@lru_cache(maxsize=8)
def _context(ca_file: str) -> ssl.SSLContext:
    """Verify certificates and names. Reading what the system trusts takes a while."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ConfigurationError(
            f"staging.ftps.ca_file = {ca_file!r} cannot be used: {error}."
        ) from error
