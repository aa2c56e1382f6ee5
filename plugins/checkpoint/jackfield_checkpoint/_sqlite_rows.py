"""Records as rows of the database: one each, and parts for the value of a large one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from jackfield_checkpoint._meta import checksum, shown, to_json

if TYPE_CHECKING:
    import sqlite3

    from jackfield.abc import CheckpointRecord

PART_SIZE: Final = 4 * 2**20
"""Bytes of a value in one row; SQLite refuses rows of a thousand million."""

ADD: Final = (
    "INSERT INTO records (hash, key, app, created, size, parts, checksum, manifest, "
    "value) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
FIND: Final = (
    "SELECT id, key, app, created, parts, checksum, manifest, value FROM records "
    "WHERE hash = ?"
)
PARTS_COLUMN: Final = 4
"""Place of ``parts`` among what ``FIND`` gives."""

_PARTS: Final = "SELECT data FROM parts WHERE record = ? ORDER BY number"


def row_of(record: CheckpointRecord) -> tuple[Any, ...]:
    """Return the columns as ``ADD`` wants them, without the value of a large one."""
    key, value = record.key, record.value
    app = shown(record.app).encode()
    manifest = to_json(dict(record.manifest))
    parts = 0 if len(value) <= PART_SIZE else -(-len(value) // PART_SIZE)
    return (
        crc32(key),
        key,
        app.decode(),
        record.created,
        len(value),
        parts,
        checksum(key, app, record.created, manifest, value),
        manifest.decode(),
        b"" if parts else value,
    )


def add_large(
    connection: sqlite3.Connection, row: tuple[Any, ...], value: bytes
) -> None:
    """Add a record whose value takes parts."""
    record = connection.execute(ADD, row).lastrowid
    whole = memoryview(value)
    for number, start in enumerate(range(0, len(value), PART_SIZE)):
        part = whole[start : start + PART_SIZE]
        connection.execute("INSERT INTO parts VALUES (?, ?, ?)", (record, number, part))


def with_parts(connection: sqlite3.Connection, hashed: int) -> list[Any]:
    """Return the rows of a hash with the values whole."""
    connection.execute("BEGIN")  # rows and parts as of one moment
    try:
        rows = connection.execute(FIND, (hashed,)).fetchall()
        return [
            (*row[:-1], _joined(connection, row) if row[PARTS_COLUMN] else row[-1])
            for row in rows
        ]
    finally:
        connection.execute("COMMIT")


def _joined(connection: sqlite3.Connection, row: Any) -> bytes:
    return b"".join(part for (part,) in connection.execute(_PARTS, (row[0],)))
