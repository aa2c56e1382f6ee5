"""What checks of configuration values are made of.

A check is a function that takes a key and its value. It returns the value as it is to
be kept, or raises ``Wrong``, from which ``check.checked`` makes the message: only there
is it known where the value came from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from jackfield.errors import suggest
from jackfield.files import NO_NAME
from jackfield.messages import HIDDEN, redacted

Key: TypeAlias = tuple[str, ...]
"""A key as its parts, beginning with the name of a ``Config`` field."""

Check: TypeAlias = Callable[[Key, Any], object]
"""Takes a key and its value; returns the value to keep, or raises ``Wrong``."""

_DATA: Final = (str, bytes, int, float, Mapping, type(None))
"""Types of values that are no plugins."""


class Wrong(Exception):  # noqa: N818  (never leaves this package)
    """A value is of the wrong type, or out of range.

    Attributes:
        key: Its key, with which the message begins.
        verdict: The rest of the sentence, such as ``"must be a path, not 3."``
    """

    def __init__(self, key: Key, verdict: str) -> None:
        super().__init__(key, verdict)
        self.key: Key = key
        self.verdict: str = verdict


# -- Plain values -------------------------------------------------------------------


def refuse(key: Key, expected: str, value: object) -> NoReturn:
    """Refuse a value, saying what was expected; one that may be secret is not shown."""
    shown = redacted(key, value, lambda _: True)  # the kernel's own option
    hidden = shown == HIDDEN or isinstance(value, list | tuple | Mapping)
    given = type(value).__name__ if hidden else repr(shown)
    raise Wrong(key, f"must be {expected}, not {given}.")


def refuse_type(key: Key, expected: str, value: object) -> NoReturn:
    """Refuse without showing the value, which may hold a secret."""
    raise Wrong(key, f"must be {expected}, not {type(value).__name__}.")


def number(least: float) -> Check:
    """Return the check of a number of at least ``least``."""

    def check(key: Key, value: Any) -> object:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not fits or not least <= value <= sys.float_info.max:  # NaN is neither
            refuse(key, f"a number of at least {least:g}", value)
        return value

    return check


def integer(least: int, *, none: bool = False) -> Check:
    """Return the check of a whole number of at least ``least``, or ``None``."""

    def check(key: Key, value: Any) -> object:
        if none and value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            refuse(key, f"an integer of at least {least}", value)
        return value

    return check


def flag(key: Key, value: Any) -> object:
    """Check a yes or no."""
    if not isinstance(value, bool):
        refuse(key, "true or false", value)
    return value


def one_of(choices: tuple[str, ...], fold: Callable[[str], str] = str) -> Check:
    """Return the check of a word out of ``choices``, once ``fold`` has unified it."""
    names = f"{', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}"

    def check(key: Key, value: Any) -> object:
        if not isinstance(value, str):
            refuse(key, names, value)
        if fold(value) not in choices:
            hint = suggest(fold(value), choices)
            shown = redacted(key, value, lambda _: True)
            raise Wrong(key, f"must be {names}, not {shown!r}{hint}")
        return fold(value)

    return check


def directory(key: Key, value: Any) -> object:
    """Check a path; ``~`` is expanded."""
    text = str(value) if isinstance(value, str | Path) else ""
    if not text or NO_NAME.search(text):
        refuse(key, "a path", value)
    if not text.startswith("~"):
        return value
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise Wrong(key, f"names the home of an unknown user: {value!r}.") from error


def names(*, none: bool = False) -> Check:
    """Return the check of a list of names, or ``None``."""

    def check(key: Key, value: Any) -> object:
        if none and value is None:
            return None
        fits = isinstance(value, list | tuple)
        if not fits or not all(isinstance(name, str) and name for name in value):
            refuse(key, "a list of names", value)
        return tuple(value)

    return check


def objects(key: Key, value: Any) -> object:
    """Check a list of plugin objects."""
    fits = isinstance(value, list | tuple)
    if not fits or any(isinstance(one, _DATA) for one in value):
        refuse(key, "a table, or in Python a list of objects or modules", value)
    return tuple(value)


# -- Tables -------------------------------------------------------------------------


def table(key: Key, value: Any) -> dict[str, Any]:
    """Check a table, and return a copy."""
    if not isinstance(value, Mapping):
        refuse_type(key, "a table", value)
    for name in value:
        if not isinstance(name, str):
            refuse(key, "a table whose names are text", name)
    return dict(value)


def tables(key: Key, value: Any) -> dict[str, Any]:
    """Check a table of tables, and return a copy."""
    return {
        name: table((*key, name), options)
        for name, options in table(key, value).items()
    }
