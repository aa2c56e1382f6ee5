"""Whether a large value is still as it was, told at each call at little cost.

A list, a dict or an object is compared part by part, each by identity: about 20
nanoseconds for a part. Arrays, tables and what else has its content in memory of C are
digested each time, at the speed of SHA-256: nothing less tells whether a number in the
middle is another. So are objects of packages, by what pickling makes of them.

A part that is replaced by an equal one counts as a change here. Then the identity of
the function is made anew, and is the same as before.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from math import inf
from operator import is_not
from types import FunctionType, MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, Final
from weakref import ReferenceType

from jackfield_memo.atoms import ATOMS
from jackfield_memo.introspection import attributes_of, home_of, slots_of
from jackfield_memo.opaque import VIEWS, is_fixed, is_opaque
from jackfield_serialize.origins import origin_by_name

_SEQUENCES: Final = (list, tuple, set, frozenset, deque)
_SEEN: Final = (SimpleNamespace, BaseException, ReferenceType, *VIEWS)
_CODE: Final = (type, FunctionType, ModuleType)
_WAYS: Final = ("__reduce_ex__", "__reduce__", "__getstate__")
_MOST_OF_ONE: Final = 5_000
_MOST_OF_ALL: Final = 20_000
"""Parts that an object of a package may lead to, and all of them together."""
_NAMED: Final = "."
"""Before the names of attributes, to tell them from what a container has."""


class Large:
    """A value with all that is in it, as it was.

    Args:
        root: The value.
        identity: Gives the identity of a value.
        known: Tells whether values of a type that is not the project's are compared
            by their identity, rather than not at all.
        most: How many parts to look at; of a larger value nothing is compared.
    """

    __slots__ = ("_budget", "_identity", "_known", "_parts", "_root")

    def __init__(
        self,
        root: object,
        identity: Callable[[object], bytes],
        known: Callable[[type], bool],
        most: float = inf,
    ) -> None:
        self._root: object = root
        self._identity: Callable[[object], bytes] = identity
        self._known: Callable[[type], bool] = known
        self._budget: int = _MOST_OF_ALL
        self._parts: dict[int, _Part] = {}
        self._walk(most)

    def _walk(self, most: float) -> None:
        waiting = [self._root]
        looked = 0
        while waiting:
            looked += 1
            if looked + len(waiting) > most:
                self._parts = {}
                return
            value = waiting.pop()
            kind = type(value)  # and not ``isinstance``, which wakes lazy proxies
            if kind in ATOMS or issubclass(kind, _CODE) or id(value) in self._parts:
                continue
            children = _children(value, kind)
            digest = None
            if self._is_digested(value, kind):
                digest = self._identity(value)
                if not is_opaque(kind):  # it says itself what it is made of
                    children = {}
            if children or digest is not None:
                self._parts[id(value)] = _Part(value, children, digest)
                for below in children.values():
                    waiting += below

    def _is_digested(self, value: Any, kind: type) -> bool:
        if is_opaque(kind):
            return self._is_bounded(value)
        if origin_by_name(home_of(kind)).kind != "project":
            inside = issubclass(kind, (dict, MappingProxyType, *_SEQUENCES, *_SEEN))
            fixed = inside or (is_fixed(kind) and _is_hashable(value))
            return not fixed and self._known(kind) and self._is_bounded(value)
        taught = hasattr(kind, "__jackfield_hash__")
        ways = (getattr(kind, name, None) for name in _WAYS)
        return taught or any(isinstance(way, FunctionType) for way in ways)

    def _is_bounded(self, value: object) -> bool:
        """Tell whether an object of a package leads to no more than can be digested.

        Some lead to all that the package has. All such objects in a value have one
        budget: what they lead to is often the same.
        """
        waiting: list[Any] = [value]
        seen, begun = set[int](), self._budget
        while waiting and self._budget > 0 and begun - self._budget < _MOST_OF_ONE:
            one = waiting.pop()
            kind = type(one)
            if kind in ATOMS or issubclass(kind, _CODE) or id(one) in seen:
                continue
            seen.add(id(one))
            self._budget -= 1
            waiting.extend(attributes_of(one).values())
            if issubclass(kind, dict):
                waiting.extend(one.values())
            elif issubclass(kind, _SEQUENCES):
                waiting.extend(one)
        return not waiting

    def leave_out(
        self,
        values: Collection[int],
        attributes: Mapping[int, Collection[str]],
        own: Collection[str],
    ) -> None:
        """Leave out what the code changes itself, and what is only in that.

        Args:
            values: These as a whole, by ``id``.
            attributes: Of these the attributes named, by ``id``.
            own: Names of attributes of the value itself.
        """
        if own and id(self._root) in self._parts:
            self._parts[id(self._root)].leave_out(own)
        for place in values:
            self._parts.pop(place, None)
        for place, names in attributes.items():
            if place in self._parts:
                self._parts[place].leave_out(names)
        reached: dict[int, _Part] = {}
        waiting = [id(self._root)]
        while waiting:
            place = waiting.pop()
            part = self._parts.get(place)
            if part is not None and place not in reached:
                reached[place] = part
                waiting += part.below()
        self._parts = reached

    def changed(self) -> bool:
        """Tell whether anything in it is not as it was."""
        try:
            return any(part.changed(self._identity) for part in self._parts.values())
        except Exception:  # it is changing right now
            return True


class _Part:
    """One container or object in a large value."""

    __slots__ = ("_children", "_digest", "_left_out", "_value")

    def __init__(
        self, value: object, children: dict[str, list[Any]], digest: bytes | None = None
    ) -> None:
        self._value: object = value
        self._children: dict[str, list[Any]] = children
        self._digest: bytes | None = digest
        self._left_out: set[str] = set()

    def leave_out(self, names: Collection[str]) -> None:
        self._left_out.update(_NAMED + name for name in names)
        for name in self._left_out:
            self._children.pop(name, None)

    def below(self) -> list[int]:
        return [id(one) for below in self._children.values() for one in below]

    def changed(self, identity: Callable[[object], bytes]) -> bool:
        if self._digest is not None and identity(self._value) != self._digest:
            return True
        if not self._children:
            return False
        now, was = _children(self._value, type(self._value)), self._children
        for name in self._left_out:
            now.pop(name, None)
        return now.keys() != was.keys() or any(
            len(now[name]) != len(was[name]) or any(map(is_not, now[name], was[name]))
            for name in was
        )


def _children(value: Any, kind: type) -> dict[str, list[Any]]:
    """Return what is in a value, each attribute by itself, so that it can be left out.

    Nothing, if it is not taken apart.
    """
    found: dict[str, list[Any]] = {}
    if issubclass(kind, dict | MappingProxyType):
        found = {"keys": list(value), "values": list(value.values())}
    elif issubclass(kind, _SEQUENCES):
        found = {"items": list(value)}
    project = origin_by_name(home_of(kind)).kind == "project"
    if project or (issubclass(kind, SimpleNamespace | BaseException)):
        for name, one in {**slots_of(value), **attributes_of(value)}.items():
            found[_NAMED + name] = [one]
        found["class"] = [kind]
    if issubclass(kind, BaseException):
        found["args"] = [*value.args, value.__cause__]
    elif issubclass(kind, VIEWS):
        found["items"] = list(value)
    elif issubclass(kind, ReferenceType):
        found["target"] = [value()]
    if issubclass(kind, defaultdict):
        found["default"] = [value.default_factory]
    return found


def _is_hashable(value: object) -> bool:
    """Tell whether a value of a package can be hashed: then it does not change."""
    try:
        hash(value)
    except Exception:
        return False
    return True
