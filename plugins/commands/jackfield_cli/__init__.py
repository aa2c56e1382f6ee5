"""The ``jackfield`` command line, whose commands all come from plugins.

A command is an entry point of the group ``jackfield.commands``, and its name is what
users write behind ``jackfield``. Those of this package are found in the same way as
anybody's. Only the module of the command that is wanted is imported: so the command
line starts quickly, and a plugin that is broken cannot keep ``jackfield plugins`` from
telling about it.

A plugin of the group ``jackfield.plugins``, which is there for what it does in a run,
may add commands as well. These plugins are loaded only for a name that no entry point
has, and for ``--help``.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield_cli._installed import InstalledCommands

_INSTALLED: Final = "jackfield_cli.installed"
"""Under this name a context keeps what it has found."""


class _Commands(click.Group):
    """A group whose commands are those that are installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_commands_of(ctx).load_all())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _commands_of(ctx).find(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if args[0].startswith("-"):
                raise
            hint = _commands_of(ctx).guess(args[0])
            text = f"No such command {args[0]!r}{hint}"
            raise click.UsageError(text, ctx) from error


def _commands_of(ctx: click.Context) -> InstalledCommands:
    """Return the installed commands, found once for a run of the command line.

    Only here, and not at the start: by now ``--no-plugin`` has been read, and what it
    names is kept out.
    """
    from jackfield_cli._installed import InstalledCommands

    if _INSTALLED not in ctx.meta:
        ctx.meta[_INSTALLED] = InstalledCommands()
    found: InstalledCommands = ctx.meta[_INSTALLED]
    return found


def _block(
    ctx: click.Context, _parameter: click.Parameter, names: tuple[str, ...]
) -> None:
    if names:
        ctx.with_resource(_blocked(names))


@click.group(cls=_Commands)
@click.version_option(package_name="jackfield", prog_name="jackfield")
@click.option(
    "--no-plugin",
    metavar="NAME",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_block,
    help="Do not use an installed plugin. May be given many times.",
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Look at what Jackfield would do here, and do it."""
    # A terminal may not know every character of a name. A script's output is its own.
    if ctx.invoked_subcommand != "run" and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def _blocked(names: tuple[str, ...]) -> Iterator[None]:
    """Block plugins in this process and its children, by the environment."""
    from jackfield.plugins.selection import VARIABLE, blocking

    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = blocking(before, names)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
