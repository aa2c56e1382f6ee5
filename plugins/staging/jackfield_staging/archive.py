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
import shutil
import warnings
import zipfile
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from jackfield import Remote, RemoteInfo, Transfer
from jackfield.errors import RemoteNotFoundError, TransferError
from jackfield_staging._core_files import BLOCK, Files, Head, Place, Runs, part_name
from jackfield_staging._core_hooks import Provider
from jackfield_staging.local import translate

SUFFIX: Final = ".zip"


class _Member(NamedTuple):
    archive: Path
    name: str


class _ZipFiles(Files):
    """Files within archives, read and added by the standard library."""

    runs = Runs.CALLER

    def explain(self, remote: Remote, error: Exception) -> None:
        if isinstance(error, zipfile.BadZipFile):
            reason = f"the archive is damaged: {error}"
            raise TransferError(str(remote), reason) from error
        translate(remote, error, missing="there is no such archive")

    def look(self, remote: Remote, path: _Member) -> RemoteInfo:
        with zipfile.ZipFile(path.archive) as archive:
            return _info(remote, archive, path.name)

    def stream(self, transfer: Transfer, path: _Member) -> Generator[Any]:
        """Take a file out of its archive; its checksum is verified on the way."""
        with zipfile.ZipFile(path.archive) as archive:
            info = _info(transfer, archive, path.name)
            with archive.open(path.name) as file:
                yield Head(info)
                while block := file.read(BLOCK):
                    yield [block]

    def send(self, file: Transfer, path: _Member) -> RemoteInfo:
        """Add a file to a copy of the archive, and put that in its place."""
        if not path.name or path.name.endswith("/"):
            raise TransferError(str(file), "it names no file within the archive")
        place = path.archive
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(part_name(place.name))
        directory = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Keeps others, in other processes too, from writing archives there.
            fcntl.flock(directory, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                shutil.copy(place, aside)
            _add(file, aside, path.name)
            file.check()
            aside.replace(place)
        finally:
            aside.unlink(missing_ok=True)
            os.close(directory)
        return self.look(file, path)

    def below(self, remote: Remote, path: _Member) -> dict[str, RemoteInfo]:
        """Find the files below a directory within an archive."""
        with zipfile.ZipFile(path.archive) as archive:
            top = f"{path.name.rstrip('/')}/" if path.name else ""
            names = [one for one in archive.namelist() if one.startswith(top)]
            if not names:
                raise RemoteNotFoundError(str(remote), "it is not in the archive")
            return {
                quote(one.removeprefix(top)): _info(remote, archive, one)
                for one in dict.fromkeys(names)
                if not one.endswith("/")
            }


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


def reach(remote: Remote) -> Place:
    """Say which archive a URL names, and which file within."""
    remote.read_options(_NoOptions)
    parts = urlsplit(remote.url)
    if parts.netloc:
        reason = "it is on another machine; write zip:/path"
        raise TransferError(str(remote), reason)
    names = unquote(parts.path).split("/")
    for number, name in enumerate(names, 1):
        if name.lower().endswith(SUFFIX):
            archive = Path("/".join(names[:number]))
            return Place("zip", _Member(archive, "/".join(names[number:])), _ZipFiles)
    raise TransferError(str(remote), f"no part of its path ends with {SUFFIX}")


@dataclass(frozen=True, slots=True)
class _NoOptions:
    """The table ``[staging.zip]`` has no options."""


def _info(remote: Remote, archive: zipfile.ZipFile, name: str) -> RemoteInfo:
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise RemoteNotFoundError(str(remote), "it is not in the archive") from None
    size = entry.file_size
    return RemoteInfo(size=size, etag=f'"{entry.CRC:08x}-{size}"', settled=True)


provider: Final = Provider("zip".__eq__, reach)
