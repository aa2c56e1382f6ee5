"""Back-pressure: ``submit`` blocks while there are too many unfinished tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized
from contextlib import suppress
from threading import current_thread
from typing import TYPE_CHECKING, Final

from jackfield.futures.locks import Latch

if TYPE_CHECKING:
    from jackfield.graph.state import Closing
    from jackfield.stream import EventStream

_CHECK_S: Final = 1.0
"""Seconds between two looks: what a notification that was missed costs at most."""

_PATIENT_LOOKS: Final = 5
"""Looks in a row with no task ended between them, after which the run's log says what
is waited for. It may be a task that itself waits for this thread."""


class Throttle:
    """Holds submitters up.

    ``serves`` tells whether tasks wait for the thread that asks: because it runs one,
    or works for the kernel. The tasks in ``inbox`` are not registered in ``live`` yet.
    ``warn`` tells, once, of a wait in which nothing happens.

    Attributes:
        waiting: One latch for each submitter that waits.
    """

    def __init__(
        self,
        live: Sized,
        inbox: Sized,
        closing: Closing,
        serves: Callable[[], bool],
        warn: Callable[[str], object],
    ) -> None:
        self._live = live
        self._inbox = inbox
        self._closing = closing
        self._serves = serves
        self._warn: Callable[[str], object] | None = warn
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
        in_vain = 0
        while self.unfinished() >= limit and self._closing.reason is None:
            latch = Latch()
            self.waiting.append(latch)
            # If the last task has ended between the look above and the append, nobody
            # comes any more to open the latch; so we look again before we sleep.
            if self.unfinished() >= limit:
                in_vain = 0 if latch.wait(_CHECK_S) else in_vain + 1
            if in_vain == _PATIENT_LOOKS:
                self._tell(limit)

    def wait_for_observers(self, stream: EventStream) -> None:
        """Wait until observers, who are to hear of everything, are not late."""
        if stream.crowded and not self._serves():
            stream.wait_for_room()

    def _tell(self, limit: int) -> None:
        warn, self._warn = self._warn, None
        if warn is not None:
            warn(
                f"A call waits to be submitted, since max_pending = {limit} and as "
                f"many tasks are unfinished, none of which has ended for "
                f"{_PATIENT_LOOKS} s. If a task waits for thread "
                f"{current_thread().name!r}, which calls, both wait for ever: raise "
                f"max_pending, or call on the task's own thread, which does not wait."
            )

    def let_all_look(self) -> None:
        """Wake the submitters that wait: tasks have ended. Called on any thread."""
        while self.waiting:
            with suppress(IndexError):  # another thread may have taken the last one
                self.waiting.popleft().open()
