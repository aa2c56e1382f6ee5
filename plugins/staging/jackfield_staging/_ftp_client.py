"""The standard library's FTP client, with what a transfer needs beyond it.

Whatever blocks can be cut from another thread at any time; names may be any bytes; TLS
sessions are resumed on data connections, whose end neither hangs nor loses bytes.
"""

from __future__ import annotations

import ftplib
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from jackfield_staging._core_trust import tls_context

if TYPE_CHECKING:
    from jackfield.staging.remote import Timeouts

HOME: Final = "~/"  # how a path begins that is from the directory after login
REASON_S: Final = 5.0  # for the server to say why it has cut a data connection

MOST_REPLY: Final = 1 << 16  # bytes on the control connection, such as of a banner

# After which a silent control connection shows that it lives: routers are forgetful.
KEEPALIVE_S: Final = 60


@dataclass(frozen=True, slots=True)
class FtpOptions:
    """The tables ``[staging.ftp]`` and ``[staging.ftps]``: see docs/staging.md."""

    atomic: bool = True
    implicit: bool = False
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """A server, who one is there, and how one talks to it: what connections share."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: bool
    options: FtpOptions


class Client(ftplib.FTP):
    """A connection to a server. For one thread at a time, except ``cut``.

    Attributes:
        account: Where it leads.
        waits: How long to wait for what.
        broken: Whether it was cut.
        quiet: Whether it is logged in and no transfer is going on, so that a command
            may be sent.
        lacks: Commands that the server has refused to know.
        home: The directory after login, once it was asked for.
    """

    def __init__(self, account: Account, waits: Timeouts) -> None:
        super().__init__()
        self.account = account
        self.waits = waits
        self.broken = False
        self.quiet = False
        self.lacks: set[str] = set()
        self.home: str | None = None
        self._lock = threading.Lock()
        self._blocking: socket.socket | None = None
        self._come: bytes = b""  # of the next reply
        self._until: float = 0.0
        self._left: int = MOST_REPLY

    def cut(self) -> None:
        """Break what blocks. On any thread.

        While data moves, only the data connection is cut, so that the transfer can be
        cleaned up after on the control connection.
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

        Under the lock, so that ``cut`` comes either before, and is raised here, or
        after, and finds the socket.
        """
        with self._lock:
            self._blocking = blocking
            if self.broken and blocking is not None:
                raise ConnectionAbortedError("the connection was cut")

    def open(self) -> None:
        """Connect and log in."""
        account = self.account
        self.host = account.host
        self._read_from(self.dial(account.host, account.port))
        implicit = account.options.implicit
        if account.tls and implicit:
            self._read_from(self.wrapped(self.control()))
        self.welcome = self.getresp()
        if account.tls and not implicit:
            self._demand("AUTH TLS")
            # What somebody may have sent ahead of the handshake goes unread.
            self._read_from(self.wrapped(self.control()))
        self.login(account.user, account.password)
        if account.tls:
            self._demand("PBSZ 0")
            self._demand("PROT P")
        self.voidcmd("TYPE I")
        self.quiet = True

    def answers(self, ask: bool) -> bool:
        """Whether the server is there: no farewell has come, and an answer if asked."""
        poll = select.poll()
        poll.register(self.control(), select.POLLIN)
        with suppress(*ftplib.all_errors):
            if ask:
                self.voidcmd("NOOP")
            return not (self._come or poll.poll(0))
        return False

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
        """Return the control connection's socket, or raise that it is closed."""
        if self.sock is None:
            raise ConnectionAbortedError("the connection is closed")
        return self.sock

    def conclude(self) -> None:
        """Hear the server's last word on a transfer."""
        try:
            self.voidresp()
        except ftplib.Error:
            self.quiet = True
            raise
        self.quiet = True

    def getmultiline(self) -> str:
        """Read a reply, which has to end and to be here in time."""
        self._until = time.monotonic() + self.waits.connect + self.waits.idle
        self._left = MOST_REPLY
        return super().getmultiline()

    def getline(self) -> str:
        while b"\n" not in self._come:
            if len(self._come) > self._left:
                raise ConnectionAbortedError(f"a reply has over {MOST_REPLY} bytes")
            if time.monotonic() > self._until:
                raise TimeoutError
            data = self.control().recv(self.maxline)
            if not data:
                raise EOFError
            self._come += data
        line, _, self._come = self._come.partition(b"\n")
        self._left -= len(line)
        return line.removesuffix(b"\r").decode("utf-8", "surrogateescape")

    def _read_from(self, control: socket.socket) -> None:
        """Take replies from this socket; what came before is forgotten."""
        self.sock, self.af, self._come = control, control.family, b""
        control.settimeout(self.waits.idle)
        control.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            control.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        self.watch(None)

    def _demand(self, command: str) -> None:
        """Ask for a part of TLS, without which nothing is said or moved."""
        try:
            self.voidcmd(command)
        except ftplib.error_perm as error:
            raise ssl.SSLError(f"the server does not offer it: {error}") from error

    def dial(self, host: str, port: int) -> socket.socket:
        """Connect to one of a host's addresses."""
        failure: OSError | None = None
        for family, kind, number, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            connection = socket.socket(family, kind, number)
            try:
                self.watch(connection)
                connection.settimeout(self.waits.connect)
                connection.connect(address)
                self.watch(connection)  # cut meanwhile, it looks connected
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure or ConnectionError(f"{host!r} has no address")

    def wrapped(
        self, plain: socket.socket, like: ssl.SSLSocket | None = None
    ) -> ssl.SSLSocket:
        """Speak TLS on a socket, resuming the session of ``like``.

        The plain socket cannot be used by itself afterwards; it is closed on failure.
        """
        context = like.context if like else tls_context(self.account.options.ca_file)
        secured = context.wrap_socket(
            plain,
            server_hostname=self.account.host,
            session=like.session if like else None,
            do_handshake_on_connect=False,
        )
        with _closed_on_error(secured):
            self.watch(secured)
            secured.settimeout(self.waits.connect)
            secured.do_handshake()
        return secured

    @contextmanager
    def data(self, command: str, rest: int = 0) -> Iterator[socket.socket]:
        """Give the data connection of a command that uses one, such as ``RETR /x``.

        The block moves the data. Afterwards the connection is closed, and the server
        has said that it is content; if not, or if it has cut the connection and says
        why, that is raised. Where it cannot begin at ``rest``, ``lacks`` has ``REST``.
        """
        connection = self._open_data(command, rest)
        try:
            connection.settimeout(self.waits.idle)
            yield connection
            _say_end(connection, self.waits.idle)
            self.watch(None)
            if self.broken:
                raise ConnectionAbortedError("the connection was cut")
            # Not closed before: that would reset the connection if something is unread,
            # and so take from the server what it has not read yet.
            self.conclude()
        except (ConnectionError, ssl.SSLError):
            self.watch(None)
            if not (self.broken or self.quiet):
                with suppress(OSError, EOFError):  # a reason is raised instead
                    self.control().settimeout(min(REASON_S, self.waits.idle))
                    self.conclude()
            raise
        finally:
            self.watch(None)
            connection.close()

    def _open_data(self, command: str, rest: int) -> socket.socket:
        control = self.control()
        connection = self.dial(*self._data_address())
        with _closed_on_error(connection):
            self.watch(None)  # the server's answer to the command blocks next
            self._begin(command, rest)
            self.watch(connection)
        if isinstance(control, ssl.SSLSocket):
            # Many servers want to see by the session that it is the same client.
            return self.wrapped(connection, like=control)
        return connection

    def _data_address(self) -> tuple[str, int]:
        """Ask where to connect to, in the way that the server knows."""
        peer: Any = self.control().getpeername()
        if self.af == socket.AF_INET and "PASV" not in self.lacks:
            # It may not know the command, or answer with what is no address.
            with suppress(ftplib.Error, ValueError):
                host, port = self.makepasv()  # the server's address, whichever it names
                if 0 < port < 1 << 16:
                    return host, port
            self.lacks.add("PASV")
        reply = self.sendcmd("EPSV")
        return peer[0], ftplib.parse229(reply, peer)[1]  # noqa: S321  (FTP is the purpose)

    def _begin(self, command: str, rest: int) -> None:
        if rest:
            try:
                self.sendcmd(f"REST {rest}")
            except ftplib.error_perm:
                self.lacks.add("REST")
                raise
        reply = self.sendcmd(command)
        if reply[0] == "2":  # some say that they are ready before it begins
            reply = self.getresp()
        if reply[0] != "1":
            raise ftplib.error_reply(reply)  # noqa: S321  (FTP is the purpose)
        self.quiet = False


@contextmanager
def _closed_on_error(connection: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _say_end(connection: socket.socket, patience_s: float) -> None:
    """Say that nothing more comes; TLS's answer to that, which many omit, can wait."""
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    with suppress(OSError, ValueError):
        while isinstance(connection, ssl.SSLSocket):
            connection.setblocking(False)
            with suppress(ssl.SSLWantReadError):
                try:
                    connection.unwrap()
                except ssl.SSLWantWriteError:
                    if poll.poll(patience_s * 1000):
                        continue
            break
        socket.socket.shutdown(connection, socket.SHUT_WR)
