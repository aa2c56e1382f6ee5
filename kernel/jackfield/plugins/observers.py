"""Telling plugins what happened, so that no failure of theirs goes any further.

An observer is one plugin's implementation of a hook that is told and not asked. What it
raises, even ``SystemExit``, is logged with the plugin's name and counted. If an
observer of events fails ten times in a row it is disabled: it will hardly recover, and
each failure costs time and a line in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jackfield.clock import monotonic
from jackfield.errors import one_line
from jackfield.futures.locks import is_interrupt

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable

FAILURES_IN_A_ROW: Final = 10
"""Failures after which an observer of events is disabled."""
SLOW_S: Final = 5.0
"""Seconds in one call after which the log says that an observer is slow."""


class Observer:
    """One implementation of a notification, and how it is doing.

    Used by one thread at a time for events; counts may be read from any.

    Attributes:
        who: Plugin, distribution and hook, for messages.
        failures: Calls that raised.
        in_a_row: Calls that raised since the last one that did not.
    """

    def __init__(self, function: Callable[..., Any], who: str) -> None:
        self._function: Callable[..., Any] = function
        self.who: str = who
        self._slow: bool = False
        self.failures: int = 0
        self.in_a_row: int = 0

    def tell(self, log: logging.Logger, *arguments: object) -> None:
        """Call the implementation; its exceptions end here, in the log.

        Raises:
            BaseException: The user's, by Ctrl-C or a signal's handler.
        """
        began = monotonic()
        try:
            self._function(*arguments)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._failed(error, log)
        else:
            self.in_a_row = 0
        seconds = monotonic() - began
        if seconds > SLOW_S and not self._slow:
            self._slow = True
            log.warning("%s is slow: one call took %.1f s", self.who, seconds)

    @property
    def disabled(self) -> bool:
        """Whether it has failed too often in a row to be told of events."""
        return self.in_a_row >= FAILURES_IN_A_ROW

    @property
    def problem(self) -> str | None:
        """What there is to say about it, in a sentence."""
        if self.disabled:
            return f"disabled after {self.in_a_row} failures in a row."
        return f"failed {self.failures} times." if self.failures else None

    def _failed(self, error: BaseException, log: logging.Logger) -> None:
        self.failures += 1
        self.in_a_row += 1
        # The first ten failures are logged, then the 16th, 32nd, 64th, and so on.
        many = self.failures > FAILURES_IN_A_ROW
        if not (many and self.failures & (self.failures - 1)):
            log.error(
                "%s raised %s (failure %d); the run goes on",
                self.who,
                one_line(error),
                self.failures,
                exc_info=error if self.failures == 1 else None,
            )
        if self.in_a_row == FAILURES_IN_A_ROW:
            log.error(
                "%s failed %d times in a row and is disabled for this run",
                self.who,
                self.in_a_row,
            )


def tell_events(
    observers: Iterable[Observer], log: logging.Logger, events: object
) -> bool:
    """Tell observers of events, if any; return whether none is disabled by now."""
    for observer in observers if events else ():
        observer.tell(log, events)
    return not any(observer.disabled for observer in observers)


def tell_all(
    observers: Iterable[Observer], log: logging.Logger, *arguments: object
) -> None:
    """Tell every observer, even if the user interrupts one of them with Ctrl-C.

    Raises:
        BaseException: The user's, after all have been told; a second one at once.
    """
    interrupt: BaseException | None = None
    for observer in observers:
        try:
            observer.tell(log, *arguments)
        except BaseException as error:
            if interrupt is not None:
                raise
            interrupt = error
    if interrupt is not None:
        raise interrupt
