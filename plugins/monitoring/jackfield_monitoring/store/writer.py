"""Writes ``monitor.db``: each call one transaction, and all of it or nothing."""

from __future__ import annotations

import os
import sqlite3
import weakref
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from jackfield import TaskState
from jackfield_monitoring.store.rows import RowMaker, Rows, microseconds
from jackfield_monitoring.store.schema import INDEX_OF_STATE, SCHEMA
from jackfield_system.mounts import shared_kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jackfield.events import Batch

BUSY_S: Final = 0.1
"""Seconds that a transaction waits for another process, before it is put off."""

LAST_BUSY_S: Final = 2.0
"""Seconds that the end of a run waits for other processes, in all."""

CACHE_KIB: Final = 8192

_SIDECARS: Final = ("-wal", "-shm", "-journal")

WAL_PAGES: Final = 4_000
"""Pages in the write-ahead log before they are copied into the database."""

_RUN: Final = """
INSERT INTO run (
    uuid, dir, wall, monotonic, host, user, pid, python, jackfield, argv, cwd, beat,
    state
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running')
"""

# Numbers that are -1 and texts that are empty stand for NULL; see ``rows.NONE``.

ROWS_AT_ONCE: Final = 50
"""Rows of one statement, where there are many: to run one costs more than a row does.

With the 17 columns of a task it stays below the 999 values that older SQLites take.
"""


class _Insert:
    """A statement that adds rows, one or many at a time.

    Args:
        head: All before the values.
        row: The values of one row.
    """

    def __init__(self, head: str, row: str) -> None:
        self._one: str = head + row
        self._many: str = head + ", ".join([row] * ROWS_AT_ONCE)

    def run(self, connection: sqlite3.Connection, rows: list[Any]) -> None:
        """Add all rows."""
        whole = len(rows) - len(rows) % ROWS_AT_ONCE
        if whole:
            starts = range(0, whole, ROWS_AT_ONCE)
            flat = (tuple(chain(*rows[at : at + ROWS_AT_ONCE])) for at in starts)
            connection.executemany(self._many, flat)
        connection.executemany(self._one, rows[whole:])


_PLAIN_TASK: Final = _Insert(
    """
INSERT OR REPLACE INTO task (
    id, app, state, attempts, call, submitted, ended, executor, memo
) VALUES """,
    "(?, ?, ?, ?, nullif(?, ''), ?, ?, ?, ?)",
)

_TASK: Final = _Insert(
    """
INSERT OR REPLACE INTO task (
    id, app, state, attempts, call, submitted, ended, executor, memo, parent, label,
    key, refusal, stdout, stderr, error, origin
) VALUES """,
    """(
    ?, ?, ?, ?, nullif(?, ''), ?, nullif(?, -1), nullif(?, -1), ?, nullif(?, -1),
    nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''),
    nullif(?, -1), nullif(?, -1)
)""",
)

_PLAIN_ATTEMPT: Final = _Insert(
    """
INSERT OR IGNORE INTO attempt (
    task, n, app, executor, worker, launched, began, ended, reported, state
) VALUES """,
    f"(?, ?, ?, ?, ?, ?, ?, ?, ?, {INDEX_OF_STATE[TaskState.SUCCEEDED]})",
)

_ATTEMPT: Final = _Insert(
    """
INSERT OR IGNORE INTO attempt (
    task, n, app, executor, worker, launched, began, ended, reported, state, error,
    retry_in, cpu, memory
) VALUES """,
    """(
    ?, ?, nullif(?, 0), ?, nullif(?, -1), ?, nullif(?, -1), nullif(?, -1), ?, ?,
    nullif(?, -1), nullif(?, -1), nullif(?, -1), nullif(?, -1)
)""",
)

_EDGE: Final = _Insert("INSERT OR IGNORE INTO edge VALUES ", "(?, ?)")

_TALLY: Final = """
INSERT INTO tally VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET n = n + excluded.n, busy = busy + excluded.busy
"""

_SPREAD: Final = """
INSERT INTO spread VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n
"""

_APP_EDGE: Final = """
INSERT INTO app_edge VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n
"""

_ERROR: Final = """
INSERT INTO error (id, kind, message, shape, traceback, n, attempts)
VALUES (?, ?, ?, ?, ?, 0, 0)
"""

