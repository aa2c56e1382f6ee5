"""``jackfield memo migrate``: results from one store to another, unpickling nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from jackfield_results.commands._filters import Filter, filters, shown_count
from jackfield_results.commands._stores import (
    checkpoint_table,
    opened,
    store_options,
    telling,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jackfield.abc import CheckpointRecord, CheckpointStore
    from jackfield_results.signing import SigningKey

BATCH_RECORDS: Final = 1_000
BATCH_BYTES: Final = 2**24
"""A batch is put as soon as it has so many records or so many bytes of values."""


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@filters
@click.option(
    "--sign",
    is_flag=True,
    help="Sign all with your key, whoever has signed it: only what you trust as you "
    "trust a program.",
)
@store_options
def migrate(
    source: str, target: str, wanted: Filter, sign: bool, options: dict[str, Any]
) -> None:
    """Copy results from one store to another; what is damaged is left out.

    The options are for both stores.
    """
    tables = [checkpoint_table(url, options) for url in (source, target)]
    with (
        telling(),
        opened(tables[0]) as old,
        opened(tables[1], write=True) as new,
    ):
        records = _read_records(old, wanted.choose_keys(old))
        left_out: list[str] = []
        if sign:
            from jackfield_results.signing import load_key

            key = load_key(tables[1].get("key_file"))
            records = _signed_anew(records, key, left_out)
        count = _put_all(new, records)
    for line in left_out:
        click.echo(line, err=True)
    rest = f", {len(left_out)} left out" if left_out else ""
    click.echo(f"{shown_count(count)} put{rest}")


def _read_records(
    store: CheckpointStore, keys: Iterable[bytes]
) -> Iterator[CheckpointRecord]:
    """Give the records of keys; those that cannot be read are left out."""
    for key in keys:
        record = store.get(key)
        if record is not None:
            yield record


def _signed_anew(
    records: Iterable[CheckpointRecord], key: SigningKey, left_out: list[str]
) -> Iterator[CheckpointRecord]:
    """Sign each record with a key, whoever has signed it before.

    A record that is no envelope cannot be signed. It is not given, and ``left_out``
    gets a line that says why.
    """
    from jackfield_results.envelope import Miss, resign

    for record in records:
        data = resign(record.key, record.value, key)
        if isinstance(data, Miss):
            left_out.append(f"{record.key.hex()}: {data}")
        else:
            yield record._replace(value=data)


def _put_all(store: CheckpointStore, records: Iterable[CheckpointRecord]) -> int:
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
