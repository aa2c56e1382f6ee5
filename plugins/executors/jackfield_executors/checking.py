"""Checking the table of an executor, option by option."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from jackfield.errors import ConfigurationError, suggest
from jackfield_executors.shares import checked_amounts, parse_size

Check: TypeAlias = Callable[[Any], Any]
"""Takes an option's value and returns the one to use, or raises a ``ValueError`` or
``TypeError`` that says in words what the option takes."""


def takes(fits: Callable[[Any], bool], wanted: str) -> Check:
    """Return the check of an option that takes what ``fits``, ``wanted`` in words."""

    def check(value: Any) -> Any:
        if not fits(value):
            raise ValueError(wanted)
        return value

    return check


def text(wanted: str) -> Check:
    """Return the check of an option that takes a text, such as ``wanted`` describes."""
    return takes(lambda value: isinstance(value, str), wanted)


def _is_time(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and bool(value >= 0)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(one, str) for one in value
    )


def _carried(value: Any) -> Any:
    """Return what ``carry`` was given as, which messages show, if it is a size."""
    if parse_size(value) is None:
        raise ValueError("a number of bytes, or '64 MB'")
    return value


TABLE: Final = takes(lambda value: isinstance(value, Mapping), "a table")
SECONDS: Final = takes(_is_time, "a number of seconds from 0 on")
FLAG: Final = takes(lambda value: isinstance(value, bool), "true or false")
FROM_0: Final = takes(
    lambda value: type(value) is int and value >= 0, "a whole number from 0 on"
)
FROM_1: Final = takes(
    lambda value: type(value) is int and value > 0, "a whole number from 1 on"
)


class Option(NamedTuple):
    """What an option is by default, and its check."""

    default: Any
    check: Check


DISKS: Final[Mapping[str, Option]] = {
    "carry": Option("64 MB", _carried),
    "ship": Option(
        None,
        takes(
            lambda value: value is None or _are_texts(value),
            "a list of files and directories",
        ),
    ),
    "shared_filesystem": Option(
        None,
        takes(lambda value: value is None or isinstance(value, bool), "true or false"),
    ),
}
"""The options that are about disks, of all executors with workers elsewhere."""

AGENTS: Final[Mapping[str, Option]] = {
    "least": Option(0, FROM_0),
    "most": Option(1, FROM_1),
    "init": Option(0, FROM_0),
    "patience": Option(60.0, SECONDS),
    "resources": Option({}, checked_amounts),
    "keep": Option(True, FLAG),
    **DISKS,
}
"""The options of all executors with agents of ours."""

AGENTS_SHOWN: Final = ("least", "most", "init", "patience", "carry", "ship")
"""Options of every engine whose values may be shown; see ``JACKFIELD_SHOWN``."""


def _nothing(name: str) -> str:
    del name
    return ""


def checked_values(
    plugin: str,
    label: str,
    options: Mapping[str, Any],
    checks: Mapping[str, Check],
    *,
    elsewhere: Callable[[str], str] = _nothing,
    private: Collection[str] = (),
) -> dict[str, Any]:
    """Return the values to use of those options that are configured.

    Args:
        plugin: The plugin, as the configuration names it.
        label: The executor's label.
        options: What is configured.
        checks: All options that there are, each with its check.
        elsewhere: Gives the end of a sentence about a name that is no option here, if
            there is more to be said of it than which name is similar, or ``""``.
        private: Options whose values are not shown.

    Raises:
        ConfigurationError: Names the executor, the option and what it takes.
    """
    checked = {}
    for name, value in options.items():
        if name not in checks:
            raise ConfigurationError(
                f"Executor {label!r}: {plugin} has no option {name!r}"
                f"{elsewhere(name) or suggest(name, checks)} "
                f"Options: {', '.join(checks)}."
            )
        try:
            checked[name] = checks[name](value)
        except (TypeError, ValueError) as error:
            shown = type(value).__name__ if name in private else repr(value)
            raise ConfigurationError(
                f"Executor {label!r}: option {name!r} must be {error}, not {shown}."
            ) from error
    return checked


def checked_options(
    plugin: str,
    label: str,
    options: Mapping[str, Any],
    known: Mapping[str, Option],
    *,
    elsewhere: Callable[[str], str] = _nothing,
) -> dict[str, Any]:
    """Return what ``checked_values`` does, and the defaults of all other options."""
    checks = {name: one.check for name, one in known.items()}
    defaults = {name: one.default for name, one in known.items()}
    given = checked_values(plugin, label, options, checks, elsewhere=elsewhere)
    return {**defaults, **given}


def need_package(plugin: str, label: str, package: str = "", extra: str = "") -> None:
    """Refuse a plugin whose package is not installed; by default of the same name.

    Raises:
        ConfigurationError: Names the executor, and the command that installs it.
    """
    from importlib.util import find_spec  # few executors need a package

    if find_spec(package or plugin) is None:
        raise ConfigurationError(
            f"Executor {label!r}: the plugin {plugin!r} needs the package "
            f"{package or plugin}: pip install 'jackfield[{extra or plugin}]'"
        )
