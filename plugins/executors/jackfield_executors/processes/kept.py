"""Large results in the driver: they stay packed until somebody reads them.

Most large results are only handed on: the driver would unpickle one to pickle it again
for the next worker. So it keeps the bytes as they came. A task that gets such a result
in a worker is sent the same bytes, or finds them in memory that it shares (``shared``).
Its value is made here when somebody asks for it, and then the bytes are dropped; from
then on a worker is sent a copy of the value.
"""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import jackfield_serialize as serialize
from jackfield.abc import Kept
from jackfield_executors.processes import shared
from jackfield_executors.processes.shared import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackfield_executors.processes.wire import Data

T = TypeVar("T")

Packed: TypeAlias = "tuple[Data, Sequence[Data]]"
"""A pickle, and its buffers."""


class PackedResult(Kept):
    """A result as a worker has pickled it.

    Args:
        executor: The executor's label.
        task: Name of the task's function, for messages.
        packed: The segment that has it; or the pickle and its buffers, which belong to
            the value that is made of it.
        worker: Number of the worker that has made it.

    Attributes:
        segment: The segment that has it, if one does. It stays as long as this object:
            calls that name it may be on their way to a worker.
        worker: Number of the worker that has made it.
    """

    __slots__ = ("_error", "_lock", "_packed", "_task", "_value", "segment", "worker")

    def __init__(
        self, executor: str, task: str, packed: Packed | Segment, worker: int
    ) -> None:
        segment = packed if isinstance(packed, Segment) else None
        parts = () if isinstance(packed, Segment) else (packed[0], *packed[1])
        super().__init__(executor, segment.size if segment else sum(map(len, parts)))
        self.segment: Segment | None = segment
        self.worker: int = worker
        self._task = task
        self._packed: Packed | Segment | None = packed
        self._lock = RLock()
        self._error: Exception | None = None
        self._value: Any = None

    def fetch(self) -> Any:
        """Return the value, unpickled at the first call.

        Raises:
            SerializationError: It cannot be unpickled.
        """
        with self._lock:
            if self._packed is not None and self._error is None:
                self._unpack(self._packed)
        if self._error is not None:
            raise self._error
        return self._value

    def glance(self) -> Any:
        """Return what ``look`` does, but for its buffers if they are not written yet.

        In their place are empty ones.

        Raises:
            OSError: The segment cannot be mapped.
        """
        segment = self.segment
        head = None if segment is None else segment.head
        if segment is None or head is None:
            return self.look()
        return serialize.loads(head, [b""] * (len(segment.sizes) - 1))

    def written(self) -> bool | None:
        """Tell whether it is there; ``None`` if it will be, false if it is lost."""
        return True if self.segment is None else self.segment.written()

    def ask(self) -> None:
        """Have it written, if it is not."""
        if self.segment is not None:
            self.segment.ask()

    def look(self) -> Any:
        """Return a value of the caller's own; this stays packed.

        For who knows that it is made of built-in types. Its buffers are views.

        Raises:
            OSError: The segment cannot be mapped.
        """
        assert self._packed is not None
        return serialize.loads(*_opened(self._packed))

    def _unpack(self, packed: Packed | Segment) -> None:
        try:
            data, buffers = _opened(packed)
        except OSError as error:  # it may work another time
            raise serialize.broken_result(self._task, error) from error
        try:
            self._value = serialize.loads(data, buffers)
        except KeyboardInterrupt:  # it is meant for the script, which may ask again
            raise
        except BaseException as error:
            self._error = serialize.broken_result(self._task, error)
        else:
            # After the value is there: a thread that pickles us just now, without the
            # lock, finds one or the other.
            self._packed = None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Have a worker that unpickles this get the value."""
        return self.reduced()

    def reduced(
        self, *, read_only: bool = False
    ) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what ``__reduce__`` does.

        Args:
            read_only: Whether arrays that lie in memory of this process come out
                read-only, as those that are shared with other processes do.
        """
        packed = self._packed
        if packed is None:
            return itself, (self._value,)
        if isinstance(packed, Segment):
            return shared.value_of, (packed.number,)
        data, buffers = packed
        if read_only:
            buffers = [memoryview(one).toreadonly() for one in buffers]
        return shared.Nested(data, buffers).__reduce__()


def _opened(packed: Packed | Segment) -> Packed:
    """Return a pickle and its buffers, for this process alone if it is a segment.

    Raises:
        OSError: The segment cannot be mapped.
    """
    if not isinstance(packed, Segment):
        return packed
    data, *buffers = packed.private()
    return data, buffers


def itself(value: T) -> T:
    """Return the value: what a result that was read is pickled as."""
    return value
