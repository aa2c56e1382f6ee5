"""``jackfield config``: what the configuration is, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jackfield import hookimpl
from jackfield.errors import JackfieldError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jackfield.config import Resolved

WIDEST = 60
"""Characters from which on a value no longer widens its column."""


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--profile", metavar="NAME", help="Lay this profile above the files.")
@click.option(
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read this file instead of searching for one.",
)
@click.argument(
    "directory",
    required=False,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
def show(
    *, as_json: bool, profile: str | None, file: Path | None, directory: Path | None
) -> None:
    """Print each value and where it comes from.

    The search for files begins in DIRECTORY, or else in the current one. What
    looks like a secret is printed as asterisks.
    """
    from jackfield.config import resolve
    from jackfield.plugins import PluginManager

    try:
        resolved = resolve(
            file,
            profiles=PluginManager().profile,
            profile=profile,
            directory=directory,
        )
    except JackfieldError as error:
        raise click.ClickException(str(error)) from error
    click.echo(_as_json(resolved) if as_json else "\n".join(_as_table(resolved)))


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield config``."""
    cli.add_command(config)


def _as_json(resolved: Resolved) -> str:
    from jackfield.config.shown import shown

    rows = {
        key: {"value": value, "from": resolved.origins[key]}
        for key, value in shown(resolved.config).items()
    }
    return json.dumps(rows, indent=2, default=_text, ensure_ascii=False)


def _as_table(resolved: Resolved) -> Iterable[str]:
    from jackfield.config.shown import shown

    rows = [("KEY", "VALUE", "FROM")]
    for key, value in shown(resolved.config).items():
        text = json.dumps(value, default=_text, ensure_ascii=False)
        rows.append((key, text, resolved.origins[key]))
    widths = [_width(column) for column in zip(*rows, strict=True)]
    for key, text, source in rows:
        yield f"{key:{widths[0]}}  {text:{widths[1]}}  {source}"


def _width(column: Sequence[str]) -> int:
    return max(len(text) for text in column if len(text) <= WIDEST)


def _text(value: object) -> str:
    """Stand in for a value that JSON does not know: a path, an executor, a time."""
    return str(value) if isinstance(value, Path) else repr(value)
