"""Locks that stay whole when a Ctrl-C strikes the main thread.

Python handles a signal between two instructions of the main thread, and a Ctrl-C raises
``KeyboardInterrupt`` there. Three things must not happen then:

- *A lock stays held for ever.* ``threading.Condition.__enter__`` is written in Python:
  the Ctrl-C may strike after it has taken the lock and before the ``with`` block has
  begun, and nobody would ever give the lock back. A method written in C has no such
  moment. Hence ``Condition``.
- *A wait loses its lock.* ``threading.Condition.wait`` gives the lock back and takes it
  again in several steps, between which a Ctrl-C does harm, and ``threading.Event`` is
  built on it. Hence ``Latch``, on which users' threads wait. A thread of our own may
  wait on a condition, because no signal strikes it.
- *A Ctrl-C is not noticed.* If it comes just before the main thread goes to sleep in a
  lock, it does not wake it. Hence threads sleep in naps of a second.
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from jackfield import clock
from jackfield.errors import traceback_of

NAP_S: Final = 1.0
"""Seconds that a thread sleeps at a time; after each, Python looks for signals."""


class Condition(threading.Condition):
    """A condition that is entered and left in one step each.

    ``concurrent.futures`` enters the one of a future on users' threads.
    """

    # A ``with`` statement looks both up before it calls the first. What it finds are
    # the methods of the lock itself, which are written in C.
    if not TYPE_CHECKING:  # type checkers take them for the base class's methods
        __enter__ = property(attrgetter("_lock.__enter__"))
        __exit__ = property(attrgetter("_lock.__exit__"))


class Latch:
    """Something that one thread waits for, and that is opened once.

    It is a lock that is held from the beginning and given back to open the latch.
    """

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed: threading.Lock = threading.Lock()
        self._closed.acquire()

    def open(self) -> None:
        """Let the thread that waits go on. Called once."""
        self._closed.release()

    def wait(
        self, timeout: float | None, over: Callable[[], bool] | None = None
    ) -> bool:
        """Wait until it is open; tell whether it is.

        Args:
            timeout: Seconds; ``None`` waits for ever.
            over: Asked after each nap whether what the thread waits for has come. It
                may have come without the latch being opened, if a Ctrl-C has struck the
                thread that was about to open it.
        """
        end = float("inf") if timeout is None else clock.monotonic() + timeout
        while True:
            left = end - clock.monotonic()
            if self._closed.acquire(timeout=min(max(left, 0.0), NAP_S)):
                return True
            if over is not None and over():
                return True
            if left <= NAP_S:
                return False


def join(thread: threading.Thread, timeout: float | None) -> bool:
    """Wait for a thread's end, ``timeout`` seconds or for ever; tell whether it came.

    It waits in naps, so that a Ctrl-C that comes just before the wait is noticed.
    """
    end = float("inf") if timeout is None else clock.monotonic() + timeout
    while thread.is_alive():
        left = end - clock.monotonic()
        if left <= 0.0:
            return False
        thread.join(min(left, NAP_S))
    return True


def is_interrupt(error: BaseException) -> bool:
    """Tell whether an exception is the user's: a Ctrl-C, or of a signal's handler.

    Python calls handlers on the main thread, whatever runs there, so in the code of
    plugins too. On another thread it was raised by the code of a task or a plugin.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    handlers = map(signal.getsignal, signal.valid_signals())
    codes = {getattr(handler, "__code__", None) for handler in handlers}
    called = {frame.f_code for frame, _ in traceback.walk_tb(traceback_of(error))}
    return isinstance(error, KeyboardInterrupt) or not codes.isdisjoint(called)
