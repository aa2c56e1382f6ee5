"""Whether what a function reaches is still the same: names, functions, classes, files.

Compared at each call, so by identity and with nothing computed: some 50 nanoseconds for
a name. What is compared is held meanwhile, so that no other object gets its ``id``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from operator import is_not
from types import CellType, FunctionType
from typing import Any, Final

from jackfield_memo.atoms import ATOMS
from jackfield_memo.introspection import MISSING, attributes_of, slots_of
from jackfield_memo.loaded import signature

SMALL: Final = 64
"""A value that can change in place is compared if it has at most so many parts."""

_CONTAINERS: Final = (list, tuple, set, frozenset, deque)
_EMPTY: Final[Mapping[str, Any]] = {}


class Watch:
    """What is reached, as it was."""

    __slots__ = ("_cells", "_classes", "_contents", "_files", "_functions", "_names")

    def __init__(self) -> None:
        self._names: list[tuple[Mapping[str, Any], str, Any]] = []
        self._functions: list[tuple[FunctionType, tuple[Any, ...]]] = []
        self._classes: list[tuple[type, list[Any]]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._contents: list[tuple[Any, list[Any]]] = []
        self._files: list[tuple[str, tuple[int, ...]]] = []

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)

    def name(self, namespace: Mapping[str, Any], name: str, value: Any) -> None:
        """Note what a name is bound to, or that it is not (``MISSING``)."""
        self._names.append((namespace, name, value))

    def function(self, function: FunctionType) -> None:
        """Note a function's code, defaults and attributes, and what its cells hold."""
        self._functions.append((function, _parts_of(function)))
        for cell in function.__closure__ or ():
            self._cells.append((cell, _content(cell)))

    def members(self, owner: type) -> None:
        """Note the bases and members of a class."""
        self._classes.append((owner, _members_of(owner)))

    def content(self, value: Any) -> None:
        """Note what a value contains, if that can change and is small."""
        flat = _flat(value)
        if flat is not None:
            self._contents.append((value, flat))

    def file(self, path: str) -> None:
        """Note a file's size and times."""
        self._files.append((path, signature(path)))

    def changed(self) -> bool:
        """Tell whether anything is not as it was."""
        for namespace, name, value in self._names:
            if namespace.get(name, MISSING) is not value:
                return True
        for function, parts in self._functions:
            if _differ(_parts_of(function), parts):
                return True
        for cell, value in self._cells:
            if _content(cell) is not value:
                return True
        for owner, members in self._classes:
            if _differ(_members_of(owner), members):
                return True
        for container, flat in self._contents:
            now = _flat(container)
            if now is None or (_differ(now, flat) and _unlike(now, flat)):
                return True
        return any(signature(path) != was for path, was in self._files)


def _differ(now: Any, was: Any) -> bool:
    return len(now) != len(was) or any(map(is_not, now, was))


def _unlike(now: list[Any], was: list[Any]) -> bool:
    """Tell whether two lists differ, where equal numbers and texts are the same."""
    return len(now) != len(was) or any(
        one is not other and (type(one) not in ATOMS or _atom(one) != _atom(other))
        for one, other in zip(now, was, strict=True)
    )


def _atom(value: Any) -> bytes:
    encode = ATOMS.get(type(value))
    return b"" if encode is None else encode(value)


def _parts_of(function: FunctionType) -> tuple[Any, ...]:
    keywords: Mapping[str, Any] = function.__kwdefaults__ or _EMPTY
    return (
        function.__code__,
        *(function.__defaults__ or ()),
        None,
        *keywords.values(),
        *function.__dict__.values(),
    )


def _members_of(owner: type) -> list[Any]:
    return [*owner.__bases__, *vars(owner), *vars(owner).values()]


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _flat(value: Any) -> list[Any] | None:
    """Return all that is in a value; ``None`` if that is nothing, or too much."""
    flat: list[Any] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        parts = parts_in(one)
        flat.append(one)
        if parts:
            waiting += parts
            flat.append(len(parts))
        if len(waiting) + len(flat) > 2 * SMALL:
            return None
    return flat if len(flat) > 1 else None


def parts_in(value: Any) -> list[Any]:
    """Return the parts of a container, or the attributes of an object."""
    kind = type(value)  # and not ``isinstance``, which wakes lazy proxies
    if issubclass(kind, dict):
        return [*value, *value.values()]
    if issubclass(kind, _CONTAINERS):
        return list(value)
    if issubclass(kind, type | FunctionType):
        return []
    return [*attributes_of(value).values(), *slots_of(value).values()]
