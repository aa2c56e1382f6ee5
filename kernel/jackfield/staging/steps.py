"""How a transfer tells where it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from jackfield.staging.transfer import Transfer

Stage: TypeAlias = Literal[
    "started", "progress", "retrying", "done", "failed", "cancelled"
]


class Step(NamedTuple):
    """One thing to tell; see ``jackfield.TransferEvent`` for the fields."""

    stage: Stage
    attempt: int
    moved: int = 0
    size: int | None = None
    rate: float = 0.0
    verified: str | None = None
    error: BaseException | None = None
    delay: float = 0.0


Told: TypeAlias = Callable[[Step], object]
"""Is told of each step: on the transfer's thread, of progress on the monitor's."""


def nobody(step: Step) -> None:
    """Take no notice, where nobody listens."""
    del step


def progress(transfer: Transfer, attempt: int, began: float) -> Step:
    """Say how far an attempt is that began at that moment (monotonic)."""
    seconds = max(time.monotonic() - began, 1e-6)
    rate = (transfer.moved - transfer.offset) / seconds
    size = transfer.known.size
    return Step("progress", attempt, transfer.moved, size, rate)
