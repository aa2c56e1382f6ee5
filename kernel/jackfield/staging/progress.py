"""How a transfer tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from jackfield import clock

if TYPE_CHECKING:
    from jackfield.staging.transfer import Transfer

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


def progress_of(transfer: Transfer, attempt: int, began: float) -> Progress:
    """Return how far an attempt is that began at a time of ``clock.monotonic()``."""
    seconds = max(clock.monotonic() - began, 1e-6)
    rate = (transfer.moved - transfer.offset) / seconds
    size = transfer.known.size
    return Progress("progress", attempt, transfer.moved, size, rate)
