"""Whether what a function's identity was made of is still as it was then.

An identity is made once and remembered. But names of a module can be bound anew, in
a notebook they often are, and lists and settings can change in place. So a snapshot
is taken of the names that the function uses, of what functions and classes are made of,
and of the small values that can change, and compared at each call: some 50 nanoseconds
for a name, 200 for a function, 500 for a class, and the time to encode those values.

Functions, classes and modules are referred to weakly: a function must not live on
because a snapshot has it.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from functools import partial
from types import (
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any, Final, NamedTuple

from jackfield_memo.asking import derived_from, readable, registrations
from jackfield_memo.atoms import UnknownValueError
from jackfield_memo.introspection import (
    MISSING,
    attributes_of,
    home_of,
    slots_of,
    wrapped_by,
)
from jackfield_memo.large import Large
from jackfield_memo.loaded import signature
from jackfield_memo.objects import set_on_wrapper
from jackfield_serialize.origins import origin_by_name

SMALL: Final = 64
"""A value that can change is looked at again at each call if it has at most so many
parts."""

Owner = FunctionType | type | ModuleType

_FIXED: Final = (type(None), bool, int, float, complex, str, bytes, type, FunctionType)


def _is_fixed(value: object) -> bool:
    """Tell whether a value cannot change, or is looked at in another way.

    A number or text of a class of the project's may have attributes.
    """
    kind = type(value)
    if kind in _FIXED or issubclass(kind, type | FunctionType | Enum):
        return True
    return isinstance(value, _FIXED) and not kind.__dictoffset__


class Snapshot:
    """Names, cells and small values, as they were.

    Args:
        identity: Gives the identity of a value.
    """

    def __init__(self, identity: Callable[[object], bytes]) -> None:
        self._identity: Callable[[object], bytes] = identity
        self._names: dict[tuple[int, str], _Names] = {}
        self._functions: dict[int, _Function] = {}
        self._classes: dict[int, _Class] = {}
        self._contents: dict[int, _Content] = {}
        self._large: dict[int, Large] = {}
        self._files: dict[str, tuple[int, ...]] = {}
        self._public: dict[int, tuple[weakref.ref[Owner], str, set[str]]] = {}
        self._readable: dict[int, tuple[weakref.ref[Any], tuple[Any, ...]]] = {}
        self._subclasses: dict[int, tuple[weakref.ref[type], list[int]]] = {}
        self._token: object = None
        self._without: dict[str, Callable[[str], bool]] = {}

    def name(self, owner: Owner, name: str, value: object) -> None:
        """Remember what a name is bound to, or that it is not (``MISSING``).

        Args:
            owner: A function, for a name of its module; or a class or a module, for
                an attribute.
            name: The name.
            value: What it is bound to.
        """
        self._names_of(owner).add(name, value)

    def cell(self, function: FunctionType, place: int, value: object) -> None:
        """Remember what a closure's variable is bound to."""
        key = id(function), "__closure__"
        names = self._names.setdefault(key, _Names(function, "__closure__"))
        names.add(place, value)

    def module(self, name: str) -> None:
        """Remember which module has been imported under a name, if any."""
        modules = self._names.setdefault((id(sys), "modules"), _Names(sys, "modules"))
        modules.add(name, sys.modules.get(name, MISSING))

    def public(self, owner: Owner, names: list[str]) -> None:
        """Remember which names a module has that are no special ones."""
        if isinstance(owner, FunctionType):
            owner, where = _module_of(owner)
        else:
            where = "__dict__"
        self._public[id(owner)] = weakref.ref(owner), where, set(names)

    def file(self, path: str) -> None:
        """Remember size and times of a file."""
        self._files.setdefault(path, signature(path))

    def function(self, function: FunctionType) -> None:
        """Remember the code of a function, its defaults and its attributes."""
        self._functions[id(function)] = _Function(function)

    def members(self, owner: type) -> None:
        """Remember the members and bases of a class."""
        self._classes[id(owner)] = _Class(owner)

    def readable(self, thing: FunctionType | type) -> None:
        """Remember what a function or class says of itself."""
        self._readable[id(thing)] = weakref.ref(thing), readable(thing)

    def subclasses(self, owner: type) -> None:
        """Remember which classes are derived from one."""
        found = list(map(id, derived_from(owner)))
        self._subclasses[id(owner)] = weakref.ref(owner), found

    def registrations(self) -> None:
        """Remember which classes have been registered with abstract ones."""
        self._token = registrations()

    def without_module(self, name: str, is_found: Callable[[str], bool]) -> None:
        """Remember that a module is not found, and how to tell that it is."""
        self._without[name] = is_found

    def content(self, value: object, whose: object = None) -> None:
        """Remember what a value contains, if it can change.

        To be called before the value is looked at for anything else, or a change in
        between would be missed.

        Args:
            value: The value.
            whose: What it was made from, whose attributes it has. Usually itself.
        """
        place = id(value if whose is None else whose)
        if _is_fixed(value) or place in self._large:
            return
        if _left(value, SMALL) < 0:
            self._large[place] = Large(value, self._identity, _always)
            return
        parts = {k: self._identity(v) for k, v in _parts(value).items()}
        self._contents[place] = _Content(value, self._identity(value), parts, set())

    def without_name(self, owner: Owner, name: str) -> None:
        """Leave a name out after all."""
        self._names_of(owner).discard(name)

    def without_cell(self, function: FunctionType, place: int) -> None:
        """Leave a closure's variable out after all."""
        self.cell(function, place, None)
        self._names[id(function), "__closure__"].discard(place)

    def without_attribute(self, function: FunctionType, name: str) -> None:
        """Leave an attribute of a function out after all."""
        known = self._functions.get(id(function))
        if known is not None and known.attributes is not None:
            known.attributes.discard(name)

    def without_member(self, owner: type, name: str) -> None:
        """Leave a member of a class out after all."""
        if id(owner) in self._classes:
            self._classes[id(owner)].members.discard(name)

    def without_contents(
        self, values: Collection[int], attributes: Mapping[int, Collection[str]]
    ) -> None:
        """Leave out after all what some values contain.

        Args:
            values: These as a whole, by ``id``.
            attributes: Of these the attributes named, by ``id``.
        """
        for key in values:
            self._contents.pop(key, None)
            self._large.pop(key, None)
        for place, large in self._large.items():
            large.leave_out(values, attributes, attributes.get(place, ()))
        for owner in self._classes.values():
            owner.leave_out_further(values, attributes)
        for key, names in attributes.items():
            if key in self._contents:
                self._contents[key].left_out.update(names)

    def changed(self) -> bool:
        """Tell whether anything is not as it was."""
        for names in self._names.values():
            if names.changed():
                return True
        for function in self._functions.values():
            if function.changed():
                return True
        for reference, where, public in self._public.values():
            now = {n for n in getattr(reference(), where, ()) if not n.startswith("__")}
            if now != public:
                return True
        if self._token is not None and registrations() != self._token:
            return True
        if (self._readable or self._subclasses or self._without) and self._others():
            return True
        if self._classes and any(one.changed() for one in self._classes.values()):
            return True
        if self._files and any(signature(k) != v for k, v in self._files.items()):
            return True
        if self._large and any(one.changed() for one in self._large.values()):
            return True
        if not self._contents:
            return False
        try:
            return any(map(self._has_changed, self._contents.values()))
        except UnknownValueError:  # it was nested anew, or is changing right now
            return True

    def _others(self) -> bool:
        """Tell whether what few functions depend on is not as it was."""
        for reference, was in self._readable.values():
            thing = reference()
            if thing is None or readable(thing) != was:
                return True
        for owner_reference, ids in self._subclasses.values():
            owner = owner_reference()
            if owner is None or list(map(id, derived_from(owner))) != ids:
                return True
        return any(is_found(name) for name, is_found in self._without.items())

    def _has_changed(self, content: _Content) -> bool:
        value, was, parts, left_out = content
        if not left_out:
            return self._identity(value) != was
        now = _parts(value)
        if now.keys() - left_out != parts.keys() - left_out:
            return True
        return any(
            self._identity(now[name]) != parts[name]
            for name in now
            if name not in left_out
        )

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


