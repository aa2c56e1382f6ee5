"""Whether what a function reaches is still the same: names, functions, classes, files.

Compared at each call, so by identity and with nothing computed: some 50 nanoseconds for
a name. What is compared is held meanwhile, so that no other object gets its ``id``.
"""

from __future__ import annotations

import pickle
from collections import defaultdict, deque
from collections.abc import Mapping
from datetime import datetime, time
from enum import Enum
from hashlib import sha256
from io import BytesIO
from operator import is_not
from types import CellType, FunctionType, MappingProxyType
from typing import Any, Final
from weakref import ReferenceType

from jackfield_memo.asking import derived_from, readable, registrations
from jackfield_memo.atoms import ATOMS
from jackfield_memo.introspection import MISSING, attributes_of, slots_of
from jackfield_memo.large import Large
from jackfield_memo.loaded import signature
from jackfield_memo.opaque import VIEWS, is_frozen, is_opaque

SMALL: Final = 64
"""A value with more parts is compared part by part, which takes longer."""
MOST_PARTS: Final = 10_000
"""Values with more parts are not compared."""
LARGE_BYTES: Final = 1 << 20
"""An array with more bytes is not compared if nobody can write to it."""

_CONTAINERS: Final = (list, tuple, set, frozenset, deque)
_FILLED: Final = (list, dict, set, deque)
_EMPTY: Final[Mapping[str, Any]] = {}


class Watch:
    """What is reached, as it was."""

    __slots__ = (
        "_absent",
        "_cells",
        "_classes",
        "_contents",
        "_files",
        "_functions",
        "_large",
        "_names",
        "_readable",
        "_subclasses",
        "_token",
        "_unknown",
        "_wholes",
    )

    def __init__(self) -> None:
        self._names: list[tuple[Mapping[str, Any], str, Any]] = []
        self._functions: list[tuple[FunctionType, tuple[Any, ...]]] = []
        self._classes: list[tuple[type, list[Any]]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._contents: list[tuple[Any, list[Any]]] = []
        self._large: list[Large] = []
        self._files: list[tuple[str, tuple[int, ...]]] = []
        self._absent: list[tuple[Mapping[str, Any], frozenset[str]]] = []
        self._wholes: list[tuple[Mapping[str, Any], frozenset[str]]] = []
        self._readable: list[tuple[FunctionType | type, tuple[Any, ...]]] = []
        self._subclasses: list[tuple[type, list[type]]] = []
        self._token: object = None
        self._unknown: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)

    def never_same(self) -> None:
        """Note that nobody can tell whether anything has changed."""
        self._unknown = True

    def name(self, namespace: Mapping[str, Any], name: str, value: Any) -> None:
        """Note what a name is bound to, or that it is not (``MISSING``)."""
        self._names.append((namespace, name, value))

    def absent(self, namespace: Mapping[str, Any], names: frozenset[str]) -> None:
        """Note names that are not bound."""
        self._absent.append((namespace, names))

    def whole(self, namespace: Mapping[str, Any]) -> None:
        """Note which names there are."""
        self._wholes.append((namespace, frozenset(namespace)))

    def function(self, function: FunctionType) -> None:
        """Note a function's code, defaults and attributes, and what its cells hold."""
        self._functions.append((function, _parts_of(function)))
        for cell in function.__closure__ or ():
            self._cells.append((cell, _content(cell)))

    def members(self, owner: type) -> None:
        """Note the bases and members of a class."""
        self._classes.append((owner, _members_of(owner)))

    def readable(self, thing: FunctionType | type) -> None:
        """Note what a function or class says of itself."""
        self._readable.append((thing, readable(thing)))

    def subclasses(self, owner: type) -> None:
        """Note which classes are derived from one."""
        self._subclasses.append((owner, derived_from(owner)))

    def registrations(self) -> None:
        """Note which classes have been registered with abstract ones."""
        self._token = registrations()

    def content(self, value: Any) -> None:
        """Note what a value contains, if that can change and is not too large."""
        if type(value) not in ATOMS and not isinstance(value, type):
            flat = _flat(value)
            if flat is None:
                large = Large(value, _digest, is_opaque, MOST_PARTS)
                self._large.append(large)
            elif len(flat) > 1 or _may_fill(value):
                self._contents.append((value, flat))

    def file(self, path: str) -> None:
        """Note a file's size and times."""
        self._files.append((path, signature(path)))

    def changed(self) -> bool:
        """Tell whether anything is not as it was; what cannot be looked at, is not."""
        try:
            return self._unknown or self._changed()
        except Exception:
            return True

    def _changed(self) -> bool:
        for namespace, name, value in self._names:
            if namespace.get(name, MISSING) is not value:
                return True
        for namespace, names in self._absent:
            if not names.isdisjoint(namespace):
                return True
        for namespace, names in self._wholes:
            if namespace.keys() != names:
                return True
        for function, parts in self._functions:
            if _differ(_parts_of(function), parts):
                return True
        for cell, value in self._cells:
            if _content(cell) is not value:
                return True
        if self._token is not None and self._token != registrations():
            return True
        for thing, says in self._readable:
            if readable(thing) != says:
                return True
        for owner, derived in self._subclasses:
            if _differ(derived_from(owner), derived):
                return True
        for owner, members in self._classes:
            if _differ(_members_of(owner), members):
                return True
        for container, flat in self._contents:
            now = _flat(container)
            if now is None or (_differ(now, flat) and _unlike(now, flat)):
                return True
        if any(large.changed() for large in self._large):
            return True
        return any(signature(path) != was for path, was in self._files)


