"""A page of memory that a worker and the driver share.

It tells the driver, also after the worker has been killed at any instruction, which
task was running and what the finished ones returned. The memory has no name, so
that nothing can be left behind.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from struct import Struct
from typing import Any, Final

from jackfield_executors.processes.wire import LARGE

SIZE: Final = 2 * LARGE

# Words at the start of the page, 8 bytes each.
BEGUN: Final = 0
"""How many tasks the worker has begun."""
FINISHED: Final = 1
"""How many tasks have ended with an outcome that is sent or stands in the page."""
SINCE: Final = 2
"""When the last one was begun: ``time.monotonic_ns()``."""
RECALL: Final = 3
"""Set by the driver: begin nothing, return what is left."""
FIRST: Final = 4
"""How many tasks had ended before the first one whose outcome stands in the page."""

RECORDS: Final = 64
"""Where the outcomes begin: length, pickle, length, pickle ..."""

LENGTH: Final = Struct("<I")


def create() -> int:
    """Make a page, and return its descriptor."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("jackfield", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, SIZE)
    return fd


class Page:
    """One side's view of a page.

    Attributes:
        words: The words at its start, to be read and written by index.
        data: All of it, as bytes.
    """

    __slots__ = ("_map", "data", "words")

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, SIZE)
        self.data: memoryview = memoryview(self._map)
        # A word is written by one instruction: there are no half-written numbers.
        self.words: memoryview = self.data[:RECORDS].cast("Q")

    def unsent_outcomes(self, received: int) -> list[Any]:
        """Return the outcomes that the worker finished but did not send.

        To be called by the driver after the worker's end.

        Args:
            received: How many outcomes have arrived by the socket.
        """
        outcomes = []
        position = RECORDS
        for number in range(self.words[FIRST], self.words[FINISHED]):
            (length,) = LENGTH.unpack_from(self.data, position)
            start = position + LENGTH.size
            position = start + length
            if number >= received:
                outcomes.append(pickle.loads(self.data[start:position]))
        return outcomes

    def close(self) -> None:
        """Release the memory."""
        self.words.release()
        self.data.release()
        self._map.close()
