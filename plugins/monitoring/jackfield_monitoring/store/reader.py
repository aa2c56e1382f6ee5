"""Answers questions about a run's history: one that goes on, has ended, was killed.

Each answer is read in a short transaction of its own, so that the run's writer never
waits long, and its write-ahead log can be used anew. Nothing here can write.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)
from urllib.parse import quote

from jackfield import TaskState
from jackfield_monitoring.plain import open_plain
from jackfield_monitoring.store.records import (
    App,
    AppEdge,
    AttemptRow,
    Cell,
    Executor,
    FailureGroup,
    Gap,
    RerunRow,
    RunFacts,
    RunningRow,
    Sample,
    TaskPage,
    TaskRow,
    TransferRow,
    Worker,
)
from jackfield_monitoring.store.schema import (
    APPLICATION_ID,
    BUCKETS_PER_DOUBLING,
    FILE_NAME,
    FIRST_FINAL,
    INDEX_OF_STATE,
    MEMO,
    STATES,
    VERSION,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

BUSY_S: Final = 5.0
"""Seconds to wait where the writer has no write-ahead log, and keeps readers out."""

LINKS_MOST: Final = 200
"""Tasks of each sort (parents, children, inner ones) that a task's page names."""

CHUNK: Final = 50_000
"""Rows that are read at a time where all are wanted."""

_TASKS: Final = """
SELECT
    task.id, app.name, app.kind, task.state, attempts, parent, task.label, call,
    submitted, ended, executor.label, memo, key, refusal, stdout, stderr, error, origin
FROM task LEFT JOIN app ON app.id = app LEFT JOIN executor ON executor.id = executor
"""

_ATTEMPTS: Final = """
SELECT
    task, n, executor.label, worker.name, host, pid, launched, attempt.began,
    attempt.ended, reported, state, error, retry_in, cpu, memory
FROM attempt
LEFT JOIN executor ON executor.id = attempt.executor
LEFT JOIN worker ON worker.id = worker
"""

_RERUNS: Final = """
SELECT
    rerun.task, ifnull(app.name, ''), rerun.n, ifnull(executor.label, ''), reason, t,
    attempt.n IS NOT NULL
FROM rerun
LEFT JOIN attempt ON attempt.task = rerun.task AND attempt.n = rerun.n
LEFT JOIN task ON task.id = rerun.task
LEFT JOIN app ON app.id = task.app
LEFT JOIN executor ON executor.id = rerun.executor
"""

_TRANSFERS: Final = """
SELECT
    id, task, url, way, state, attempts, moved, size, began, ended, verified, error
FROM transfer
"""

_RUNNING: Final = """
SELECT
    running.task, running.n, app.name, running.executor, running.worker,
    worker.name, running.began, seen
FROM running
LEFT JOIN task ON task.id = running.task
LEFT JOIN app ON app.id = task.app
LEFT JOIN worker ON worker.id = running.worker
WHERE ifnull(task.state, 0) < ? AND NOT EXISTS (
    SELECT 1 FROM attempt WHERE attempt.task = running.task AND attempt.n = running.n
)
ORDER BY ifnull(running.began, seen), running.task
"""


MOST: Final = 2**40
"""Tasks, or attempts, than which no history has more."""

