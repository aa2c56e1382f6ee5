"""The progress page: a piece of memory that a worker and the driver share.

A worker may be killed between any two instructions, with results that it has not sent.
The page then tells the driver which task was running and what the tasks before
returned, so that only the running one fails, and none that had ended runs twice. The
memory has no name in any file system, so nothing of it can be left behind.

It starts with some numbers of 8 bytes, the *words*, each written by one side only and
in one instruction. Behind them stand the results that have not been sent. The order of
writes makes the page right at every instant: first the result, then ``FINISHED``. And
``FIRST`` and ``FINISHED`` become equal, so that the page has no results, before the
next result overwrites the first one.
"""

from __future__ import annotations

import mmap
import os
import pickle
from struct import Struct
from typing import Any, Final

from jackfield_executors.processes.wire import LARGE

SIZE: Final = 2 * LARGE

# The words, by their index.
BEGUN: Final = 0
"""How many tasks the worker has begun, since its start. Written by the worker."""
FINISHED: Final = 1
"""How many tasks have ended, and their results are sent or stand in the page. Written
by the worker."""
SINCE: Final = 2
"""When the last task was begun, by ``clock.monotonic_ns()``, which all processes of a
machine share. Written by the worker."""
RECALL: Final = 3
"""1 if the worker shall begin nothing and return what it has. Written by the driver."""
FIRST: Final = 4
"""How many tasks had ended before the one whose result stands first in the page.
Written by the worker."""

CALLED: Final = 5
"""When the function of the last task was called, like ``SINCE``; 0 while it or its
arguments are being loaded. Written by the worker."""

ROOM: Final = 6
"""0 if the worker is to share nothing. Else one more than the bytes that it may put
into shared memory. Written by the driver."""

WANTED: Final = 7
"""Another number than before if somebody needs what the worker holds; see ``holding``.
Written by the driver."""

RECORDS: Final = 64
"""Where the results begin: a length, that many bytes of pickle, the next length ..."""

LENGTH: Final = Struct("<I")


def create() -> int:
    """Make a page, and return a descriptor of its memory."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("jackfield", os.MFD_CLOEXEC)
    else:
        import tempfile  # takes time, and is not needed elsewhere

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
        # A memoryview of "Q" writes a word in one instruction, so that the other side,
        # or a kill, finds the old number or the new one and no mixture.
        self.words: memoryview = self.data[:RECORDS].cast("Q")

    def unsent_outcomes(self, received: int) -> list[Any]:
        """Return the results that the worker had finished and did not send.

        To be called by the driver, after the worker's end, when everything that has
        arrived at its socket has been read.

        Args:
            received: How many results have arrived. The page may have some of them
                too: the watchdog sends results and does not empty the page.
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
