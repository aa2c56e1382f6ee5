"""Locks for which Ctrl-C on the main thread is no danger.

Python handles a signal between two instructions of the main thread: also between
the last one of ``Condition.__enter__``, which is written in Python, and the first
one of the ``with`` block. The lock would then be held for ever, and a thread of the
kernel would wait for it for ever. Methods written in C have no such moment.

``Condition.wait`` is worse, so threads wait for a ``Latch``. Nor does one sleep
without an end: a signal that comes just before does not wake the main thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Final

NAP_S: Final = 1.0
"""Seconds after which a thread that sleeps looks for signals."""


class Condition(threading.Condition):
    """A condition that is entered and left in one step each.

    It is what ``concurrent.futures`` reaches for in a future; nobody here waits on it.
    """

    # Looked up before the block begins, where nothing is held, as methods of C.
    if not TYPE_CHECKING:  # type checkers take them for the base class's methods
        __enter__ = property(attrgetter("_lock.__enter__"))
        __exit__ = property(attrgetter("_lock.__exit__"))


class Latch:
    """Opens once, for one thread that waits; ``threading.Event`` is made of Python."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed: threading.Lock = threading.Lock()
        self._closed.acquire()

    def open(self) -> None:
        """Let the one who waits go on. Called once."""
        self._closed.release()

    def wait(
        self, timeout: float | None, over: Callable[[], bool] | None = None
    ) -> bool:
        """Wait until it is open; tell whether it is.

        Args:
            timeout: Seconds; ``None`` waits for ever.
            over: Asked after each nap: whether what was waited for has come, though
                nobody has opened the latch.
        """
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            if self._closed.acquire(timeout=min(max(left, 0.0), NAP_S)):
                return True
            if over is not None and over():
                return True
            if left <= NAP_S:
                return False


def join(thread: threading.Thread, timeout: float | None) -> bool:
    """Wait for a thread's end, ``timeout`` seconds or for ever; tell whether it came.

    In naps, so that a Ctrl-C that comes just before the wait is heard.
    """
    end = float("inf") if timeout is None else time.monotonic() + timeout
    while thread.is_alive():
        left = end - time.monotonic()
        if left <= 0.0:
            return False
        thread.join(min(left, NAP_S))
    return True
