"""Large results that stay with the agent of their worker: the side of the worker.

A process of the pool pickles a result with its buffers apart. What is large then goes
to the agent in memory that the two share, or in plain bytes where that cannot be had,
and the agent tells the driver its size alone. A call that gets the result names it by
a number, and finds it in the same memory, read-only. The driver's side is ``stays``.

The process may write that memory a little later (``processes.holding``), and may die
before it does. Then the agent says that it cannot send the result, when it is to; or
that a call lacks it, and that; and the driver has it made again.
"""

from __future__ import annotations

from contextlib import contextmanager
from pickle import PickleBuffer
from threading import local
from typing import TYPE_CHECKING, Any, Final

from jackfield_executors.processes.resources import available_memory
from jackfield_executors.remote.parcels import met_file, note_files
from jackfield_serialize import Packed, dump_parts, loads, pack_unpicklable, pack_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jackfield_executors.processes.kept import PackedResult

KEEP_FROM: Final = 1_000_000
"""Bytes of a pickled result from which it stays."""

PART: Final = 8
"""An agent keeps no more than this part of the memory. What comes then goes home."""

APART: Final = 16_384
"""Bytes from which a pickle travels as a buffer of the message, without a copy."""

LARGE: Final = "large"
"""In the place of ``"ok"`` in an outcome: its result may stay."""

STAYS: Final = "stays"
"""In the same place, for the driver: the result has stayed. Its size follows."""

LACKING: Final = "lacking"
"""In the same place, for the agent: what the call was to get is lost."""


class Shelf:
    """The results that one agent keeps. Used under a lock of the agent's."""

    def __init__(self) -> None:
        self._kept: dict[int, PackedResult] = {}
        self._room = available_memory() // PART

    def get(self, number: int) -> PackedResult | None:
        """Return a result; ``None`` if there is none."""
        return self._kept.get(number)

    def put(self, number: int, result: PackedResult) -> bool:
        """Keep a result, if there is room for it."""
        if result.size > self._room:
            return False
        self._kept[number] = result
        self._room -= result.size
        return True

    def find(self, numbers: Iterable[int]) -> dict[int, PackedResult] | None:
        """Return results by their numbers; ``None`` if one of them is not here."""
        found = {number: self._kept.get(number) for number in numbers}
        there = {number: one for number, one in found.items() if one is not None}
        return there if len(there) == len(found) else None

    def forget(self, numbers: Iterable[int]) -> None:
        """Forget results, those that were never here too."""
        for number in numbers:
            result = self._kept.pop(number, None)
            if result is not None:
                self._room += result.size


def parts_of(result: PackedResult) -> list[Any] | None:
    """Return a pickle and its buffers, to be sent; ``None`` if they cannot be had."""
    try:
        _, packed, _ = result.look()
    except OSError:  # no more memory can be mapped
        return None
    _, data, buffers = packed
    return [_sendable(one) for one in (data, *buffers)]


def to_send(packed: Packed) -> Packed:
    """Return an outcome with the result that a pool has handed over, to be sent."""
    if len(packed) != 3 or packed[0] not in {"ok", LARGE}:
        return packed
    _, data, buffers = packed
    return "ok", _sendable(data), [_sendable(one) for one in buffers]


def _sendable(data: Any) -> Any:
    """Have a view pickled as the bytes that it shows."""
    return PickleBuffer(data) if isinstance(data, memoryview) else data


def size_of(packed: Packed) -> int:
    """Return the bytes of a large result that is to be sent; 0 of all others."""
    if len(packed) != 3:
        return 0
    kind, first, rest = packed
    if kind == "home":
        return sum(memoryview(one).nbytes for one in rest or ())
    if kind == "ok":
        return sum(memoryview(one).nbytes for one in (first, *rest))
    return 0


# -- In a process of the pool


_SMALL: Final = frozenset({int, float, bool, type(None)})


def pack_apart(value: object) -> Packed:
    """Pack a result, with its buffers apart; ``LARGE`` if it may stay.

    One in which there are files may not: the driver has to look at them.
    """
    if type(value) in _SMALL:
        return pack_value(value)
    buffers: list[PickleBuffer] = []
    note_files()
    try:
        large = type(value) is bytes and len(value) >= APART
        data = b"".join(dump_parts(_Bytes(value) if large else value, buffers))
    except BaseException as error:
        return pack_unpicklable(value, error)
    if not buffers and len(data) < APART:
        return "ok", data
    size = len(data) + sum(memoryview(one).nbytes for one in buffers)
    kind = LARGE if size >= KEEP_FROM and not met_file() else "ok"
    return kind, PickleBuffer(data) if len(data) >= APART else data, buffers


def pack_to_send(value: object) -> Packed:
    """Pack a result that is not to stay."""
    kind, *rest = pack_apart(value)
    return "ok" if kind == LARGE else kind, *rest


class _Bytes:
    """Bytes that are pickled as a buffer, to spare a copy."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def __reduce__(self) -> tuple[type[bytes], tuple[PickleBuffer]]:
        return bytes, (PickleBuffer(self._data),)


_thread = local()


@contextmanager
def at_hand(results: Mapping[int, Any]) -> Iterator[None]:
    """Have ``kept_at`` find these, which are as ``run_timed`` has returned them."""
    _thread.results = results
    try:
        yield
    finally:
        del _thread.results


def kept_at(number: int) -> Any:
    """Return the value of a result for the call that is being loaded."""
    _, packed, _ = _thread.results[number]
    _, data, buffers = packed
    return loads(data, buffers)
