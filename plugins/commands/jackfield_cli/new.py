"""``jackfield new``: the beginning of a plugin, as a distribution that works."""

from __future__ import annotations

from pathlib import Path

import click

from jackfield import hookimpl
from jackfield.plugins import PluginManager
from jackfield_cli._templates import PATTERNS, distribution_of, why_not, written


@click.command()
@click.option(
    "--into",
    "parent",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Make the distribution's directory in this one.",
)
@click.argument("kind", type=click.Choice(list(PATTERNS)))
@click.argument("name")
def new(kind: str, name: str, parent: Path) -> None:
    """Begin a plugin: a distribution with code, tests, types and CI.

    NAME is what users will write: an executor's or monitor's `plugin`, the URL scheme
    of files or of a store, the package whose values are hashed, the profile, a policy's
    table, the command. What is written works, and passes its tests: change it from
    there.
    """
    reason = why_not(kind, name) or _taken(kind, name)
    if reason:
        raise click.BadParameter(reason, param_hint="NAME")
    home = parent / distribution_of(name)
    if home.exists():
        raise click.ClickException(f"{home} is there already, and was not changed.")
    for path, text in written(kind, name).items():
        file = home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        click.echo(f"wrote {file}")
    click.echo(f"\nNow:  cd {home}\n      pip install -e '.[test]'\n      pytest")


def _taken(kind: str, name: str) -> str:
    """Say who has a name already: two plugins of one name would both be refused."""
    own = PATTERNS[kind].kind
    for entry in PluginManager().catalogue.entries(own):
        if entry.name == name:
            article = "an" if kind[0] in "aeo" else "a"
            return f"{name!r} is {article} {kind} of {entry.distribution} already."
    return ""


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield new``."""
    cli.add_command(new)
