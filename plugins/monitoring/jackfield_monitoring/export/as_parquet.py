"""Writes the tables as Parquet, with pyarrow: a directory of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jackfield_monitoring.export.tables import TABLES, Kind, Table, converters

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield_monitoring.store.reader import Store

ADVICE: Final = "Parquet files take pyarrow: pip install 'jackfield[parquet]'"


def check() -> None:
    """See whether there is what it takes, before anything is made.

    Raises:
        ImportError: There is no pyarrow; the text says how to get it.
    """
    try:
        import pyarrow.parquet  # noqa: F401  (whether it can be)
    except ImportError as error:
        raise ImportError(ADVICE) from error


def write(store: Store, directory: Path) -> None:
    """Write a file for each table into a directory."""
    import pyarrow
    import pyarrow.parquet

    kinds: dict[Kind, Any] = {
        "number": pyarrow.int64(),
        "moment": pyarrow.timestamp("us", "UTC"),
        "span": pyarrow.duration("us"),
    }
    run = store.run()
    for table in TABLES:
        fields = [
            (column.name, kinds.get(column.kind, pyarrow.string()))
            for column in table.columns
        ]
        schema = pyarrow.schema(fields)
        path = directory / f"{table.name}.parquet"
        with pyarrow.parquet.ParquetWriter(path, schema) as file:
            for page in table.rows(store):
                columns = _columns(table, page, run.wall - run.monotonic)
                file.write_table(pyarrow.table(columns, schema=schema))


def _columns(
    table: Table, page: list[tuple[Any, ...]], shift: int
) -> dict[str, list[Any]]:
    """Return the columns of a page; moments are shifted to the time of day."""
    found: dict[str, list[Any]] = {}
    values = list(zip(*page, strict=True))
    for column, change, one in zip(
        table.columns, converters(table), values, strict=True
    ):
        if column.kind == "moment":
            found[column.name] = [None if v is None else v + shift for v in one]
        elif change is not None:
            found[column.name] = [None if v is None else change(v) for v in one]
        else:
            found[column.name] = list(one)
    return found
