"""The database file: how it is made, recognised and opened.

A new database is made under another name and then given its own, complete: so an
empty file, or one without our mark, is never ours, and never taken for a new store.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from jackfield.errors import CheckpointError, CorruptCheckpointError
from jackfield_checkpoint import _guard
from jackfield_system.mounts import shared_kind

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield_checkpoint._options import Options

APPLICATION_ID: Final = 0x4A4B6370
"""Marks a database as ours, at offset 68 of its header."""

FORMAT: Final = 1
"""The newest layout that this module reads and writes: the ``user_version``."""

CACHE_KIB: Final = 4096
WAL_PAGES: Final = 8_000
"""Pages in the log before they are copied: random keys touch the same ones often."""

ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite's module raises; the latter for a message that quotes a damaged file."""

_MAGIC: Final = b"SQLite format 3\0"
_SIDECARS: Final = ("-wal", "-shm", "-journal")

# The index is on 32 bits of the key: it stays small, so that a commit of many random
# keys writes few pages. Two keys with one hash are told apart by the key itself.
_SCHEMA: Final = """
BEGIN;
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,
    key BLOB NOT NULL,
    app TEXT NOT NULL,
    created REAL NOT NULL,
    size INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    manifest TEXT NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX records_by_hash ON records (hash);
CREATE INDEX records_by_app ON records (app, created);
CREATE TABLE parts (
    record INTEGER NOT NULL,
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (record, number)
);
CREATE TRIGGER drop_parts AFTER DELETE ON records WHEN old.parts > 0
BEGIN
    DELETE FROM parts WHERE record = old.id;
END;
COMMIT;
"""

_PROBE_RECORDS: Final = (
    "SELECT id, hash, key, app, created, size, parts, checksum, manifest, value "
    "FROM records WHERE hash = -1"
)
_PROBE_PARTS: Final = "SELECT record, number, data FROM parts WHERE record = -1"


def prepare(options: Options) -> None:
    """Make the database if it is missing, and see that it may be used.

    Raises:
        CheckpointError: It is missing and may not be made, it is not ours, or others
            could have written it.
    """
    path = options.path
    _guard.check_parent(path.parent, options)
    try:
        if _guard.check_file(path, options) is None:
            if options.read_only:
                raise CheckpointError("it does not exist.", str(path))
            _make(options)
            _guard.check_file(path, options)
        for suffix in _SIDECARS:
            _guard.check_file(path.with_name(path.name + suffix), options)
        _recognise(path)
    except OSError as error:
        raise _guard.unusable(path, "open", error) from error


def _make(options: Options) -> None:
    _guard.make_directory(options.path.parent, options)
    made = _guard.temporary(options.path)
    try:
        os.close(_guard.make_file(made, options))
        connection = sqlite3.connect(made, isolation_level=None)
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.executescript(_SCHEMA)
            _use_wal(connection, options)  # now, as nobody else has it open
        finally:
            connection.close()
        _guard.publish(made, options.path)
        if options.sync == "power":
            _guard.sync_directory(options.path.parent)
    except ERRORS as error:
        raise failure(options.path, "make", error) from error
    finally:
        made.unlink(missing_ok=True)


def _recognise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        header = os.pread(descriptor, 100, 0)
    finally:
        os.close(descriptor)
    if not header:
        raise CheckpointError(
            "it is an empty file. If nothing else needs it, remove it.", str(path)
        )
    if not header.startswith(_MAGIC):
        raise CorruptCheckpointError(
            "it is no SQLite database, or its beginning is damaged. Choose another "
            "name, or move it aside.",
            str(path),
        )
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise CheckpointError(
            "it is a database of another program. Choose another name.", str(path)
        )
    check_format(int.from_bytes(header[60:64], "big"), path)


def check_format(version: int, path: Path) -> None:
    """Refuse what a newer Jackfield has written."""
    if version != FORMAT:
        raise CheckpointError(
            f"its format is {version}, and this Jackfield knows {FORMAT}. Upgrade "
            f"Jackfield, or choose another name.",
            str(path),
        )


