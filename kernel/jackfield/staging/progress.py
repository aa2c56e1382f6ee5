"""How a transfer tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

Stage: TypeAlias = Literal[
    "started", "progress", "retrying", "done", "failed", "cancelled"
]


class Progress(NamedTuple):
    """How far a transfer is; see ``jackfield.TransferEvent`` for the fields.

    Attributes:
        delay: With the stage ``"retrying"``: seconds until the next attempt.
    """

    stage: Stage
    attempt: int
    moved: int = 0
    size: int | None = None
    rate: float = 0.0
    verified: str | None = None
    error: BaseException | None = None
    delay: float = 0.0


OnProgress: TypeAlias = Callable[[Progress], object]
"""Called on the thread that moves the file; for ``"progress"``, on the monitor's."""


def ignore_progress(progress: Progress) -> None:
    """Do nothing; an ``OnProgress`` for callers that need none."""
    del progress
