"""What fsspec's implementations raise, in the kernel's terms."""

from __future__ import annotations

from typing import Final

from jackfield import Remote, TransferError
from jackfield import errors as kernel
from jackfield.errors import one_line
from jackfield_staging._http_rules import failure

# Libraries whose errors, where they are nothing worse, are the connection's.
NETWORKS: Final = {"aiohttp", "httpcore", "httpx", "paramiko", "requests", "urllib3"}
UNTRUSTED: Final = {"BadHostKeyException", "SSLCertVerificationError"}
UNKNOWN_HOST: Final = "not found in known_hosts"
LOGIN: Final = {
    *("AuthenticationException", "BadAuthenticationType", "PasswordRequiredException")
}
NO_LOGIN: Final = "No authentication methods available"


def explain(remote: Remote, error: Exception) -> None:
    """Raise what an implementation's error means."""
    raise _meant(remote, error) from error


def _meant(remote: Remote, error: Exception) -> TransferError:
    place = str(remote)
    reason = one_line(error)
    behind: list[BaseException] = [error]
    while behind[-1].__cause__ is not None and len(behind) < 5:
        behind.append(behind[-1].__cause__)
    names = {type(one).__name__ for one in behind}
    status = next(filter(None, map(_status, behind)), 0)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return kernel.RemoteNotFoundError(place, "there is no such file")
    if names & UNTRUSTED or UNKNOWN_HOST in str(error):
        return TransferError(
            place,
            f"it cannot be told who answers there: {reason}. For SFTP, add the host's "
            "key to the file that known_hosts names, by default ~/.ssh/known_hosts.",
        )
    if isinstance(error, PermissionError) or names & LOGIN or NO_LOGIN in reason:
        return kernel.RemoteForbiddenError(place, reason)
    if status == 412:
        return kernel.RemoteChangedError(place, reason)
    if status:
        return failure(place, status, reason)
    return TransferError(place, reason, any(map(_passing, behind)))


def _status(error: BaseException) -> int:
    """Return an HTTP status where a library keeps it."""
    for holder in (error, getattr(error, "response", None)):
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
