"""Whether a path is on a file system that other machines may use too.

Whoever opens a SQLite database asks. Its write-ahead log needs memory that all its
processes share, which they cannot on a network file system. Only Linux tells the types
of file systems; elsewhere all count as local.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")

_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs"}
    | {"lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3"}
    | {"smbfs", "virtiofs", "wekafs"}
)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
"""How the kernel writes blanks and the like in names."""


def shared_kind(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of a path's file system if machines may share it, else ``None``.

    A file system in user space (``fuse.*``) counts as shared: what is behind it is
    unknown.

    Args:
        path: An existing file or directory.
        mounts: What to read in place of ``/proc/self/mountinfo``.
    """
    kind = _kind(path.resolve(), _read() if mounts is None else mounts)
    if kind in _NETWORK or kind == "fuse" or kind.startswith("fuse."):
        return kind
    return None


def _read() -> str:
    try:
        return MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def _kind(path: Path, mounts: str) -> str:
    """Return the type of the mount that a path is on; ``""`` if that is not known.

    Of the mounts above the path, it is on the nearest. Of several mounts at the same
    place, it is on the last: that one hides the others.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        place, dash, rest = line.partition(" - ")
        fields = place.split()
        if not dash or len(fields) < 5:
            continue
        point = Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), fields[4]))
        if len(point.parts) >= best and (point == path or point in path.parents):
            best, kind = len(point.parts), rest.split()[0]
    return kind
