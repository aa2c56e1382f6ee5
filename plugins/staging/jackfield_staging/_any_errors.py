"""What fsspec's implementations raise, in the kernel's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackfield import Remote, TransferError
from jackfield.errors import (
    RemoteChangedError,
    RemoteForbiddenError,
    RemoteNotFoundError,
    one_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# Libraries whose errors, where they are nothing worse, are the connection's.
NETWORKS: Final = frozenset(
    {"aiohttp", "httpcore", "httpx", "paramiko", "requests", "urllib3"}
)

UNTRUSTED: Final = frozenset({"BadHostKeyException", "SSLCertVerificationError"})
UNKNOWN_HOST: Final = "not found in known_hosts"
LOGIN: Final = frozenset(
    {"AuthenticationException", "BadAuthenticationType", "PasswordRequiredException"}
)
NO_LOGIN: Final = "No authentication methods available"
PASSING_STATUS: Final = frozenset({408, 423, 425, 429})


def explain(remote: Remote, error: Exception) -> None:
    """Raise what an implementation's error means."""
    raise _meant(remote, error) from error


def _meant(remote: Remote, error: Exception) -> TransferError:
    place = str(remote)
    reason = one_line(error)
    behind = list(_chain(error))
    names = {type(one).__name__ for one in behind}
    status = next(filter(None, map(_status, behind)), 0)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return RemoteNotFoundError(place, "there is no such file")
    if names & UNTRUSTED or UNKNOWN_HOST in str(error):
        return TransferError(place, _distrust(reason))
    refused = isinstance(error, PermissionError) or names & LOGIN or NO_LOGIN in reason
    if refused or status in (401, 403):
        return RemoteForbiddenError(place, reason)
    if status == 412:
        return RemoteChangedError(place, reason)
    if status:
        return TransferError(place, reason, status in PASSING_STATUS or status >= 500)
    return TransferError(place, reason, any(map(_passing, behind)))


def _distrust(reason: str) -> str:
    return (
        f"it cannot be told who answers there: {reason}. For SFTP, add the host's key "
        "to the file that known_hosts names, by default ~/.ssh/known_hosts."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(5):
        if error is None:
            return
        yield error
        error = error.__cause__


def _status(error: BaseException) -> int:
    """Return an HTTP status where a library keeps it."""
    response = getattr(error, "response", None)
    for holder in (error, response):
        for name in ("status_code", "status", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 100 <= value < 600:
                return value
    return 0


def _passing(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError | EOFError):
        return True
    if type(error) is OSError and error.errno is None:  # paramiko's, of its sockets
        return True
    return type(error).__module__.partition(".")[0] in NETWORKS
