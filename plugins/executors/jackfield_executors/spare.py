"""Keeps threads for the end of a program, when Python 3.12 starts none any more.

From the moment on in which the main thread is at its end, that version refuses every
new thread, though a kernel may still have tasks; others do not. What a task needs may
be asked for just then: a worker, a transfer, the watchdog of a walltime, the loop of a
library. So some threads are started with a kernel, and sleep. Where the interpreter
refuses a thread, one of these runs what that was to run, and ends with it. They are
lent where ``threading`` asks the interpreter, so that nobody who starts a thread, a
library for example, need know of them; and ``threading`` sees no difference.
"""

from __future__ import annotations

import _thread
import importlib
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from jackfield.hookspecs import hookimpl

if TYPE_CHECKING:
    from jackfield.abc import Kernel

SPARE: Final = 16
"""How many threads sleep, and so how many can be started at a program's end."""


class _Spare:
    """The sleeping threads of a process, and the queue in which they are woken."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Have none, as in a fork, where the queue may be locked as well."""
        self._idle: list[None] = []  # one for each; ``pop`` gives it to one caller only
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def fill(self) -> None:
        """Start those that are missing."""
        while len(self._idle) < SPARE:
            _thread.start_new_thread(self._sleep, ())
            self._idle.append(None)

    def _sleep(self) -> None:
        self._calls.get()()

    def start(self, function: Callable[..., object], args: tuple[Any, ...]) -> int:
        """Start a thread, as ``_thread`` does, or wake one if the interpreter ends."""
        try:
            return _thread.start_new_thread(function, args)
        except RuntimeError as error:
            if "interpreter shutdown" not in str(error):
                raise
            try:
                self._idle.pop()
            except IndexError:
                raise error from None
        self._calls.put(lambda: function(*args))
        return 0  # ``threading`` does not ask for it


_spare: Final = _Spare()


@hookimpl
def jackfield_kernel_started(kernel: Kernel) -> None:
    """Have what cannot be had any more when the program is at its end."""
    del kernel
    # This module can be imported only before. Libraries import it when they need it.
    importlib.import_module("concurrent.futures.thread")
    if sys.version_info[:2] == (3, 12):
        _spare.fill()
        threading._start_new_thread = _spare.start  # type: ignore[attr-defined]  # see above


os.register_at_fork(after_in_child=_spare.forget)
