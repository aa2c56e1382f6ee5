"""Idle connections to FTP servers, and what their errors mean."""

from __future__ import annotations

import errno
import ftplib
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jackfield.errors import (
    JackfieldError,
    RemoteForbiddenError,
    RemoteNotFoundError,
    TransferError,
)
from jackfield_staging._ftp_line import Line

if TYPE_CHECKING:
    from jackfield import Remote
    from jackfield_staging._ftp_address import Account

MOST_IDLE: Final = 16
IDLE_S: Final = 60.0
"""Seconds after which an idle connection is closed, when the next one is asked for."""

NOOP_AFTER_S: Final = 5.0
"""Seconds after which an idle connection is tried before it is used."""

NETWORK: Final = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
)

_DENIED: Final = re.compile(
    r"denied|permi|not allowed|forbid|privilege|authori|read.?only", re.IGNORECASE
)
_MISSING: Final = re.compile(
    r"no such|not found|(not|n't) exist|cannot find|not a directory", re.IGNORECASE
)
_CROWDED: Final = re.compile(r"too many|maximum|limit|busy|try again", re.IGNORECASE)


class _Pool:
    """Lines that nobody uses, with the time since when, the longest idle first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: list[tuple[float, Line]] = []


_pool = _Pool()


@contextmanager
def lent(remote: Remote, account: Account) -> Iterator[Line]:
    """Give a line that is logged in, for a block that ``remote`` may break off.

    What goes wrong in the block, or before, is raised as what it means. The line is
    used again unless something went wrong with it.

    Raises:
        TransferError: The server refuses, is not there, or goes.
        TransferCancelledError: Nobody wants the transfer any more.
    """
    remote.check()
    line = _ready(remote, account)
    try:
        with remote.broken_by(line.cut):
            if line.sock is None:
                line.open()
            yield line
    except BaseException as error:
        if isinstance(error, RemoteNotFoundError | ftplib.error_perm) and _usable(line):
            _give(line)
        else:
            line.close()
        if isinstance(error, Exception):
            remote.check()
            meant = _meant(remote, error, line)
            if meant is not error:
                raise meant from error
        raise
    _give(line)


@contextmanager
def refused_as(remote: Remote, kind: type[TransferError]) -> Iterator[None]:
    """Take a refusal in the block, where its text does not tell, as this error."""
    try:
        yield
    except ftplib.error_perm as error:
        raise refusal(remote, error, kind) from error


def refusal(
    remote: Remote,
    error: ftplib.error_perm,
    otherwise: type[TransferError] = RemoteNotFoundError,
) -> TransferError:
    """Say what a reply of the 500s means.

    Servers say 550 to nearly everything, so that the text has to be asked, or what
    is known besides.
    """
    text = _text(error)
    reason = f"the server refuses: {text}"
    code = text[:3]
    if code in ("530", "532"):
        if _CROWDED.search(text):
            return TransferError(str(remote), reason, transient=True)
        return RemoteForbiddenError(str(remote), reason)
    if code not in ("550", "553"):
        return TransferError(str(remote), reason)
    if _MISSING.search(text):
        return RemoteNotFoundError(str(remote), reason)
    if _DENIED.search(text):
        return RemoteForbiddenError(str(remote), reason)
    return otherwise(str(remote), reason)


def _meant(remote: Remote, error: Exception, line: Line) -> Exception:
    """Translate an error of sockets or of the library; leave others as they are."""
    if isinstance(error, JackfieldError):
        return error
    if line.broken:
        reason = f"nothing moved for {remote.timeouts.idle:g} s"
        return TransferError(str(remote), reason, transient=True)
    match error:
        case ftplib.error_perm():
            return refusal(remote, error)
        case IsADirectoryError():
            return RemoteNotFoundError(str(remote), "it is a directory")
        case ssl.SSLCertVerificationError():
            reason = f"its certificate is not to be trusted: {error.verify_message}"
            return TransferError(str(remote), reason)
        case UnicodeError():
            return TransferError(str(remote), f"its host is no name: {error}")
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            pass
        case ssl.SSLError():
            return TransferError(str(remote), f"TLS fails: {error}")
    passing = _passing(remote, error)
    return TransferError(str(remote), passing, transient=True) if passing else error


def _passing(remote: Remote, error: Exception) -> str | None:
    """Give the reason for what may go well a moment later."""
    match error:
        case ftplib.error_temp():
            return f"the server cannot now: {_text(error)}"
        case ftplib.Error():
            return f"the server says something unexpected: {_text(error)}"
        case EOFError():
            return "the server has hung up"
        case socket.gaierror():
            return f"its host cannot be found: {error.strerror}"
        case TimeoutError():
            limits = remote.timeouts
            return f"no answer in {limits.connect:g} s, or no byte in {limits.idle:g} s"
        case ConnectionError() | ssl.SSLError():
            return f"the connection fails: {error.strerror or error}"
        case OSError() if error.errno in NETWORK:
            return f"there is no way to the server: {error.strerror}"
        case _:
            return None


def _text(error: Exception) -> str:
    return " ".join(str(error).split())


# -- The pool


def close_idle() -> None:
    """Close all lines that nobody uses."""
    _leave(_expired(before=float("inf")))


def _ready(remote: Remote, account: Account) -> Line:
    """Take an idle line that still works, or make one, which is not opened."""
    limits = remote.timeouts
    _leave(_expired(time.monotonic() - IDLE_S))
    while (found := _take(account)) is not None:
        since, line = found
        line.patience(limits.connect, limits.connect)
        if not line.stale() and (
            time.monotonic() - since < NOOP_AFTER_S or _answers(remote, line)
        ):
            line.patience(limits.connect, limits.idle)
            return line
        line.close()
    return Line(account, limits.connect, limits.idle)


def _answers(remote: Remote, line: Line) -> bool:
    with remote.broken_by(line.cut):
        answers = line.alive()
    if line.broken:
        line.close()
        remote.check()
    return answers


def _usable(line: Line) -> bool:
    return line.sock is not None and line.quiet and not line.broken


def _take(account: Account) -> tuple[float, Line] | None:
    """Take the line that was used last, if there is one."""
    with _pool.lock:
        for number in reversed(range(len(_pool.idle))):
            if _pool.idle[number][1].account == account:
                return _pool.idle.pop(number)
    return None


def _give(line: Line) -> None:
    if not _usable(line):
        line.close()
        return
    with _pool.lock:
        _pool.idle.append((time.monotonic(), line))
        surplus = [_pool.idle.pop(0)[1]] if len(_pool.idle) > MOST_IDLE else []
    _leave(surplus)


def _expired(before: float) -> list[Line]:
    with _pool.lock:
        old = [line for since, line in _pool.idle if since < before]
        _pool.idle = [entry for entry in _pool.idle if entry[0] >= before]
    return old


def _leave(lines: list[Line]) -> None:
    for line in lines:
        line.leave()


def _forget() -> None:
    """In a forked child: the parent's lines are not ours to speak on."""
    _pool.lock = threading.Lock()
    inherited, _pool.idle = _pool.idle, []
    for _, line in inherited:
        line.close()


os.register_at_fork(after_in_child=_forget)
