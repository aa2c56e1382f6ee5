"""``jackfield report`` and ``jackfield dashboard``: look at runs in a browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from jackfield import hookimpl
from jackfield.errors import printable
from jackfield_monitoring import runs as finding
from jackfield_monitoring.commands import parent_of, telling
from jackfield_monitoring.fields import FILE_NAME as RECORD
from jackfield_monitoring.runs import RunError
from jackfield_monitoring.store.reader import Store, StoreError
from jackfield_monitoring.store.schema import FILE_NAME as STORE

JACKFIELD_API = ">=1,<2"

_OPEN: Final = click.option(
    "--open", "opens", is_flag=True, help="Open it in a browser."
)


@click.command()
@click.argument("name", metavar="[RUN]", default="last")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="The file. [default: run-NUMBER.html]",
)  # fmt: skip
@click.option(
    "--dir", "parent", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
    help="The directory of runs. [default: run_dir of the configuration]",
)  # fmt: skip
@_OPEN
def report(name: str, output: Path | None, parent: Path | None, opens: bool) -> None:
    """Write what there is to see of RUN into one HTML file.

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
@click.argument(
    "directory", metavar="[DIR]", required=False,
    type=click.Path(file_okay=False, path_type=Path),
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65_535), default=0,
              help="Listen there. [default: any that is free]")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Listen at this address. Others than this machine's own need a "
                   "token, which is part of the printed address.")  # fmt: skip
@_OPEN
def dashboard(directory: Path | None, port: int, host: str, opens: bool) -> None:
    """Show the runs of DIR in a browser, while they run and afterwards.

    It prints its address and goes on until Ctrl-C. It reads what runs write, and asks
    nothing of their programs. DIR may also be the directory of one run.
    """
    from jackfield_monitoring.pages.server import Dashboard

    with telling(StoreError):
        parent, one = parent_of(directory), ""
        if (parent / RECORD).exists():
            parent, one = parent.absolute().parent, f"#run={parent.absolute().name}"
        finding.runs_in(parent, "as `jackfield dashboard DIR`")
        try:
            server = Dashboard(parent.absolute(), host, port)
        except OSError as error:
            text = f"Nothing can listen at {host}, port {port}: {error.strerror}."
            raise RunError(text) from error
    with server:
        click.echo(f"{server.url}{one}")
        sys.stdout.flush()
        if opens:
            click.launch(f"{server.url}{one}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo()


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add both."""
    cli.add_command(report)
    cli.add_command(dashboard)
