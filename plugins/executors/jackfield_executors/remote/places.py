"""Whether an agent sees the driver's disk, and where the script is there.

The driver writes a *token file* into its run directory, with a secret in it. Whoever
finds that file under the same path, with that secret, shares the file system. Another
machine may have a directory of the same name, but not that.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from jackfield_executors.processes.spawn import log_levels
from jackfield_executors.surroundings import present_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

Home: TypeAlias = "tuple[str | None, list[str], str, str, Mapping[str, int]]"
"""Where the driver is: its directory and ``sys.path``, the token file and what is in
it, and the levels of its loggers. Of the file, ``""`` and ``"yes"`` or ``"no"`` if the
configuration says whether the file system is shared."""

_SEES: Final = "\nsees the driver's disk"


def home_of(run_dir: Path, *, shared: bool | None) -> Home:
    """Return where this process is; writes a token file into ``run_dir`` if needed."""
    rest, levels = (present_directory(), sys.path[:]), log_levels()
    if shared is not None:
        return (*rest, "", "yes" if shared else "no", levels)
    secret = secrets.token_hex(16)
    token = run_dir / f".seen-by-workers-{secrets.token_hex(4)}"
    number = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(number, "w") as file:
        file.write(secret)
    return (*rest, str(token), secret, levels)


def forget(home: Home) -> None:
    """Remove the token file."""
    if home[2]:
        with contextlib.suppress(OSError):
            Path(home[2]).unlink()


def is_seen(home: Home) -> bool:
    """Tell whether this process sees the driver's disk."""
    return finds(home[2], home[3])


def finds(token: str, secret: str) -> bool:
    """Tell whether this process sees the driver's disk, by the token file there."""
    if not token:
        return secret == "yes"  # noqa: S105  (it is none)
    try:
        return Path(token).read_text() == secret
    except (OSError, ValueError):
        return False


def told(fingerprint: str, *, sees: bool) -> str:
    """Return what an agent answers to the first question."""
    return fingerprint + _SEES if sees else fingerprint


def understood(answer: str) -> tuple[str, bool]:
    """Return the fingerprint in an agent's answer, and whether it sees the disk."""
    return answer.removesuffix(_SEES), answer.endswith(_SEES)
