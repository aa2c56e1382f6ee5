"""``jackfield doctor``: whether Jackfield works here, with this configuration."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from jackfield import hookimpl
from jackfield.errors import printable
from jackfield_cli._options import config_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.config import Resolved
    from jackfield_cli._examination import Finding

AREAS: Final = (
    "environment", "plugins", "configuration", "runs", "stores", "executors", "files"
)  # fmt: skip
"""What is looked at, in this order."""


@click.command()
@click.option("--url", "urls", multiple=True, help="Look at this file; do not move it.")
@click.option("--profile", metavar="NAME", help="Lay this above the files.")
@config_file
@click.option(
    "--skip",
    multiple=True,
    type=click.Choice(AREAS),
    help="Leave this out, such as executors that would ask a cluster for jobs.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds after which a check is given up.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(
    *,
    urls: tuple[str, ...],
    profile: str | None,
    file: Path | None,
    skip: tuple[str, ...],
    limit: float,
    as_json: bool,
) -> None:
    """Look whether all works that runs would use.

    Executors are started, run a task and end again; stores are only read. The exit
    code is 1 if there is an error.
    """
    from jackfield_cli._examination import Examination

    examination = Examination(limit, partial(_find, profile, file), urls)
    found = examination.findings(skip)
    if as_json:
        told = list(found)
        failed = any(one.level == "error" for one in told)
        click.echo(json.dumps({"ok": not failed, "findings": list(map(asdict, told))}))
    else:
        failed = _print(found)
    if examination.stuck():
        # What hangs would keep the interpreter, and its executors, from ending. The
        # processes of tasks end when this one does.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(failed))
    if failed:
        raise click.exceptions.Exit(1)


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield doctor``."""
    cli.add_command(doctor)


def _find(profile: str | None, file: Path | None) -> Resolved:
    from jackfield.config.finding import make_request
    from jackfield.places import here
    from jackfield.plugins import PluginManager

    return PluginManager().find_configuration(
        make_request(file, profile=profile, directory=here())
    )


def _print(found: Iterator[Finding]) -> bool:
    """Print findings as they come; tell whether there is an error."""
    counts = {"ok": 0, "warning": 0, "error": 0}
    for area, group in groupby(found, key=lambda one: one.area):
        click.echo(area)
        for one in group:
            counts[one.level] += 1
            mark = one.level if one.level == "ok" else one.level.upper()
            click.echo(f"  {mark:8} {printable(f'{one.which}: {one.told}')}")
            if one.advice:
                click.echo(f"  {'':8} -> {printable(one.advice)}")
    errors, warnings = counts["error"], counts["warning"]
    click.echo(
        f"\n{errors or 'no'} error{'s' * (errors != 1)}, "
        f"{warnings or 'no'} warning{'s' * (warnings != 1)}"
    )
    return errors > 0
