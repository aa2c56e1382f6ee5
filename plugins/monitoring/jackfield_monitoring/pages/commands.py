"""``jackfield report`` and ``jackfield dashboard``: look at runs in a browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from jackfield import hookimpl
from jackfield.errors import printable
from jackfield_monitoring import runs as finding
from jackfield_monitoring.commands import dir_option, parent_of, run_argument, telling
from jackfield_monitoring.fields import FILE_NAME as RECORD
from jackfield_monitoring.runs import RunError
from jackfield_monitoring.store.reader import Store, StoreError
from jackfield_monitoring.store.schema import FILE_NAME as STORE

JACKFIELD_API = ">=1,<2"

_OPEN: Final = click.option(
    "--open", "opens", is_flag=True, help="Open it in a browser."
)


@click.command()
@run_argument
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="The file. [default: run-NUMBER.html]",
)  # fmt: skip
@dir_option
@_OPEN
def report(name: str, output: Path | None, parent: Path | None, opens: bool) -> None:
    """Write RUN's page into one HTML file.

    The file needs nothing else: no Jackfield, no network. RUN is a number, a path, the
    beginning of a run's id, or `last`.
    """
    from jackfield_monitoring.pages.report import report_of, write

    with telling(StoreError):
        run = finding.find(name, parent_of(parent))
        path = output or Path(f"run-{run.path.name}.html")
        try:
            with Store(run.path) as store:
                text = report_of(run, store)
        except StoreError as error:
            known = (run.path / STORE).exists()
            text = report_of(run, None, str(error) if known else "")
            click.echo(f"Only what {RECORD} tells: {printable(str(error))}", err=True)
        try:
            write(path, text)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror}.") from error
    click.echo(f"{path} ({len(text.encode()) / 1e6:.1f} MB)")
    if opens:
        click.launch(path.absolute().as_uri())


@click.command()
@click.argument("name", metavar="[RUN]", required=False)
@dir_option
@click.option("--port", type=click.IntRange(0, 65_535), default=0,
              help="Listen there. [default: any that is free]")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Listen at this address. Others than this machine's own need a "
                   "token, which is part of the printed address.")  # fmt: skip
@_OPEN
def dashboard(
    name: str | None, parent: Path | None, port: int, host: str, opens: bool
) -> None:
    """Show runs in a browser, live and afterwards.

    It prints its address and goes on until Ctrl-C. It reads what runs write, and asks
    nothing of their programs. RUN is a number, a path, the beginning of a run's id, or
    `last`: then the address is that of its page, and not of the list of all.
    """
    from jackfield_monitoring.pages.server import Dashboard

    with telling(StoreError):
        place, one = parent_of(parent), ""
        if name is None:
            finding.runs_in(place)
        else:
            path = finding.find(name, place).path.absolute()
            place, one = path.parent, f"#run={path.name}"
        try:
            server = Dashboard(place.absolute(), host, port)
        except OSError as error:
            text = f"Nothing can listen at {host}, port {port}: {error.strerror}."
            raise RunError(text) from error
    with server:
        try:  # whoever has read the address may press Ctrl-C
            click.echo(f"{server.url}{one}")
            sys.stdout.flush()
            if opens:
                click.launch(f"{server.url}{one}")
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo()


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add both."""
    cli.add_command(report)
    cli.add_command(dashboard)
