"""What a file's identity is: its content, or its size and time of change.

A content's digest is kept as long as device, inode, size, and the times of change
stay the same. A file that was changed in the last two seconds is not trusted that
far: it could change again within one tick of the file system's clock.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, Literal

from jackfield_memo.atoms import UnknownValueError, sized
from jackfield_serialize.origins import file_of, origin_by_name

if TYPE_CHECKING:
    from jackfield.files import File

FilesBy = Literal["content", "stat"]

_BUFFER: Final = 1 << 18
_SETTLED_NS: Final = 2_000_000_000
"""Age after which another change would show in the file's times: FAT counts in two
seconds, NFS may lag behind by one."""
_KEPT: Final = 10_000
"""Digests to remember; each takes some 300 bytes."""
_ATTEMPTS: Final = 3

_Stamp = tuple[int, int, int]

_digests: dict[tuple[int, int], tuple[_Stamp, bytes]] = {}
_keeping: Final = threading.Lock()


def file_identity(file: File, by: FilesBy) -> bytes:
    """Return the identity of a ``File``: its name as given, and what is in it.

    The name counts because functions read it; where a local copy happens to be does
    not. A remote file with a declared SHA-256 has the same identity with and without
    a local copy.

    Raises:
        UnknownValueError: It cannot be read, or is remote, without a copy here and
            without a declared SHA-256.
    """
    name = _name(file)
    if file.remote and file.local_path is None:
        if file.sha256 is None:
            raise UnknownValueError(
                "the file is remote and not staged, so its content is not known. "
                "Give it its sha256=, or name the argument in ignore_for_cache."
            )
        return name + _content_identity(bytes.fromhex(file.sha256))
    return name + path_identity(file.filepath, by)


def written_identity(file: File) -> bytes:
    """Return the identity of a ``File`` that is yet to be written.

    It is its name, and what is declared of it: a result that was made for another
    declaration was never compared with this one.
    """
    digest, size = file.sha256, file.size
    declared = b"" if digest is None else sized(b"c", digest.lower().encode())
    return _name(file) + declared + (b"" if size is None else b"s%d;" % size)


def _name(file: File) -> bytes:
    return sized(b"u", file.url.encode("utf-8", "surrogatepass"))


def compiled_version(name: str) -> str | bytes:
    """Return what code without source counts by, besides its name.

    A package's version; for a compiled module of the project, its file's content.
    """
    whose = origin_by_name(name)
    file = file_of(sys.modules[name]) if name in sys.modules else None
    if whose.kind != "project" or file is None or file.endswith(".py"):
        return whose.version
    return path_identity(file, "content")


def path_identity(path: str, by: FilesBy) -> bytes:
    """Return the identity of what a path names: a file, or a directory's whole tree.

    A path that names nothing has an identity as well: a task may be about to make it.

    Raises:
        UnknownValueError: It cannot be read, is neither file nor directory, or
            keeps changing.
    """
    try:
        return _identity(path, by, ())
    except OSError as error:
        raise UnknownValueError(f"the file cannot be read: {error}.") from error


def unread_bytes(file: File, by: FilesBy) -> int:
    """Tell how many bytes ``file_identity`` would have to read, about.

    Of a directory nobody knows, so that it counts as endless.
    """
    if file.remote and file.local_path is None:
        return 0
    try:
        found = os.stat(file.filepath)  # noqa: PTH116  (a str is at hand)
    except OSError:
        return 0
    if stat.S_ISDIR(found.st_mode):
        return sys.maxsize
    return 0 if by == "stat" or _known(found) is not None else found.st_size


def _content_identity(sha256: bytes) -> bytes:
    return b"c" + sha256


def _identity(path: str, by: FilesBy, above: tuple[tuple[int, int], ...]) -> bytes:
    try:
        found = os.stat(path)  # noqa: PTH116  (a str is at hand)
    except (FileNotFoundError, NotADirectoryError):
        return b"-"
    if stat.S_ISDIR(found.st_mode):
        return _tree_identity(path, by, above, _place(found))
    if not stat.S_ISREG(found.st_mode):
        raise UnknownValueError("it is neither a file nor a directory.")
    if by == "stat":
        return b"t%d,%d;" % (found.st_size, found.st_mtime_ns)
    return _content_identity(_content(path, found))


def _tree_identity(
    path: str,
    by: FilesBy,
    above: tuple[tuple[int, int], ...],
    this: tuple[int, int],
) -> bytes:
    if this in above:  # a symbolic link upwards
        return b"^%d;" % above[::-1].index(this)
    parts = []
    for name in sorted(os.listdir(path)):  # noqa: PTH208  (names, not paths)
        encoded = os.fsencode(name)
        inside = _identity(os.path.join(path, name), by, (*above, this))  # noqa: PTH118  (path is a str)
        parts.append(sized(b"n", encoded) + inside)
    return sized(b"d", b"".join(parts))


def _content(path: str, found: os.stat_result) -> bytes:
    known = _known(found)
    if known is not None:
        return known
    for _ in range(_ATTEMPTS):
        digest = _read(path)
        if digest is not None:
            return digest
    raise UnknownValueError("the file was being written while it was read.")


def _known(found: os.stat_result) -> bytes | None:
    known = _digests.get(_place(found))
    return known[1] if known is not None and known[0] == _stamp(found) else None


def _read(path: str) -> bytes | None:
    """Hash a file; ``None`` if it changed meanwhile."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BUFFER))
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (a str is at hand)
        before = os.fstat(file.fileno())
        began = time.time_ns()
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
        after = os.fstat(file.fileno())
    if _stamp(before) != _stamp(after):
        return None
    if began - max(after.st_mtime_ns, after.st_ctime_ns) > _SETTLED_NS:
        _keep(after, digest.digest())
    return digest.digest()


def _place(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _keep(found: os.stat_result, digest: bytes) -> None:
    with _keeping:
        while len(_digests) >= _KEPT:
            del _digests[next(iter(_digests))]
        _digests[_place(found)] = _stamp(found), digest
