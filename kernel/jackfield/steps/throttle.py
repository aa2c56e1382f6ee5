"""Back-pressure: ``submit`` blocks while there are too many unfinished tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackfield.futures.locks import Latch

if TYPE_CHECKING:
    from jackfield.steps.engine import Engine

_CHECK_S: Final = 1.0
"""Seconds between two looks: what a notification that was missed costs at most."""


def throttle(engine: Engine, limit: int) -> None:
    """Wait until fewer than ``limit`` tasks are unfinished.

    Threads that run tasks do not wait: what they submit may be what the others wait
    for. Nor do those that work for the kernel, whom the tasks wait for.
    """
    if engine.unfinished() < limit or engine.serves():
        return
    while engine.unfinished() >= limit and engine.closed is None:
        latch = Latch()
        engine.room.append(latch)
        if engine.unfinished() >= limit:  # else nobody may come to open it
            latch.wait(_CHECK_S)
