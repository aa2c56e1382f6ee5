"""A walltime for functions that run on threads: an exception raised in them.

One watchdog thread in each process knows when which thread's time is over, and has
the interpreter raise ``_Expired`` there (``PyThreadState_SetAsyncExc``). Code that
does not come back to the interpreter, such as a long call into C, goes on until it
does: hence "soft".

Two threads meet here: the watchdog, which fires a limit, and the thread of the
function, which disarms it when the function has returned. Both do so under the limit's
lock, so there are two cases. If the function's thread is first, the limit never fires.
If the watchdog is first, the exception has been asked for and is on its way; it will
arrive between two instructions of that thread, a little later. It must not arrive in
what the thread does next, which knows nothing of it. So after disarming, the thread
goes through some instructions where the exception is still expected.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from jackfield.errors import AppTimeout


class _Expired(BaseException):
    """Raised in the thread of a function whose time is over."""


class SoftWalltime:
    """Calls a function, and raises ``AppTimeout`` when it takes too long."""

    __slots__ = ("function", "name", "seconds")

    def __init__(self, function: Callable[..., Any], name: str, seconds: float) -> None:
        self.function: Callable[..., Any] = function
        self.name: str = name
        self.seconds: float = seconds

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function on this thread, within its time."""
        limit = _Limit(threading.get_ident())
        try:
            _WATCHDOG.watch(limit, self.seconds)
            try:
                return self.function(*args, **kwargs)
            finally:
                limit.disarm()
                for _ in range(100):  # the instructions that the module's text tells of
                    pass
        except _Expired:
            if not limit.fired:  # not ours: a function around this one has a limit too
                raise
            raise AppTimeout(self.name, self.seconds) from None


def soft_walltime(
    function: Callable[..., Any], name: str, seconds: float
) -> Callable[..., Any]:
    """Return ``function`` with a walltime in seconds."""
    return SoftWalltime(function, name, seconds)


def without_walltime(function: Callable[..., Any]) -> Callable[..., Any]:
    """Undo ``soft_walltime``; other functions are returned as they are."""
    return function.function if isinstance(function, SoftWalltime) else function


class _Limit:
    """One call's limit; fires at most once, and never after ``disarm``."""

    __slots__ = ("_lock", "armed", "fired", "thread")

    def __init__(self, thread: int) -> None:
        self.thread: int = thread
        self.armed: bool = True
        self.fired: bool = False
        self._lock: threading.Lock = threading.Lock()

    def fire(self) -> None:
        import ctypes

        with self._lock:
            if self.armed:
                self.fired = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self.thread), ctypes.py_object(_Expired)
                )

    def disarm(self) -> None:
        with self._lock:
            self.armed = False


class _Watchdog:
    """Fires limits when they are due, on a thread that starts on first use."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, _Limit]] = []
        self._changed: threading.Condition = threading.Condition()
        self._tickets: itertools.count[int] = itertools.count()
        self._thread: threading.Thread | None = None

    def watch(self, limit: _Limit, seconds: float) -> None:
        with self._changed:
            when = time.monotonic() + seconds
            heapq.heappush(self._due, (when, next(self._tickets), limit))
            if self._thread is None or not self._thread.is_alive():  # or lost by a fork
                self._thread = threading.Thread(
                    target=self._run, name="jackfield-walltime", daemon=True
                )
                self._thread.start()
            if self._due[0][2] is limit:
                self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while True:
                while self._due and not self._due[0][2].armed:
                    heapq.heappop(self._due)
                if not self._due:
                    if not self._changed.wait(timeout=_LINGER_S) and not self._due:
                        self._thread = None
                        return
                    continue
                left = self._due[0][0] - time.monotonic()
                if left > 0:
                    self._changed.wait(min(left, _LONGEST_SLEEP_S))
                else:
                    heapq.heappop(self._due)[2].fire()


_LINGER_S: Final = 5.0
"""Seconds that the watchdog stays without anything to watch."""

_LONGEST_SLEEP_S: Final = 3600.0
"""Seconds that the watchdog sleeps at most: no system's clock takes any number."""

_WATCHDOG: Final = _Watchdog()
