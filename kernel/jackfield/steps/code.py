"""Executors get functions as they are now, and no result is kept of other code.

What a function does can change while the object stays: a global is set anew, a module
is reloaded. An executor with workers elsewhere pickles an object once, and its workers
import modules of their own. So what makes memo keys also says what to send to them, and
a worker that has other code says so before the call (``StaleCodeError``); the task is
sent once more then.

A key is made on one thread, and the script may change something on another before the
function runs. So the code is compared once more: when a call has been prepared for
sending, and on threads when it has returned. Of a function whose ``version=`` stands
for its code there is only what it holds to be compared. The call itself may change
that, a list in its closure for instance, and is to have begun with it: so it is
compared before the call on threads too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.errors import JackfieldError

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield.errors import StaleCodeError
    from jackfield.graph.task import AppSpec, Task
    from jackfield.memo_keys import KeyMaker
    from jackfield.results.flights import Flights


class CheckedCall:
    """Calls a function, and notes after or before whether it is what its key says."""

    __slots__ = ("_before", "_note", "jackfield_sends")

    def __init__(
        self, function: Callable[..., Any], note: Callable[[], object], *, before: bool
    ) -> None:
        self.jackfield_sends: Callable[..., Any] = function
        self._note = note
        self._before = before

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        if self._before:
            self._note()
            return self.jackfield_sends(*args, **kwargs)
        try:
            return self.jackfield_sends(*args, **kwargs)
        finally:
            self._note()


class PresentCode:
    """Says what to give to executors in a function's place."""

    def __init__(
        self, keys: Callable[[], KeyMaker], flights: Callable[[], Flights]
    ) -> None:
        self._keys = keys
        self._flights = flights
        self._blocked = False

    def sent(self, work: Work, code: bytes) -> Callable[..., Any]:
        """Return what to send for a work; without a plugin for it, the function."""
        if self._blocked:
            return work.function
        try:
            keys = self._keys()
        except JackfieldError:
            self._blocked = True
            return work.function
        return keys.sent(work.name, work.function, code)

    def check(self, task: Task, work: Work, *, sent: bool) -> None:
        """See to it that the result of a cached call is kept only of the key's code."""
        extras = task.extras
        assert extras is not None
        function = original(work.function)
        own = _without_wrappers(function)
        note = partial(self._flights().note_changes, task.spec, extras, own)
        if sent:
            note()
            if function is not work.function:
                extras.keep &= work.function.jackfield_keeps  # type: ignore[attr-defined]  # as ``KeyMaker.sent`` says
        else:
            before = _is_pinned(task.spec)
            work.function = CheckedCall(function, note, before=before)

    def stale(self, work: Work, error: StaleCodeError) -> None:
        """Tell that a worker has had other code: the next ``sent`` goes by that."""
        self._keys().stale(work.name, work.function, error)


def original(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that something stands for which was given to an executor."""
    stands = hasattr(type(function), "jackfield_sends")  # an object may have anything
    return function.jackfield_sends if stands else function  # type: ignore[attr-defined]  # looked up in its type


def _is_pinned(spec: AppSpec) -> bool:
    """Tell whether a version stands for all the code that counts.

    It stands neither for the code of a lambda nor for that of ``depends_on``.
    """
    pinned = spec.version is not None and not spec.depends_on
    return pinned and not spec.name.endswith("<lambda>")


def _without_wrappers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a task's own function, of which its memo key was made.

    Around it may be what stages its files and what enforces its walltime.
    """
    while getattr(type(function), "wraps_tasks", False):
        function = function.function  # type: ignore[attr-defined]  # as they all have
    return function
