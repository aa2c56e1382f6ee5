"""How the ``jackfield memo`` commands get at a store, and tell what is wrong."""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from jackfield.errors import CheckpointWarning, JackfieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.abc import CheckpointRecord, CheckpointStore

ALIKE: Final = 4
"""Digits that a key must begin with to be offered for one that is not there."""


def _parse_options(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
        try:
            table[name] = json.loads(value)
        except ValueError:
            table[name] = value
    return table


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
store_argument = click.argument("store", required=False)
store_options = click.option(
    "-o",
    "--option",
    "options",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_parse_options,
    help="An option of [checkpoint], such as shared=true. May be given many times.",
)


def checkpoint_table(store: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Return the ``[checkpoint]`` table for a store.

    Args:
        store: A URL; its options are those of the command line alone. Or ``None`` for
            what is configured, under the options of the command line. Where nothing
            is, that is the database that runs make by themselves.
        options: Of the command line.

    Raises:
        click.UsageError: No store is named nor configured, and no run has made one.
    """
    if store is not None:
        return {**options, "store": store}
    from jackfield.config.finding import make_request
    from jackfield.plugins import PluginManager
    from jackfield_results.keeper import DEFAULT_FILE

    config = (
        PluginManager().find_configuration(make_request(directory=Path.cwd())).config
    )
    if "store" in config.checkpoint:
        return {**config.checkpoint, **options}
    place = Path(config.run_dir).expanduser().absolute() / DEFAULT_FILE
    if not place.exists():
        raise click.UsageError(
            f"No store is configured, and no run has made {place}; name one."
        )
    return {**config.checkpoint, **options, "store": f"sqlite:///{place}"}


@contextmanager
def opened(table: dict[str, Any], *, write: bool = False) -> Iterator[CheckpointStore]:
    """Open a store, to be read only unless it is to be written."""
    from jackfield.plugins import PluginManager
    from jackfield_results.chained import open_stores

    if not write:
        table = {**table, "read_only": True}
    store = open_stores(PluginManager().open_checkpoint, table)
    try:
        yield store
    finally:
        store.close()


def find(store: CheckpointStore, prefix: str) -> CheckpointRecord:
    """Return the record whose key begins with a prefix.

    Raises:
        click.ClickException: There is none, or there are several.
    """
    wanted = prefix.lower()
    found: list[bytes] = []
    nearest = ""
    for key in store.keys():  # noqa: SIM118  (no dictionary)
        name = key.hex()
        if name.startswith(wanted):
            found.append(key)
        elif _common(name, wanted) > max(_common(nearest, wanted), ALIKE - 1):
            nearest = name
    if len(found) > 1:
        names = ", ".join(key.hex()[: len(prefix) + 8] for key in found[:5])
        raise click.ClickException(f"{len(found)} keys begin with {prefix!r}: {names}")
    record = store.get(found[0]) if found else None
    if record is None:
        hint = "`jackfield memo ls` lists them"
        if nearest:
            hint = f"did you mean {nearest[: max(16, len(wanted))]!r}?"
        raise click.ClickException(
            f"no result that can be read has a key {prefix!r}; {hint}"
        )
    return record


def _common(name: str, other: str) -> int:
    """Return how many digits at their beginning two keys have in common."""
    pairs = enumerate(zip(name, other, strict=False))
    short = min(len(name), len(other))
    return next((place for place, (a, b) in pairs if a != b), short)


@contextmanager
def telling() -> Iterator[None]:
    """Turn errors into messages, and each warning into a line."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CheckpointWarning)
        warnings.showwarning = _echo_warning  # type: ignore[assignment]  # it takes the same
        try:
            yield
        except JackfieldError as error:
            raise click.ClickException(str(error)) from error


def _echo_warning(message: Warning | str, *_others: object) -> None:
    click.echo(f"warning: {message}", err=True)
