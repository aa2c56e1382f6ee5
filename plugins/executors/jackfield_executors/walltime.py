"""A walltime for functions that run on threads: an exception raised in them.

A thread cannot be stopped from outside. What the interpreter offers is to raise an
exception in it (``PyThreadState_SetAsyncExc``), which arrives between two of the
thread's instructions. So one watchdog thread in each process knows when which thread's
time is over, and has ``_Expired`` raised there. Code that does not come back to the
interpreter, such as a long call into C, goes on until it does: hence "soft".

Two threads meet at each limit: the one that runs the function, and the watchdog. The
function may return in the very moment in which its limit is due, and then the exception
must not strike whatever the thread does next. So the watchdog asks for the exception
with the limit's lock held, and only while the limit is armed; and the other thread
disarms the limit and then takes the lock once. Afterwards the exception has either been
asked for or never will be. If it has been, it is on its way, and a short loop gives it
the moment to arrive in.

The exception may get lost: Python only prints what is raised within a ``__del__``, and
a function may catch everything and go on. So as long as the limit is armed it is asked
for again each ``AGAIN_S``, unless the function is just handling it: what it does in a
``finally`` then is its end, and not to be disturbed.

Limits may be nested, and the exception of an outer one may strike anywhere within an
inner one. Hence each step of an inner one is either a single instruction or can be left
half done; the watchdog's lock is entered by C code, because the exception could strike
between the two halves of an ``__enter__`` written in Python, and the lock would be held
for ever.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
from typing import Any, Final

from jackfield import clock, hookimpl
from jackfield.abc import LimitedCall
from jackfield.errors import AppTimeout
from jackfield.futures.locks import Condition


class _Expired(BaseException):
    """Raised in the thread of a function whose time is over."""


@hookimpl
def jackfield_create_walltime() -> type[LimitedCall]:
    """Have an exception raised in the function."""
    return SoftWalltime


class SoftWalltime(LimitedCall):
    """Calls a function, and has an exception raised in it when it takes too long."""

    __slots__ = ()

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function on this thread, within its time."""
        limit = _Limit(threading.get_ident())
        since = clock.monotonic()
        try:
            try:
                _WATCHDOG.watch(limit, self.seconds)
                return self.function(*args, **kwargs)
            finally:
                # First, and by one instruction: if an outer limit's exception strikes
                # in the next line, this limit is disarmed all the same. Armed for ever,
                # it would strike at another function that this thread runs later.
                limit.armed = False
                limit.wait_for_fire()
                # Python delivers a pending exception when a loop goes round. If ours is
                # on its way, it arrives here and not in our caller.
                for _ in range(100):
                    pass
        except _Expired:
            if not limit.fired:  # it is the exception of a limit around this one
                raise
            ran = clock.monotonic() - since
            raise AppTimeout(self.name, self.seconds, ran) from None


class _Limit:
    """One call's limit. It never fires after it was disarmed.

    Attributes:
        thread: The thread that runs the function.
        armed: Whether it may still fire. Cleared by that thread.
        fired: Whether the exception has been asked for. Set by the watchdog, under
            the lock.
    """

    __slots__ = ("_lock", "armed", "fired", "thread")

    def __init__(self, thread: int) -> None:
        self.thread: int = thread
        self.armed: bool = True
        self.fired: bool = False
        self._lock: threading.Lock = threading.Lock()

    def fire(self) -> None:
        """Have the exception raised, unless the function has returned meanwhile."""
        import ctypes

        with self._lock:
            if self.armed and not (self.fired and self._is_handled()):
                self.fired = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self.thread), ctypes.py_object(_Expired)
                )

    def _is_handled(self) -> bool:
        """Tell whether the thread is in an ``except`` or ``finally`` for an end."""
        found: Any = sys._current_exceptions().get(self.thread)
        error = found[1] if isinstance(found, tuple) else found  # until Python 3.11
        while error is not None and not isinstance(error, _Expired):
            error = error.__context__
        return error is not None

    def wait_for_fire(self) -> None:
        """Wait until the watchdog is not within ``fire``."""
        with self._lock:
            pass


class _Watchdog:
    """Fires limits when they are due, on a thread that starts on first use.

    All fields are read and written with the lock of ``_changed`` held.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, int, _Limit]] = []  # a heap: the next one first
        self._swept: int = 0  # how many limits the last sweep has left
        self._changed: Condition = Condition()
        self._tickets: itertools.count[int] = itertools.count()
        self._thread: threading.Thread | None = None

    def watch(self, limit: _Limit, seconds: float) -> None:
        """Fire a limit after so many seconds, if it is still armed then."""
        with self._changed:
            self._sweep()
            when = clock.monotonic() + seconds
            heapq.heappush(self._due, (when, next(self._tickets), limit))
            # In a forked child the thread is not alive: only the forking thread lives
            # on there.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="jackfield-walltime", daemon=True
                )
                self._thread.start()
            if self._due[0][2] is limit:  # earlier than what the thread sleeps for
                self._changed.notify()

    def _sweep(self) -> None:
        """Drop disarmed limits when they may be more than half of all.

        A function that returns in time leaves its limit in the heap. Without this,
        limits of an hour would pile up for an hour.
        """
        if len(self._due) > 2 * self._swept + _SWEEP_FROM:
            self._due = [entry for entry in self._due if entry[2].armed]
            heapq.heapify(self._due)
            self._swept = len(self._due)

    def _run(self) -> None:
        # The lock is held all the time, except while ``wait`` sleeps. So a limit is
        # either in the heap before the thread looks, or its ``notify`` comes while the
        # thread sleeps. When the thread gives up, it says so in the same hold of the
        # lock in which it has seen that there is nothing to watch.
        with self._changed:
            while True:
                while self._due and not self._due[0][2].armed:
                    heapq.heappop(self._due)
                if not self._due:
                    if not self._changed.wait(timeout=_LINGER_S) and not self._due:
                        self._thread = None
                        return
                    continue
                left = self._due[0][0] - clock.monotonic()
                if left > 0:
                    self._changed.wait(min(left, _LONGEST_SLEEP_S))
                else:
                    limit = heapq.heappop(self._due)[2]
                    limit.fire()
                    when = clock.monotonic() + AGAIN_S
                    heapq.heappush(self._due, (when, next(self._tickets), limit))


AGAIN_S: Final = 1.0
"""Seconds until the exception is asked for again, if the function still runs."""

_LINGER_S: Final = 5.0
"""Seconds that the thread stays when it has nothing to watch."""

_LONGEST_SLEEP_S: Final = 3600.0
"""Seconds that the watchdog sleeps at a time; some clocks overflow far beyond it."""

_SWEEP_FROM: Final = 64
"""Limits that are kept without a thought of sweeping."""

_WATCHDOG: Final = _Watchdog()
