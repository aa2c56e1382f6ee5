"""What FTP servers and connections to them mean by their errors."""

from __future__ import annotations

import errno
import ftplib
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from jackfield import Remote, TransferError
from jackfield.errors import RemoteForbiddenError, RemoteNotFoundError

NO_WAY: Final = errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN

_DENIED: Final = r"(?i)denied|permi|not allowed|forbid|privilege|authori|read.?only"
_MISSING: Final = r"(?i)no such|not found|(not|n't) exist|cannot find|not a directory"
_CROWDED: Final = r"(?i)too many|maximum|limit|busy|try again"


@contextmanager
def refused_as(remote: Remote, kind: type[TransferError]) -> Iterator[None]:
    """Raise ``kind`` for a refusal in the block whose text does not tell what it is.

    Where a file is known to be there, for instance, one to give it does not mean that
    it is missing.
    """
    try:
        yield
    except ftplib.error_perm as error:
        raise refusal(remote, error, kind) from error


def refusal(
    remote: Remote,
    error: ftplib.error_perm,
    otherwise: type[TransferError] = RemoteNotFoundError,
) -> TransferError:
    """Say what a reply of the 500s means: 550 is said to nearly everything."""
    text = _text(error)
    reason = f"the server refuses: {text}"
    code = text[:3]
    if code in ("530", "532"):
        if re.search(_CROWDED, text):
            return TransferError(str(remote), reason, transient=True)
        return RemoteForbiddenError(str(remote), reason)
    if code not in ("550", "553"):
        return TransferError(str(remote), reason)
    if re.search(_MISSING, text):
        return RemoteNotFoundError(str(remote), reason)
    if re.search(_DENIED, text):
        return RemoteForbiddenError(str(remote), reason)
    return otherwise(str(remote), reason)


def explain(remote: Remote, error: Exception) -> None:
    """Raise what an error of sockets or of the library means; leave others."""
    match error:
        case ftplib.error_perm():
            raise refusal(remote, error) from error
        case IsADirectoryError():
            raise RemoteNotFoundError(str(remote), "it is a directory") from error
        case ssl.SSLCertVerificationError():
            reason = f"its certificate is not to be trusted: {error.verify_message}"
            raise TransferError(str(remote), reason) from error
        case UnicodeError():
            raise TransferError(str(remote), f"its host is no name: {error}") from error
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            pass
        case ssl.SSLError():
            raise TransferError(str(remote), f"TLS fails: {error}") from error
    passing = _passing(remote, error)
    if passing is not None:
        raise TransferError(str(remote), passing, transient=True) from error


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
        case OSError() if error.errno in NO_WAY:
            return f"there is no way to the server: {error.strerror}"
        case _:
            return None


def _text(error: Exception) -> str:
    return " ".join(str(error).split())