_NONSENSE: Final = (
    ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip
"""What Python raises where values are not as they should be."""

R = TypeVar("R")


class StoreError(Exception):
    """A history cannot be read; the text says why, and what now."""


class Store:
    """An open history. Any thread may ask, one at a time; others wait for it.

    Args:
        path: The file, or the run's directory.

    Attributes:
        path: The file.
        tells_each: Whether it knows what each failed task said, and not only the first
            of those that look alike.

    Raises:
        StoreError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path / FILE_NAME if path.is_dir() else path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection = _open(self.path)
        sql = "SELECT 1 FROM sqlite_master WHERE name = 'said'"
        try:
            self.tells_each: bool = bool(self._all(sql))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def data_version(self) -> int:
        """Return a number that changes when the run has written something."""
        return int(self._one("PRAGMA data_version")[0])

    # -- The run

    def run(self) -> RunFacts:
        """Return what the run is."""
        row = self._one(
            "SELECT uuid, dir, wall, monotonic, host, user, pid, python, jackfield, "
            "argv, cwd, beat, ended, state FROM run"
        )
        try:
            argv = tuple(map(str, json.loads(row[9])))
        except (TypeError, ValueError):
            argv = ()
        return self._made(RunFacts, [*row[:9], argv, *row[10:]])

    def apps(self) -> list[App]:
        """Return all apps."""
        return [
            self._made(App, row) for row in self._all("SELECT id, name, kind FROM app")
        ]

    def executors(self) -> list[Executor]:
        """Return all executors that have had a task or a load."""
        sql = "SELECT id, label, workers FROM executor"
        return [self._made(Executor, row) for row in self._all(sql)]

    def workers(self) -> list[Worker]:
        """Return all workers."""
        sql = """
        SELECT id, executor, name, host, pid, began, ended, coalesce(reason, '')
        FROM worker
        """
        return [self._made(Worker, row) for row in self._all(sql)]

    def gaps(self) -> list[Gap]:
        """Return what the history lacks."""
        sql = "SELECT t, lost, reason FROM gap ORDER BY t"
        return [self._made(Gap, row) for row in self._all(sql)]

    def samples(self, since: int = -1) -> list[Sample]:
        """Return what executors had to do, at moments later than ``since``.

        ``since`` is a time as the store has it, in microseconds.
        """
        sql = "SELECT t, executor, workers, unfinished FROM sample WHERE t > ?"
        return [self._made(Sample, row) for row in self._all(sql, since)]

    # -- Numbers of tasks

    def counts(self, *, own: bool = True) -> dict[TaskState, int]:
        """Return how many tasks are in each state, without states that none is in.

        Args:
            own: Count the kernel's own as well.
        """
        sql = """
        SELECT state, sum(n) FROM tally LEFT JOIN app ON app.id = app
        WHERE ? OR ifnull(kind, '') NOT IN ('transfer', 'internal')
        GROUP BY state HAVING sum(n) > 0
        """
        return {self._state(state): count for state, count in self._all(sql, own)}

    def matrix(self) -> list[Cell]:
        """Return the tasks of each app in each state, and how long attempts took."""
        with self.snapshot():
            tallies = self._all("SELECT app, state, n, busy FROM tally")
            spreads: dict[tuple[int, int], list[tuple[int, int]]] = {}
            sql = "SELECT app, state, bucket, n FROM spread ORDER BY app, state, bucket"
            for app, state, bucket, count in self._all(sql):
                spreads.setdefault((app, state), []).append((bucket, count))
        cells = []
        for app, state, n, busy in tallies:
            if n or busy:
                spread = self._spread(spreads.get((app, state), []), busy)
                cells.append(self._made(Cell, [app, self._state(state), n, *spread]))
        return cells

    def app_edges(self) -> list[AppEdge]:
        """Return which apps depend on which."""
        return [
            self._made(AppEdge, row)
            for row in self._all("SELECT parent, child, n FROM app_edge")
        ]

    # -- Failures

    def failures(self, limit: int = 100) -> list[FailureGroup]:
        """Return groups of failures: those of most tasks first."""
        sql = """
        SELECT id, kind, message, shape, traceback, n, attempts, first, newest, task
        FROM error ORDER BY n DESC, attempts DESC, id LIMIT ?
        """
        with self.snapshot():
            return [self._failure(row) for row in self._all(sql, limit)]

    def first_failures(self, limit: int) -> list[str]:
        """Return a line for each group of failures, the earliest first.

        Tasks that failed because others had are none of these.
        """
        sql = """
        SELECT task, name, error.kind, message
        FROM error JOIN task ON task.id = task LEFT JOIN app ON app.id = app
        WHERE state = ? ORDER BY first, error.id LIMIT ?
        """
        failed = INDEX_OF_STATE[TaskState.FAILED]
        return [
            f"Task {task} ({app}) failed: {kind}: {message}"
            for task, app, kind, message in self._all(sql, failed, limit)
        ]

    def failure(self, group: int) -> FailureGroup | None:
        """Return one group of failures."""
        sql = """
        SELECT id, kind, message, shape, traceback, n, attempts, first, newest, task
        FROM error WHERE id = ?
        """
        with self.snapshot():
            rows = self._all(sql, group)
            return self._failure(rows[0]) if rows else None

    def _failure(self, row: Sequence[Any]) -> FailureGroup:
        *facts, task = row
        example = self._tasks_of([task]) if task is not None else ()
        sql = """
        SELECT app, count(*) FROM task WHERE error = ? GROUP BY app ORDER BY 2 DESC
        """
        apps = tuple((app, count) for app, count in self._all(sql, row[0]))
        told = [*facts, example[0] if example else None, apps]
        return self._made(FailureGroup, told)

    # -- Tasks

    def tasks(
        self,
        *,
        app: int | None = None,
        state: TaskState | None = None,
        error: int | None = None,
        parent: int | None = None,
        after: int = -1,
        limit: int = 100,
    ) -> list[TaskRow]:
        """Return a page of tasks in the order of their numbers.

        Args:
            app: Only of this app.
            state: Only in this state.
            error: Only of this group of failures.
            parent: Only those that this join app's task has submitted.
            after: Only with a greater number; the last one's of the page before.
            limit: So many at the most.
        """
        wanted = {
            "app": app,
            "state": None if state is None else INDEX_OF_STATE[state],
            "error": error,
            "parent": parent,
        }
        chosen = {name: value for name, value in wanted.items() if value is not None}
        tests = "".join(f" AND task.{name} = :{name}" for name in chosen)
        sql = f"{_TASKS} WHERE task.id > :after{tests} ORDER BY task.id LIMIT :limit"
        rows = self._named(sql, chosen | {"after": after, "limit": limit})
        return [self._task(row) for row in rows]

    def task(self, number: int) -> TaskPage | None:
        """Return all about one task; ``None`` if it is not known."""
        edges = "SELECT {} FROM edge WHERE {} = ? ORDER BY 1 LIMIT ?"
        with self.snapshot():
            found = self._tasks_of([number])
            if not found:
                return None
            attempts = self._attempts_of(number)
            sql = "SELECT id FROM task WHERE parent = ? ORDER BY 1 LIMIT ?"
            inner = self._all(sql, number, LINKS_MOST)
            parents = self._all(edges.format("parent", "child"), number, LINKS_MOST)
            children = self._all(edges.format("child", "parent"), number, LINKS_MOST)
            related = [number, *(one for (one,) in parents + inner)]
            groups = [found[0].error, *(attempt.error for attempt in attempts)]
            found_groups = map(self.failure, filter(None, dict.fromkeys(groups)))
            failures = tuple(one for one in found_groups if one is not None)
            return TaskPage(
                found[0],
                attempts,
                tuple(self._reruns("rerun.task = ?", number)),
                self._tasks_of(one for (one,) in parents),
                self._tasks_of(one for (one,) in children),
                self._tasks_of(one for (one,) in inner),
                self._transfers_of(related),
                failures,
                self._said_by(found[0], attempts, failures),
            )

    def _tasks_of(self, numbers: Iterable[int]) -> tuple[TaskRow, ...]:
        """Return tasks by their numbers, in that order, without unknown ones."""
        sql = f"{_TASKS} WHERE task.id = ?"
        rows = (self._all(sql, number) for number in numbers)
        return tuple(self._task(found[0]) for found in rows if found)

    def _attempts_of(self, number: int) -> tuple[AttemptRow, ...]:
        rows = self._all(f"{_ATTEMPTS} WHERE task = ? ORDER BY n", number)
        return tuple(
            self._made(AttemptRow, [*row[:10], self._state(row[10]), *row[11:]])
            for row in rows
        )

    def messages(self, most: int) -> dict[int, str]:
        """Return what failed tasks said where their group says otherwise, newest first.

        Args:
            most: Characters that these may have together.
        """
        told: dict[int, str] = {}
        if not self.tells_each:
            return told
        sql = """
        SELECT said.task, ifnull(error.kind, '') || ': ' || text
        FROM said
        JOIN message ON message.id = said.message
        JOIN task ON task.id = said.task
        JOIN error ON error.id = task.error
        WHERE said.n = 0 ORDER BY said.task DESC
        """
        with self.snapshot() as connection:
            for task, text in connection.execute(sql):
                most -= len(text)
                if most < 0:
                    break
                told[task] = text
        return told

    def count_of_messages(self) -> int:
        """Return how many tasks have such a message."""
        sql = "SELECT count(*) FROM said WHERE n = 0 AND message IS NOT NULL"
        return int(self._one(sql)[0]) if self.tells_each else 0

    def _said_by(
        self,
        task: TaskRow,
        attempts: Sequence[AttemptRow],
        failures: Sequence[FailureGroup],
    ) -> dict[int, str]:
        """Return ``TaskPage.said``.

        A message that is its group's, as the first one's is, is there alone.
        """
        sql = """
        SELECT n, text FROM said LEFT JOIN message ON message.id = said.message
        WHERE said.task = ?
        """
        own = dict(self._all(sql, task.id)) if self.tells_each else {}
        groups = {one.id: one for one in failures}
        said: dict[int, str] = {}
        last = [(one.n, one.error, one.retry_in) for one in attempts]
        for n, error, retry_in in [(0, task.error, None), *last]:
            group = groups.get(error or 0)
            place = n if retry_in is not None else 0
            if group is None:
                continue
            alone = group.attempts == 1 or (
                group.example is not None and group.example.id == task.id
            )
            if place in own:
                text = own[place]
            elif alone or (
                self.tells_each
                and task.state is not TaskState.DEPENDENCY_FAILED
                # One that only had to make a lost result again says nothing of its own.
                and (retry_in is not None or error == task.error)
            ):
                text = group.message
            else:
                continue
            if type(text) is str:  # else there was no room for it
                said[n] = text
        return said

    def running(self) -> list[RunningRow]:
        """Return the attempts that run, in the order in which they began.

        These are the ones that executors have last told of, without those that have
        ended since. Of a run that was killed, they are what ran at its last sign of
        life.
        """
        return [
            self._made(RunningRow, [task, n, app or "", *rest])
            for task, n, app, *rest in self._all(_RUNNING, FIRST_FINAL)
        ]

    def reruns(self) -> list[RerunRow]:
        """Return the runs that were only to have a lost result again, in order."""
        return self._reruns("true")

    def _reruns(self, which: str, *values: int) -> list[RerunRow]:
        if not self._all("SELECT 1 FROM sqlite_master WHERE name = 'rerun'"):
            return []  # an older history
        rows = self._all(f"{_RERUNS} WHERE {which} ORDER BY t", *values)
        return [self._made(RerunRow, [*row[:6], bool(row[6])]) for row in rows]

    # -- Transfers

    def transfers(self, after: int = -1, limit: int = 1_000) -> list[TransferRow]:
        """Return a page of transfers in the order of their numbers."""
        sql = f"{_TRANSFERS} WHERE id > ? ORDER BY id LIMIT ?"
        return [self._made(TransferRow, row) for row in self._all(sql, after, limit)]

    def _transfers_of(self, tasks: Iterable[int]) -> tuple[TransferRow, ...]:
        sql = f"{_TRANSFERS} WHERE task = ?"
        rows = (row for task in tasks for row in self._all(sql, task))
        return tuple(self._made(TransferRow, row) for row in rows)

    # -- All of it

    def pages(self, sql: str, key: int) -> Iterator[list[tuple[Any, ...]]]:
        """Give the rows of a statement in pages, each read by itself.

        Args:
            sql: Selects whole numbers by which the rows are ordered, and then whatever
                else is wanted. Its parameters are these numbers of the row after which
                the page begins, and how many rows it may have.
            key: How many such numbers there are.
        """
        last: tuple[Any, ...] = (-1,) * key
        while page := self._all(sql, *last, CHUNK):
            yield page
            last = page[-1][:key]

    # -- Reading

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise _failure(self.path, error) from error
            except OverflowError as error:  # it is asked about a number that it told
                raise self.damaged(str(error)) from error

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Let several statements see one state of the history."""
        with self._reading() as connection:
            if connection.in_transaction:  # of a method that has called this one
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _all(self, sql: str, *values: object) -> list[Any]:
        with self._reading() as connection:
            return connection.execute(sql, values).fetchall()

    def _named(self, sql: str, values: dict[str, Any]) -> list[Any]:
        with self._reading() as connection:
            return connection.execute(sql, values).fetchall()

    def _one(self, sql: str) -> Any:
        rows = self._all(sql)
        if not rows:
            raise StoreError(f"{self.path} is damaged: a row is missing.")
        return rows[0]

    # -- What was read

    def damaged(self, problem: str) -> StoreError:
        """Return the error that says so: SQLite has noticed nothing, but we have."""
        return StoreError(f"{self.path} is damaged: {problem}.")

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Take errors of what is computed from whole tables for damage of the file.

        Records are looked at one by one (``_made``). Of millions of rows the values are
        not: one of a type or a size that no run writes becomes an error of Python's.

        Raises:
            StoreError: There was such an error, which is its cause.
        """
        try:
            yield
        except _NONSENSE as error:
            raise self.damaged(str(error)) from error

    def _made(self, kind: type[R], values: Sequence[Any]) -> R:
        """Make a record. In a damaged file, a field may hold a value of any type.

        Raises:
            StoreError: One is not of the type that the record's class declares.
        """
        declared: Any = kind  # mypy takes a class for one that may have no hash
        fields = _types_of(declared)
        for value, (name, types) in zip(values, fields, strict=True):
            if type(value) not in types:
                told = type(value).__name__
                raise self.damaged(f"{kind.__name__}.{name} is of the type {told}")
        return kind(*values)

    def _state(self, index: Any) -> TaskState:
        if type(index) is not int or not 0 <= index < len(STATES):
            raise self.damaged("there is no such state of a task")
        return STATES[index]

    def _task(self, row: Sequence[Any]) -> TaskRow:
        (
            number, app, kind, state, attempts, parent, label, call, submitted, ended,
            executor, memo, key, refusal, stdout, stderr, error, origin,
        ) = row  # fmt: skip
        values = (
            number, app or "", kind or "", self._state(state), attempts, parent,
            label or "", call or "", submitted, ended, executor,
            MEMO[memo] if memo in range(len(MEMO)) else MEMO[0], key, refusal or "",
            stdout, stderr, error, origin,
        )  # fmt: skip
        return self._made(TaskRow, values)

    def _spread(
        self, buckets: Sequence[tuple[int, int]], busy: int
    ) -> tuple[int, int, int | None, int | None, int | None, int | None]:
        """Return what ``Cell`` has from ``attempts`` to ``longest``.

        A bucket stands for the durations in it by the middle of its bounds.
        """
        if not all(type(n) is int and 0 <= n < MOST for pair in buckets for n in pair):
            raise self.damaged("durations are counted wrongly")
        total = sum(count for _, count in buckets)
        if not total:
            return 0, busy, None, None, None, None
        found: list[int] = []
        for share in (0.5, 0.9, 0.99, 1.0):
            wanted, seen = share * total, 0
            for bucket, count in buckets:
                seen += count
                if seen >= wanted:
                    exponent = min((bucket + 0.5) / BUCKETS_PER_DOUBLING, 63.0)
                    found.append(round(2**exponent))
                    break
        return total, busy, found[0], found[1], found[2], found[3]


@cache
def _types_of(kind: type[Any]) -> tuple[tuple[str, frozenset[type]], ...]:
    """Return the fields of a record, and the types that each may have."""
    return tuple(
        (name, frozenset(
            get_origin(one) or one
            for one in (get_args(told) if isinstance(told, UnionType) else (told,))
        ))
        for name, told in get_type_hints(kind).items()
    )  # fmt: skip


# -- Opening


def _open(path: Path) -> sqlite3.Connection:
    _recognise(path)
    try:
        return _connect(path, "mode=ro")
    except sqlite3.Error as error:
        if path.with_name(f"{path.name}-wal").exists():
            raise _failure(path, error) from error
    # In a directory that cannot be written to, SQLite cannot make the shared memory
    # that a write-ahead log needs. There is none, so nothing is lost if it is told to
    # do without, because nobody writes.
    try:
        return _connect(path, "mode=ro&immutable=1")
    except sqlite3.Error as error:
        raise _failure(path, error) from error


def _connect(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{how}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.text_factory = _text
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("SELECT 1 FROM run, task, attempt, error LIMIT 1").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _recognise(path: Path) -> None:
    """Refuse what is no history, or a newer one, before SQLite looks at it.

    Raises:
        StoreError: The text says what it is.
    """
    try:
        with open(path, "rb", opener=open_plain) as file:
            header = file.read(100)
    except FileNotFoundError:
        raise StoreError(
            f"There is no history at {path}. A run keeps one under `jackfield run`, "
            f'or with [monitors.db] plugin = "sqlite" in its configuration.'
        ) from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    if not header:
        raise StoreError(f"The history at {path} has not begun yet.")
    if not header.startswith(b"SQLite format 3\0"):
        raise StoreError(f"{path} is no history of a run, or it is damaged.")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program.")
    version = int.from_bytes(header[60:64], "big")
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer Jackfield: its format is {version}, and "
            f"this one knows {VERSION}. Upgrade Jackfield to read it."
        )


def _failure(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
        return StoreError(f"{path} is damaged: {error}.")
    return StoreError(f"{path} cannot be read now: {error}.")