class _Bound:
    """What the names of one namespace are bound to: all of them.

    Compared by ``id``. So that nothing else can get the ``id`` of something that was
    bound, that is held; weakly where it can be, and then the end of it counts as a
    change.
    """

    __slots__ = ("__weakref__", "_fresh", "_held", "_ids", "_left_out", "_names")

    def __init__(self, namespace: Mapping[str, object]) -> None:
        self._fresh: bool = True
        self._left_out: set[str] = set()
        bound = dict(namespace)
        self._ids: list[int] = list(map(id, bound.values()))
        self._names: list[str] = list(bound)
        self._held: dict[str, object] = {}
        if bound:
            ended = partial(_outlived, weakref.ref(self))
            self._held = {name: _hold(one, ended) for name, one in bound.items()}

    def discard(self, name: str) -> None:
        self._left_out.add(name)
        self._held.pop(name, None)

    def outlived(self) -> None:
        self._fresh = False

    def changed(self, namespace: Mapping[str, object]) -> bool:
        if not self._left_out:
            return list(map(id, namespace.values())) != self._ids or not self._fresh
        now = {k: id(v) for k, v in namespace.items() if k not in self._left_out}
        was = dict(zip(self._names, self._ids, strict=True))
        for name in self._left_out:
            was.pop(name, None)
        return now != was or not self._fresh


