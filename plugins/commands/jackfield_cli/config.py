"""``jackfield config``: what the configuration is, and where it comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jackfield import hookimpl
from jackfield.errors import JackfieldError
from jackfield_cli._options import config_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jackfield.config import Resolved

WIDEST = 60
"""Characters from which on a value no longer widens its column."""


@click.group()
def config() -> None:
    """Look at the configuration."""


def _sources(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which configuration is meant."""
    for option in (
        click.option("--profile", metavar="NAME", help="Lay this above the files."),
        config_file,
        click.argument(
            "directory",
            required=False,
            type=click.Path(exists=True, file_okay=False, path_type=Path),
        ),
    ):
        command = option(command)
    return command


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@_sources
def show(
    *, as_json: bool, profile: str | None, file: Path | None, directory: Path | None
) -> None:
    """Print each value and where it comes from.

    The search for files begins in DIRECTORY, or else in the current one; a script's
    begins in its own. What is not known to be harmless is printed as asterisks.
    """
    resolved = _resolved(profile, file, directory)
    if not as_json:
        click.echo(f"Files: {', '.join(resolved.files) or 'none'}")
        for place in resolved.looked:
            click.echo(f"  looked for in {place}")
    click.echo(_as_json(resolved) if as_json else "\n".join(_as_table(resolved)))


@config.command()
@_sources
def check(*, profile: str | None, file: Path | None, directory: Path | None) -> None:
    """Check everything that is configured; start nothing.

    Plugins are asked whether their options are right. Each problem is told with its key
    and where that was set; there is then an exit code of 1.
    """
    from jackfield_cli._check import problems

    told = list(problems(_resolved(profile, file, directory)))
    for problem in told:
        click.echo(problem, err=True)
    if told:
        raise click.exceptions.Exit(1)
    click.echo("The configuration is right.")


@config.command()
@click.option("--forget", is_flag=True, help="Take the word back.")
@click.argument(
    "path", default=".", type=click.Path(exists=True, resolve_path=True, path_type=Path)
)
def trust(*, path: Path, forget: bool) -> None:
    """Give your word for a configuration file, or for all in and below a directory.

    A file that is found, and not named, needs it if it is not yours, if others can
    write it, or if it has a key that runs code or lifts a protection. The words are
    lines of the file `trusted` in ~/.config/jackfield.
    """
    from jackfield_system.own_files import user_directory

    if "\n" in str(path):
        raise click.ClickException("No word can be kept for a name of two lines.")
    try:
        words = user_directory() / "trusted"
    except RuntimeError as error:
        raise click.ClickException(f"You have no home: {error}") from error
    try:
        words.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = words.read_text("utf-8") if words.exists() else ""
        kept = [line for line in text.splitlines() if line != str(path)]
        kept += [] if forget else [str(path)]
        made = words.with_name(f".trusted.{os.getpid()}")
        made.touch(mode=0o600, exist_ok=False)
        made.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        made.replace(words)
    except OSError as error:
        raise click.ClickException(f"{words} cannot be written: {error}") from error
    click.echo(f"{path} is {'no longer ' if forget else ''}trusted: see {words}.")


def _resolved(
    profile: str | None, file: Path | None, directory: Path | None
) -> Resolved:
    from jackfield.config.finding import make_request
    from jackfield.places import here
    from jackfield.plugins import PluginManager

    try:
        return PluginManager().find_configuration(
            make_request(
                file,
                profile=profile,
                directory=directory or here(),  # not where this command is installed
            )
        )
    except JackfieldError as error:
        raise click.ClickException(str(error)) from error


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield config``."""
    cli.add_command(config)


def _shown(resolved: Resolved) -> dict[str, object]:
    """Return what may be shown; for that, the plugins that have options are loaded."""
    from jackfield.config.shown import shown
    from jackfield.plugins import PluginManager

    manager = PluginManager().configured(resolved.config)
    return shown(resolved.config, manager.shown_options)


def _as_json(resolved: Resolved) -> str:
    rows = {
        key: {"value": value, "from": resolved.origins[key]}
        for key, value in _shown(resolved).items()
    }
    return json.dumps(rows, indent=2, default=_text, ensure_ascii=False)


def _as_table(resolved: Resolved) -> Iterable[str]:
    rows = [("KEY", "VALUE", "FROM")]
    for key, value in _shown(resolved).items():
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
