"""The ``jackfield`` command line.

A command is imported when it is wanted, and plugins are loaded only for what is none
of our own commands, and for ``--help``: so what is broken elsewhere cannot keep
``jackfield plugins`` from telling about it.
"""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.plugins import PluginManager

BUILT_IN: Final = {
    "config": "jackfield.cli.config",
    "memo": "jackfield.cli.memo",
    "plugins": "jackfield.cli.plugins",
    "run": "jackfield.cli.run",
}
"""Command to the module that has it, under the command's name."""

_CACHE: Final = "jackfield.cli.commands"


class _Commands(click.Group):
    """A group whose commands are our own, imported late, and plugins'."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*BUILT_IN, *_plugin_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in BUILT_IN:
            module = import_module(BUILT_IN[cmd_name])
            command = getattr(module, cmd_name)
            assert isinstance(command, click.Command)
            return command
        return _plugin_commands(ctx).get(cmd_name)


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
def main() -> None:
    """Look at what Jackfield would do here, and do it."""


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


def _plugin_commands(ctx: click.Context) -> dict[str, click.Command]:
    """Return the commands that plugins add; loads the general plugins once."""
    if _CACHE not in ctx.meta:
        ctx.meta[_CACHE] = _ask_plugins()
    commands: dict[str, click.Command] = ctx.meta[_CACHE]
    return commands


def _ask_plugins() -> dict[str, click.Command]:
    """Give each plugin a group of its own to fill, so that none hides another's."""
    manager = _load_plugins()
    found: dict[str, click.Command] = {}
    for observer in manager.listeners("jackfield_register_commands"):
        offered = click.Group()
        observer.tell(manager.log, offered)
        for name, command in offered.commands.items():
            if name in found or name in BUILT_IN:
                _complain(f"The name of command {name!r} is taken; of {observer.who}.")
            else:
                found[name] = command
    return found


def _load_plugins() -> PluginManager:
    """Load the general plugins; what is wrong with them is only told."""
    from jackfield.errors import PluginError
    from jackfield.plugins import PluginManager

    manager = PluginManager()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            manager.load_general()
        except PluginError as error:
            _complain(str(error))
    for warning in caught:
        _complain(str(warning.message))
    return manager


def _complain(message: str) -> None:
    click.echo(f"jackfield: {message}", err=True)
