"""Filesystems of fsspec that nobody has corrected, read and written with care.

Each kind is ``Blocking``, whose calls may hang, or ``Async``, whose coroutines can be
cancelled. Of the first, ``Renaming`` ones, SFTP and WebDAV, are written to in their own
way: a file is sent under another name, and renamed when it is whole.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import unquote

from fsspec.callbacks import Callback

from jackfield import ConfigurationError, Remote, RemoteInfo, Transfer, clock
from jackfield import errors as kernel
from jackfield.errors import one_line
from jackfield_staging import _core_files as core
from jackfield_staging._http_rules import failure

if TYPE_CHECKING:
    from jackfield_staging._core_calls import Outgoing

READ_SIZE: Final = 1 << 18

# Ranges grow while they take less than so many seconds, so that few are asked for on a
# fast line, and a slow one still shows progress.
QUICK_S: Final = 0.5
LEAST_RANGE: Final = 1 << 20
MOST_RANGE: Final = 1 << 24

# What filesystems call a file's validator, and the date of its last change.
VALIDATORS: Final = (
    *("ETag", "etag", "generation", "md5Hash", "md5", "content_md5", "crc32c"),
    *("checksum", "sha256", "blob_id", "oid"),
)
DATES: Final = (
    *("LastModified", "last_modified", "modified", "mtime", "updated", "timeModified"),
    *("modify", "created"),
)

# Libraries whose errors, where they are nothing worse, are the connection's.
NETWORKS: Final = {"aiohttp", "httpcore", "httpx", "paramiko", "requests", "urllib3"}
UNTRUSTED: Final = {"BadHostKeyException", "SSLCertVerificationError"}
UNKNOWN_HOST: Final = "not found in known_hosts"
LOGIN: Final = {
    *("AuthenticationException", "BadAuthenticationType", "PasswordRequiredException")
}
NO_LOGIN: Final = "No authentication methods available"


class Wrapped(core.Files):
    """A filesystem of fsspec, ``fs``, that this one asks."""

    def __init__(self, scheme: str, kind: Any, arguments: Mapping[str, Any]) -> None:
        self.fs: Any = None
        self._made_of = scheme, kind, arguments

    def log_in(self) -> None:
        """Make the filesystem, which may mean to connect."""
        scheme, kind, arguments = self._made_of
        try:
            self.fs = kind(**arguments, skip_instance_cache=True)
        except TypeError as error:
            raise ConfigurationError(
                f"staging.{scheme}: {kind.__name__} cannot be made with these options: "
                f"{error}"
            ) from error

    def explain(self, remote: Remote, error: Exception) -> None:
        raise _meant(remote, error) from error

    def listed_as(self, path: str) -> str:
        """Return a path as the filesystem's own listings have it."""
        return path

    def _below(self, path: str, found: Mapping[str, Any]) -> dict[str, RemoteInfo]:
        top = f"{self.listed_as(path).strip('/')}/".lstrip("/")
        names = {name.lstrip("/"): info for name, info in found.items()}
        mine = [name for name in names if name.startswith(top)]
        return {
            core.escape(name.removeprefix(top)): _told(names[name]) for name in mine
        }


class Blocking(Wrapped):
    """One whose calls may hang: so they run on threads that can be left there."""

    runs = core.Runs.APART

    def leave(self) -> None:
        """Close what can be closed, which ends what hangs on it."""
        client: Any = getattr(self.fs, "client", None)
        holders: tuple[Any, ...] = (self.fs, getattr(client, "http", None), client)
        for holder in holders:
            if hasattr(holder, "close"):
                holder.close()
                return

    def look(self, remote: Remote, path: str) -> RemoteInfo:
        self.fs.invalidate_cache()  # what it remembers of directories
        return _file(remote, self.fs.info(path))

    def below(self, remote: Remote, path: str) -> dict[str, RemoteInfo]:
        self.fs.invalidate_cache()
        found = self.fs.find(path, detail=True)
        if not found:
            _check_directory(remote, self.fs.info(path))
        return self._below(path, found)

    def stream(self, transfer: Transfer, path: str) -> Generator[Any]:
        info = self.look(transfer, path)
        start = core.start_of(transfer, info)
        yield core.Head(info, start)
        for block in self.read(path, info, start):
            yield [block]

    def read(self, path: str, info: RemoteInfo, start: int) -> Generator[bytes]:
        """Give a file's bytes from an offset on."""
        del info
        with self.fs.open(path, "rb") as file:
            yield from pieces(file, start)

    def send(self, file: Transfer, path: str) -> RemoteInfo:
        self.write(file, path)
        return RemoteInfo()

    def write(self, transfer: Transfer, path: str) -> None:
        """Send a file in fsspec's way."""
        self.fs.put_file(str(transfer.path), path, callback=_Progress(transfer))


class Memory(Blocking):
    """Files in this process's memory: all who open one there share its position."""

    def read(self, path: str, info: RemoteInfo, start: int) -> Generator[bytes]:
        for offset in range(start, info.size or 0, LEAST_RANGE):
            yield self.fs.cat_file(path, start=offset, end=offset + LEAST_RANGE)

    def write(self, transfer: Transfer, path: str) -> None:
        """Put a file there at once: one that is opened is seen from the start."""
        with transfer.open() as file:
            self.fs.pipe_file(path, file.read())


