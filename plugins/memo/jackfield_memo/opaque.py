"""Values that change where neither attributes nor parts show it.

An array, a ``BytesIO``, a compiled model keeps what it is in memory of C. Whether it
has changed shows only in what is pickled of it. What can be hashed by its value does
not change; what stands for something outside (a lock, a socket) has nothing to show.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import Enum
from io import BytesIO, StringIO
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from jackfield_memo.atoms import ATOMS
from jackfield_memo.introspection import class_name, home_of
from jackfield_serialize.origins import origin_by_name

BYTES: Final = (bytearray, array, memoryview)
"""Types of values that have bytes, which change in place."""
IN_MEMORY: Final = (BytesIO, StringIO)
"""Files that are all there is of them."""
_DICTS: Final[tuple[dict[Any, Any], ...]] = ({}, OrderedDict())
VIEWS: Final = tuple(
    type(view) for one in _DICTS for view in (one.keys(), one.values(), one.items())
)
"""Types of the views of dicts."""
HANDLES: Final = frozenset(
    {"_multiprocessing", "_queue", "_thread", "_weakref", "asyncio", "concurrent"}
    | {"multiprocessing", "queue", "threading", "weakref"}
)
"""Top-level modules whose objects stand for something outside themselves."""

_SEEN: Final = (list, tuple, set, frozenset, dict, deque, type, FunctionType)
_SEEN_TOO: Final = (MethodType, ModuleType, Enum, BaseException, property, *ATOMS)
"""Types whose values are looked at part by part, or do not change."""
_FIXED_IN: Final = frozenset({"ast", "functools", "operator", "_struct", "zoneinfo"})
"""Modules whose objects do not change, or are looked at part by part."""
_POINTER: Final = 8
_PYTHONS_OWN: Final = 2 * _POINTER
"""Bytes that an attribute dict and a list of weak references take in an instance."""
_ARRAYS: Final = ("__array__", "__dlpack__", "__array_interface__")

_known: Final[WeakKeyDictionary[type, bool]] = WeakKeyDictionary()


def is_opaque(kind: type) -> bool:
    """Tell whether values of a type may change where no part of them shows it."""
    found = _known.get(kind)
    if found is None:
        found = _known[kind] = _is_opaque(kind)
    return found


def _is_opaque(kind: type) -> bool:
    if issubclass(kind, BYTES + IN_MEMORY):
        return True
    if issubclass(kind, _SEEN + _SEEN_TOO):
        return False
    if issubclass(kind, staticmethod | classmethod) or kind is slice:
        return False
    line = kind.__mro__[:-1]
    roots = {home_of(owner).partition(".")[0] for owner in line}
    if not roots.isdisjoint({"numpy", "pandas", "_ctypes"}):
        return not is_fixed(kind)
    outside = roots & HANDLES or issubclass(kind, Iterator)
    packages = any(origin_by_name(home_of(one)).kind == "package" for one in line)
    if not packages and (outside or roots & _FIXED_IN):
        return False
    return not is_fixed(kind) and any(map(_has_memory, line))


def is_fixed(kind: type) -> bool:
    """Tell whether values of a type are hashed by what they are, so do not change.

    Not by what they are: by which object it is, as all are that say nothing else, and
    tensors.
    """
    way: Any = kind.__hash__
    if way is None or way is object.__hash__:
        return False
    names = {class_name(owner) for owner in kind.__mro__}
    if "numpy.generic" in names:
        return True
    return "_ctypes._CData" not in names and not any(
        hasattr(kind, name) for name in _ARRAYS
    )


def _has_memory(owner: type) -> bool:
    """Tell whether a class adds memory of C to what instances of its base have."""
    base: Any = owner.__base__
    if origin_by_name(home_of(owner)).kind == "project" and owner.__flags__ & 1 << 9:
        return False
    slots: Any = vars(owner).get("__slots__", ())
    count = 1 if isinstance(slots, str) else len(tuple(slots))
    grown = owner.__basicsize__ - base.__basicsize__ - _POINTER * count
    return bool(owner.__itemsize__) or grown > _PYTHONS_OWN


def is_frozen(value: object) -> bool:
    """Tell whether a value is an array to which nobody can write, in no view of it."""
    while value is not None:
        if type(value) is bytes:
            return True
        flags = getattr(value, "flags", None)
        if bool(getattr(flags, "writeable", True)):
            return False
        value = getattr(value, "base", None)
    return True
