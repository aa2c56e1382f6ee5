"""Where a run is, and who may change what lies there."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from jackfield.errors import ConfigurationError


def here() -> Path:
    """Return the current directory.

    Raises:
        ConfigurationError: There is none any more.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigurationError(
            f"The current directory is gone or closed to you ({error.strerror}): "
            f"change to another one and start again."
        ) from error


def doubt(path: Path, status: os.stat_result | None = None) -> str | None:
    """Say why somebody but the user and root may change a file or directory.

    The user's own group, with which many systems let all files be written, does not
    count as somebody.
    """
    status = status or path.stat()
    if status.st_uid not in (os.geteuid(), 0):
        return f"{path} belongs to user {status.st_uid}"
    mode = stat.S_IMODE(status.st_mode)
    own = _is_own(status.st_gid, path)
    if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not own):
        return f"others may write {path} (mode {mode:04o})"
    return None


def _is_own(gid: int, path: Path) -> bool:
    """Tell whether a group is the user's alone; root has none, and needs none.

    Where a list lets others in, the group's bits stand for these too.
    """
    import grp
    import pwd

    with suppress(OSError, AttributeError):  # a system without such lists
        if "system.posix_acl_access" in os.listxattr(path):
            return False
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    alone = user.pw_name == group.gr_name and {*group.gr_mem} <= {user.pw_name}
    return alone and user.pw_gid == gid != 0