# The places are `?` and not `?1`, `?2`: Python 3.12.0 to 3.12.3 takes those for names,
# and warns that a sequence is given for them.
_ERROR_COUNT: Final = """
UPDATE error SET
    n = error.n + new.n, attempts = error.attempts + new.attempts,
    task = coalesce(error.task, new.task),
    first = min(coalesce(error.first, new.first), new.first),
    newest = max(coalesce(error.newest, new.newest), new.newest)
FROM (
    SELECT ? AS id, ? AS n, ? AS attempts, ? AS task, ? AS first, ? AS newest
) AS new
WHERE error.id = new.id
"""

_TRANSFER: Final = """
INSERT INTO transfer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    task = coalesce(excluded.task, task), state = excluded.state,
    attempts = excluded.attempts, moved = excluded.moved, size = excluded.size,
    ended = excluded.ended, verified = excluded.verified, error = excluded.error
"""

_WORKER: Final = """
INSERT INTO worker (id, executor, name, host, pid, began) VALUES (?, ?, ?, ?, ?, ?)
"""

_RUNNING: Final = """
INSERT INTO running VALUES (?, ?, ?, nullif(?, -1), nullif(?, -1), ?)
"""

_BIRTH: Final = """
UPDATE worker SET began = min(coalesce(worker.began, new.began), new.began)
FROM (SELECT ? AS began, ? AS id) AS new WHERE worker.id = new.id
"""


class RunRow(NamedTuple):
    """The facts of a run that are known when its history begins; see ``schema``.

    Attributes:
        wall: Microseconds since the epoch, at ``monotonic``.
        monotonic: Microseconds on the clock of all other times.
        argv: The command line as a JSON list, without secrets.
    """

    uuid: str
    dir: str
    wall: int
    monotonic: int
    host: str
    user: str
    pid: int
    python: str
    jackfield: str
    argv: str
    cwd: str


class StoreGoneError(OSError):
    """The file was removed or replaced while the run went on."""


class Writer:
    """Writes one run's history.

    Calls may come from several threads, one at a time. A forked child does nothing.

    Args:
        path: The file; it must not exist.
        run: The row about the run.

    Raises:
        OSError: The file cannot be made.
        sqlite3.Error: The same, as SQLite says it.
    """

    def __init__(self, path: Path, run: RunRow) -> None:
        self.path: Path = path
        self._run = run
        self._pid: int = os.getpid()
        self._maker = RowMaker()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] = _make(path, run)
        _writers.add(self)

    def write(
        self,
        batches: Sequence[Batch],
        gaps: Sequence[tuple[int, int, str]] = (),
        *,
        patience: float | None = None,
    ) -> None:
        """Write batches in one transaction.

        Args:
            batches: In order; at least one.
            gaps: Further rows of ``gap``: when, how many records, why.
            patience: Wait so many seconds for other processes, not just a moment.

        Raises:
            StoreGoneError: The file is not there any more.
            OSError: The same as for SQLite's errors.
            sqlite3.Error: Nothing of it was written; it may be tried again.
        """
        if os.getpid() != self._pid:
            return
        connection = self._connected()
        try:
            self._check_place()
            rows = self._maker.make(batches)
            rows.gaps += gaps
            if patience is not None:
                _be_patient(connection, patience)
            connection.execute("BEGIN IMMEDIATE")
            _insert(connection, rows)
            beat = microseconds(batches[-1].monotonic)
            connection.execute("UPDATE run SET beat = ?", (beat,))
            connection.execute("COMMIT")
        except BaseException as error:
            self._maker.undo()
            self._after(error)
            raise
        self._maker.keep()

    def end(
        self,
        state: str,
        when: int,
        gaps: Sequence[tuple[int, int, str]],
        patience: float = LAST_BUSY_S,
    ) -> None:
        """Write how the run has ended, and close the file.

        Args:
            state: ``"done"`` or ``"failed"``.
            when: On the monotonic clock, in microseconds.
            gaps: As in ``write``.
            patience: As in ``write``.

        Raises:
            OSError: It cannot be written; it is closed nevertheless.
            sqlite3.Error: The same.
        """
        if os.getpid() != self._pid:
            return
        try:
            connection = self._connected()
            self._check_place()
            _be_patient(connection, patience)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO gap VALUES (?, ?, ?)", gaps)
            connection.execute("DELETE FROM running")
            connection.execute(
                "UPDATE run SET state = ?, beat = ?, ended = ?", (state, when, when)
            )
            connection.execute("COMMIT")
            # All into the one file, which somebody may copy alone.
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._drop_connection()

    def close(self) -> None:
        """Close the file as it is."""
        if os.getpid() == self._pid:
            self._drop_connection()

    # -- The connection

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _connect(self.path)
        return self._connection

    def _check_place(self) -> None:
        """See that what is written will be found: SQLite writes on where nothing is."""
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            raise StoreGoneError(f"{self.path} was removed.") from None
        if (status.st_dev, status.st_ino) != self._identity:
            raise StoreGoneError(f"Something else is at {self.path} now.")

    def _after(self, error: BaseException) -> None:
        """Leave a connection that can be used, or none."""
        connection = self._connection
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if connection is not None and code == sqlite3.SQLITE_BUSY:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                return
        self._drop_connection()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):  # what was committed stays
                connection.close()

    def abandon(self) -> None:
        """Keep a forked child from closing what is its parent's."""
        if self._connection is not None:
            _inherited.append(self._connection)
            self._connection = None


