"""Whether what a function's identity was made of is still as it was then.

An identity is made once and remembered. But names of a module can be bound anew, in
a notebook they often are, and lists and settings can change in place. So a snapshot
is taken of the names that the function uses and of the small values that can change,
and compared at each call: some 50 nanoseconds for a name, and the time to encode those
values.

Functions, classes and modules are referred to weakly: a function must not live on
because a snapshot has it.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, Final

from jackfield_memo.atoms import UnknownValueError
from jackfield_memo.introspection import MISSING, attributes_of, home_of
from jackfield_memo.origins import origin_by_name

SMALL: Final = 64
"""A value that can change is looked at again at each call if it has at most so many
parts."""

Owner = FunctionType | type | ModuleType

_FIXED: Final = (type(None), bool, int, float, complex, str, bytes, type, FunctionType)


class Snapshot:
    """Names, cells and small values, as they were.

    Args:
        identity: Gives the identity of a value.
    """

    def __init__(self, identity: Callable[[object], bytes]) -> None:
        self._identity: Callable[[object], bytes] = identity
        self._names: dict[tuple[int, str], _Names] = {}
        self._contents: dict[int, tuple[object, bytes]] = {}

    def name(self, owner: Owner, name: str, value: object) -> None:
        """Remember what a name is bound to, or that it is not (``MISSING``).

        Args:
            owner: A function, for a name of its module; or a class or a module, for
                an attribute.
            name: The name.
            value: What it is bound to.
        """
        names = self._names_of(owner)
        names.add(name, value)

    def cell(self, function: FunctionType, place: int, value: object) -> None:
        """Remember what a closure's variable is bound to."""
        key = id(function), "__closure__"
        names = self._names.setdefault(key, _Names(function, "__closure__"))
        names.add(place, value)

    def content(self, value: object) -> None:
        """Remember what a value contains, if it can change and is small.

        To be called before the value is looked at for anything else, or a change in
        between would be missed.
        """
        if not isinstance(value, _FIXED) and _left(value, SMALL) >= 0:
            self._contents[id(value)] = value, self._identity(value)

    def without_name(self, owner: Owner, name: str) -> None:
        """Leave a name out after all."""
        self._names_of(owner).discard(name)

    def without_cell(self, function: FunctionType, place: int) -> None:
        """Leave a closure's variable out after all."""
        self.cell(function, place, None)
        self._names[id(function), "__closure__"].discard(place)

    def without_contents(self, unwanted: Callable[[object], bool]) -> None:
        """Leave out after all what some values contain."""
        self._contents = {
            key: (value, was)
            for key, (value, was) in self._contents.items()
            if not unwanted(value)
        }

    def changed(self) -> bool:
        """Tell whether anything is not as it was."""
        for names in self._names.values():
            if names.changed():
                return True
        try:
            for value, was in self._contents.values():
                if self._identity(value) != was:
                    return True
        except UnknownValueError:  # it was nested anew, or is changing right now
            return True
        return False

    def _names_of(self, owner: Owner) -> _Names:
        where = "__dict__"
        if isinstance(owner, FunctionType):
            owner, where = _module_of(owner)
        return self._names.setdefault((id(owner), where), _Names(owner, where))


class _Names:
    """The names in one place, and what they were bound to."""

    __slots__ = ("_held", "_owner", "_weak", "_where")

    def __init__(self, owner: Owner, where: str) -> None:
        self._owner: weakref.ref[Owner] = weakref.ref(owner)
        self._where: str = where
        self._held: dict[Any, object] = {}
        self._weak: dict[Any, weakref.ref[Any]] = {}

    def add(self, name: str | int, value: object) -> None:
        try:
            self._weak[name] = weakref.ref(value)
        except TypeError:
            self._held[name] = value

    def discard(self, name: str | int) -> None:
        self._weak.pop(name, None)
        self._held.pop(name, None)

    def changed(self) -> bool:
        owner = self._owner()
        if owner is None:
            return True
        place = getattr(owner, self._where)
        get = _cell_reader(place) if isinstance(place, tuple) else place.get
        for name, value in self._held.items():
            if get(name, MISSING) is not value:
                return True
        for name, reference in self._weak.items():
            value = get(name, MISSING)
            if value is None or value is not reference():
                return True
        return False


def _module_of(function: FunctionType) -> tuple[Owner, str]:
    """Return whom to ask for a function's globals: its module, if that has them."""
    names = function.__globals__
    module = sys.modules.get(names.get("__name__") or "")
    if module is not None and vars(module) is names:
        return module, "__dict__"
    return function, "__globals__"


def _cell_reader(closure: Any) -> Callable[[int, object], object]:
    def read(place: int, default: object) -> object:
        try:
            return closure[place].cell_contents
        except ValueError:
            return default

    return read


def _left(value: Any, budget: int) -> int:
    """Return what is left of a budget of parts; below 0: the value is not small."""
    if budget < 0 or isinstance(value, type | FunctionType):
        return budget
    if origin_by_name(home_of(type(value))).kind == "package":
        return -1  # a table, a tensor: nobody knows how big
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()] if len(value) <= SMALL else None
    elif isinstance(value, list | tuple | set | frozenset | deque):
        parts = list(value) if len(value) <= SMALL else None
    elif attributes := attributes_of(value):
        parts = list(attributes.values()) if len(attributes) <= SMALL else None
    else:
        return budget - 1 - sys.getsizeof(value) // 256
    if parts is None:
        return -1
    budget -= 1
    for part in parts:
        budget = _left(part, budget)
    return budget
