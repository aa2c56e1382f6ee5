"""Files on FTP servers, in the clear or with TLS. Schemes: ftp, ftps.

What is after the host is a path from the server's root, as users see it after login:
``ftp://host/data/x`` is ``/data/x``; ``ftp://host/~/x`` begins at the login directory.
Percent signs are decoded, ``?`` and ``#`` belong to the name, and ``;type=i`` at the
end is understood. Credentials: ``user`` and ``password``. Options: ``FtpOptions``.

A file that arrives is looked at before and after. FTP has no etag; one is made of size
and time, so that a transfer that was interrupted can go on. A file that was replaced by
another of the same size within the same second is not noticed.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from jackfield import Remote, TransferError
from jackfield_staging._core_files import Place
from jackfield_staging._core_hooks import Provider
from jackfield_staging._core_trust import decoded, login_of
from jackfield_staging._ftp_client import HOME, Account, FtpOptions
from jackfield_staging._ftp_files import FTPFiles

SCHEMES: Final = ("ftp", "ftps")
ANONYMOUS: Final = ("anonymous", "anonymous@")

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_TYPE: Final = re.compile(r";type=(.)$", re.IGNORECASE)


def reach(remote: Remote) -> Place:
    """Say how to reach a URL, and by which account."""
    if _CONTROL.search(remote.url):
        raise TransferError(str(remote), "there is a control character in it")
    options, waits = remote.read_options(FtpOptions), remote.timeouts
    try:
        parts = urlsplit(remote.url)
        account = _account(remote, parts, options)
    except ValueError as error:
        raise TransferError(str(remote), f"it is no URL: {error}") from error
    # An FTP URL has no query and no fragment: what looks like one is part of the name.
    path = _path(remote, remote.url.partition("://")[2][len(parts.netloc) :])
    if re.search("[\r\n\0]", path + account.user + account.password):
        reason = "a line break or NUL, which FTP cannot say, is in its path or login"
        raise TransferError(str(remote), reason)
    return Place(account, path, lambda: FTPFiles(account, waits))


def _account(remote: Remote, parts: SplitResult, options: FtpOptions) -> Account:
    if not parts.hostname:
        raise ValueError("it names no host")
    tls = remote.scheme == "ftps"
    port = parts.port or (990 if tls and options.implicit else 21)
    login = login_of(remote)
    user, password = login if login and login[0] else ANONYMOUS
    return Account(parts.hostname, port, user, password, tls, options)


def _path(remote: Remote, tail: str) -> str:
    """Read a path: from the root, or after ``~/``. Bytes that are no UTF-8 escape."""
    kind = _TYPE.search(tail)
    if kind is not None:
        if kind[1].lower() != "i":
            reason = f"{kind[0]} would change the bytes; only ;type=i can be had"
            raise TransferError(str(remote), reason)
        tail = tail[: kind.start()]
    tail = tail.removeprefix("/")
    if tail.startswith(HOME):
        return HOME + decoded(tail[len(HOME) :])
    path = decoded(tail)
    # A "~" of a directory's own that was written as "%7E" is told apart by the "/".
    return "/" + path.lstrip("/")


JACKFIELD_SHOWN = ("ca_file",)

provider: Final = Provider(SCHEMES.__contains__, reach)
