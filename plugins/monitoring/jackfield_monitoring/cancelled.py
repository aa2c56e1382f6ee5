"""Attempts that somebody has cancelled: they have failed at nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackfield.events import Failure


def is_cancelled(failure: Failure) -> bool:
    """Tell whether it was cancelled what ended so.

    A ``CancelledError`` that a function has raised itself has a traceback. Where the
    attempt has no place either, no worker is known to have begun it: it may only have
    waited for one, and how long that was is no time that anything ran.
    """
    return failure.kind == "CancelledError" and not failure.traceback
