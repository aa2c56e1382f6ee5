"""Turning works into frames, outside all locks: this runs users' pickling code."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from jackfield import serialize
from jackfield.errors import SerializationError
from jackfield_executors.processes.wire import (
    LARGE,
    SCALARS,
    SHORT,
    STRINGS,
    Data,
    Kind,
    frame,
    large_frame,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jackfield.abc import Outcome, Work
    from jackfield_executors.processes.handle import WorkerHandle

FUNCTIONS_KEPT: Final = 1_000
"""Beyond so many functions, the oldest is forgotten, here and in the workers."""

BYTES_KEPT: Final = 100_000_000
"""Likewise if what they are serialized to is larger: closures may hold much data."""

SLOWER_WEIGHT: Final = 0.5
FASTER_WEIGHT: Final = 0.25
"""An estimate rises quickly and falls slowly: too high a one costs little."""


class FunctionEntry:
    """What is known of one function.

    Attributes:
        number: Its number on the wire.
        function: Itself; kept, so that its ``id`` stays its own.
        data: It, serialized.
        error: What to raise instead, if it cannot be serialized.
        cost: Estimate of the seconds that a call takes, or ``None``.
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
    """The functions that have been sent, and how long they take."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._size = 0
        self._by_id: OrderedDict[int, FunctionEntry] = OrderedDict()
        self._by_number: dict[int, FunctionEntry] = {}
        self._numbers = 0

    def cost(self, function: Callable[..., Any]) -> float | None:
        """Seconds that a call is expected to take, ``None`` for an unknown one."""
        known = self._by_id.get(id(function))
        return None if known is None else known.cost

    def find(
        self, work: Work, workers: Mapping[int, WorkerHandle]
    ) -> tuple[FunctionEntry, SerializationError | None]:
        """Return what is known of a work's function, and serialize it if need be.

        Args:
            work: One of its works.
            workers: All workers, to be told if another function is dropped.
        """
        known = self._by_id.get(id(work.function))
        if known is None:
            known = self._add(work)
            for number in self._forget_oldest():
                for worker in list(workers.values()):
                    worker.forget(number)
        # Each task gets an error of its own: raising one adds to its traceback.
        return known, known.error and type(known.error)(*known.error.args)

    def _add(self, work: Work) -> FunctionEntry:
        data, error = _serialize(work)
        with self._lock:
            known = self._by_id.get(id(work.function))
            if known is None:  # else another thread was faster
                self._numbers += 1
                known = FunctionEntry(self._numbers, work.function, data, error)
                self._by_id[id(work.function)] = known
                self._by_number[known.number] = known
                self._size += len(known.data)
            return known

    def _forget_oldest(self) -> Iterator[int]:
        """Forget functions while there are too many; give their numbers."""
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
    if known.cost is None:
        known.cost = seconds
    else:
        weight = SLOWER_WEIGHT if seconds > known.cost else FASTER_WEIGHT
        known.cost += (seconds - known.cost) * weight


class Message:
    """Works made into frames for one worker.

    Attributes:
        parts: Pieces to be sent in order.
        works: Those that are in it, in order.
        failed: Outcomes of those that cannot be sent.
    """

    __slots__ = ("_ahead", "_calls", "failed", "parts", "works")

    def __init__(self, *, ahead: bool) -> None:
        self._calls: list[tuple[int, Any]] = []
        self._ahead = ahead
        self.parts: list[Data] = []
        self.works: list[Work] = []
        self.failed: list[Outcome] = []

    def add(self, work: Work, number: int) -> None:
        """Add one call, pickled in whichever way suits it."""
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
        self.works.append(work)
        if buffers or sum(map(len, parts)) >= LARGE:
            self.close()
            self.parts += large_frame(Kind.CALL, parts, buffers, number)
        else:
            self._calls.append((number, b"".join(parts)))

    def close(self) -> None:
        """Finish the current list of small calls."""
        if self._calls:
            body = pickle.dumps(self._calls, 5)
            self.parts.append(frame(Kind.TASKS, body, self._ahead))
            self._calls = []


def build_message(
    works: Iterable[Work],
    worker: WorkerHandle,
    workers: Mapping[int, WorkerHandle],
    functions: FunctionTable,
    *,
    ahead: bool,
) -> Message:
    """Make frames of works for a worker. One thread at a time packs for a worker.

    Args:
        works: What to send.
        worker: Where to.
        workers: All workers.
        functions: The table of functions; may be used by several threads at once.
        ahead: Whether more may be sent before these are done.
    """
    message = Message(ahead=ahead)
    last: Any = None
    number = 0
    if worker.path != sys.path:
        worker.path = sys.path[:]
        message.parts.append(frame(Kind.PATH, pickle.dumps(worker.path, 5)))
    for number_forgotten in worker.take_forgotten():
        message.parts.append(frame(Kind.FORGET, number=number_forgotten))
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
        message.add(work, number)
    message.close()
    return message


def _plain(args: tuple[Any, ...]) -> bool:
    """Whether arguments are small immutable built-ins: they share one pickle."""
    for value in args:
        kind = type(value)
        if kind not in SCALARS and (kind not in STRINGS or len(value) > SHORT):
            return False
    return True


def _refused(name: str, what: str, error: BaseException) -> SerializationError:
    refused = SerializationError(name, what, f"pickling it raised {error!r}"[:500])
    refused.__cause__ = error
    return refused
