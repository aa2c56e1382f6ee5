"""How a future ends, exactly once.

``settle`` or ``claim_cancel`` take ``CLAIM``, see that the state is still pending,
write it, and wake who sleeps in ``result``, who has come under ``CLAIM`` too. Where
somebody has made the condition, they hold it first and wake its waiters before they
let it go: ``concurrent.futures.wait`` counts on it that a state which it sees, with the
condition held, is one that its waiter will not be told of again. Callbacks are left to
whoever ends the task, who calls ``take_callbacks``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import TYPE_CHECKING, Any

from jackfield.states import TaskState

if TYPE_CHECKING:
    from jackfield.executors.pool import ExecutorEntry
    from jackfield.futures import KernelFuture
    from jackfield.futures.locks import Latch
    from jackfield.graph.effects import Ending
    from jackfield.graph.task import Task

CLAIM: Any = threading.RLock()
"""Held for the few instructions that decide how a future ends.

Reentrant: the garbage collector may call a ``__del__`` of a user's at any
instruction, and that may cancel another future. Taken after a future's condition.
"""


class Cancellation(CancelledError):  # noqa: N818  (what the user asked for is no error)
    """Ends a future as cancelled; a task's own CancelledError is a failure."""


def settle(endings: Iterable[Ending]) -> list[bool]:
    """End futures; tell which were still pending.

    A ``Cancellation`` ends a future as cancelled.
    """
    wins: list[bool] = []
    watched: list[tuple[int, KernelFuture[Any], BaseException | None, Any]] = []
    with CLAIM:
        for future, error, value, _, _ in endings:
            if future is not None and future._cond is not None:
                watched.append((len(wins), future, error, value))
                wins.append(False)
            else:
                wins.append(future is not None and _write(future, error, value))
    for place, future, error, value in watched:
        with future._condition:
            with CLAIM:
                wins[place] = _write(future, error, value)
            if wins[place]:
                _wake(future)
    return wins


def _write(future: KernelFuture[Any], error: BaseException | None, value: Any) -> bool:
    if future._state is not PENDING:
        return False
    if error is None:
        future._result = value
        future._state = FINISHED
    elif type(error) is Cancellation:
        future._state = CANCELLED_AND_NOTIFIED
    else:
        future._exception = error
        future._state = FINISHED
    sleepers = future._sleepers
    if sleepers is not None:
        future._sleepers = None
        for sleeper in sleepers:
            sleeper.open()
    return True


def add_sleeper(future: KernelFuture[Any], sleeper: Latch) -> bool:
    """Have a latch opened when a future ends; False if it has ended."""
    with CLAIM:
        if future._state is not PENDING:
            return False
        if future._sleepers is None:
            future._sleepers = []
        future._sleepers.append(sleeper)
        return True


def drop_sleeper(future: KernelFuture[Any], sleeper: Latch) -> None:
    """Forget a latch at which nobody waits any more."""
    with CLAIM:
        if future._sleepers is not None and sleeper in future._sleepers:
            future._sleepers.remove(sleeper)


def claim_cancel(
    future: KernelFuture[Any], allowed: Callable[[], bool] | None = None
) -> bool:
    """End a pending future as cancelled, if ``allowed()`` under the lock."""
    with future._condition:
        with CLAIM:
            if future._state is not PENDING or (allowed is not None and not allowed()):
                return False
            _write(future, Cancellation(), None)
        _wake(future)
        return True


def mark_submitted(tasks: Iterable[Task], entry: ExecutorEntry) -> list[Task]:
    """Note the executor of the tasks whose future is pending, and return them.

    After this, ``cancel`` asks the executor instead of just cancelling.
    """
    pending: list[Task] = []
    with CLAIM:
        for task in tasks:
            future = task.future
            if future is not None and future._state is PENDING:
                task.entry = entry
                task.state = TaskState.SUBMITTED
                pending.append(task)
    return pending


def _wake(future: KernelFuture[Any]) -> None:
    """Wake those who wait for a future that has ended; its condition is held."""
    for waiter in future._waiting or ():
        if future.cancelled():
            waiter.add_cancelled(future)
        elif future._exception is not None:
            waiter.add_exception(future)
        else:
            waiter.add_result(future)


def take_callbacks(
    future: KernelFuture[Any],
) -> list[Callable[[Any], object]] | None:
    """Return the callbacks of a future that has ended, once."""
    callbacks = future._callbacks
    if callbacks is not None:
        future._callbacks = None
    return callbacks


def run_callback(future: KernelFuture[Any], callback: Callable[[Any], object]) -> None:
    """Call a done-callback; log what it raises, whatever that is."""
    try:
        callback(future)
    except BaseException:
        import logging

        logging.getLogger("jackfield").exception(
            "A done-callback of %r raised; the run goes on", future
        )


def reset_after_fork() -> None:
    """Make a new claim lock in a forked child: the old one may be held for ever."""
    global CLAIM  # noqa: PLW0603  (the one lock of this module)
    CLAIM = threading.RLock()


def strand(future: KernelFuture[Any], error: BaseException) -> None:
    """End a future in a forked child, where no thread is left that waits for it."""
    future._cond = future._sleepers = None  # nobody is left there; it may be held, too
    _write(future, error, None)
