"""How the ``jackfield memo`` commands get at a store, and tell what is wrong."""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from jackfield.errors import CheckpointWarning, JackfieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.abc import CheckpointStore


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
            what is configured, under the options of the command line.
        options: Of the command line.

    Raises:
        click.UsageError: No store is named nor configured.
    """
    if store is not None:
        return {**options, "store": store}
    from jackfield.config import resolve
    from jackfield.plugins import PluginManager

    configured = resolve(profiles=PluginManager().profile).config.checkpoint
    if not configured:
        raise click.UsageError("No store is configured; name one.")
    return {**configured, **options}


@contextmanager
def opened(table: dict[str, Any], *, write: bool = False) -> Iterator[CheckpointStore]:
    """Open a store, to be read only unless it is to be written."""
    from jackfield.memo.chained import open_stores
    from jackfield.plugins import PluginManager

    if not write:
        table = {**table, "read_only": True}
    store = open_stores(PluginManager().open_checkpoint, table)
    try:
        yield store
    finally:
        store.close()


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
