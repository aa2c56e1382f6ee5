"""Turning works into the bytes that are sent to a worker.

All of it runs without the pool's lock, because pickling runs code of users: an
argument's ``__reduce__`` may take long, submit another task or kill the process. At any
time at most one thread builds a message for one worker (``WorkerHandle.being_sent``
sees to that), but several threads may build messages for several workers.
``FunctionTable``, which they share, has a lock of its own.

Functions are sent to a worker once, under a number, and calls name the number.
Arguments that are small immutable built-ins go into one pickle for the whole message,
which is fast; anything else is pickled by itself, so that an object that cannot be
pickled fails its own task only, and an object in the arguments of two tasks is two
objects in the worker, as if the tasks had been sent one by one.
"""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import jackfield_serialize as serialize
from jackfield.errors import SerializationError
from jackfield_executors.processes.kept import PackedResult
from jackfield_executors.processes.shared import Handed, Nested, Part, identity
from jackfield_executors.processes.wire import (
    LARGE,
    SCALARS,
    SHORT,
    STRINGS,
    Data,
    Kind,
    large_frame,
    small_frame,
)
from jackfield_executors.surroundings import present_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pickle import PickleBuffer

    from jackfield.abc import Measure, Outcome, Work
    from jackfield_executors.processes.handle import WorkerHandle
    from jackfield_executors.processes.shared import Segment

FUNCTIONS_KEPT: Final = 1_000
"""If there are more functions, the oldest is forgotten, here and in the workers."""

BYTES_KEPT: Final = 100_000_000
"""If serialized functions take more bytes together, the oldest is forgotten as well.

Closures may hold much data."""

SLOWER_WEIGHT: Final = 0.5
"""How much a call that took longer than its estimate changes the estimate."""

FASTER_WEIGHT: Final = 0.25
"""How much a faster call changes it.

Less, because an estimate that is too high only makes messages smaller, while one that
is
too low makes tasks wait behind each other."""


_MEASURES: Final[Mapping[Measure | None, int]] = {None: 0, "times": 1, "resources": 2}
"""``Work.measure`` to the number of ``Kind.MEASURE``."""


class FunctionEntry:
    """What the table knows of one function.

    Attributes:
        number: The number that stands for it in frames.
        function: The function. The table looks functions up by ``id``; as long as the
            function is kept here, no other object can have the same ``id``.
        data: The serialized function.
        error: Why it cannot be serialized, if so; its tasks fail with that.
        cost: How many seconds a call is expected to take; ``None`` before the first
            call has ended.
    """

    __slots__ = ("cost", "data", "error", "function", "number")

    def __init__(
        self,
        number: int,
        function: Callable[..., Any],
        data: bytes,
        error: SerializationError | None,
    ) -> None:
        self.number: int = number
        self.function: Callable[..., Any] = function
        self.data: bytes = data
        self.error: SerializationError | None = error
        self.cost: float | None = None


