"""``jackfield usage``: what the plugin ``usage`` sends, before and after it does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jackfield import hookimpl
from jackfield.config.shown import shown
from jackfield.errors import JackfieldError, printable
from jackfield.files import redact
from jackfield.plugins import PluginManager
from jackfield_observers.usage import FILE_NAME, kinds_of, payload, refused

if TYPE_CHECKING:
    from jackfield import Config

JACKFIELD_API = ">=1,<2"


@click.command()
@click.option(
    "--dir", "parent", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
    help="The directory of runs. [default: run_dir of the configuration]",
)  # fmt: skip
def usage(parent: Path | None) -> None:
    """Show what would be sent about its use.

    By default nothing is. It is exactly what the newest run with [plugins.usage] has
    sent, or else what a run with this configuration would send that has no tasks.
    """
    try:
        manager = PluginManager()
        config = manager.find_configuration().config
    except JackfieldError as error:
        raise click.ClickException(printable(str(error), keep="\n")) from error
    newest = _newest(Path(config.run_dir) if parent is None else parent)
    if newest is None:
        click.echo("What a run would send, but for its tasks and seconds:", err=True)
        body = payload({}, kinds_of(shown(config, manager.shown_options)), 0.0)
    else:
        click.echo(f"Of the run {printable(newest.parent.name)}:", err=True)
        body = newest.read_bytes()
    click.echo(body, nl=False)
    click.echo(_whereto(config), err=True)


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield usage``."""
    cli.add_command(usage)


def _newest(parent: Path) -> Path | None:
    files = [path for path in parent.glob(f"*/{FILE_NAME}") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=None)


def _whereto(config: Config) -> str:
    """Say whether it is sent, and where to."""
    options = config.use_plugins.get("usage")
    if options is None:
        return "Nothing is sent: the configuration has no table [plugins.usage]."
    if refused(os.environ):
        return "Nothing is sent: DO_NOT_TRACK or JACKFIELD_USAGE forbids it."
    url = options.get("url")
    if not url:
        return "Nothing is sent: [plugins.usage] has no url."
    return f"It is sent at the end of each run, to {printable(redact(str(url)))}"
