"""What a run keeps of its tasks as a whole, in plain records.

Each record has one room that changes it, named with it; others may read it on any
thread. The tasks themselves, those that are registered and not ended, are in
``{task.id: task}``, which everybody calls ``live``; only the holder of the scheduler's
role changes it.
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
    """Numbers on the tasks that have ended; changed with the scheduler's role.

    Attributes:
        counts: Final state to number of tasks.
        failures: The first failures, one line each.
        strays: Reports of executors that were dropped: repeated, late or unknown.
    """

    __slots__ = ("counts", "failures", "strays")

    def __init__(self) -> None:
        self.counts: Counter[TaskState] = Counter()
        self.failures: list[str] = []
        self.strays: int = 0


class Closing:
    """Whether a run still takes tasks, and whether it still tries.

    Written by whoever ends the run, on any thread; both facts are written once and
    stay.

    Attributes:
        reason: Why no further task is taken; ``None`` while tasks are taken.
        cut_short: Set when nothing is moved or tried again either.
    """

    __slots__ = ("cut_short", "reason")

    def __init__(self) -> None:
        self.reason: str | None = None
        self.cut_short: threading.Event = threading.Event()

    def close(self, reason: str) -> None:
        """Take no further task. The first reason stays."""
        self.reason = self.reason or reason


class Barrier:
    """Waits for the tasks that were live when it was set."""

    __slots__ = ("down", "left")

    def __init__(self) -> None:
        self.left: set[int] = set()
        self.down: Latch = Latch()


class Barriers:
    """The barriers at which threads wait; changed with the scheduler's role."""

    __slots__ = ("standing",)

    def __init__(self) -> None:
        self.standing: list[Barrier] = []

    def set(self, barrier: Barrier, live: Iterable[int], effects: Effects) -> None:
        """Have a barrier wait for the tasks that are live now. A control.

        Args:
            barrier: The barrier.
            live: The tasks' numbers, looked at now.
            effects: Of the step; there are none.
        """
        del effects
        barrier.left = set(live)
        if barrier.left:
            self.standing.append(barrier)
        else:
            barrier.down.open()

    def drop(self, barrier: Barrier, effects: Effects) -> None:
        """Forget a barrier that nobody waits at any more. A control."""
        del effects
        if barrier in self.standing:
            self.standing.remove(barrier)

    def lower(self, task: int) -> None:
        """Note that a task has ended, and open the barriers that it was the last of."""
        for barrier in list(self.standing):
            barrier.left.discard(task)
            if not barrier.left:
                self.standing.remove(barrier)
                barrier.down.open()
