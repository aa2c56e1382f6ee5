"""Files on FTP servers, in the clear or with TLS. Schemes: ftp, ftps.

What is after the host is a path from the server's root, as users see it after login:
``ftp://host/data/x`` is ``/data/x``; ``ftp://host/~/x`` begins at the login directory.
Percent signs are decoded; ``?``, ``#`` and ``;`` belong to the name.
Credentials: ``user`` and ``password``. Options: ``FtpOptions``.

A file that arrives is looked at before and after. FTP has no etag; one is made of size
and time, so that a transfer that was interrupted can go on. A file that was replaced by
another of the same size within the same second is not noticed.
"""

from __future__ import annotations

import ftplib
import re
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlsplit

from fsspec.implementations.ftp import FTPFileSystem

from jackfield import Remote, RemoteInfo, Transfer, TransferError
from jackfield.errors import RemoteForbiddenError, RemoteNotFoundError
from jackfield.staging.remote import Timeouts
from jackfield_staging import _core_files as core
from jackfield_staging._core_hooks import Provider
from jackfield_staging._core_trust import broken, decoded, login_of
from jackfield_staging._ftp_client import HOME, Account, Client, FtpOptions
from jackfield_staging._ftp_listing import list_below, look, resolved

SCHEMES: Final = ("ftp", "ftps")
ANONYMOUS: Final = ("anonymous", "anonymous@")

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

BLOCK: Final = 1 << 18  # bytes that are read or sent at a time
NO_NAME: Final = ("550", "553")  # no file can be made, perhaps for want of a directory
NOOP_AFTER_S: Final = 5.0  # after which an idle connection is tried before it is used
SETTLE_S: Final = 0.5  # for a server to see that an upload was broken off

_DENIED: Final = r"(?i)denied|permi|not allowed|forbid|privilege|authori|read.?only"
_MISSING: Final = r"(?i)no such|not found|(not|n't) exist|cannot find|not a directory"
_CROWDED: Final = r"(?i)too many|maximum|limit|busy|try again"

# For each answer on a connection that only removes what a failed upload has left.
CLEANUP: Final = Timeouts(2.0, 2.0)


def reach(remote: Remote) -> core.Place:
    """Say how to reach a URL, and by which account."""
    if _CONTROL.search(remote.url):
        raise TransferError(str(remote), "there is a control character in it")
    parts, waits = urlsplit(remote.url), remote.timeouts
    account = _account(remote, parts, remote.read_options(FtpOptions))
    # An FTP URL has no query and no fragment: what looks like one is part of the name.
    path = _path(remote.url.partition("://")[2][len(parts.netloc) :])
    if re.search("[\r\n\0]", path + account.user + account.password):
        reason = "a line break or NUL, which FTP cannot say, is in its path or login"
        raise TransferError(str(remote), reason)
    path.encode("utf-8", "surrogateescape")  # a ValueError where no bytes stand for it
    return core.Place(account, path, lambda: _FTPFiles(account, waits))


def _account(remote: Remote, parts: SplitResult, options: FtpOptions) -> Account:
    if not parts.hostname:
        raise TransferError(str(remote), "it names no host")
    tls = remote.scheme == "ftps"
    port = parts.port or (990 if tls and options.implicit else 21)
    login = login_of(remote)
    user, password = login if login and login[0] else ANONYMOUS
    return Account(parts.hostname, port, user, password, tls, options)


def _path(tail: str) -> str:
    """Read a path: from the root, or after ``~/``. Bytes that are no UTF-8 escape."""
    tail = tail.removeprefix("/")
    if tail.startswith(HOME):
        return HOME + decoded(tail[len(HOME) :])
    path = decoded(tail)
    # A "~" of a directory's own that was written as "%7E" is told apart by the "/".
    return "/" + path.lstrip("/")


