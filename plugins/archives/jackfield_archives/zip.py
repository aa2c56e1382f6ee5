"""Files in archives of this machine: ``zip:/results/run.zip/plots/a.png``. Scheme: zip.

The archive is the first part of the path whose name ends with ``.zip``; what follows
is the file's name within. An output is added to a copy of the archive, which then takes
its place: nobody ever sees half an archive, and one that is open is not changed. So
each output costs a copy of the whole, which is little beside most tasks, and much for
thousands of outputs in one large archive.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple
from urllib.parse import quote, unquote

from jackfield import JackfieldError, Remote, RemoteInfo, Transfer, hookimpl
from jackfield.errors import RemoteForbiddenError, RemoteNotFoundError, TransferError

SCHEME: Final = "zip"
SUFFIX: Final = ".zip"


class _Member(NamedTuple):
    archive: Path
    name: str


@dataclass(frozen=True, slots=True)
class ZipOptions:
    """The table ``[staging.zip]`` has no options."""


@hookimpl
def jackfield_check_options(
    kind: str, name: str, options: Mapping[str, Any]
) -> bool | None:
    """Refuse whatever is in the table."""
    if (kind, name) != ("staging", SCHEME):
        return None
    Remote(url=f"{SCHEME}:/", options=options).read_options(ZipOptions)
    return True


@hookimpl
def jackfield_stage_in(transfer: Transfer) -> RemoteInfo | None:
    """Take a file out of its archive; its checksum is verified on the way."""
    if transfer.scheme != SCHEME:
        return None
    member = _member(transfer)
    with _opened(transfer, member.archive) as archive:
        info = _info(transfer, archive, member.name)
        with archive.open(member.name) as file:
            return transfer.receive(file, info)


@hookimpl
def jackfield_stage_out(transfer: Transfer) -> RemoteInfo | None:
    """Add a file to a copy of the archive, and put that in its place."""
    if transfer.scheme != SCHEME:
        return None
    member = _member(transfer)
    if not member.name or member.name.endswith("/"):
        raise TransferError(str(transfer), "it names no file within the archive")
    with transfer.open() as source, _explained(transfer):
        _replace(transfer, source, member)
    return jackfield_stat_file(transfer)


@hookimpl
def jackfield_stat_file(remote: Remote) -> RemoteInfo | None:
    """Look a file up in its archive's directory."""
    if remote.scheme != SCHEME:
        return None
    member = _member(remote)
    with _opened(remote, member.archive) as archive:
        return _info(remote, archive, member.name)


@hookimpl
def jackfield_list_files(remote: Remote) -> Mapping[str, RemoteInfo] | None:
    """Find the files below a directory within an archive."""
    if remote.scheme != SCHEME:
        return None
    member = _member(remote)
    with _opened(remote, member.archive) as archive:
        top = f"{member.name.rstrip('/')}/" if member.name else ""
        names = [one for one in archive.namelist() if one.startswith(top)]
        if not names:
            raise RemoteNotFoundError(str(remote), "it is not in the archive")
        return {
            remote.url + quote(one.removeprefix(top)): _info(remote, archive, one)
            for one in dict.fromkeys(names)
            if not one.endswith("/")
        }


def _member(remote: Remote) -> _Member:
    """Say which archive a URL names, and which file within."""
    remote.read_options(ZipOptions)
    path = remote.url.partition(":")[2]
    if path.startswith("//"):
        host, slash, rest = path.removeprefix("//").partition("/")
        if host:
            reason = "it is on another machine; write zip:/path"
            raise TransferError(str(remote), reason)
        path = slash + rest
    try:
        # What looks like a query or a fragment is part of a name, as it is of a path.
        names = unquote(path, errors="strict").split("/")
    except UnicodeDecodeError as error:
        raise TransferError(str(remote), "its name is no UTF-8") from error
    if any("\0" in name for name in names):
        raise TransferError(str(remote), "there is a NUL in its path")
    for number, name in enumerate(names, 1):
        if name.lower().endswith(SUFFIX):
            archive = Path("/".join(names[:number]))
            return _Member(archive, "/".join(names[number:]))
    raise TransferError(str(remote), f"no part of its path ends with {SUFFIX}")


@contextmanager
def _opened(remote: Remote, path: Path) -> Iterator[zipfile.ZipFile]:
    with _explained(remote), zipfile.ZipFile(path) as archive:
        yield archive


@contextmanager
def _explained(remote: Remote) -> Iterator[None]:
    """Raise what an error means that the archive, or where it is, has caused."""
    try:
        yield
    except JackfieldError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        reason = f"the archive is damaged: {error}"
        raise TransferError(str(remote), reason) from error
    except RuntimeError as error:  # it has a password, or an unknown compression
        reason = f"it cannot be read from the archive: {error}"
        raise TransferError(str(remote), reason) from error
    except OSError as error:
        if isinstance(remote, Transfer) and str(error.filename) == str(remote.path):
            raise  # it is of the file on this side
        reason = error.strerror or str(error)
        match error:
            case FileNotFoundError() | NotADirectoryError():
                reason = "there is no such archive"
                raise RemoteNotFoundError(str(remote), reason) from error
            case PermissionError():
                raise RemoteForbiddenError(str(remote), reason) from error
            case IsADirectoryError():
                reason = "its archive is a directory"
                raise TransferError(str(remote), reason) from error
        raise


def _replace(transfer: Transfer, source: BinaryIO, member: _Member) -> None:
    """Make a copy of the archive that has one more file, and put it in its place."""
    place = member.archive
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name[:40]}.{secrets.token_hex(6)}.part")
    directory = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # One at a time adds to archives in this directory, in other processes too.
        # If two copied the archive at once and each added its file, the copy that is
        # put in place last would lack the other's file.
        fcntl.flock(directory, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            shutil.copy(place, aside)
        _add(source, aside, member.name)
        transfer.check()
        aside.replace(place)
    finally:
        aside.unlink(missing_ok=True)
        os.close(directory)


def _add(source: BinaryIO, path: Path, name: str) -> None:
    """Write the file into an archive that nobody else knows."""
    # Of two files of one name readers take the later one.
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore", UserWarning)
        entry = zipfile.ZipInfo(name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        with archive.open(entry, "w", force_zip64=True) as target:
            shutil.copyfileobj(source, target, 1 << 20)
    with path.open("rb") as written:
        os.fsync(written.fileno())


def _info(remote: Remote, archive: zipfile.ZipFile, name: str) -> RemoteInfo:
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise RemoteNotFoundError(str(remote), "it is not in the archive") from None
    size = entry.file_size
    return RemoteInfo(size=size, etag=f'"{entry.CRC:08x}-{size}"', settled=True)
