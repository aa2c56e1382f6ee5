"""The base class of all errors, and two helpers for messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class JackfieldError(Exception):
    """Base of every error that Jackfield raises."""


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return the end of a sentence about a name that is wrong.

    It is ``"; did you mean 'nearest'?"`` if a valid name is similar, else ``"."``.
    """
    from difflib import get_close_matches

    guess = get_close_matches(name, list(valid), n=1)
    return f"; did you mean {guess[0]!r}?" if guess else "."


def one_line(error: BaseException) -> str:
    """Return class and message of an exception in one line; never raises."""
    try:
        text = str(error).strip().split("\n", 1)[0]
    except BaseException:
        text = "(its __str__ raises)"
    name = type(error).__name__
    return f"{name}: {text}" if text else name