def _outlived(bound: weakref.ref[_Bound], _: object) -> None:
    """Note that something which was bound has been freed."""
    alive = bound()
    if alive is not None:
        alive.outlived()


def _hold(value: object, ended: Callable[[object], None]) -> object:
    """Return what keeps the ``id`` of a value its own, but no class or function alive.

    A property, a class method and their like cannot be referred to weakly. Those whose
    functions have a closure, which may hold the class itself, are not held.
    """
    if isinstance(value, MemberDescriptorType | GetSetDescriptorType):
        return None
    if isinstance(value, property | classmethod | staticmethod):
        parts = (getattr(value, name, None) for name in ("fget", "fset", "__func__"))
        return None if any(getattr(one, "__closure__", 0) for one in parts) else value
    try:
        return weakref.ref(value, ended)
    except TypeError:
        return value


class _Function:
    """What a function was.

    Attributes:
        attributes: What is set on it.
    """

    __slots__ = ("_code", "_defaults", "_function", "_keywords", "attributes")

    def __init__(self, function: FunctionType) -> None:
        self._function: weakref.ref[FunctionType] = weakref.ref(function)
        self._code: weakref.ref[CodeType] = weakref.ref(function.__code__)
        self._defaults: tuple[object, ...] | None = function.__defaults__
        self._keywords: _Bound | None = None
        if function.__kwdefaults__:
            self._keywords = _Bound(function.__kwdefaults__)
        self.attributes: _Bound | None = None
        if vars(function):
            self.attributes = _Bound(vars(function))

    def changed(self) -> bool:
        function = self._function()
        if (
            function is None
            or function.__code__ is not self._code()
            or function.__defaults__ is not self._defaults
        ):
            return True
        keywords, attributes = function.__kwdefaults__, function.__dict__
        if self._keywords is None and self.attributes is None:  # as most have none
            return bool(keywords or attributes)
        for was, now in ((self._keywords, keywords), (self.attributes, attributes)):
            if was.changed(now or {}) if was is not None else now:
                return True
        return False


class _Class:
    """What a class was.

    Attributes:
        members: Its methods and attributes.
    """

    __slots__ = ("_bases", "_further", "_owner", "members")

    def __init__(self, owner: type) -> None:
        self._owner: weakref.ref[type] = weakref.ref(owner)
        self._bases: tuple[type, ...] = owner.__bases__
        self.members: _Bound = _Bound(vars(owner))
        # Of an Enum, what each of its members has.
        self._further: dict[str, _Bound] = {}
        if issubclass(owner, Enum):
            items = owner.__members__.items()
            self._further = {name: _Bound(vars(one)) for name, one in items}

    def leave_out_further(
        self, values: Collection[int], attributes: Mapping[int, Collection[str]]
    ) -> None:
        members: Any = getattr(self._owner(), "__members__", {})
        for key in list(self._further):
            place = id(members.get(key))
            if place in values:
                del self._further[key]
                continue
            for name in attributes.get(place, ()):
                self._further[key].discard(name)

    def changed(self) -> bool:
        owner: Any = self._owner()
        if owner is None or owner.__bases__ != self._bases:
            return True
        if self.members.changed(vars(owner)):
            return True
        further = self._further
        return any(
            one.changed(vars(owner.__members__[key])) for key, one in further.items()
        )


class _Content(NamedTuple):
    """What a value contained.

    Attributes:
        value: The value.
        was: Its identity.
        parts: The identities of its attributes, and of what it contains besides.
        left_out: The attributes that do not count.
    """

    value: object
    was: bytes
    parts: Mapping[str, bytes]
    left_out: set[str]


def _always(kind: type) -> bool:
    del kind
    return True


def _parts(value: object) -> dict[str, object]:
    """Take a value apart that has attributes; any other has no parts.

    What a package's decorator keeps for itself is no part of what it has made. An app
    knows the executors of the run: they lead to all that the run does at the moment.
    """
    if callable(value) and (wrapped := wrapped_by(value)) is not None:
        return {"__wrapped__": wrapped, **set_on_wrapper(value)}
    found = {**slots_of(value), **attributes_of(value)}
    if found and isinstance(value, dict | list | tuple | set | frozenset | deque):
        found[""] = dict(value) if isinstance(value, dict) else list(value)
    return found


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
    if callable(value) and wrapped_by(value) is not None:
        parts: list[Any] | None = list(set_on_wrapper(value).values())
    elif origin_by_name(home_of(type(value))).kind == "package":
        return -1  # a table, a tensor: nobody knows how big
    elif isinstance(value, dict):
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
