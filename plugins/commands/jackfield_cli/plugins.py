"""``jackfield plugins``: what is installed, and whether it works."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import groupby
from typing import TYPE_CHECKING

import click

from jackfield import hookimpl
from jackfield.config.finding import make_request
from jackfield.errors import JackfieldError, printable
from jackfield.plugins import PluginManager
from jackfield.plugins.scan import GROUPS
from jackfield_cli._catalog import page
from jackfield_cli._listing import listing, load_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jackfield_cli._listing import PluginInfo

_ORDER = [*GROUPS, "registered"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option(
    "--markdown",
    is_flag=True,
    help="Print a page on all of them, made from their entry points and docs.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Load each plugin to see whether it works; exit with 1 if one does not.",
)
def plugins(as_json: bool, markdown: bool, check: bool) -> None:
    """List the installed plugins. Nothing is imported but with --check."""
    manager = PluginManager()
    if markdown:
        if as_json or check:
            raise click.UsageError("--markdown goes with neither --json nor --check.")
        click.echo(page(manager.catalogue.entries()), nl=False)
        return
    found = load_all(manager) if check else listing(manager)
    if check:
        found = [_with_profile(manager, one) for one in found]
    found.sort(key=lambda one: (_ORDER.index(one.kind), one.name))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        click.echo("\n".join(_lines(found)) or "No plugins are installed.")
    if check and any(one.problem and not (one.blocked or one.absent) for one in found):
        raise click.exceptions.Exit(1)


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield plugins``."""
    cli.add_command(plugins)


def _with_profile(manager: PluginManager, one: PluginInfo) -> PluginInfo:
    """Add what is wrong with the configuration that a profile gives."""
    if one.kind != "profile" or one.problem:
        return one
    from jackfield_cli._check import problems

    try:
        resolved = manager.find_configuration(
            make_request({}, profile=one.name, environ={})
        )
        wrong = next(problems(resolved), None)
    except JackfieldError as error:
        wrong = str(error)
    return replace(one, problem=wrong)


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
        optional = "OPTIONAL:" if one.absent else "PROBLEM:"
        parts.append("BLOCKED:" if one.blocked else optional)
        parts.append(one.problem)
    elif one.hooks:
        parts.append(", ".join(one.hooks))
    return printable("  ".join(filter(None, parts)))
