"""Whether identifying the arguments of a call may take long: a guess, made at once.

The kernel's threads make keys themselves where that takes microseconds. What holds
them up is made elsewhere: a lot of bytes, many parts, and code of users or plugins,
which may do anything.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from types import FunctionType, NoneType
from typing import TYPE_CHECKING, Any, Final

from jackfield.files import File
from jackfield_memo.code_cache import is_code
from jackfield_memo.introspection import attributes_of, home_of
from jackfield_serialize.origins import origin_by_name

if TYPE_CHECKING:
    from jackfield_memo.policy import ValueHooks

MOST_BYTES: Final = 1 << 20
"""What has more bytes is costly. To digest these takes one or two milliseconds."""

MOST_PARTS: Final = 256
"""What has more parts is costly, numbers not counted."""

ITEM: Final = 100
"""How many bytes are digested in the time that an item of a container takes."""

_MANY: Final = 16
_FIXED: Final = frozenset({bool, int, float, complex, NoneType})
_TEXTS: Final = frozenset({str, bytes, bytearray})
_CONTAINERS: Final = (list, tuple, set, frozenset, deque)
_PICKLING: Final = ("__reduce_ex__", "__reduce__", "__getstate__")


def is_costly(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    hooks: ValueHooks,
    unread: Callable[[File], int],
) -> bool:
    """Tell whether identifying arguments may take milliseconds, or for ever.

    Args:
        args: Positional arguments.
        kwargs: Keyword arguments.
        hooks: Gives the plugins to ask about values of a type.
        unread: Tells how many bytes of a file would have to be read.
    """
    if not kwargs and _FIXED.issuperset(map(type, args)):  # as often
        return False
    left = _parts(args)
    if kwargs:
        left += _parts(kwargs.values())
    size = looked = 0
    while left:
        value = left.pop()
        kind = type(value)
        looked += 1
        if kind in _TEXTS:
            size += len(value)
        else:
            try:
                more, parts = _look(value, kind, hooks, unread)
            except Exception:  # code of the value's own: not here
                return True
            size += more
            left += parts
        if size > MOST_BYTES or looked + len(left) > MOST_PARTS:
            return True
    return False


def _look(
    value: Any, kind: type, hooks: ValueHooks, unread: Callable[[File], int]
) -> tuple[int, list[Any]]:
    """Return how many bytes a value counts for, without the parts given beside."""
    if isinstance(value, dict):
        size = ITEM * len(value)
        return size, [] if size > MOST_BYTES else _parts([*value, *value.values()])
    if isinstance(value, _CONTAINERS):
        size = ITEM * len(value)
        return size, [] if size > MOST_BYTES else _parts(list(value))
    if isinstance(value, File):
        return unread(value), []
    if isinstance(value, array):
        return len(value) * value.itemsize, []
    if is_code(value):
        return 0, []
    if hasattr(kind, "nbytes"):
        return int(value.nbytes), []
    if hasattr(kind, "__jackfield_hash__") or hooks(kind) or _pickles_itself(kind):
        return MOST_BYTES + 1, []
    return 0, _parts([*attributes_of(value).values(), *_slots(value, kind)])


def _parts(values: Collection[Any]) -> list[Any]:
    if len(values) > _MANY and _FIXED.issuperset(map(type, values)):  # in C
        return []
    return [value for value in values if type(value) not in _FIXED]


def _pickles_itself(kind: type) -> bool:
    """Tell whether code that is not Python's says how a value is pickled."""
    ways = [getattr(kind, name, None) for name in _PICKLING]
    if not any(isinstance(way, FunctionType) for way in ways):
        return False
    return origin_by_name(home_of(kind)).kind != "python"


def _slots(value: object, kind: type) -> list[Any]:
    found = []
    for owner in kind.__mro__:
        names = vars(owner).get("__slots__", ())
        slots = (names,) if isinstance(names, str) else names
        found += [getattr(value, name, None) for name in slots]
    return found
