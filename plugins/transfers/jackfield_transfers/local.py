"""Local files: parts that are private, files that are whole."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jackfield.errors import TransferError
from jackfield.files import redact

if TYPE_CHECKING:
    from jackfield.files import File

_KINDS: Final = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}


def part_name(directory: Path) -> Path:
    """Return a name in ``directory`` that nobody else knows, for an unfinished file."""
    return directory / f".{secrets.token_hex(8)}.part"


def discard(path: Path) -> None:
    """Remove what is at a path, if anything is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return a file's size; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def publish(part: Path, target: Path, *, sync: bool) -> None:
    """Give a verified file its final name, in one step.

    ``part`` has the name that nobody knows. ``sync`` says to wait first until the
    content is on the disk. Then, after a loss of power, the file is whole or absent:
    absent because the directory is not synced, so that the new name may be lost.
    """
    if sync:
        handle = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    part.replace(target)


def regular_size(url: str, path: Path) -> int:
    """Return the size of what a plugin wrote, which must be a file and not a link.

    Raises:
        TransferError: There is no regular file.
    """
    try:
        status = os.lstat(path)
    except OSError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise TransferError(redact(url), "the staging plugin wrote no file")
    return status.st_size


def expect(url: str, path: Path | str, kind: int = stat.S_IFREG) -> os.stat_result:
    """Look at what is to be sent or compared, following links.

    Raises:
        TransferError: It is not what its URL says, a file or (``S_IFDIR``) a directory.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  (a str or a Path)
    except OSError as error:
        reason = f"{str(path)!r} cannot be read: {error.strerror}"
        raise TransferError(redact(url), reason) from error
    found = stat.S_IFMT(status.st_mode)
    if found != kind:
        is_, wanted = _KINDS.get(found, "a device"), _KINDS[kind]
        reason = f"{str(path)!r} is {is_}; expected {wanted}"
        if stat.S_IFDIR in (kind, found):
            reason += " (the URL of a directory, and no other, ends with /)"
        raise TransferError(redact(url), reason)
    return status


def files_below(url: str, top: str) -> list[str]:
    """List the paths of all files below a local directory, following links.

    Raises:
        TransferError: Something is no file and no directory, or a link leads nowhere,
            or to a directory that it is in: there would be no end.
    """
    found: list[str] = []
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [(top, ())]
    while pending:
        here, above = pending.pop()
        status = expect(url, here, stat.S_IFDIR)
        identity = status.st_dev, status.st_ino
        if identity in above:
            reason = f"{here!r} is a link to a directory that it is in"
            raise TransferError(redact(url), reason)
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append((entry.path, (*above, identity)))
                else:
                    expect(url, entry.path)
                    found.append(entry.path)
    return sorted(found)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def mismatch(file: File, path: Path) -> str | None:
    """Say in a sentence how a file differs from what its user declares, or ``None``."""
    if file.size is None and file.sha256 is None:
        return None
    size = path.stat().st_size
    if file.size is not None and file.size != size:
        return f"it has {size} bytes, size= declares {file.size}"
    if file.sha256 is not None:
        digest = digest_of(path)
        if digest != file.sha256.lower():
            return f"its sha256 is {digest}, expected {file.sha256}"
    return None
