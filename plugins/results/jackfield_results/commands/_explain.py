"""``jackfield memo explain``: why a stored call was not a hit of an earlier one."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from jackfield.errors import printable, suggest
from jackfield.keeping import CachedCall
from jackfield_results.commands._stores import (
    checkpoint_table,
    find,
    json_option,
    opened,
    store_argument,
    store_options,
    telling,
)

if TYPE_CHECKING:
    from jackfield.abc import CheckpointEntry, CheckpointStore
    from jackfield.keeping import Explanation

APPS_READ: Final = 10_000
"""Results that are looked through for names like one that is not there."""


@click.command()
@click.argument("key", metavar="[KEY]", required=False)
@store_argument
@click.option("--app", metavar="NAME", help="The latest call of this app.")
@store_options
@json_option
def explain(
    key: str | None,
    store: str | None,
    app: str | None,
    options: dict[str, Any],
    as_json: bool,
) -> None:
    """Tell why the call whose key begins with KEY was not a hit.

    It is compared with the call of the same app, stored before it, that differs
    least.
    """
    if app is not None and store is None:
        key, store = None, key
    if (key is None) == (app is None):
        raise click.UsageError("Name a key, or an app by --app.")
    with telling():
        table = checkpoint_table(store, options)
        with opened(table) as results:
            call = find(results, key) if key else _latest(results, str(app))
            explanation = _explained(results, call, table)
    if as_json:
        from dataclasses import asdict

        click.echo(json.dumps(asdict(explanation), indent=2))
    else:
        for line in str(explanation).splitlines():
            click.echo(printable(line))


def _explained(store: CheckpointStore, call: Any, table: dict[str, Any]) -> Explanation:
    from jackfield_results.chained import named_stores
    from jackfield_results.explanation import explain_miss

    manifest, created = call.manifest, call.created
    earlier = CachedCall(call.app, None, call.key, lambda: manifest, created, hit=False)
    return explain_miss(earlier, named_stores(store, table))


def _latest(store: CheckpointStore, app: str) -> CheckpointEntry:
    """Return the call of an app that was put last."""
    entry = next(store.scan(app), None)
    if entry is None:
        names = {entry.app for entry in islice(store.scan(), APPS_READ)}
        raise click.ClickException(f"no call of {app!r} is stored{suggest(app, names)}")
    return entry
