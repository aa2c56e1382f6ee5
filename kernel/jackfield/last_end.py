"""What is called when the last kernel of this process has ended.

For what a plugin has once for a whole process and not for each kernel, such as the
programs that tasks have started: as long as one kernel is left, they may be its tasks'.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

_calls: Final[list[Callable[[], Any]]] = []


def at_last_end(call: Callable[[], Any]) -> None:
    """Have something called each time that no kernel of this process is left.

    It is called on the thread that ends the last kernel, when executors and observers
    have ended; and once more at the interpreter's exit. A Ctrl-C may break it off, and
    then it is called again. What it raises is logged.
    """
    _calls.append(call)


def call_all() -> None:
    """Call all that was registered, even if a call raises; the last one first."""
    with ExitStack() as stack:
        for call in _calls:
            stack.callback(call)


# Registered when ``jackfield`` is imported, this is called after all that a kernel, or
# a plugin that is imported later, does at the interpreter's exit.
atexit.register(call_all)