class _FTPFiles(core.Files, FTPFileSystem):  # type: ignore[misc]  # fsspec has no types
    """fsspec's filesystem: one ``STOR`` a file, verified, on a client to be cut."""

    runs = core.Runs.CALLER
    protocol = ()  # no options from fsspec's own files

    def __init__(self, account: Account, waits: Timeouts) -> None:
        self.ftp = Client(account, waits)
        self.options = account.options
        super().__init__(account.host)

    def _connect(self) -> None:
        """Do nothing where fsspec would connect, which could not be broken off."""

    def log_in(self) -> None:
        self.ftp.open()

    def cut(self) -> None:
        self.ftp.cut()

    def explain(self, remote: Remote, error: Exception) -> None:
        match error:
            case ftplib.error_perm():
                raise refusal(remote, error) from error
            case IsADirectoryError():
                raise RemoteNotFoundError(str(remote), "it is a directory") from error
            case ftplib.error_temp():
                reason = f"the server cannot now: {_text(error)}"
                raise TransferError(str(remote), reason, True) from error
            case ftplib.Error():
                reason = f"the server says something unexpected: {_text(error)}"
                raise TransferError(str(remote), reason, True) from error
        if (told := broken(remote, error)) is not None:
            raise TransferError(str(remote), *told) from error

    def is_quiet(self) -> bool:
        return self.ftp.sock is not None and self.ftp.quiet and not self.ftp.broken

    def is_alive(self, remote: Remote, idle_s: float) -> bool:
        """Whether the server is still there: at once, or by asking after a while."""
        ftp, waits = self.ftp, remote.timeouts
        ftp.waits = waits
        ftp.control().settimeout(waits.connect)
        with remote.broken_by(ftp.cut):
            alive = ftp.answers(ask=idle_s >= NOOP_AFTER_S)
        ftp.control().settimeout(waits.idle)
        return alive and not ftp.broken

    def leave(self) -> None:
        if self.is_quiet():
            self.ftp.leave()
        self.ftp.close()

    def abandon(self) -> None:
        self.ftp.close()

    def look(self, remote: Remote, path: str) -> RemoteInfo:
        del remote
        return look(self.ftp, resolved(self.ftp, path))

    def below(self, remote: Remote, path: str) -> dict[str, RemoteInfo]:
        try:
            found = list_below(self.ftp, resolved(self.ftp, path), core.Tally(remote))
        except ValueError as error:
            raise TransferError(str(remote), str(error)) from error
        return {quote(one, errors="surrogateescape"): found[one] for one in found}

    def stream(self, transfer: Transfer, path: str) -> Generator[Any]:
        """Fetch by ``RETR``, from where an earlier attempt ended if it is the same."""
        path = resolved(self.ftp, path)
        info = look(self.ftp, path)
        start = core.start_of(transfer, info)
        if start and start == info.size:
            yield core.Head(info, start)
        else:
            yield from self._rest(transfer, path, info, start)
        if transfer.sha256 is None:  # which would prove more
            core.check_moved(transfer, info.size)
            if info.etag is not None:
                core.check_same(transfer, info, look(self.ftp, path))
                yield replace(info, settled=True)

    def _rest(
        self, transfer: Transfer, path: str, info: RemoteInfo, start: int
    ) -> Generator[Any]:
        # It is there: who does not give it does not want to.
        with refused_as(transfer, RemoteForbiddenError):
            try:
                yield from self._retrieve(path, info, start)
            except ftplib.error_perm:
                if not start or "REST" not in self.ftp.lacks:
                    raise
                yield from self._retrieve(path, info, 0)

    def _retrieve(self, path: str, info: RemoteInfo, start: int) -> Generator[Any]:
        with self.ftp.data(f"RETR {path}", start) as connection:
            yield core.Head(info, start)
            while block := connection.recv(BLOCK):
                yield [block]

    def send(self, file: Transfer, path: str) -> RemoteInfo:
        """Send by one ``STOR`` to another name, and rename it when it is whole."""
        with refused_as(file, RemoteForbiddenError):
            final = resolved(self.ftp, path)
            directory, _, name = final.rpartition("/")
            if not name:
                raise TransferError(str(file), "it names a directory; expected a file")
            if not self.options.atomic:
                return self._put(file, final)
            aside = f"{directory}/{core.part_name(name)}"
            info = self._put(file, aside)
            try:
                file.check()
                self._rename(file, aside, final)
            except BaseException:
                self._discard(aside)
                raise
            return info

    def _put(self, transfer: Transfer, path: str) -> RemoteInfo:
        """Send under this name; where its directory is missing, make it."""
        try:
            return self._store(transfer, path)
        except ftplib.error_perm as error:
            if str(error)[:3] not in NO_NAME:
                raise
        parts = path.split("/")
        for number in range(2, len(parts)):
            with suppress(ftplib.error_perm):  # it is there; else storing tells
                self.ftp.mkd("/".join(parts[:number]))
        return self._store(transfer, path)

    def _store(self, transfer: Transfer, path: str) -> RemoteInfo:
        """Send, and see that all has arrived; leave nothing where it has not."""
        begun = False
        try:
            with self.ftp.data(f"STOR {path}") as connection, transfer.open() as file:
                begun = True
                while block := file.read(BLOCK):
                    rest = memoryview(block)
                    while rest:
                        rest = rest[connection.send(rest) :]
                        transfer.advance(0)  # it was counted when it was read
            info = RemoteInfo()
            with suppress(ftplib.error_perm):  # one may leave it here, and not see it
                info = look(self.ftp, path)
            core.check_moved(transfer, info.size)
        except BaseException as error:
            if begun:
                self._discard(path)
                if isinstance(error, ftplib.error_perm):  # not one before it began
                    raise refusal(transfer, error, RemoteForbiddenError) from error
            raise
        return replace(info, settled=True)

    def _rename(self, remote: Remote, aside: str, final: str) -> None:
        try:
            self.ftp.rename(aside, final)
        except ftplib.error_perm as error:
            reason = (
                f"all has arrived, but the server does not rename it: {error}. If it "
                "renames nothing, or nothing over an old file, set atomic = false"
            )
            raise RemoteForbiddenError(str(remote), reason) from error

    def _discard(self, path: str) -> None:
        """Remove what a failed upload has left, if the server can still be reached."""
        ftp = self.ftp
        with suppress(Exception):
            ftp.control().settimeout(SETTLE_S)
            if not ftp.quiet:
                with suppress(ftplib.Error):  # however it ended
                    ftp.conclude()
            _delete(ftp, path)
            return
        with suppress(Exception), closing(Client(ftp.account, CLEANUP)) as fresh:
            fresh.open()
            _delete(fresh, path)


def _delete(ftp: Client, path: str) -> None:
    with suppress(ftplib.error_perm):  # there is nothing
        ftp.delete(path)


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


def _text(error: Exception) -> str:
    return " ".join(str(error).split())


JACKFIELD_SHOWN = ("ca_file",)

provider: Final = Provider(SCHEMES.__contains__, reach)