class Own:
    """What one function is itself, of many that are made of the same code.

    Args:
        function: The function, which holds nothing that can change.
        below: What they reach.
    """

    __slots__ = ("_below", "_cells", "_function", "_parts")

    def __init__(self, function: FunctionType, below: Watch) -> None:
        self._function: FunctionType = function
        self._below: Watch = below
        self._parts: tuple[Any, ...] = _parts_of(function)
        self._cells: list[Any] = [_content(cell) for cell in function.__closure__ or ()]

    def changed(self) -> bool:
        """Tell whether anything is not as it was."""
        function = self._function
        for cell, value in zip(function.__closure__ or (), self._cells, strict=True):
            if _content(cell) is not value:
                return True
        return _differ(_parts_of(function), self._parts) or self._below.changed()


def holds_atoms(function: FunctionType) -> bool:
    """Tell whether a function holds nothing else than numbers and texts."""
    for cell in function.__closure__ or ():
        if _content(cell) is not MISSING and type(cell.cell_contents) not in ATOMS:
            return False
    held: tuple[Any, ...] = function.__defaults__ or ()
    if function.__kwdefaults__:
        held = *held, *function.__kwdefaults__.values()
    return not function.__dict__ and all(type(value) in ATOMS for value in held)


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
        function.__name__,
        *(function.__defaults__ or ()),
        None,
        *keywords.values(),
        *function.__dict__.values(),
    )


def _members_of(owner: type) -> list[Any]:
    found = [*owner.__bases__, *vars(owner), *vars(owner).values()]
    if issubclass(owner, Enum):
        for one in owner.__members__.values():
            found += vars(one).values()
    return found


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _flat(value: Any) -> list[Any] | None:
    """Return a value and all that is in it; ``None`` if that is more than a little."""
    flat: list[Any] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        parts = parts_in(one)
        flat.append(one)
        if is_opaque(type(one)):
            return None
        if parts:
            waiting += parts
            flat.append(len(parts))
        if len(waiting) + len(flat) > 2 * SMALL:
            return None
    return flat


def _digest(value: Any) -> bytes:
    """Return a digest of a value that changes in place.

    None of one that cannot be pickled; nor of an array to which nobody can write.
    """
    sink, beside = BytesIO(), list[pickle.PickleBuffer]()
    try:
        if getattr(value, "nbytes", 0) > LARGE_BYTES and is_frozen(value):
            return b""
        if type(value) is memoryview:
            return sha256(value.tobytes()).digest()
        _Pickler(sink, 5, buffer_callback=beside.append).dump(value)
        digest = sha256(sink.getbuffer())
        for buffer in beside:
            digest.update(buffer.raw())
        return digest.digest()
    except Exception:
        return b""


class _Pickler(pickle.Pickler):
    """Pickles code as which it is here: so that of no module, too."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is FunctionType or (issubclass(kind, type) and not _is_static(obj)):
            return int, (id(obj),)
        return NotImplemented


def _is_static(owner: type) -> bool:
    return owner.__module__ == "builtins"


def parts_in(value: Any) -> list[Any]:
    """Return the parts of a container, or the attributes of an object."""
    kind = type(value)  # and not ``isinstance``, which wakes lazy proxies
    if kind is dict:
        return [*value, *value.values()]
    if kind in _CONTAINERS:
        return list(value)
    if issubclass(kind, type | FunctionType):
        return []
    parts: list[Any] = [*attributes_of(value).values(), *slots_of(value).values()]
    if issubclass(kind, BaseException):
        parts += (*value.args, value.__cause__)
    elif issubclass(kind, VIEWS):
        parts += value
    elif issubclass(kind, ReferenceType):
        parts.append(value())
    elif issubclass(kind, datetime | time) and value.tzinfo is not None:
        parts.append(value.tzinfo)
    if issubclass(kind, dict | MappingProxyType):
        parts += (*value, *value.values())
    elif issubclass(kind, _CONTAINERS):
        parts += value
    if issubclass(kind, defaultdict):
        parts.append(value.default_factory)
    elif kind.__dictoffset__:  # another class may be set, too
        parts.append(kind)
    return parts


def _may_fill(value: Any) -> bool:
    """Tell whether a value has nothing in it, and may get something."""
    kind = type(value)
    return issubclass(kind, _FILLED) or kind.__dictoffset__ != 0
