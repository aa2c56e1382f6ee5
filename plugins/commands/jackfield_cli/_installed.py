"""The commands that installed plugins offer."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import click

from jackfield.config.finding import make_request
from jackfield.errors import (
    JackfieldError,
    PluginError,
    PluginLoadError,
    printable,
    suggest,
)
from jackfield.plugins import PluginManager

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jackfield.plugins.observers import Observer

HOOK: Final = "jackfield_register_commands"

CONFIG: Final = "config"
"""The command that is there to tell what is wrong with a configuration."""


class InstalledCommands:
    """Finds and loads commands; each plugin is loaded and asked once.

    Every plugin adds its commands to a group of its own. So none sees, replaces or
    removes what another has added.
    """

    def __init__(self) -> None:
        self._manager, self._told = _manager()
        self._named: dict[str, click.Command] = {}
        self._general: dict[str, click.Command] | None = None
        self._asked: set[Observer] = set()

    def find(self, name: str) -> click.Command | None:
        """Return the command of a name, or ``None`` if nobody offers one.

        Raises:
            click.ClickException: There is an entry point of that name, and it cannot
                be used.
        """
        if name != CONFIG:
            self._tell()
        if name not in self._manager.installed("command"):
            return self._of_general_plugins().get(name)
        try:
            return self._load(name)
        except PluginError as error:
            raise click.ClickException(str(error)) from error

    def guess(self, name: str) -> str:
        """Return the end of a sentence on a command that is not there."""
        return suggest(name, self._manager.installed("command"))

    def load_all(self) -> Mapping[str, click.Command]:
        """Return every command by its name; what cannot be used is only told."""
        self._tell()
        for one in self._manager.catalogue.usable("command"):
            try:
                self._load(one.name)
            except PluginError as error:
                _complain(str(error))
        return {**self._of_general_plugins(), **self._named}

    def _tell(self) -> None:
        while self._told:
            _complain(self._told.pop())

    def _load(self, name: str) -> click.Command:
        """Return the command that the entry point of the same name adds.

        Raises:
            PluginError: It cannot be loaded, or it does not add such a command.
        """
        if name not in self._named:
            plugin = self._manager.load("command", name)
            offered = self._ask(plugin.observers[HOOK])
            if name not in offered:
                reason = f"its {HOOK} adds no command {name!r}."
                raise PluginLoadError(name, plugin.origin, reason)
            self._named[name] = offered.pop(name)
            for other in set(offered).difference(self._manager.installed("command")):
                _complain(
                    f"The command {other!r} of {plugin} is left out: it needs an "
                    f"entry point of its own in the group jackfield.commands."
                )
        return self._named[name]

    def _of_general_plugins(self) -> dict[str, click.Command]:
        """Return the commands that plugins of the group ``jackfield.plugins`` add."""
        if self._general is None:
            self._general = {}
            self._load_general()
            taken = self._manager.installed("command")
            for observer in self._manager.listeners(HOOK):
                if observer in self._asked:
                    continue  # an entry point of our group, asked for its own command
                for name, command in self._ask([observer]).items():
                    if name in self._general or name in taken:
                        _complain(
                            f"The command {name!r} of {observer.who} is left "
                            f"out: the name is taken."
                        )
                    else:
                        self._general[name] = command
        return self._general

    def _load_general(self) -> None:
        """Load the plugins that load with every kernel; a broken one is only told."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self._manager.load_general()
            except PluginError as error:
                _complain(str(error))
        for warning in caught:
            _complain(str(warning.message))

    def _ask(self, observers: Iterable[Observer]) -> dict[str, click.Command]:
        """Let implementations of the hook fill a group; return what is in it."""
        group = click.Group()
        for observer in observers:
            self._asked.add(observer)
            observer.tell(self._manager.log, group)
        return dict(group.commands)


def _manager() -> tuple[PluginManager, list[str]]:
    """Make a manager under the configuration's lists; say what is wrong with them."""
    from jackfield.places import here

    plain = PluginManager()
    try:
        config = plain.find_configuration(make_request(directory=here())).config
    except JackfieldError as error:
        head = "The configuration cannot be read: its [plugins] allow and block do not"
        return plain, [f"{head} count here. {error}"]
    names = plain.catalogue.names()
    told = [
        f"A blocked plugin, {name!r}, is not installed{suggest(name, names)}"
        for name in sorted({*config.block_plugins} - {*names})
    ]
    allow, block = config.allow_plugins, config.block_plugins
    return PluginManager(allow=allow, block=block), told


def _complain(message: str) -> None:
    click.echo(f"jackfield: {printable(message)}", err=True)