def _make(path: Path, run: RunRow) -> tuple[int, int]:
    """Make a file that nobody else can read, and tell which one it is.

    It gets its name when it is complete. An empty file takes the name before, so that
    nothing that is there already is ever replaced.
    """
    new = path.with_name(f".{path.name}.new")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(path, flags, 0o600))
    try:
        for suffix in _SIDECARS:  # of a file that was removed: SQLite would revive it
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        os.close(os.open(new, flags, 0o600))
        try:
            connection = _opened(new)
            try:
                connection.execute("PRAGMA synchronous = OFF")
                connection.executescript(SCHEMA)
                connection.execute(_RUN, (*run, run.monotonic))
            finally:
                connection.close()
            status = new.lstat()
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return status.st_dev, status.st_ino


def _connect(path: Path) -> sqlite3.Connection:
    connection = _opened(path)
    try:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        # SQLite's write-ahead log keeps its index in memory that reader and writer
        # share. A reader on another machine, through a shared file system, has no part
        # in that memory, and would read nonsense: there the plain journal is used.
        mode = "DELETE" if shared_kind(path) else "WAL"
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fspath(path.absolute()))}?mode=rw",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _be_patient(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {max(1, int(seconds * 1000))}")


def _insert(connection: sqlite3.Connection, rows: Rows) -> None:
    many = connection.executemany
    statements: list[tuple[str | _Insert, list[Any]]] = [
        ("INSERT INTO app VALUES (?, ?, ?)", rows.apps),
        ("INSERT INTO executor (id, label) VALUES (?, ?)", rows.executors),
        ("UPDATE executor SET workers = ? WHERE id = ?", rows.executor_sizes),
        (_WORKER, rows.workers),
        (_BIRTH, rows.worker_births),
        ("UPDATE worker SET ended = ?, reason = ? WHERE id = ?", rows.worker_ends),
        (_ERROR, rows.errors),
        (_ERROR_COUNT, rows.error_counts),
        ("INSERT INTO message VALUES (?, ?)", rows.messages),
        ("INSERT OR REPLACE INTO said VALUES (?, ?, nullif(?, -1))", rows.said),
        (_PLAIN_TASK, rows.plain_tasks),
        (_TASK, rows.tasks),
        (_PLAIN_ATTEMPT, rows.plain_attempts),
        (_ATTEMPT, rows.attempts),
        ("INSERT OR IGNORE INTO rerun VALUES (?, ?, ?, ?, ?)", rows.reruns),
        (_EDGE, rows.edges),
        (_APP_EDGE, rows.app_edges),
        (_TALLY, rows.tallies),
        (_SPREAD, rows.spreads),
        (_TRANSFER, rows.transfers),
        ("INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?)", rows.samples),
        ("INSERT INTO gap VALUES (?, ?, ?)", rows.gaps),
    ]
    for sql, values in statements:
        if not values:
            continue
        if isinstance(sql, str):
            many(sql, values)
        else:
            sql.run(connection, values)
    if rows.looked:
        connection.execute("DELETE FROM running")
        many(_RUNNING, rows.running)


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []


def _abandon_all() -> None:
    for writer in list(_writers):
        writer.abandon()


os.register_at_fork(after_in_child=_abandon_all)
