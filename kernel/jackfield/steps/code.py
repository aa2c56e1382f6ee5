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

It is the same with arguments that can be changed: a list, an array, a file. They are
compared as ``Flights.compare`` tells.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from jackfield.errors import JackfieldError

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield.errors import StaleCodeError
    from jackfield.graph.task import AppSpec, Task
    from jackfield.memo_keys import KeyMaker
    from jackfield.results.flights import Flights
    from jackfield.steps.lazy import Lazy


class CheckedCall:
    """Calls a function, and notes after or before whether it is what its key says.

    Attributes:
        jackfield_sends: The function.
        jackfield_keeps: Whether it was that at each call so far.
    """

    __slots__ = (
        "_before",
        "_code",
        "_compare",
        "_flights",
        "_spec",
        "jackfield_keeps",
        "jackfield_sends",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        spec: AppSpec,
        code: bytes,
        memo: Flights,
        compare: Callable[[Any, Any], None] | None,
    ) -> None:
        self.jackfield_sends: Callable[..., Any] = function
        self.jackfield_keeps: bool = True
        self._spec = spec
        self._code = code
        self._flights = memo
        self._compare = compare
        # A version stands neither for the code of a lambda nor for `depends_on`.
        pinned = spec.version is not None and not spec.name.endswith("<lambda>")
        self._before: bool = pinned and not spec.depends_on

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        function = self.jackfield_sends
        if self._compare is not None:
            self._compare(args, kwargs)
        if self._before:
            self._note(function)
            return function(*args, **kwargs)
        try:
            return function(*args, **kwargs)
        finally:
            self._note(function)

    def _note(self, function: Callable[..., Any]) -> None:
        if not self._flights.is_still(self._spec, self._code, innermost(function)):
            self.jackfield_keeps = False

    def serves(self, function: Callable[..., Any], spec: AppSpec, code: bytes) -> bool:
        """Tell whether it may stand for the function of a further task.

        It may not where each call may change the function for the next one: the results
        of calls that share it are kept or not together. Nor where it compares the
        arguments of one task.
        """
        return (
            self.jackfield_sends is function
            and self._spec is spec
            and self._code == code
            and not self._before
            and self._compare is None
        )


_ATOMS: Final = frozenset({int, float, str, bytes, bool, type(None), complex})
"""Types of arguments that bring no code along."""


class Looked(NamedTuple):
    """What was found out of a work's function when it was to be sent.

    Attributes:
        function: The function.
        spec: The app.
        code: What its key says that the function is; ``b""`` if it has none.
        sent: What is sent for it.
        keep: Whether the result may be kept.
    """

    function: Callable[..., Any]
    spec: AppSpec
    code: bytes
    sent: Callable[..., Any]
    keep: bool


class PresentCode:
    """Says what to give to executors in a function's place."""

    def __init__(self, keys: Callable[[], KeyMaker], flights: Lazy[Flights]) -> None:
        self._keys = keys
        self._flights = flights
        self._blocked = False

    def send(self, task: Task, work: Work, before: Looked | None) -> Looked | None:
        """Put what is to be sent in the place of a work's function.

        Calls of one function that are submitted together are looked at once: ``before``
        is what was returned for the work before this one, ``None`` if arguments count.
        """
        extras = task.extras
        code = b"" if extras is None else extras.code
        values = _changeable(work)
        if values and code and extras is not None:
            extras.compared = False
        if (
            before is None
            or values  # the classes and functions that they bring count, too
            or before.function is not work.function
            or before.spec is not task.spec
            or before.code != code
        ):
            before = self._look(task, work, code, values)
        work.function = before.sent
        if extras is not None:
            extras.keep &= before.keep
        return None if values else before

    def _look(
        self, task: Task, work: Work, code: bytes, values: tuple[Any, ...]
    ) -> Looked:
        function = work.function
        sent = self._sent(work, code, values)
        keep = True
        if code:
            keep = self._flights().is_still(task.spec, code, innermost(sent))
            if sent is not function:
                keep &= sent.jackfield_keeps  # type: ignore[attr-defined]  # as ``KeyMaker.sent`` says
        return Looked(function, task.spec, code, sent, keep)

    def _sent(
        self, work: Work, code: bytes, values: tuple[Any, ...]
    ) -> Callable[..., Any]:
        """Return what to send for a work; without a plugin for it, the function."""
        if self._blocked:
            return work.function
        try:
            keys = self._keys()
        except JackfieldError:
            self._blocked = True
            return work.function
        return keys.sent(work.name, work.function, code, values)

    def check(self, task: Task, work: Work, before: CheckedCall | None) -> CheckedCall:
        """See to it that a result made on a thread is kept only of the key's code.

        ``before`` is what was returned for the work before, of those that are submitted
        together: calls of one function share it.
        """
        extras = task.extras
        assert extras is not None
        function, memo = original(work.function), self._flights()
        compare = partial(memo.compare, task) if _changeable(work) else None
        shared = before is not None and before.serves(function, task.spec, extras.code)
        if before is None or not shared or compare is not None:
            before = CheckedCall(function, task.spec, extras.code, memo, compare)
        work.function = before
        return before

    def compare_failed(self, task: Task) -> None:
        """See ``Flights.compare_failed``."""
        extras = task.extras
        if extras is not None and not extras.compared:
            self._flights().compare_failed(task)

    def stale(self, work: Work, error: StaleCodeError) -> None:
        """Tell that a worker has had other code: the next ``sent`` goes by that."""
        self._keys().stale(work.name, work.function, error)


def _changeable(work: Work) -> tuple[Any, ...]:
    """Return the arguments of a call, if there are any but numbers and texts."""
    values = work.args
    if work.kwargs:
        values = (*values, *work.kwargs.values())
    return () if _ATOMS.issuperset(map(type, values)) else values


def keeps(function: Callable[..., Any]) -> bool:
    """Tell whether a result may be kept, of what was submitted to an executor."""
    checks = type(function) is CheckedCall  # an object may pretend to be of any class
    return cast("CheckedCall", function).jackfield_keeps if checks else True


def original(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that something stands for which was given to an executor."""
    kind = type(function)  # because an object may have anything
    if kind is not FunctionType and hasattr(kind, "jackfield_sends"):
        function = function.jackfield_sends  # type: ignore[attr-defined]  # looked up in its type
    return function


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the user's function, without what sends it or is put around it.

    That is what stages its files and what enforces its walltime.
    """
    function = original(function)
    while type(function) is not FunctionType and getattr(
        type(function), "wraps_tasks", False
    ):
        function = function.function  # type: ignore[attr-defined]  # as they all have
    return function
