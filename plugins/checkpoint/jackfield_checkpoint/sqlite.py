"""Results in an SQLite database: the default store, ``sqlite:///results.db``.

One connection writes, under a lock; reading ones are taken from a pool and put back,
so that there are as many as have ever been needed at once. Each commit is one batch.
Readers take short transactions only, or a long scan would keep the write-ahead log
from being used anew. A value too large for a row is cut into parts.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from jackfield.abc import CheckpointEntry, CheckpointRecord, CheckpointStore
from jackfield.errors import CheckpointError
from jackfield.hookspecs import hookimpl
from jackfield_checkpoint import _sqlite_file as database
from jackfield_checkpoint import _sqlite_rows as _rows
from jackfield_checkpoint._guard import check_usable, unusable
from jackfield_checkpoint._meta import check_record, checksum, shown, to_manifest
from jackfield_checkpoint._notices import Notices, log
from jackfield_checkpoint._options import COMMON, Options, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

PAGE_ROWS: Final = 1_000
"""Rows that one transaction of a scan reads."""

FIRST_ROWS: Final = 50
"""Rows of an app that are read at first: who asks for them often wants the last."""

LAST_ID: Final = 2**63 - 1
SINGLE_STEPS: Final = 1_000
DOUBLE_STEPS: Final = 40
FREE_PART: Final = 4
"""Free pages are given back when they are more than one in so many."""

_FORGET: Final = "DELETE FROM records WHERE hash = ? AND key = ?"
_LIST: Final = (
    "SELECT id, hash, key, app, created, size, manifest FROM records WHERE id >= ? "
    "ORDER BY id LIMIT ?"
)
_LIST_APP: Final = (
    "SELECT id, hash, key, app, created, size, manifest FROM records WHERE app = ? "
    "AND (created, id) < (?, ?) ORDER BY created DESC, id DESC LIMIT ?"
)

JACKFIELD_SHOWN = ("sync", "trust", "busy_timeout", "journal")


@hookimpl
def jackfield_open_checkpoint(
    url: str, options: Mapping[str, Any]
) -> CheckpointStore | None:
    """Open the database of a URL such as ``sqlite:///results.db``."""
    if url.partition(":")[0].lower() != "sqlite":
        return None
    return SqliteStore(parse(url, options, (*COMMON, "journal")))


@hookimpl
def jackfield_check_options(name: str, options: Mapping[str, Any]) -> bool:
    """Check a store's URL and table."""
    parse(name, options, (*COMMON, "journal"))
    return True


