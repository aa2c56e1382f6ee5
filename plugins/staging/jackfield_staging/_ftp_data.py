"""Data connections: one for each transfer or listing, beside the control connection.

TLS sessions are resumed on them, and their end neither hangs nor loses bytes.
"""

from __future__ import annotations

import ftplib
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jackfield_staging._ftp_line import Line

REASON_S: Final = 5.0
"""Seconds to wait for the server to say why it has cut a data connection."""


@contextmanager
def data(line: Line, command: str, rest: int = 0) -> Iterator[socket.socket]:
    """Give the data connection of a command that uses one.

    The block moves the data. Afterwards the connection is closed, and the server has
    said that it is content.

    Args:
        line: A line that is quiet.
        command: For instance ``RETR /x``.
        rest: At which byte the other side is to begin. Where it cannot, ``REST`` is
            among ``line.lacks`` afterwards.

    Raises:
        ftplib.Error: The server is not content; from the block, too, if it has cut
            the connection and says why.
        OSError: There is no connection, or it breaks.
        EOFError: The server has hung up.
    """
    connection = _open(line, command, rest)
    try:
        connection.settimeout(line.idle_s)
        yield connection
        _end(connection, line.idle_s)
        line.watch(None)
        if line.broken:
            raise ConnectionAbortedError("the connection was cut")
        # Not closed before: that would reset the connection if something is unread,
        # and so take from the server what it has not read yet.
        _conclude(line)
    except (ConnectionError, ssl.SSLError):
        line.watch(None)
        _hear_why(line)
        raise
    finally:
        line.watch(None)
        connection.close()


def settle(line: Line) -> None:
    """Hear the end of a transfer that was broken off, whatever it is."""
    if not line.quiet:
        with suppress(ftplib.Error):
            _conclude(line)


def _conclude(line: Line) -> None:
    """Hear the server's last word on a transfer."""
    try:
        line.voidresp()
    except ftplib.Error:
        line.quiet = True
        raise
    line.quiet = True


def _hear_why(line: Line) -> None:
    if line.broken or line.quiet:
        return
    with suppress(OSError, EOFError):
        line.control().settimeout(min(REASON_S, line.idle_s))
        _conclude(line)


# -- The beginning


def _open(line: Line, command: str, rest: int) -> socket.socket:
    begin = _passive if line.account.passive else _active
    connection = begin(line, command, rest)
    control = line.control()
    if isinstance(control, ssl.SSLSocket):
        # Many servers want to see by the session that it is the same client.
        return line.wrapped(connection, like=control)
    return connection


def _passive(line: Line, command: str, rest: int) -> socket.socket:
    connection = line.dial(*_address(line))
    with _closed_on_error(connection):
        line.watch(None)
        _begin(line, command, rest)
        line.watch(connection)
    return connection


def _address(line: Line) -> tuple[str, int]:
    """Ask where to connect to, in the way that the server knows."""
    peer: Any = line.control().getpeername()
    if line.af == socket.AF_INET and "PASV" not in line.lacks:
        try:
            return line.makepasv()  # the server's address, whichever it names
        except ftplib.error_perm:
            line.lacks.add("PASV")
    reply = line.sendcmd("EPSV")
    return peer[0], ftplib.parse229(reply, peer)[1]  # noqa: S321  (FTP is the purpose)


def _active(line: Line, command: str, rest: int) -> socket.socket:
    control = line.control()
    host = control.getsockname()[0]
    with socket.create_server((host, 0), family=line.af, backlog=1) as listening:
        say = line.sendport if line.af == socket.AF_INET else line.sendeprt
        say(host, listening.getsockname()[1])
        listening.settimeout(line.connect_s)
        _begin(line, command, rest)
        line.watch(listening)
        connection, caller = listening.accept()
    with _closed_on_error(connection):
        _check_caller(caller, control.getpeername())
        line.watch(connection)
    return connection


def _check_caller(caller: Any, server: Any) -> None:
    if caller[0] != server[0]:
        raise ConnectionError("somebody else than the server has connected")


def _begin(line: Line, command: str, rest: int) -> None:
    if rest:
        _restart(line, rest)
    reply = line.sendcmd(command)
    if reply[0] == "2":  # some say that they are ready before they say that it begins
        reply = line.getresp()
    if reply[0] != "1":
        raise ftplib.error_reply(reply)  # noqa: S321  (FTP is the purpose)
    line.quiet = False


def _restart(line: Line, rest: int) -> None:
    try:
        line.sendcmd(f"REST {rest}")
    except ftplib.error_perm:
        line.lacks.add("REST")
        raise


@contextmanager
def _closed_on_error(connection: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


# -- The end


def _end(connection: socket.socket, patience_s: float) -> None:
    """Say that nothing more comes, and wait for nobody."""
    with suppress(OSError, ValueError):
        if isinstance(connection, ssl.SSLSocket):
            _close_notify(connection, patience_s)
        socket.socket.shutdown(connection, socket.SHUT_WR)


def _close_notify(connection: ssl.SSLSocket, patience_s: float) -> None:
    """Send the end of TLS; that of the other side, which many never send, can wait."""
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    connection.setblocking(False)
    while not _sent(connection.unwrap) and poll.poll(patience_s * 1000):
        pass


def _sent(unwrap: Callable[[], object]) -> bool:
    with suppress(ssl.SSLWantReadError):
        try:
            unwrap()
        except ssl.SSLWantWriteError:
            return False
    return True
