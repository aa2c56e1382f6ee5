"""Local files: parts that are private, files that are whole."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from jackfield.errors import TransferError
from jackfield.files import redact

if TYPE_CHECKING:
    from jackfield.files import File


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
        handle = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
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


def mismatch(file: File, path: Path) -> str | None:
    """Say in a sentence how a file differs from what its user declares, or ``None``."""
    if file.size is None and file.sha256 is None:
        return None
    size = path.stat().st_size
    if file.size is not None and file.size != size:
        return f"it has {size} bytes, size= declares {file.size}"
    if file.sha256 is not None:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != file.sha256.lower():
            return f"its sha256 is {digest}, expected {file.sha256}"
    return None