class SqliteStore(CheckpointStore):
    """See the module. Made open; ``close`` it.

    Raises:
        CheckpointError: It cannot be opened.
    """

    def __init__(self, options: Options) -> None:
        self._options: Options = options
        self._path: Path = options.path
        self._pid: int = os.getpid()
        self._closed: bool = False
        self._lock: threading.Lock = threading.Lock()
        self._notices: Notices = Notices(options.path)
        self._readers: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        database.prepare(options)
        try:
            if options.read_only:
                self._readers.append(database.connect(options, write=False))
            else:
                self._writer = database.connect(options, write=True)
            status = options.path.stat()
        except database.ERRORS as error:
            raise database.failure(options.path, "open", error) from error
        self._identity: tuple[int, int] = (status.st_dev, status.st_ino)
        _stores.add(self)

    # -- Reading

    def get(self, key: bytes) -> CheckpointRecord | None:
        """See ``CheckpointStore``."""
        try:
            with self._reading() as connection:
                rows = connection.execute(_rows.FIND, (crc32(key),)).fetchall()
                if any(row[_rows.PARTS_COLUMN] for row in rows):
                    rows = _rows.with_parts(connection, crc32(key))
        except database.ERRORS as error:
            self._tell_unreadable(key, error)
            return None
        for row in rows:  # more than one if two keys have one hash
            record = self._checked(row, key)
            if record is not None and record.key == key:
                return record
        return None

    def _checked(self, row: Any, wanted: bytes) -> CheckpointRecord | None:
        """Make a record of a row; none, and a warning, if it is damaged."""
        row_id, key, app, created, _, expected, manifest, value = row
        try:
            if checksum(key, app, created, manifest, value) == expected:
                return CheckpointRecord(
                    key, value, app.decode(), created, to_manifest(manifest)
                )
            why = "its checksum is wrong"
        except Exception as error:  # rot may have made anything of any column
            why = str(error)
        what = f"row {row_id}, looked up for key {wanted.hex()}, is damaged: {why}"
        self._notices.damaged(what)
        return None

    def _tell_unreadable(self, key: bytes, error: Exception) -> None:
        if not database.is_damage(error):
            raise database.failure(self._path, "read", error) from error
        self._notices.damaged(f"the record of key {key.hex()} is out of reach: {error}")

    def keys(self) -> Iterator[bytes]:
        """See ``CheckpointStore``."""
        return (row[2] for row in self._rows())

    def scan(self, app: str | None = None) -> Iterator[CheckpointEntry]:
        """See ``CheckpointStore``."""
        rows = self._rows() if app is None else self._rows_of(app)
        for row_id, _, key, name, created, size, manifest in rows:
            try:
                entry = CheckpointEntry(
                    key, name.decode(), created, size, to_manifest(manifest)
                )
            except Exception as error:  # see _checked
                self._notices.damaged(f"row {row_id} is damaged: {error}")
            else:
                yield entry

    def _rows_of(self, app: str) -> Iterator[Any]:
        """Give the rows of one app, the newest first; up to what is damaged."""
        name = shown(app)
        last, limit = (math.inf, LAST_ID), FIRST_ROWS
        while True:
            try:
                with self._reading() as connection:
                    rows = connection.execute(
                        _LIST_APP, (name, *last, limit)
                    ).fetchall()
            except database.ERRORS as error:
                if not database.is_damage(error):
                    raise database.failure(self._path, "read", error) from error
                self._notices.damaged(f"rows of {app!r} are out of reach: {error}")
                return
            yield from filter(self._has_its_key, rows)
            before, last = last, (rows[-1][4], rows[-1][0]) if rows else last
            if len(rows) < limit or type(last[0]) is not float or last >= before:
                return
            limit = PAGE_ROWS

    def _rows(self) -> Iterator[Any]:
        """Give all rows but for their values, stepping over what is damaged.

        A page of the database that cannot be read is met again with each row in it:
        so steps are single first, and then double, until they are past all rows.
        """
        first, limit, failures = 1, PAGE_ROWS, 0
        while failures < SINGLE_STEPS + DOUBLE_STEPS and first <= LAST_ID:
            rows, problem = self._some_rows(first, limit)
            if rows:
                first, limit, failures = rows[-1][0] + 1, min(2 * limit, PAGE_ROWS), 0
                yield from filter(self._has_its_key, rows)
            elif not problem:
                return
            elif limit == 1:
                if not failures:
                    what = f"rows from {first} on are out of reach: {problem}"
                    self._notices.damaged(what)
                first += 2 ** max(0, failures - SINGLE_STEPS)
                failures += 1
            else:
                limit = 1

    def _some_rows(self, first: int, limit: int) -> tuple[list[Any], str]:
        """Return the next rows in order, and what is wrong if there are none."""
        try:
            with self._reading() as connection:
                rows = connection.execute(_LIST, (first, limit)).fetchall()
        except database.ERRORS as error:
            if not database.is_damage(error):
                raise database.failure(self._path, "read", error) from error
            return [], str(error)
        for number, row in enumerate(rows):
            if row[0] < first:  # or a listing of a damaged table could go in circles
                return rows[:number], "they are out of order"
            first = row[0] + 1
        return rows, ""

    def _has_its_key(self, row: Any) -> bool:
        if type(row[2]) is bytes and crc32(row[2]) == row[1]:
            return True
        self._notices.damaged(f"row {row[0]} is damaged: its key is wrong")
        return False

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection to this thread."""
        self._check_usable()
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = database.connect(self._options, write=False)
        try:
            yield connection
        finally:
            self._readers.append(connection)
            if self._closed:
                self._close_all(self._readers)

    # -- Writing

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        """See ``CheckpointStore``."""
        for record in records:
            check_record(record)
        latest = {record.key: record for record in records}
        rows = sorted(
            map(_rows.row_of, latest.values())
        )  # neighbours in the index together
        with self._writing("write") as connection:
            connection.executemany(_FORGET, [(row[0], row[1]) for row in rows])
            connection.executemany(_rows.ADD, [row for row in rows if row[5] == 0])
            for row in rows:
                if row[5]:
                    _rows.add_large(connection, row, latest[row[1]].value)

    def delete(self, keys: Iterable[bytes]) -> None:
        """See ``CheckpointStore``."""
        pairs = [(crc32(key), key) for key in keys]
        with self._writing("delete from") as connection:
            connection.executemany(_FORGET, pairs)
        with self._lock:
            if self._writer is not None:
                _shrink(self._writer)

    @contextmanager
    def _writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Make one transaction of what is done with the connection."""
        self._check_usable()
        with self._lock:
            connection = self._writer
            if connection is None:
                raise CheckpointError("it was opened to be read only.", str(self._path))
            self._check_place()
            try:
                # Not a plain BEGIN: one that reads first and then wants to write
                # fails at once when another process writes, without waiting.
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except database.ERRORS as error:
                _roll_back(connection)
                raise database.failure(self._path, doing, error) from error
            except BaseException:
                _roll_back(connection)
                raise

    # -- Life

    def _check_usable(self) -> None:
        check_usable(self._path, self._pid, closed=self._closed)

    def _check_place(self) -> None:
        """See that what is written will be found: SQLite writes on where nothing is."""
        try:
            status = self._path.stat()
        except OSError as error:
            raise unusable(self._path, "find", error) from error
        if (status.st_dev, status.st_ino) != self._identity:
            raise CheckpointError(
                "it was replaced since it was opened; open it again.", str(self._path)
            )

    def close(self) -> None:
        """See ``CheckpointStore``."""
        if self._closed or os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True
            self._close_all(self._readers)
            if self._writer is not None:
                # All into the one file, which somebody may copy alone. Where another
                # process reads or writes, its close does that.
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._close_all([self._writer])
                self._writer = None

    @staticmethod
    def _close_all(connections: list[sqlite3.Connection]) -> None:
        while connections:
            with contextlib.suppress(sqlite3.Error):  # all is committed
                connections.pop().close()

    def abandon(self) -> None:
        """Keep a forked process from closing what is its parent's.

        SQLite would take the end of the child's copy for the end of the last user.
        """
        _inherited.extend(self._readers)
        if self._writer is not None:
            _inherited.append(self._writer)


def _roll_back(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):  # the error that led here is told
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _shrink(connection: sqlite3.Connection) -> None:
    """Give free pages back to the file system, if they are many."""
    try:
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if free * FREE_PART > pages:
            # As a script: a statement executed would be left after its first page.
            connection.executescript("PRAGMA incremental_vacuum")
    except sqlite3.Error:
        log.info("The database could not be made smaller", exc_info=True)


_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []


def _abandon_all() -> None:
    for store in list(_stores):
        store.abandon()


os.register_at_fork(after_in_child=_abandon_all)
