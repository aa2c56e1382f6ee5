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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from jackfield import Remote, RemoteInfo, Transfer, hookimpl
from jackfield.errors import (
    JackfieldError,
    RemoteForbiddenError,
    RemoteNotFoundError,
    TransferError,
)

SUFFIX = ".zip"


class _Member(NamedTuple):
    archive: Path
    name: str


@hookimpl
def jackfield_stage_in(transfer: Transfer) -> RemoteInfo | None:
    """Take one file out of its archive; its checksum is verified on the way."""
    member = _member(transfer)
    if member is None:
        return None
    with _opened(transfer, member.archive) as archive:
        info = _info(transfer, archive, member.name)
        with archive.open(member.name) as source:
            return transfer.receive(source, info)


@hookimpl
def jackfield_stat_file(remote: Remote) -> RemoteInfo | None:
    """Look a file up in its archive."""
    member = _member(remote)
    if member is None:
        return None
    with _opened(remote, member.archive) as archive:
        return _info(remote, archive, member.name)


@hookimpl
def jackfield_list_files(remote: Remote) -> dict[str, RemoteInfo] | None:
    """List the files below a directory within an archive."""
    member = _member(remote)
    if member is None:
        return None
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


@hookimpl
def jackfield_stage_out(transfer: Transfer) -> RemoteInfo | None:
    """Add the file to a copy of the archive, and put that in its place."""
    member = _member(transfer)
    if member is None:
        return None
    path = member.archive
    if not member.name or member.name.endswith("/"):
        raise TransferError(str(transfer), "it names no file within the archive")
    with _translated(transfer):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.parent):
            aside = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")
            try:
                with suppress(FileNotFoundError):
                    shutil.copy(path, aside)
                _add(transfer, aside, member.name)
                transfer.check()
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
    with _opened(transfer, path) as archive:
        return _info(transfer, archive, member.name)


def _add(transfer: Transfer, path: Path, name: str) -> None:
    """Write the file into an archive that nobody else knows."""
    # Of two files of one name readers take the later one.
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore", UserWarning)
        entry = zipfile.ZipInfo(name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        with (
            transfer.open() as source,
            archive.open(entry, "w", force_zip64=True) as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
    with path.open("rb") as written:
        os.fsync(written.fileno())


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep others, in other processes too, from writing archives there meanwhile."""
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _member(remote: Remote) -> _Member | None:
    """Understand a URL; return ``None`` if it is of another scheme.

    Raises:
        TransferError: There is a host in it, or no archive.
    """
    if remote.scheme != "zip":
        return None
    remote.read_options(_NoOptions)
    parts = urlsplit(remote.url)
    if parts.netloc:
        reason = f"it is on another machine, {parts.netloc!r}; write zip:/path"
        raise TransferError(str(remote), reason)
    names = unquote(parts.path).split("/")
    for number, name in enumerate(names, 1):
        if name.lower().endswith(SUFFIX):
            archive = Path("/".join(names[:number]))
            return _Member(archive, "/".join(names[number:]))
    raise TransferError(str(remote), f"no part of its path ends with {SUFFIX}")


@dataclass(frozen=True, slots=True)
class _NoOptions:
    """The table ``[staging.zip]`` has no options."""


@contextmanager
def _opened(remote: Remote, path: Path) -> Iterator[zipfile.ZipFile]:
    with _translated(remote), zipfile.ZipFile(path) as archive:
        yield archive


def _info(remote: Remote, archive: zipfile.ZipFile, name: str) -> RemoteInfo:
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise RemoteNotFoundError(str(remote), "it is not in the archive") from None
    size = entry.file_size
    return RemoteInfo(size=size, etag=f'"{entry.CRC:08x}-{size}"', settled=True)


@contextmanager
def _translated(remote: Remote) -> Iterator[None]:
    """Take what the system says of the archive as said by the other side."""
    try:
        yield
    except JackfieldError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RemoteNotFoundError(str(remote), "there is no such archive") from error
    except PermissionError as error:
        raise RemoteForbiddenError(str(remote), error.strerror or "") from error
    except zipfile.BadZipFile as error:
        raise TransferError(str(remote), f"the archive is damaged: {error}") from error
