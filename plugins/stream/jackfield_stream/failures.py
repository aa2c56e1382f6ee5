"""Errors as text, made on the event stream's thread."""

from __future__ import annotations

import traceback
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import one_line, printable
from jackfield.events import Failure
from jackfield.messages import hide_secrets
from jackfield.states import TaskState
from jackfield_serialize import RemoteTraceback

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from jackfield.stream import NotedTask

LONGEST: Final = 20_000
"""Characters of a traceback; of a longer one the middle is left out."""

_FORMATTED: Final = 50
"""Errors with causes that are formatted in one delivery; each takes a millisecond."""

_STACKS: Final = 500
"""Stacks that are remembered as text, so that equal failures cost little."""


def reason_of(task: NotedTask) -> str:
    """Return why a task has failed, without the call, which its record has itself."""
    return task.reason.removesuffix(f" [in {task.call_text()}]")


def _split(error: BaseException, line: str) -> tuple[str, str]:
    """Return kind and message of an error whose line begins with its kind."""
    kind = type(error).__name__
    return kind, hide_secrets(line.removeprefix(kind).removeprefix(": ") or kind)


class Failures:
    """Makes texts of errors, and remembers the stacks that it has seen."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[Any, ...], str] = {}
        self._left: int = _FORMATTED

    def allow(self) -> None:
        """Allow some more errors to be formatted with all their causes."""
        self._left = _FORMATTED

    def of(self, task: NotedTask) -> Failure | None:
        """Return why a task that has ended has not succeeded."""
        error = task.error
        if error is None:
            return None
        if task.state is TaskState.CANCELLED:
            return Failure("CancelledError", "it was cancelled")
        if task.state is TaskState.DEPENDENCY_FAILED:
            first = task.first_failed
            kind, message = _split(error, reason_of(task))
            return Failure(kind, message, origin=None if first == task.id else first)
        return self.made(error, reason_of(task))

    def made(self, error: BaseException, reason: str) -> Failure:
        """Return an error as text; ``reason`` is its line, if that is made already."""
        kind, message = _split(error, reason or one_line(error))
        try:
            text = self._traceback(error)
        except Exception:  # of a class that has properties of its own
            text = ""
        return Failure(kind, message, hide_secrets(text))

    def _traceback(self, error: BaseException) -> str:
        trace = error.__traceback__
        linked = error.__cause__
        if linked is None and not error.__suppress_context__:
            linked = error.__context__
        lines: Iterable[str]
        if isinstance(linked, RemoteTraceback):  # all there is to see: it ran there
            lines = (linked.text,)
        elif linked is not None and self._left > 0:
            self._left -= 1
            lines = traceback.format_exception(error)
        else:
            last = traceback.format_exception_only(error)
            head = "Traceback (most recent call last):\n"
            lines = chain((head, self._stack(trace)) if trace else (), last)
        text = printable("".join(lines), keep="\n\t")
        if len(text) <= LONGEST:
            return text
        half = LONGEST // 2
        return f"{text[:half]}\n...\n{text[-half:]}"

    def _stack(self, trace: TracebackType | None) -> str:
        """Return the lines of a stack; equal ones are formatted once."""
        places: list[Any] = []
        one = trace
        while one is not None:
            places += (one.tb_frame.f_code, one.tb_lineno)
            one = one.tb_next
        key = tuple(places)
        text = self._stacks.get(key)
        if text is None:
            if len(self._stacks) >= _STACKS:
                self._stacks.clear()
            text = self._stacks[key] = "".join(traceback.format_tb(trace))
        return text
