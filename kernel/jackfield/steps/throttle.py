"""Back-pressure: ``submit`` blocks while there are too many unfinished tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jackfield.futures.locks import Latch

if TYPE_CHECKING:
    from jackfield.graph.state import Closing

_CHECK_S: Final = 1.0
"""Seconds between two looks: what a notification that was missed costs at most."""


class Throttle:
    """Holds submitters up.

    ``serves`` tells whether tasks wait for the thread that asks: because it runs one,
    or works for the kernel. The tasks in ``inbox`` are not registered in ``live`` yet.

    Attributes:
        waiting: One latch for each submitter that waits.
    """

    def __init__(
        self, live: Sized, inbox: Sized, closing: Closing, serves: Callable[[], bool]
    ) -> None:
        self._live = live
        self._inbox = inbox
        self._closing = closing
        self._serves = serves
        self.waiting: deque[Latch] = deque()

    def unfinished(self) -> int:
        """Return how many tasks have not ended, those in the inbox included."""
        return len(self._live) + len(self._inbox)

    def wait(self, limit: int) -> None:
        """Wait until fewer than ``limit`` tasks are unfinished.

        Threads that run tasks do not wait: what they submit may be what the others
        wait for. Nor do those that work for the kernel, for whom the tasks wait.
        """
        if self.unfinished() < limit or self._serves():
            return
        while self.unfinished() >= limit and self._closing.reason is None:
            latch = Latch()
            self.waiting.append(latch)
            # If the last task has ended between the look above and the append, nobody
            # comes any more to open the latch; so we look again before we sleep.
            if self.unfinished() >= limit:
                latch.wait(_CHECK_S)

    def let_all_look(self) -> None:
        """Wake the submitters that wait: tasks have ended. Called on any thread."""
        while self.waiting:
            with suppress(IndexError):  # another thread may have taken the last one
                self.waiting.popleft().open()