class FunctionTable:
    """The functions that have been sent, and how long their calls take.

    Entries are added and dropped under a lock. Look-ups take none: each reads one
    dictionary once, and an entry that is dropped at that moment is still right.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._size = 0
        self._by_id: OrderedDict[int, FunctionEntry] = OrderedDict()
        self._by_number: dict[int, FunctionEntry] = {}
        self._numbers = 0

    def cost(self, function: Callable[..., Any]) -> float | None:
        """Return the seconds that a call is expected to take, ``None`` for unknown."""
        known = self._by_id.get(id(function))
        return None if known is None else known.cost

    def find(
        self, work: Work, workers: Mapping[int, WorkerHandle]
    ) -> tuple[FunctionEntry, SerializationError | None]:
        """Return the entry of a work's function, which is made at its first work.

        Args:
            work: A work of the function.
            workers: All workers. If a function is dropped to make room for this one,
                each of them notes that it has to be told so.

        Returns:
            The entry, and the error with which the work fails, if there is one.
        """
        known = self._by_id.get(id(work.function))
        if known is None:
            known = self._add(work)
            for number in self._forget_oldest():
                for worker in list(workers.values()):
                    worker.forget(number)
        # Each task gets an error of its own: each `raise` adds to a traceback.
        return known, known.error and type(known.error)(*known.error.args)

    def _add(self, work: Work) -> FunctionEntry:
        # Outside of the lock, so two threads may serialize the same new function. Both
        # get the entry of the one that takes the lock first.
        data, error = _serialize(work)
        with self._lock:
            known = self._by_id.get(id(work.function))
            if known is None:
                self._numbers += 1
                known = FunctionEntry(self._numbers, work.function, data, error)
                self._by_id[id(work.function)] = known
                self._by_number[known.number] = known
                self._size += len(known.data)
            return known

    def _forget_oldest(self) -> Iterator[int]:
        """Drop the oldest functions while there are too many; yield their numbers."""
        with self._lock:
            while len(self._by_id) > 1 and (
                len(self._by_id) > FUNCTIONS_KEPT or self._size > BYTES_KEPT
            ):
                _, oldest = self._by_id.popitem(last=False)
                del self._by_number[oldest.number]
                self._size -= len(oldest.data)
                yield oldest.number

    def learn(self, durations: Iterable[tuple[int, int, int]]) -> None:
        """Note how long calls took: ``(function's number, calls, nanoseconds)``."""
        for number, calls, nanoseconds in durations:
            known = self._by_number.get(number)
            if known is not None:
                _update(known, max(1e-6, nanoseconds / calls / 1e9))

    def learn_one(self, function: Callable[..., Any], seconds: float) -> None:
        """Note how long one call took."""
        known = self._by_id.get(id(function))
        if known is not None:
            _update(known, seconds)


def _serialize(work: Work) -> tuple[bytes, SerializationError | None]:
    try:
        return serialize.dump_function(work.name, work.function), None
    except SerializationError as error:
        return b"", error
    except BaseException as error:
        return b"", _refused(work.name, "its function", error)


def _update(known: FunctionEntry, seconds: float) -> None:
    """Move an estimate towards what a call has taken."""
    if known.cost is None:
        known.cost = seconds
    else:
        weight = SLOWER_WEIGHT if seconds > known.cost else FASTER_WEIGHT
        known.cost += (seconds - known.cost) * weight


Share: TypeAlias = "Callable[[PickleBuffer], Segment | None]"
"""Puts a large buffer into a segment; see ``Store.share``."""


def nothing_shared(buffer: PickleBuffer) -> None:
    """Share nothing."""
    del buffer


class Message:
    """Frames for one worker that carry some works.

    Attributes:
        parts: The frames, as pieces of bytes to be sent in order.
        works: The works in it, in the order in which the worker will run them.
        failed: Outcomes of the works that are not in it because their function or an
            argument cannot be pickled.
    """

    __slots__ = (
        "_calls",
        "_segments",  # those that calls name: they live until this is sent
        "_share",
        "_watchdog",
        "_worker",
        "failed",
        "parts",
        "works",
    )

    def __init__(
        self, worker: WorkerHandle, share: Share = nothing_shared, *, watchdog: bool
    ) -> None:
        self._worker = worker
        self._share = share
        self._segments: list[Segment] = []
        self._calls: list[tuple[int, Any]] = []
        self._watchdog = watchdog
        self.parts: list[Data | Handed] = []
        self.works: list[Work] = []
        self.failed: list[Outcome] = []

    def add(self, work: Work, number: int) -> None:
        """Add one call: small ones to a common frame, a large one in its own frame."""
        if not work.kwargs and _plain(work.args):
            self._calls.append((number, work.args))
            self.works.append(work)
            return
        buffers: serialize.Buffers = []
        try:
            parts = serialize.dump_call_parts(
                work.name, work.function, work.args, work.kwargs, buffers
            )
        except SerializationError as error:
            self.failed.append((work, error, None))
            return
        except BaseException as error:
            refused = _refused(work.name, "an argument", error)
            self.failed.append((work, refused, None))
            return
        if buffers:
            parts = self._shared(parts, buffers)
        self.works.append(work)
        if buffers or sum(map(len, parts)) >= LARGE:
            self.close()  # the worker shall run the calls in their order
            info = number << 1 | self._watchdog
            self.parts += large_frame(Kind.CALL, parts, buffers, info)
        else:
            self._calls.append((number, b"".join(parts)))

    def _shared(self, parts: list[bytes], buffers: serialize.Buffers) -> list[bytes]:
        """Put a call's large buffers into segments; change the list to what is left."""
        found = [self._share(one) for one in buffers]
        if not any(found):
            return parts
        for segment in filter(None, found):
            self.hand(segment)
        pairs = zip(found, buffers, strict=True)
        nested = Nested(
            b"".join(parts), [Part(one.number) if one else rest for one, rest in pairs]
        )
        buffers.clear()
        return serialize.dump_parts(nested, buffers)

    def hand(self, segment: Segment) -> None:
        """Add a segment that a call will name, unless the worker has it.

        It stands before all calls that are not in a frame yet.
        """
        self._segments.append(segment)
        attached = self._worker.attached
        if segment.number not in attached:
            attached.add(segment.number)
            body = pickle.dumps(identity(segment.fd, segment.sizes), 5)
            frame = small_frame(Kind.ATTACH, body, segment.number)
            self.parts.append(Handed(frame, segment))

    def close(self) -> None:
        """Make a frame of the small calls that were added since the last one."""
        if self._calls:
            body = pickle.dumps(self._calls, 5)
            self.parts.append(small_frame(Kind.TASKS, body, self._watchdog))
            self._calls = []


def build_message(
    works: Sequence[Work],
    worker: WorkerHandle,
    workers: Mapping[int, WorkerHandle],
    functions: FunctionTable,
    share: Share = nothing_shared,
    *,
    watchdog: bool,
) -> Message:
    """Make a message of works for a worker, with all that it needs to run them.

    What was sent to a worker before arrives before, so a change of ``sys.path`` or of
    the directory and new functions need no answer: they stand in front of the calls.

    Args:
        works: What to send.
        worker: The worker. No other thread may build a message for it meanwhile.
        workers: All workers; see ``FunctionTable.find``.
        functions: The table of functions.
        share: Puts large arguments into memory that is shared.
        watchdog: Whether the worker has to run its watchdog, because there are several
            works, or more may be sent before these are done.
    """
    message = Message(worker, share, watchdog=watchdog)
    last: Any = None
    number = 0
    if worker.path != sys.path:
        worker.path = sys.path[:]
        found = [one for one in worker.path if isinstance(one, str)]
        message.parts.append(small_frame(Kind.PATH, pickle.dumps(found, 5)))
    if worker.directory != (here := present_directory()):
        worker.directory = here
        message.parts.append(small_frame(Kind.DIRECTORY, pickle.dumps(here, 5)))
    if works and worker.measure != (measure := _MEASURES[works[0].measure]):
        worker.measure = measure
        message.parts.append(small_frame(Kind.MEASURE, number=measure))
    if worker.told_gpus != worker.gpus:
        worker.told_gpus = worker.gpus
        message.parts.append(small_frame(Kind.GPUS, worker.gpus.encode()))
    for number_forgotten in worker.take_forgotten():
        message.parts.append(small_frame(Kind.FORGET, number=number_forgotten))
    for work in works:
        if work.function is not last:
            known, error = functions.find(work, workers)
            if error is not None:
                message.failed.append((work, error, None))
                continue
            last, number = work.function, known.number
            if number not in worker.known:
                worker.known.add(number)
                message.close()
                message.parts += large_frame(Kind.FUNCTION, [known.data], (), number)
        for kept in work.kept:
            # Before the call is pickled: another thread may read the result meanwhile,
            # and then the call has its value and does not name the segment.
            if isinstance(kept, PackedResult) and kept.segment is not None:
                message.hand(kept.segment)
                if kept.worker != worker.number:
                    kept.segment.ask()
        message.add(work, number)
    message.close()
    return message


def _plain(args: tuple[Any, ...]) -> bool:
    """Tell whether all arguments are small immutable built-ins."""
    for value in args:
        kind = type(value)
        if kind not in SCALARS and (kind not in STRINGS or len(value) > SHORT):
            return False
    return True


def _refused(name: str, what: str, error: BaseException) -> SerializationError:
    refused = SerializationError(name, what, f"pickling it raised {error!r}"[:500])
    refused.__cause__ = error
    return refused
