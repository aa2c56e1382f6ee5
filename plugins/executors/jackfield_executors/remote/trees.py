"""Files and directories as values: read here, written there.

What is written may come from a worker, which is trusted less than the driver. So names
are checked before anything is made, there is no entry for a link or a device, and no
link is followed that lies in the way.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import Final, TypeAlias

Entry: TypeAlias = tuple[str, int | None, bytes]
"""The path below the top (``""`` is the top itself), the permissions of a file or
``None`` for a directory, and a file's content."""

Tree: TypeAlias = list[Entry]
"""A file, or a directory and what is in it, directories before what they hold."""

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""Whatever others have made there is an error, and a link is not followed either."""


class TooLargeError(Exception):
    """There is more than there was room for; its argument is how many bytes."""


class HostileNameError(Exception):
    """A tree has something in it that must not be written."""


def size_of(tree: Tree) -> int:
    """Return how many bytes the files of a tree have together."""
    return sum(len(data) for _, _, data in tree)


def read_tree(top: str, room: int) -> Tree:
    """Read a file, or a directory with all files below it, following links.

    Raises:
        TooLargeError: It has more than ``room`` bytes. Not all of it was read.
        OSError: Something cannot be read, is no file and no directory, or is a link to
            a directory that it is in.
    """
    tree: Tree = []
    left = room
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    while pending:
        below, above = pending.pop()
        path = os.path.join(top, below) if below else top  # noqa: PTH118  (strs are at hand)
        status = os.stat(path)  # noqa: PTH116  (a str is at hand)
        if stat.S_ISDIR(status.st_mode):
            identity = status.st_dev, status.st_ino
            if identity in above:
                raise OSError(0, "It is a link to a directory that it is in", path)
            tree.append((below, None, b""))
            names = sorted(os.listdir(path), reverse=True)  # noqa: PTH208  (as above)
            inner = (*above, identity)
            pending += [(f"{below}/{one}" if below else one, inner) for one in names]
        elif stat.S_ISREG(status.st_mode):
            if status.st_size > left:
                raise TooLargeError(room - left + status.st_size)
            with open(path, "rb") as file:  # noqa: PTH123  (strs are at hand)
                data = file.read(left + 1)
            left -= len(data)
            if left < 0:  # it has grown since
                raise TooLargeError(room - left)
            tree.append((below, stat.S_IMODE(status.st_mode) & 0o777, data))
        else:
            raise OSError(0, "It is no file and no directory", path)
    return tree


def check_tree(tree: Tree) -> None:
    """See that a tree is what ``read_tree`` returns, and leads nowhere outside.

    Raises:
        HostileNameError: It is not. Nothing of it should be written.
    """
    kinds: dict[str, bool] = {}
    for entry in tree:
        if not isinstance(entry, tuple) or len(entry) != 3:
            raise HostileNameError(f"{entry!r:.100} is no entry")
        below, mode, data = entry
        if not isinstance(below, str) or not isinstance(data, bytes):
            raise HostileNameError(f"{below!r:.100} is no name with a content")
        if mode is not None and type(mode) is not int:
            raise HostileNameError(f"{below!r:.100} has no permissions")
        parts = below.split("/") if below else []
        if "\0" in below or {"", ".", ".."} & set(parts):
            raise HostileNameError(f"the name {below!r:.100} leads out of its place")
        above = "/".join(parts[:-1])
        if (parts and kinds.get(above) is not True) or below in kinds:
            raise HostileNameError(f"{below!r:.100} has no directory, or comes twice")
        kinds[below] = mode is None
    if "" not in kinds:
        raise HostileNameError("it has no top")


def write_tree(tree: Tree, top: Path) -> None:
    """Write a tree that was checked to a place where nothing is yet, or directories."""
    for below, mode, data in tree:
        path = top / below if below else top
        if mode is None:
            path.mkdir(mode=0o777, exist_ok=True)
        else:
            _write_new(path, mode, data, sync=False)


def publish_tree(tree: Tree, target: Path) -> None:
    """Give a place a tree that was checked: whole, or not at all.

    A file replaces what was there, be it a link, in one step. A directory appears in
    one step if there was none; else its files are replaced one by one. After a loss of
    power, too, a file is whole, or what it was.

    Raises:
        OSError: It cannot be written.
        HostileNameError: A link is in the way, and would lead elsewhere.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if tree[0][1] is not None:
        _replace(target, tree[0][1], tree[0][2])
    elif os.path.lexists(target):
        _merge(tree, target)
    else:
        part = _part(target.parent)
        try:
            for below, mode, data in tree:
                path = part / below if below else part
                if mode is None:
                    path.mkdir(mode=0o777)
                else:
                    _write_new(path, mode, data, sync=True)
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    _sync_directory(target.parent)


def _merge(tree: Tree, target: Path) -> None:
    for below, mode, data in tree:
        path = target / below if below else target
        if below and path.is_symlink() and (mode is None or path.is_dir()):
            raise HostileNameError(f"{str(path)!r} is a link, which is not followed")
        if mode is None:
            path.mkdir(mode=0o777, exist_ok=True)
        else:
            _replace(path, mode, data)


def _replace(target: Path, mode: int, data: bytes) -> None:
    part = _part(target.parent)
    try:
        _write_new(part, mode, data, sync=True)
        part.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _part(directory: Path) -> Path:
    """Return a name that nobody else knows, for what is not finished."""
    return directory / f".{secrets.token_hex(8)}.part"


def _write_new(path: Path, mode: int, data: bytes, *, sync: bool) -> None:
    number = os.open(path, _NEW_FILE, 0o600 | (mode & 0o777))
    with os.fdopen(number, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:  # a full disk takes a part, and refuses only the next
            rest = rest[file.write(rest) :]
        if sync:
            os.fsync(number)


def _sync_directory(directory: Path) -> None:
    with contextlib.suppress(OSError):  # not all file systems can
        number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)
