"""Whether a path is on a file system that other machines may use too.

SQLite's write-ahead log needs memory that all processes share, which no network file
system gives. What the operating system does not tell (elsewhere than on Linux) is
taken as local.
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


def shared_kind(path: Path, mounts: str | None = None) -> str | None:
    """Return the file system's type if it may be shared between machines.

    A user-space file system (``fuse.*``) counts as one: what is behind it is unknown.

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
    """Return the type of the last mount that is nearest above the path."""
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
