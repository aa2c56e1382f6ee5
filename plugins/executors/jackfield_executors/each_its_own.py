"""An error of its own for each task that fails for the same reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jackfield.errors import ExecutorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jackfield.abc import Outcome, Work

E = TypeVar("E", bound=BaseException)


def own(error: E) -> E:
    """Return an error that is like this one, with the same cause.

    The kernel writes into an error which call has failed with it, and each ``raise``
    adds to its traceback. So tasks that shared one would all be told by the name of
    the first. An error that is not an executor's is returned as it is, and so is one of
    a plugin's class that is not made from its ``args``: nobody knows how.
    """
    if not isinstance(error, ExecutorError):
        return error
    try:
        copy = type(error)(*error.args)
    except Exception:  # whatever that class may raise
        return error
    copy.__cause__ = error.__cause__
    return copy


def all_failed(works: Iterable[Work], error: BaseException) -> list[Outcome]:
    """Return outcomes of works that have all failed with an error."""
    return [(work, own(error), None) for work in works]
