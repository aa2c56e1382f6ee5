"""A few steps on the user's main thread that no signal can tear.

Python runs a signal's handler between any two instructions of the main thread, and
what the handler raises ends whatever is going on there. So the kernel's work is done
on threads of its own, and a user's call costs a hand-over to them. For a single call
to a kernel that has nothing else to do, the hand-over is most of the cost; then this
is used instead.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # a part of CPython without stubs
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

# Those of ``signal`` itself make enums of what they return, for ten times the work.
_handler: Final[Callable[[int], Any]] = _signal.getsignal
_set_handler: Final[Callable[[int, Any], Any]] = _signal.signal

_SIGINT: Final = int(signal.SIGINT)
_OTHERS: Final = tuple(sorted(signal.valid_signals() - {signal.SIGINT}))
_HARMLESS: Final = frozenset({signal.SIG_DFL, signal.SIG_IGN, None})
"""What is not written in Python, and raises nothing."""

HEADROOM: Final = 100
"""Frames that have to be left before the recursion limit."""


def undisturbed(action: Callable[[], None]) -> bool:
    """Call ``action`` where it cannot be interrupted, or tell that this is no place.

    It can on the main thread, as long as Ctrl-C is the only signal with a handler, and
    that is Python's own: a Ctrl-C is held back until ``action`` has returned. A second
    one is not, for a user who has waited too long.

    Returns:
        Whether ``action`` was called.

    Raises:
        KeyboardInterrupt: A Ctrl-C came meanwhile.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or _handler(_SIGINT) is not signal.default_int_handler
        or not _HARMLESS.issuperset(map(_handler, _OTHERS))
        or _is_deep()
    ):
        return False
    came: list[int] = []

    def hold_back(number: int, frame: Any) -> None:
        if came:
            signal.default_int_handler(number, frame)
        came.append(number)

    _set_handler(_SIGINT, hold_back)
    try:
        action()
    finally:
        _set_handler(_SIGINT, signal.default_int_handler)
    if came:
        signal.default_int_handler(_SIGINT, None)
    return True


def _is_deep() -> bool:
    """Tell whether a RecursionError is near."""
    try:
        sys._getframe(max(0, sys.getrecursionlimit() - HEADROOM))
    except ValueError:  # there are not that many
        return False
    return True
