"""Makes the directory of a run."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from jackfield.errors import ConfigurationError
from jackfield.places import doubt, here


def make_run_dir(parent: Path, *, shared: bool = False) -> Path:
    """Make the next directory in ``parent``: ``000``, ``001``, ...

    Several processes may do so at the same time: each gets another number. Others can
    reach nothing in it, unless ``shared``: then the umask says what they can.

    Raises:
        ConfigurationError: It cannot be made, or others could replace it.
    """
    try:
        parent = (parent if parent.is_absolute() else here() / parent).resolve()
        parent.mkdir(mode=0o777 if shared else 0o755, parents=True, exist_ok=True)
        if not shared:
            _check_parent(parent)
        number = max(
            (int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=-1
        )
        while True:
            number += 1
            path = parent / f"{number:03}"
            try:
                path.mkdir(mode=0o777 if shared else 0o700)
            except FileExistsError:  # another process has just taken the number
                continue
            return path
    except OSError as error:
        raise ConfigurationError(
            f"The run directory cannot be made in {str(parent)!r} (run_dir): "
            f"{error.strerror}. Name a place that you may write to, in run_dir or "
            f"JACKFIELD_RUN_DIR."
        ) from error


def _check_parent(parent: Path) -> None:
    """Refuse a directory in which others could put another run in this one's place.

    Where the sticky bit is set, as in ``/tmp``, only its owner could.
    """
    status, why = parent.stat(), doubt(parent)
    sticky = status.st_mode & stat.S_ISVTX and status.st_uid in (os.geteuid(), 0)
    if why and not sticky:
        raise ConfigurationError(
            f"No run directory is made in {str(parent)!r} (run_dir), because {why}. "
            f"Name one of your own in run_dir or JACKFIELD_RUN_DIR, or close it to "
            f"them (chmod go-w). Where others are meant to: shared_run_dir = true."
        )


def unmake_run_dir(run_dir: Path) -> None:
    """Remove the directory of a run that could not start, if nothing is in it."""
    with contextlib.suppress(OSError):
        run_dir.rmdir()
