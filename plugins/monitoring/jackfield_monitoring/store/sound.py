"""Leaves out of batches what no database can hold.

Records are made of what executors say, also those of other people: a time that is no
number, or more bytes of memory than there are. A transaction with one such value fails
as a whole. So the batch is looked through then, and only then.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from math import isfinite
from operator import is_not
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from jackfield.events import AttemptRecord, Batch

MOST_S: Final = 9e12
"""Seconds whose microseconds are a number of 63 bits."""

MOST: Final = 2**63

T = TypeVar("T")


def sound(batch: Batch) -> tuple[Batch, int]:
    """Leave out of a batch what cannot be stored; tell of how many records that was.

    An attempt is kept where only the place of it is nonsense.
    """
    placed = list(map(_placed, batch.attempts))
    made = batch._replace(
        tasks=_kept(batch.tasks),
        attempts=_kept(placed),
        workers=_kept(batch.workers),
        transfers=_kept(batch.transfers),
        loads=_kept(batch.loads),
    )
    changed = sum(map(is_not, batch.attempts, placed))
    return made, changed + _size(batch) - _size(made)


def _size(batch: Batch) -> int:
    parts = batch.tasks, batch.attempts, batch.workers, batch.transfers, batch.loads
    return sum(map(len, parts))


def _kept(records: Sequence[T]) -> list[T]:
    return [one for one in records if _is_sound(one)]


def _placed(attempt: AttemptRecord) -> AttemptRecord:
    return attempt if _is_sound(attempt.place) else attempt._replace(place=None)


def _is_sound(value: object) -> bool:
    """Tell whether SQLite takes a value, or all that are in a record."""
    if value is None or isinstance(value, str | bytes | Enum):
        return True
    if isinstance(value, float):
        return isfinite(value) and abs(value) < MOST_S
    if isinstance(value, int):
        return -MOST <= value < MOST
    return isinstance(value, Sequence) and all(map(_is_sound, value))
