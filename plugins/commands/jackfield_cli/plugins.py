"""``jackfield plugins``: what is installed, and whether it works."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

import click

from jackfield import hookimpl
from jackfield.errors import printable
from jackfield.plugins import PluginManager
from jackfield.plugins.scan import GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jackfield.plugins import PluginInfo

_ORDER = [*GROUPS, "registered"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option(
    "--check",
    is_flag=True,
    help="Load each plugin to see whether it works; exit with 1 if one does not.",
)
def plugins(as_json: bool, check: bool) -> None:
    """List the installed plugins. Nothing is imported but with --check."""
    manager = PluginManager()
    found = manager.load_all() if check else manager.plugins()
    found.sort(key=lambda one: (_ORDER.index(one.kind), one.name))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        click.echo("\n".join(_lines(found)) or "No plugins are installed.")
    if check and any(one.problem and not one.blocked for one in found):
        raise click.exceptions.Exit(1)


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield plugins``."""
    cli.add_command(plugins)


def _lines(found: Sequence[PluginInfo]) -> Iterator[str]:
    """Give the table: a heading for each kind, a line for each plugin."""
    width = max((len(one.name) for one in found), default=0)
    for kind, group in groupby(found, key=lambda one: one.kind):
        yield kind
        for one in group:
            yield f"  {one.name:{width}}  {_detail(one)}"


def _detail(one: PluginInfo) -> str:
    parts = [f"{one.distribution} {one.version}".strip()]
    if one.problem:
        parts.append("BLOCKED:" if one.blocked else "PROBLEM:")
        parts.append(one.problem)
    elif one.hooks:
        parts.append(", ".join(one.hooks))
    return printable("  ".join(filter(None, parts)))
