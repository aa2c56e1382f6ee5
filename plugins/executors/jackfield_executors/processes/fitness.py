"""How a pool of processes is, and when to find out whether it is well again.

- *Well*: a worker has started, or none has failed to.
- *Short*: workers fail to start, and others do the work meanwhile.
- *Lost*: none is there, and the last ones have failed to start again and again. What
  waits fails, and the kernel gives other executors what these can run. So there may be
  no work any more that would start a worker. Therefore one is started as a *trial*,
  after a delay that is twice as long each time; once it is ready, the pool is well.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from jackfield.abc import READY, Health
from jackfield.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

log: Final = logging.getLogger("jackfield.executors.processes")

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 60.0


class Fitness:
    """What is said of a pool. Changed on the loop's thread; read on any.

    Attributes:
        health: What the executor says.
        trial: When to start a worker as a trial, in ``clock.monotonic()``; 0 for never.

    Args:
        label: The executor's.
    """

    def __init__(self, label: str) -> None:
        self.health: Health = READY
        self.trial: float = 0.0
        self.changed: Callable[[], None] = lambda: None
        self._label = label
        self._trials = 0

    @property
    def lost(self) -> bool:
        """Whether it is lost."""
        return self.health.state == "lost"

    def note_well(self) -> None:
        """Note that a worker is ready, or that nothing is known against the pool."""
        self._trials = 0
        self.trial = 0.0
        self._say(READY)

    def note_short(self, reason: str) -> None:
        """Note that a worker has not started; others are there."""
        if not self.lost:
            self._say(Health("short", reason))

    def note_lost(self, reason: str) -> None:
        """Note that there is no worker, and that none can be started."""
        if not self._trials:
            log.info("Executor %r: %s", self._label, reason)  # the kernel warns
        delay = min(FIRST_DELAY_S * 2.0 ** min(self._trials, 10), LONGEST_DELAY_S)
        self.trial = monotonic() + delay
        self._trials += 1
        self._say(Health("lost", reason))

    def _say(self, health: Health) -> None:
        if health != self.health:
            self.health = health
            self.changed()
