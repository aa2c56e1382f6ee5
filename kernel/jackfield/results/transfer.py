"""Carrying results from store to store, and through a file. Nothing is unpickled."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Final

from jackfield.abc import CheckpointRecord
from jackfield.errors import CheckpointError
from jackfield.results.envelope import Miss, resign

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jackfield.abc import CheckpointStore
    from jackfield.results.signing import SigningKey

EXPORT: Final = "jackfield-checkpoint-export"
VERSION: Final = 1

BATCH_RECORDS: Final = 1_000
BATCH_BYTES: Final = 2**24


def read_records(
    store: CheckpointStore, keys: Iterable[bytes]
) -> Iterator[CheckpointRecord]:
    """Give the records of keys; those that cannot be read are left out."""
    for key in keys:
        record = store.get(key)
        if record is not None:
            yield record


def put_all(store: CheckpointStore, records: Iterable[CheckpointRecord]) -> int:
    """Put any number of records in batches; return how many they were."""
    count = size = 0
    batch: list[CheckpointRecord] = []
    for record in records:
        batch.append(record)
        size += len(record.value)
        count += 1
        if len(batch) >= BATCH_RECORDS or size >= BATCH_BYTES:
            store.put_many(batch)
            batch, size = [], 0
    if batch:
        store.put_many(batch)
    return count


def resigned(
    records: Iterable[CheckpointRecord], key: SigningKey, left_out: list[str]
) -> Iterator[CheckpointRecord]:
    """Sign each record anew, whoever has signed it; note those that cannot be.

    To be used on records that one trusts as one trusts a program.
    """
    for record in records:
        data = resign(record.key, record.value, key)
        if isinstance(data, Miss):
            left_out.append(f"{record.key.hex()}: {data}")
        else:
            yield replace(record, value=data)


# -- The file: JSON lines; a head, the records, and their number


def export_records(file: IO[str], records: Iterable[CheckpointRecord]) -> int:
    """Write records to a text file; return how many they were."""
    _write_line(file, {"format": EXPORT, "version": VERSION})
    count = 0
    for record in records:
        count += 1
        _write_line(
            file,
            {
                "key": record.key.hex(),
                "app": record.app,
                "created": record.created,
                "manifest": dict(record.manifest),
                "value": base64.b64encode(record.value).decode("ascii"),
            },
        )
    _write_line(file, {"records": count})
    return count


def _write_line(file: IO[str], values: dict[str, Any]) -> None:
    file.write(json.dumps(values) + "\n")


def import_records(file: IO[str], name: str) -> Iterator[CheckpointRecord]:
    """Give the records of a file that ``export_records`` has written.

    Args:
        file: The file, at its beginning.
        name: What messages call it.

    Raises:
        CheckpointError: It is none, or it is cut or damaged. What was given before
            is sound.
    """
    head = _parse_line(file.readline(), name, 1)
    if head.get("format") != EXPORT:
        raise CheckpointError("it is no export of results.", name)
    if head.get("version") != VERSION:
        raise CheckpointError(
            f"it has format {head.get('version')}, and this Jackfield knows {VERSION}. "
            f"Upgrade Jackfield.",
            name,
        )
    for number, line in enumerate(chain(file, [""])):
        values = _parse_line(line, name, number + 2)
        if "records" in values:
            if values["records"] != number:
                raise CheckpointError(f"it is damaged: {number} records found.", name)
            return
        yield _record(values, name, number + 2)


def _parse_line(line: str, name: str, number: int) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise CheckpointError(
            f"it is cut, or no export: line {number} makes no sense.", name
        ) from error
    return values if isinstance(values, dict) else {}


def _record(values: dict[str, Any], name: str, number: int) -> CheckpointRecord:
    try:
        return CheckpointRecord(
            bytes.fromhex(values["key"]),
            base64.b64decode(values["value"], validate=True),
            str(values["app"]),
            float(values["created"]),
            {str(part): str(digest) for part, digest in values["manifest"].items()},
        )
    except (KeyError, ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise CheckpointError(
            f"it is damaged: line {number} is no record.", name
        ) from error
