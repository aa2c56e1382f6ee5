"""Writes the tables as CSV: a directory of files, or a zip file."""

from __future__ import annotations

import csv
import io
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jackfield_monitoring.export.tables import TABLES, Table, converters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TextIO

    from jackfield_monitoring.store.reader import Store


def write_directory(store: Store, directory: Path) -> None:
    """Write a file for each table into a directory."""
    for table in TABLES:
        path = directory / f"{table.name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            _write(store, table, file)


def write_zip(store: Store, path: Path) -> None:
    """Write a zip file that has a file for each table."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for table in TABLES:
            with _member(archive, f"{table.name}.csv") as file:
                _write(store, table, file)


@contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[TextIO]:
    with (
        archive.open(name, "w", force_zip64=True) as binary,
        io.TextIOWrapper(binary, "utf-8", newline="") as file,
    ):
        yield file


def _write(store: Store, table: Table, file: TextIO) -> None:
    """Write a table: times as seconds since the epoch, spans as seconds."""
    writer = csv.writer(file)
    writer.writerow([column.name for column in table.columns])
    run = store.run()
    shift = run.wall - run.monotonic
    known = converters(table)
    for place, column in enumerate(table.columns):
        if column.kind == "moment":
            known[place] = lambda value: _seconds(value + shift)
        elif column.kind == "span":
            known[place] = _seconds
    changed = [(place, change) for place, change in enumerate(known) if change]
    for page in table.rows(store):
        writer.writerows(map(_Row(changed), page))


class _Row:
    """Makes the values of a row readable."""

    def __init__(self, changed: list[tuple[int, Callable[[Any], Any]]]) -> None:
        self._changed = changed

    def __call__(self, row: tuple[Any, ...]) -> list[Any]:
        values = list(row)
        for place, change in self._changed:
            if values[place] is not None:
                values[place] = change(values[place])
        return values


def _seconds(microseconds: int) -> str:
    """Return microseconds as seconds, without the error of a binary fraction."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{seconds}.{rest:06}"
