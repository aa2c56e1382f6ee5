"""Reads whole tables of a history into columns, for pages that show every task.

A million tasks are some arrays of numbers: no object is made for each of them. What is
asked for begins at a task, so that who has the older ones, which do not change any
more, gets the rest alone.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jackfield import TaskState
from jackfield_monitoring.store.schema import FIRST_FINAL, INDEX_OF_STATE

if TYPE_CHECKING:
    from jackfield_monitoring.store.reader import Store

NONE: Final = -1
"""Stands for what is not known."""

RUNNING: Final = INDEX_OF_STATE[TaskState.SUBMITTED]
"""The state of an attempt that has not ended."""

CHUNK: Final = 20_000

_TASKS: Final = """
SELECT
    id, ifnull(app, -1), state, ifnull(submitted, -1), ifnull(error, 0)
FROM task WHERE id >= ? ORDER BY id
"""
_ATTEMPTS: Final = """
SELECT
    task, ifnull(executor, -1), ifnull(worker, -1), coalesce(began, launched),
    coalesce(ended, reported), state, ifnull(error, 0)
FROM attempt WHERE task >= ? AND NOT (state = 9 AND began IS NULL)
ORDER BY task, n
"""
"""One that was cancelled (9), and of which no worker has told, may never have run."""

_EDGES: Final = "SELECT child, parent FROM edge WHERE child >= ? ORDER BY child, parent"

_FIRST_OPEN: Final = "SELECT min(id) FROM task WHERE state < ?"


@dataclass(frozen=True, slots=True)
class Bulk:
    """Columns of one length each, in the order of the tasks' numbers.

    Times are microseconds on the run's clock. Numbers of apps, executors, workers and
    errors are those of the store.

    Attributes:
        tasks: ``id``, ``app``, ``state``, ``submitted``, ``error``.
        attempts: ``task``, ``executor``, ``worker``, ``began``, ``ended``, ``state``,
            ``error``. Those that run have the state ``RUNNING``, and have ended when
            somebody has looked at them last.
        edges: ``child``, ``parent``.
    """

    tasks: dict[str, array[int]]
    attempts: dict[str, array[int]]
    edges: dict[str, array[int]]


def read_bulk(store: Store, first: int = 0, most_edges: int | None = None) -> Bulk:
    """Read all tasks from a number on, with their attempts and dependencies.

    Args:
        store: The history.
        first: The number of the first task.
        most_edges: Read no dependencies if there are more than this.

    Raises:
        StoreError: The history cannot be read.
    """
    with store.snapshot():
        tasks = _columns(store, _TASKS, first, "id app state submitted error")
        attempts = _columns(
            store, _ATTEMPTS, first, "task executor worker began ended state error"
        )
        _add_running(store, attempts, first)
        wanted = most_edges is None or _count_of_edges(store, first) <= most_edges
        edges = _columns(
            store, _EDGES if wanted else f"{_EDGES} LIMIT 0", first, "child parent"
        )
    return Bulk(tasks, attempts, edges)


def _add_running(store: Store, attempts: dict[str, array[int]], first: int) -> None:
    """Put the attempts that run behind the others of their tasks."""
    for row in store.running():
        if row.task < first:
            continue
        place = bisect_right(attempts["task"], row.task)
        worker = NONE if row.worker is None else row.worker
        began = row.seen if row.began is None else row.began
        values = (row.task, row.executor, worker, began, row.seen, RUNNING, 0)
        for column, value in zip(attempts.values(), values, strict=True):
            column.insert(place, value)


def first_open(store: Store) -> int | None:
    """Return the first task that has not ended; ``None`` if all have."""
    with store.snapshot() as connection:
        (number,) = connection.execute(_FIRST_OPEN, (FIRST_FINAL,)).fetchone()
    return None if number is None else int(number)


def count_of_edges(store: Store) -> int:
    """Return how many dependencies between tasks are stored."""
    return _count_of_edges(store, 0)


def _count_of_edges(store: Store, first: int) -> int:
    with store.snapshot() as connection:
        sql = "SELECT count(*) FROM edge WHERE child >= ?"
        return int(connection.execute(sql, (first,)).fetchone()[0])


def _columns(store: Store, sql: str, first: int, names: str) -> dict[str, array[int]]:
    columns = {name: array("q") for name in names.split()}
    with store.snapshot() as connection:
        cursor = connection.execute(sql, (first,))
        while rows := cursor.fetchmany(CHUNK):
            for column, values in zip(
                columns.values(), zip(*rows, strict=True), strict=True
            ):
                column.extend(values)
    return columns


@dataclass(frozen=True, slots=True)
class TransferTotals:
    """All transfers of a run together.

    Attributes:
        n: How many there were.
        moved: Bytes that they moved.
        failed: How many of them failed.
        shown: Numbers of the ones to look at: those that failed, then the longest.
    """

    n: int
    moved: int
    failed: int
    shown: tuple[int, ...]


def transfer_totals(store: Store, most_shown: int = 50) -> TransferTotals:
    """Sum up the transfers of a run."""
    totals = """
    SELECT count(*), ifnull(sum(moved), 0), ifnull(sum(state = 'failed'), 0)
    FROM transfer
    """
    shown = """
    SELECT id FROM transfer
    ORDER BY state = 'failed' DESC, ifnull(ended - began, 0) DESC, id LIMIT ?
    """
    with store.snapshot() as connection:
        n, moved, failed = connection.execute(totals).fetchone()
        ids = tuple(row[0] for row in connection.execute(shown, (most_shown,)))
    return TransferTotals(n, moved, failed, ids)
