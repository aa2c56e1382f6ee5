"""The clock by which everything here waits: one that nobody stops or sets.

Libraries for tests freeze the functions of ``time`` in all modules, or move them years
ahead (freezegun), and a task may use one. Walltimes and delays have to go on even so.
These are other objects than ``time.monotonic`` and ``time.monotonic_ns``, of the same
clock on Linux, which such libraries neither find nor replace.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Final

monotonic: Final = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""Seconds, which never go back."""

monotonic_ns: Final = partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC)
"""The same in nanoseconds."""
