"""A clock by which silence is measured: it stands still while its process does.

A process may stand still although it lives: one thread keeps the interpreter for long
(the unpickling of something huge, a function in C), it is stopped, or its machine
sleeps. What others have sent meanwhile waits to be looked at. So who wakes up must not
take the others for dead because it has heard nothing: on this clock no time has passed.
"""

from __future__ import annotations

from jackfield.clock import monotonic


class Awake:
    """Counts the seconds in which this process runs, as one thread finds out.

    Attributes:
        seconds: How many there were. Any thread may read it.
    """

    def __init__(self) -> None:
        self.seconds: float = 0.0
        self._last = monotonic()

    def tick(self, period: float) -> None:
        """Go on. Called by one thread, each ``period`` seconds if the process runs."""
        now = monotonic()
        self.seconds += min(now - self._last, 2 * period)
        self._last = now
