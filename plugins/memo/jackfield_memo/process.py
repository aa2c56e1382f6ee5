"""When this process began."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Final

from jackfield_serialize import preloaded

TICK_NS: Final = 20_000_000
"""How early the time may be that a file system gives a file: some clock ticks."""


@cache
def began() -> int:
    """Return when it began, in nanoseconds since the epoch, or a little before.

    No module was imported earlier: a process that was forked after an import begins
    with that. Where the system does not tell, it is now.
    """
    return min([_began(), *preloaded])


def _began() -> int:
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123  (a few bytes)
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        age = uptime - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.time_ns()
    return time.time_ns() - int(age * 1e9)