class Renaming(Blocking):
    def write(self, transfer: Transfer, path: str) -> None:
        """Write under a name that nobody looks for; rename when it is all there."""
        place = PurePosixPath(path)
        part = str(place.with_name(core.part_name(place.name)))
        size = transfer.path.stat().st_size
        try:
            with transfer.open() as file:
                self.pour(file, part, size)
            core.check_moved(transfer, self.fs.info(part)["size"])
            transfer.check()
            self.rename(part, path)
        except BaseException:
            with suppress(Exception):
                self.fs.rm_file(part)
            raise

    @abstractmethod
    def pour(self, file: BinaryIO, part: str, size: int) -> None:
        """Write a file's bytes under a name."""

    @abstractmethod
    def rename(self, part: str, path: str) -> None:
        """Give a file another name, and so replace what has it, in one step."""


_CUTS: Final = frozenset(";?")
"""Characters at which WsgiDAV ends the name that a file is to be moved to."""


class WebDAVFiles(Renaming):
    """webdav4's filesystem, whose client sends paths as it is given them."""

    def listed_as(self, path: str) -> str:
        return unquote(path)

    def read(self, path: str, info: RemoteInfo, start: int) -> Generator[bytes]:
        """Read, where the filesystem's own file looks again by a name in quotes."""
        from webdav4.stream import IterStream

        del info
        client = self.fs.client
        with IterStream(client, client.join_url(path), READ_SIZE) as file:
            yield from pieces(file, start)

    def pour(self, file: BinaryIO, part: str, size: int) -> None:
        self.fs.upload_fileobj(file, part, size=size)

    def rename(self, part: str, path: str) -> None:
        self.fs.client.move(part, path, overwrite=True)  # ``mv`` copies and deletes
        if not _CUTS.isdisjoint(unquote(path)) and not self.fs.client.exists(path):
            raise ValueError("the server has cut its name off before a ; or a ?")


class Async(Wrapped):
    """One whose coroutines run on fsspec's loop; a finalizer of its own closes it."""

    runs = core.Runs.LOOP

    def __init__(self, scheme: str, kind: Any, arguments: Mapping[str, Any]) -> None:
        super().__init__(scheme, kind, arguments)
        self.log_in()

    async def leave(self) -> None: ...

    async def look(self, remote: Remote, path: str) -> RemoteInfo:
        self.fs.invalidate_cache()
        return _file(remote, await self.fs._info(path))

    async def below(self, remote: Remote, path: str) -> dict[str, RemoteInfo]:
        self.fs.invalidate_cache()
        found = await self.fs._find(path, detail=True)
        if not found:
            _check_directory(remote, await self.fs._info(path))
        return self._below(path, found)

    async def stream(self, transfer: Transfer, path: str) -> AsyncGenerator[Any]:
        """Ask for one range after another."""
        info = await self.look(transfer, path)
        start, width = core.start_of(transfer, info), LEAST_RANGE
        yield core.Head(info, start)
        if info.size is None:
            yield [await self.fs._cat_file(path, start=start or None)]
        while start < (info.size or 0):
            began = clock.monotonic()
            data = await self.fs._cat_file(path, start=start, end=start + width)
            if not data:
                return
            quick = clock.monotonic() - began < QUICK_S
            width = min(2 * width, MOST_RANGE) if quick else LEAST_RANGE
            start += len(data)
            yield [data]

    async def send(self, file: Outgoing, path: str) -> RemoteInfo:
        """Send a file in fsspec's way."""
        transfer = file.transfer
        transfer.moved = 0  # fsspec reads it anew
        progress = _Progress(transfer)
        await self.fs._put_file(str(transfer.path), path, callback=progress)
        return RemoteInfo()


def pieces(file: Any, start: int) -> Generator[bytes]:
    """Give a file's bytes from an offset on."""
    if start:
        file.seek(start)
    while block := file.read(READ_SIZE):
        yield bytes(block)


class _Progress(Callback):  # type: ignore[misc]  # fsspec has no types
    """Tells a transfer what fsspec tells of a file on its way."""

    def __init__(self, transfer: Transfer) -> None:
        super().__init__()
        self._transfer = transfer

    def relative_update(self, inc: int = 1) -> None:
        self._transfer.check()
        self._transfer.advance(inc)

    def absolute_update(self, value: int) -> None:
        self.relative_update(value - self._transfer.moved)


def _file(remote: Remote, info: Mapping[str, Any]) -> RemoteInfo:
    if info.get("type") == "directory":
        raise kernel.TransferError(str(remote), "it is a directory")
    return _told(info)


def _check_directory(remote: Remote, info: Mapping[str, Any]) -> None:
    if info.get("type") != "directory":
        raise kernel.RemoteNotFoundError(str(remote), "there is no such directory")


def _told(info: Mapping[str, Any]) -> RemoteInfo:
    """Read what a filesystem tells of a file, in its own words.

    A date is written one way, however it is told; some tell it in two ways.
    """
    size = info.get("size")
    etag = next((info[name] for name in VALIDATORS if info.get(name)), None)
    date = next((info[name] for name in DATES if info.get(name)), None)
    if isinstance(date, int | float):
        date = datetime.fromtimestamp(date, UTC)
    if isinstance(date, datetime):
        date = date.isoformat()
    return RemoteInfo(
        size if isinstance(size, int) else None,
        None if etag is None else str(etag),
        None if date is None else str(date),
    )


def _meant(remote: Remote, error: Exception) -> kernel.TransferError:
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
        return kernel.TransferError(
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
    return kernel.TransferError(place, reason, any(map(_passing, behind)))


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
