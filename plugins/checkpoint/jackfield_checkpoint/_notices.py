"""Telling of damage: once each, and not without end."""

from __future__ import annotations

import logging
import threading
import warnings
from typing import TYPE_CHECKING, Final

from jackfield.errors import CheckpointWarning

if TYPE_CHECKING:
    from pathlib import Path

log: Final[logging.Logger] = logging.getLogger("jackfield.checkpoint")

MOST: Final = 10
"""Damaged records that one open store tells one by one."""


class Notices:
    """What a store has to tell of its records. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path: Path = path
        self._lock: threading.Lock = threading.Lock()
        self._told: set[str] = set()

    def damaged(self, what: str) -> None:
        """Warn that something is lost: a record, or bytes at an offset."""
        with self._lock:
            if what in self._told or len(self._told) > MOST:
                return
            self._told.add(what)
            last = len(self._told) > MOST
        text = "more of it is damaged, which is not told one by one" if last else what
        warnings.warn(
            f"Checkpoint store {str(self._path)!r}: {text}; what is lost is computed "
            f"again.",
            CheckpointWarning,
            stacklevel=3,
        )
