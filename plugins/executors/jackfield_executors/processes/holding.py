"""Results that a worker holds a moment before it shares them: the side of the worker.

To write 50 MB into memory that is new to this process takes much longer than many a
task: the system zeroes each page of it first. Often nobody needs it. In a chain of
tasks, the next one runs in the same worker, and then the result is dropped. So a worker
may answer a task at once, with the descriptor of a segment that is still empty, and go
on with the memory in which the task has left the result. A task that gets it here gets
that memory, read-only. The segment is written by a thread of the holder's after
``HOLD_S``; or at once, if the driver asks for that, as somebody else needs it
(``progress.WANTED``); or never, if the driver drops it before that.

*Who finds an empty segment* waits. The holder has locked it (``flock``), and sealed is
only what has been written. So three things can be told apart, whatever becomes of the
holder, because the system opens its locks when it dies:

- It is sealed: it has been written.
- It is locked: it will be.
- Neither: it is lost. Who has made it has died, or closed all its descriptors.

That may happen, so a worker holds only what somebody can have made again: what the
task has returned as ``Later``.

*A task may have kept what it returned*, and change it after its end. What is held must
not change with it. So only what can be seen to belong to nobody else is held:
``belongs_to_nobody``. All other results are written at once.
"""

from __future__ import annotations

import fcntl
import math
import os
import sys
import threading
from contextlib import suppress
from pickle import PickleBuffer
from time import sleep
from typing import TYPE_CHECKING, Any, Final
from weakref import getweakrefcount

from jackfield.clock import monotonic
from jackfield_executors.processes import shared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackfield_executors.processes.shared import Identity
    from jackfield_executors.processes.wire import Data

HOLD_S: Final = 0.5
"""Seconds after which what is held is shared, if nobody has dropped it."""

PERIOD_S: Final = 0.005
"""Seconds between two looks whether somebody needs what is held."""

AGAIN_S: Final = 1.0
"""Seconds until the next try, if there was no memory for it."""


class Later:
    """Around what a task returns: it may be held, since it can be made again."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: Any = value


class _Held:
    """A segment that is not written yet. Guarded by the holder's locks."""

    __slots__ = ("due", "fd", "key", "number", "parts", "sizes")

    def __init__(self, fd: int, parts: list[Data], sizes: list[int]) -> None:
        self.fd = fd
        self.key = _key(fd)
        self.parts = parts
        self.sizes = sizes
        self.due = monotonic() + HOLD_S
        self.number: int | None = None  # once a task has been sent that gets it


