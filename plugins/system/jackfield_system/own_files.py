"""Where files lie that a user keeps for all runs, and how to open one safely."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path


def user_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of what a user keeps for all runs; it need not exist.

    Raises:
        RuntimeError: The user has no home.
    """
    base = environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "jackfield"


def open_no_link(path: str, flags: int) -> int:
    """Open a file, for ``open(..., opener=)``, but through no symbolic link.

    Somebody else might have put it there, to have us write into a file of ours. Nor
    can others write to a file that is made, whatever the umask.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.strerror = "It is a symbolic link, which is not followed"
        raise
