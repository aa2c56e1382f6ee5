"""The options that are about disks, of all executors with workers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jackfield_executors.shares import parse_size

OPTIONS: Final[Mapping[str, Any]] = {
    "carry": "64 MB",
    "ship": None,
    "shared_filesystem": None,
}
"""The options, and their defaults."""


def wrong_option(name: str, value: Any) -> str:
    """Say what one of ``OPTIONS`` takes, if the value is something else."""
    if name == "carry":
        try:
            return "" if parse_size(value) else "a number of bytes, or '64 MB'"
        except ValueError as error:
            return str(error)
    if name == "ship":
        texts = isinstance(value, list | tuple)
        fits = value is None or (texts and all(isinstance(one, str) for one in value))
        return "" if fits else "a list of files and directories"
    return "" if value is None or isinstance(value, bool) else "true or false"