class Holder:
    """What one worker holds.

    Its thread writes; the worker's threads do all else. ``_lock`` guards what is held,
    for a few instructions; ``_writing`` is held while one is written. Who takes both
    takes ``_writing`` first.

    Args:
        asked: A number that is another one when the driver has asked since.
    """

    def __init__(self, asked: Callable[[], int]) -> None:
        self._asked = asked
        self._heard = 0
        self._held: dict[tuple[int, int], _Held] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._watched = False  # whether there is its thread

    def hold(
        self, parts: Sequence[bytes], buffers: Sequence[PickleBuffer], room: int
    ) -> tuple[int, bytes]:
        """Hold a result; return a descriptor of its empty segment, which only reads.

        Args:
            parts: A pickle, in pieces.
            buffers: Its buffers.
            room: Bytes that may be shared.

        Returns:
            The descriptor, and the whole pickle; -1 if the result has to be written at
            once.

        Raises:
            OSError: There is no descriptor for it.
        """
        if not all(map(belongs_to_nobody, buffers)):
            return -1, b""
        head = b"".join(parts)
        data: list[Data] = [head, *map(_as_it_is, buffers)]
        sizes = [memoryview(one).nbytes for one in data]
        if shared.places(sizes)[-1] > room:
            return -1, b""
        fd = shared.new_memory()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            reading = shared.reading(fd)
        except BaseException:
            os.close(fd)
            raise
        one = _Held(fd, data, sizes)
        with self._lock:
            self._held[one.key] = one
            if not self._watched:
                self._watched = True
                self._heard = self._asked()
                name = "jackfield-holder"
                threading.Thread(target=self._watch, name=name, daemon=True).start()
        return reading, head

    def attach(self, number: int, known: Identity) -> bool:
        """Have tasks find a segment as what is held; false if it is not."""
        with self._lock:
            one = self._held.get(known[:2])
            if one is not None:
                one.number = number
                shared.give(number, one.parts)
            return one is not None

    def detach(self, number: int) -> None:
        """Forget a segment, which nobody needs any more; it need not be written."""
        with self._lock:
            shared.detach(number)
            for one in list(self._held.values()):
                if one.number == number and not self._writing.locked():
                    self._drop(one)

    def _drop(self, one: _Held) -> None:
        """Hold it no more. The lock is held."""
        self._held.pop(one.key, None)
        if _is_open(one):
            fcntl.flock(one.fd, fcntl.LOCK_UN)  # a child may have it open, too
            os.close(one.fd)

    def share_all(self) -> None:
        """Write all that is held, before this worker exits."""
        self._share(math.inf)

    def forget_in_child(self) -> None:
        """Let go, in a child that a task has forked: what is held is its parent's."""
        for one in list(self._held.values()):
            with suppress(OSError):
                os.close(one.fd)
        self._held.clear()

    def _watch(self) -> None:
        """Write what is due, as long as something is held."""
        while True:
            sleep(PERIOD_S)
            asked = self._asked()
            now = math.inf if asked != self._heard else monotonic()
            self._heard = asked
            self._share(now)
            with self._lock:
                if not self._held:
                    self._watched = False
                    return

    def _share(self, now: float) -> None:
        """Write what is due."""
        with self._lock:
            due = [one for one in self._held.values() if one.due <= now]
        for one in due:
            with self._writing:
                with self._lock:
                    if one.key not in self._held:
                        continue  # it was dropped meanwhile
                self._write(one)

    def _write(self, one: _Held) -> None:
        """Write one, and have tasks find it there. ``_writing`` is held."""
        try:
            if _is_open(one):  # else a task has closed it: it is lost
                shared.fill(one.fd, [[part] for part in one.parts], one.sizes)
                shared.seal(one.fd)
        except OSError:
            one.due = monotonic() + AGAIN_S
            return
        with self._lock:
            if one.number is not None and shared.has(one.number):
                with suppress(OSError):  # it stays as it is
                    shared.attach(one.number, shared.reading(one.fd), one.sizes)
            self._drop(one)


def _key(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _is_open(one: _Held) -> bool:
    """Tell whether its descriptor is still its own: a task may have closed that."""
    try:
        return _key(one.fd) == one.key
    except OSError:
        return False


def _as_it_is(buffer: PickleBuffer) -> Data:
    """Return a buffer's object if that is ``bytes``, else a view that only reads."""
    with memoryview(buffer) as view:
        owner = view.obj
    return owner if type(owner) is bytes else buffer.raw().toreadonly()


def _references(buffer: PickleBuffer) -> int:
    """Count the references to a buffer's object, and some of this function's own."""
    with memoryview(buffer) as view:
        owner = view.obj
    return sys.getrefcount(owner) + getweakrefcount(owner)


_ONE: Final = _references(PickleBuffer(bytearray(1)))
"""What ``_references`` counts if nobody has the object but the buffer."""


def belongs_to_nobody(buffer: PickleBuffer) -> bool:
    """Tell whether nobody can change what a buffer has, which the caller does not do.

    That is so for ``bytes``, and for an array of NumPy's with memory of its own, to
    which only this buffer refers.
    """
    with memoryview(buffer) as view:
        owner: Any = view.obj
    if type(owner) is bytes:
        return True
    numpy = sys.modules.get("numpy")
    if numpy is None or type(owner) is not numpy.ndarray or owner.base is not None:
        return False
    own = bool(owner.flags.owndata)
    del owner
    return own and _references(buffer) == _ONE
