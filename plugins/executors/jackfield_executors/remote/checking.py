"""Checking the table of an executor with workers elsewhere, option by option."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

from jackfield.errors import ConfigurationError, suggest
from jackfield_executors.remote.disk_options import OPTIONS, wrong_option
from jackfield_executors.shares import AMOUNTS, are_amounts

Takes: TypeAlias = tuple[Callable[[Any], bool], str]
"""Whether an option takes a value, and in words what it takes."""


def _is_time(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and bool(value >= 0)


def text(wanted: str) -> Takes:
    """Return the check of an option that takes a text, such as ``wanted`` describes."""
    return lambda value: isinstance(value, str), wanted


TABLE: Final[Takes] = lambda value: isinstance(value, Mapping), "a table"
SECONDS: Final[Takes] = _is_time, "a number of seconds from 0 on"
RESOURCES: Final[Takes] = are_amounts, AMOUNTS
FLAG: Final[Takes] = lambda value: isinstance(value, bool), "true or false"
FROM_0: Final[Takes] = (
    lambda value: type(value) is int and value >= 0,
    "a whole number from 0 on",
)
FROM_1: Final[Takes] = (
    lambda value: type(value) is int and value > 0,
    "a whole number from 1 on",
)


def _nothing(name: str) -> str:
    del name
    return ""


def checked_options(
    plugin: str,
    label: str,
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
    takes: Mapping[str, Takes],
    *,
    elsewhere: Callable[[str], str] = _nothing,
) -> dict[str, Any]:
    """Return an executor's options with their defaults.

    Args:
        plugin: The plugin, as the configuration names it.
        label: The executor's label.
        options: What is configured.
        defaults: All options, with their defaults.
        takes: What each of them takes; those that are about disks are known.
        elsewhere: Gives the end of a sentence about a name that is no option here, if
            there is more to be said of it than which name is similar, or ``""``.

    Raises:
        ConfigurationError: Names the executor, the option and what it takes.
    """
    for name, value in options.items():
        if name not in defaults:
            raise ConfigurationError(
                f"Executor {label!r}: {plugin} has no option {name!r}"
                f"{elsewhere(name) or suggest(name, defaults)} "
                f"Options: {', '.join(defaults)}."
            )
        if name in OPTIONS:
            wanted = wrong_option(name, value)
        else:
            fits, wanted = takes[name]
            wanted = "" if fits(value) else wanted
        if wanted:
            raise ConfigurationError(
                f"Executor {label!r}: option {name!r} must be {wanted}, not {value!r}."
            )
    return {**defaults, **options}


def need_package(plugin: str, label: str) -> None:
    """Refuse a plugin whose package, of the same name, is not installed.

    Raises:
        ConfigurationError: Names the executor, and the command that installs it.
    """
    if find_spec(plugin) is None:
        raise ConfigurationError(
            f"Executor {label!r}: the plugin {plugin!r} needs the package {plugin}: "
            f"pip install 'jackfield[{plugin}]'"
        )