# -- Connections


def connect(options: Options, *, write: bool) -> sqlite3.Connection:
    """Open a connection that any thread may use, one at a time.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    try:
        # Also to read: whoever is the last may then remove the write-ahead log.
        return _connect(options, "rw", write=write)
    except sqlite3.OperationalError:
        if not options.read_only or _has_log(options.path):
            raise
    # On a medium that cannot be written, SQLite makes no files beside the database,
    # and does without if told that nobody writes.
    return _connect(options, "ro&immutable=1", write=False)


def _connect(options: Options, mode: str, *, write: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(os.fspath(options.path))}?mode={mode}",
        uri=True,
        timeout=options.busy_timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.text_factory = bytes  # rot may leave text that is no UTF-8
        _set_up(connection, options, write=write)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, options: Options, *, write: bool) -> None:
    pragma = connection.execute
    pragma(f"PRAGMA cache_size = -{CACHE_KIB}")
    pragma("PRAGMA cell_size_check = ON")
    pragma("PRAGMA trusted_schema = OFF")
    for sql in (_PROBE_RECORDS, _PROBE_PARTS):
        pragma(sql).fetchall()
    check_format(pragma("PRAGMA user_version").fetchone()[0], options.path)
    if not write:
        pragma("PRAGMA query_only = ON")
        return
    wal = _use_wal(connection, options)
    pragma(f"PRAGMA synchronous = {_synchronous(options, wal=wal)}")
    if options.sync == "power":
        pragma("PRAGMA fullfsync = ON")  # on macOS, fsync alone stops at the disk
    if wal:
        pragma(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        pragma(f"PRAGMA journal_size_limit = {WAL_PAGES * 4096}")


def _synchronous(options: Options, *, wal: bool) -> str:
    if options.sync == "process":
        return "NORMAL"
    return "FULL" if wal else "EXTRA"  # EXTRA also makes the journal's removal last


def _use_wal(connection: sqlite3.Connection, options: Options) -> bool:
    """Choose how transactions are kept whole; tell whether by a write-ahead log."""
    wanted = options.journal
    if wanted == "auto":
        wanted = "rollback" if shared_kind(options.path) else "wal"
    mode = "WAL" if wanted == "wal" else "DELETE"
    (chosen,) = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
    found: str | bytes = chosen
    return found == (b"wal" if isinstance(found, bytes) else "wal")


def _has_log(path: Path) -> bool:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except OSError:
        return False


# -- What went wrong

_ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "another process has been writing for longer than "
    "busy_timeout; raise it, or end that process",
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_READONLY: "let this user write it, or open it with read_only = true",
    sqlite3.SQLITE_CANTOPEN: "see that its directory exists and may be written",
    sqlite3.SQLITE_IOERR: "the disk is failing, full or limited",
}
_CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def is_damage(error: Exception) -> bool:
    """Whether it is the file's contents that SQLite cannot make sense of.

    Our statements are constant, so that an error in one of them (``SQLITE_ERROR``) is
    one in the schema they meet.
    """
    return isinstance(error, UnicodeDecodeError) or _code(error) in _CORRUPT


def _code(error: Exception) -> int:
    """Return SQLite's error code, without what it has added in later years."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def failure(path: Path, doing: str, error: Exception) -> CheckpointError:
    """Return our error for one of SQLite's; chain it from that."""
    if is_damage(error):
        return CorruptCheckpointError(
            f"cannot {doing} it: {error}. It is damaged, and has not been changed. "
            f"What can be read is brought into a new store by: jackfield memo migrate "
            f"sqlite:///{path} sqlite:///{path}.salvaged",
            str(path),
        )
    advice = _ADVICE.get(_code(error), "the cause is SQLite's")
    return CheckpointError(f"cannot {doing} it: {error}; {advice}.", str(path))
