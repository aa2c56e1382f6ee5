"""The tables that are exported, with names in place of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from jackfield_monitoring.export.said import (
    ATTEMPT_SAID,
    OF_ATTEMPT,
    OF_TASK,
    TASK_SAID,
    before,
)
from jackfield_monitoring.store.schema import MEMO, STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jackfield_monitoring.store.reader import Store

Kind: TypeAlias = Literal["number", "text", "state", "memo", "key", "moment", "span"]
"""What a column holds.

A moment is stored in microseconds on the run's clock, and exported as a time of day; a
span is stored in microseconds.
"""


class Column(NamedTuple):
    """A column; ``sql`` is what it is selected as."""

    name: str
    kind: Kind
    sql: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is read in pages.

    Attributes:
        name: What it is called.
        source: What stands behind ``FROM``.
        key: The columns of its order, by which the next page is found.
        columns: Its columns.
    """

    name: str
    source: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def rows(self, store: Store) -> Iterator[list[tuple[Any, ...]]]:
        """Give the rows in pages, with the values as they are stored."""
        order, marks = ", ".join(self.key), ", ".join("?" * len(self.key))
        columns = ", ".join(column.sql for column in self.columns)
        sql = (
            f"{before(store)}SELECT {order}, {columns} FROM {self.source} "  # noqa: S608  (constants)
            f"WHERE ({order}) > ({marks}) ORDER BY {order} LIMIT ?"
        )
        width = len(self.key)
        for page in store.pages(sql, width):
            yield [row[width:] for row in page]


def _column(name: str, kind: Kind = "number", sql: str = "") -> Column:
    return Column(name, kind, sql or name)


_TASKS: Final = Table(
    "tasks",
    "task LEFT JOIN app ON app.id = app LEFT JOIN executor ON executor.id = executor "
    + OF_TASK,
    ("task.id",),
    (
        _column("task", sql="task.id"),
        _column("app", "text", "app.name"),
        _column("kind", "text", "app.kind"),
        _column("label", "text", "task.label"),
        _column("call", "text"),
        _column("state", "state", "task.state"),
        _column("attempts", sql="task.attempts"),
        _column("submitted", "moment"),
        _column("ended", "moment", "task.ended"),
        _column("parent"),
        _column("executor", "text", "executor.label"),
        _column("memo", "memo"),
        _column("key", "key"),
        _column("refusal", "text"),
        _column("stdout", "text"),
        _column("stderr", "text"),
        _column("error", sql="task.error"),
        _column("origin"),
        _column("exception", "text", "error.kind"),
        _column("message", "text", TASK_SAID),
    ),
)

_ATTEMPTS: Final = Table(
    "attempts",
    "attempt LEFT JOIN app ON app.id = attempt.app "
    "LEFT JOIN executor ON executor.id = attempt.executor "
    "LEFT JOIN worker ON worker.id = attempt.worker " + OF_ATTEMPT,
    ("attempt.id",),
    (
        _column("task", sql="attempt.task"),
        _column("attempt", sql="attempt.n"),
        _column("app", "text", "app.name"),
        _column("executor", "text", "executor.label"),
        _column("worker", "text", "worker.name"),
        _column("host", "text"),
        _column("pid"),
        _column("launched", "moment"),
        _column("began", "moment", "attempt.began"),
        _column("ended", "moment", "attempt.ended"),
        _column("reported", "moment"),
        _column("state", "state", "attempt.state"),
        _column("error", sql="attempt.error"),
        _column("retry_in", "span"),
        _column("cpu", "span"),
        _column("memory"),
        _column("exception", "text", "error.kind"),
        _column("message", "text", ATTEMPT_SAID),
    ),
)

_WORKERS: Final = Table(
    "workers",
    "worker LEFT JOIN executor ON executor.id = executor",
    ("worker.id",),
    (
        _column("worker", "text", "name"),
        _column("executor", "text", "label"),
        _column("host", "text"),
        _column("pid"),
        _column("began", "moment"),
        _column("ended", "moment"),
        _column("reason", "text"),
    ),
)

_TRANSFERS: Final = Table(
    "transfers",
    "transfer",
    ("id",),
    (
        _column("transfer", sql="id"),
        _column("task"),
        _column("url", "text"),
        _column("way", "text"),
        _column("state", "text"),
        _column("attempts"),
        _column("moved"),
        _column("size"),
        _column("began", "moment"),
        _column("ended", "moment"),
        _column("verified", "text"),
        _column("error", "text"),
    ),
)

TABLES: Final = (
    _TASKS,
    _ATTEMPTS,
    Table("edges", "edge", ("child", "parent"), (_column("child"), _column("parent"))),
    Table(
        "errors",
        "error",
        ("id",),
        (
            _column("error", sql="id"),
            _column("kind", "text"),
            _column("message", "text"),
            _column("shape", "text"),
            _column("traceback", "text"),
            _column("tasks", sql="n"),
            _column("attempts"),
            _column("first", "moment"),
            _column("newest", "moment"),
        ),
    ),
    _WORKERS,
    _TRANSFERS,
    Table(
        "samples",
        "sample LEFT JOIN executor ON executor.id = executor",
        ("t", "executor"),
        (
            _column("t", "moment"),
            _column("executor", "text", "label"),
            _column("workers", sql="sample.workers"),
            _column("unfinished"),
        ),
    ),
    Table(
        "gaps",
        "gap",
        ("rowid",),
        (_column("t", "moment"), _column("lost"), _column("reason", "text")),
    ),
)


def converters(table: Table) -> list[Callable[[Any], Any] | None]:
    """Return what makes a stored value readable, column by column; most are already."""
    return [_CONVERTERS.get(column.kind) for column in table.columns]


_CONVERTERS: Final[dict[Kind, Callable[[Any], Any]]] = {
    "state": lambda index: STATES[index].value,
    "memo": lambda index: MEMO[index],
    "key": lambda key: key.hex(),
}
