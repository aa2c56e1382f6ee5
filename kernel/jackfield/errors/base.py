"""What all errors have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class JackfieldError(Exception):
    """Base of every error that Jackfield raises."""


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return a sentence end that offers the nearest valid name, or a full stop."""
    from difflib import get_close_matches

    guess = get_close_matches(name, list(valid), n=1)
    return f"; did you mean {guess[0]!r}?" if guess else "."


def one_line(error: BaseException) -> str:
    """Return an exception in one line, whatever its ``__str__`` does."""
    try:
        text = str(error).strip().split("\n", 1)[0]
    except BaseException:
        text = "(its __str__ raises)"
    name = type(error).__name__
    return f"{name}: {text}" if text else name
