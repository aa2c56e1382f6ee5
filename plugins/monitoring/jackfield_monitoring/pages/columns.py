"""Packs the tasks of a run into columns that compress well and that a page reads fast.

The bytes are: the length of a head (four bytes, little-endian), the head as JSON, and
the columns one after the other. A column of n numbers of 32 bits is four planes of n
bytes, the lowest bytes first. Where room matters, columns hold by how much they differ
from the row before, or from another column. So most bytes are zero, and gzip makes
about five bytes of a task with its attempt and its dependencies.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jackfield_monitoring.store.bulk import Bulk

NONE: Final = 0xFFFF_FFFF
"""Stands for what is not known, in a column."""

FINENESS: Final = 1_000
"""Units of time that the median attempt of a report takes; more cost room."""

MOST_UNITS: Final = 2**31
"""Units of time that a run may take."""

_NEAR: Final = {
    **dict.fromkeys(("id", "submitted", "task", "began", "child"), ""),
    "parent": "child",
}
"""Columns that differ little from another one, or ("") from their rows before."""


def unit_for(took: int) -> int:
    """Choose the unit of times for a run that goes on, which is to change rarely.

    Args:
        took: Microseconds that the run has taken so far.

    Returns:
        Microseconds: a power of ten.
    """
    unit = 1
    while took // unit >= MOST_UNITS:
        unit *= 10
    return unit


def coarse_unit(took: int, attempts: Iterable[int]) -> int:
    """Choose the unit of times for a report: no finer than can be seen.

    Args:
        took: Microseconds that the run has taken.
        attempts: What attempts took, in microseconds.
    """
    sizes = sorted(attempts)
    enough = sizes[len(sizes) // 2] // FINENESS if sizes else 0
    return max(1, took // MOST_UNITS + 1, enough)


def pack(
    bulk: Bulk, ids: Ids, *, first: int, origin: int, unit: int,
    settled: int | None = None, small: bool = True,
) -> bytes:  # fmt: skip
    """Pack what was read of a run.

    Args:
        bulk: What was read.
        ids: Tells the places of apps, executors and workers in the overview.
        first: The number of the first task that may be in it.
        origin: When the run began.
        unit: Microseconds in which times are counted.
        settled: All tasks before this one have ended, so they need not be asked for
            again; ``None`` if all tasks have.
        small: Whether to take time so that it compresses well.
    """
    tables = _tables(bulk, ids, origin, unit)
    head = {
        "from": first,
        "unit": unit,
        "settled": settled,
        "tables": [
            {
                "name": name,
                "rows": len(next(iter(columns.values()))),
                "columns": [
                    [one, _NEAR.get(one) if small else None] for one in columns
                ],
            }
            for name, columns in tables.items()
        ],
    }
    text = json.dumps(head).encode()
    bodies = (
        _planes(_packed(columns, name) if small else values)
        for columns in tables.values()
        for name, values in columns.items()
    )
    return b"".join(chain([len(text).to_bytes(4, "little"), text], bodies))


def _tables(
    bulk: Bulk, ids: Ids, origin: int, unit: int
) -> dict[str, dict[str, Sequence[int]]]:
    """Return what was read as the columns that a page gets."""
    tasks, attempts = bulk.tasks, bulk.attempts
    began = _times(attempts["began"], origin, unit)
    ended = _times(attempts["ended"], origin, unit)
    return {
        "tasks": {
            **tasks,
            "app": ids.places(ids.apps, tasks["app"]),
            "submitted": _times(tasks["submitted"], origin, unit),
        },
        "attempts": {
            "task": attempts["task"],
            "executor": ids.places(ids.executors, attempts["executor"]),
            "worker": ids.places(ids.workers, attempts["worker"]),
            "began": began,
            "took": [max(0, b - a) for a, b in zip(began, ended, strict=True)],
            "state": attempts["state"],
            "error": attempts["error"],
        },
        "edges": {**bulk.edges},
    }


class Ids:
    """Where apps, executors and workers of a store stand in the overview's lists."""

    def __init__(
        self, apps: Iterable[int], executors: Iterable[int], workers: Iterable[int]
    ) -> None:
        self.apps: dict[int, int] = _places(apps)
        self.executors: dict[int, int] = _places(executors)
        self.workers: dict[int, int] = _places(workers)

    def places(self, known: dict[int, int], numbers: Iterable[int]) -> list[int]:
        """Turn numbers of the store into places; unknown ones become ``NONE``."""
        place = known.get
        return [place(number, NONE) for number in numbers]


def _places(numbers: Iterable[int]) -> dict[int, int]:
    return {number: place for place, number in enumerate(numbers)}


def _times(times: Iterable[int], origin: int, unit: int) -> list[int]:
    """Count times in units from the run's begin; what is unknown becomes ``NONE``."""
    most = NONE - 1
    return [
        NONE if time == -1 else min(max(0, (time - origin) // unit), most)
        for time in times
    ]


def _packed(columns: dict[str, Sequence[int]], name: str) -> Sequence[int]:
    """Return a column as numbers that are small where it is near another one.

    Differences are signed and modulo 2**32; they become unsigned numbers that are small
    if those are.
    """
    near, values = _NEAR.get(name), columns[name]
    if near is None:
        return values
    signed = (
        ((value - last + 2**31) & NONE) - 2**31
        for value, last in zip(
            values, columns[near] if near else chain([0], values), strict=False
        )
    )
    return [(value << 1 if value >= 0 else ~(value << 1)) & NONE for value in signed]


def _planes(values: Sequence[int]) -> bytes:
    """Write numbers of 32 bits as four planes of bytes."""
    column = array("I", values)
    if sys.byteorder == "big":
        column.byteswap()
    raw = column.tobytes()
    return b"".join(raw[plane::4] for plane in range(4))
