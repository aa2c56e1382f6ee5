"""Plain records of what a run knows about its tasks as a whole.

With each record it is said who changes it; any thread may read it. The tasks that are
registered and have not ended are in a dict ``{task.id: task}``, called ``live``
everywhere. Only the thread that holds the scheduler's role changes it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jackfield.futures.locks import Latch

if TYPE_CHECKING:
    from jackfield.graph.transitions import Effects
    from jackfield.states import TaskState


class Tally:
    """Numbers of the tasks that have ended. Changed with the scheduler's role held.

    Attributes:
        counts: Each final state with the number of tasks that ended in it.
        own: The same for tasks that the kernel has made for itself.
        failures: The first failures, one line each.
        failed: The users' tasks that have failed, by number, with their lines as far as
            these are kept.
        seen: The numbers of those of which somebody has got the error, from the future
            or from that of a task that depends on it. Added to on any thread.
        strays: How many reports of executors were dropped, because they were repeated,
            came too late, or are of no known work.
    """

    def __init__(self) -> None:
        self.counts: Counter[TaskState] = Counter()
        self.own: Counter[TaskState] = Counter()
        self.failures: list[str] = []
        self.failed: dict[int, str] = {}
        self.seen: set[int] = set()
        self.strays: int = 0


class Closing:
    """Whether a run still takes tasks, and whether it is being cut short.

    Changed by whoever ends the run, on any thread. Neither fact is ever taken back.

    Attributes:
        reason: Why no further task is taken; ``None`` while tasks are taken.
        cut_short: Set when the run does not wait for its tasks: transfers are stopped,
            and what fails is not tried again.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.cut_short: threading.Event = threading.Event()

    def close(self, reason: str) -> None:
        """Take no further task. If there is a reason already, it stays."""
        self.reason = self.reason or reason


class Barrier:
    """What a thread waits at until the tasks that are live now have ended.

    Attributes:
        left: The numbers of those that have not.
        down: The latch that is opened when all have.
    """

    def __init__(self) -> None:
        self.left: set[int] = set()
        self.down: Latch = Latch()


class Barriers:
    """The barriers at which threads wait. Changed with the scheduler's role held."""

    def __init__(self) -> None:
        self.standing: list[Barrier] = []

    def set(self, barrier: Barrier, live: Iterable[int], _: Effects) -> None:
        """Have a barrier wait for the tasks that are live now.

        This is a control, an item of the inbox. So it comes after all tasks that were
        submitted before it. Like every control it gets ``Effects``, not used here.
        """
        barrier.left = set(live)
        if barrier.left:
            self.standing.append(barrier)
        else:
            barrier.down.open()

    def drop(self, barrier: Barrier, _: Effects) -> None:
        """Forget a barrier that nobody waits at any more. This is a control, too."""
        if barrier in self.standing:
            self.standing.remove(barrier)

    def lower(self, task: int) -> None:
        """Note that a task has ended; open the barriers that waited for it alone."""
        for barrier in list(self.standing):
            barrier.left.discard(task)
            if not barrier.left:
                self.standing.remove(barrier)
                barrier.down.open()
