"""Attributes that a value's pickling leaves behind: they go along all the same.

``Decimal``, ``date``, ``Counter``, NumPy's arrays and many other types say how they are
pickled and know nothing of attributes that a class of the project adds to them. A task
on threads sees these, so one elsewhere is to see them too.

A class of the project that has a ``__getstate__`` leaves out on purpose what that
leaves out. An instance of one that says how it is made anew, by a ``__reduce__`` or by
``copyreg``, gets the data that it would be without; what it is made with stays so.
"""

from __future__ import annotations

import copyreg
import functools
from types import MemberDescriptorType
from typing import Any, Final
from weakref import WeakKeyDictionary

from jackfield_serialize.origins import origin_by_name

_PROTOCOL: Final = 5
_WAYS: Final = ("__getstate__", "__reduce_ex__", "__reduce__")

_CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})
_PLAIN: Final = frozenset({int, float, complex, str, bytes, bool, type(None)})
_MOST_PARTS: Final = 10_000
"""What has more parts is left behind by a class that says how it is made anew."""

_makers: Final[WeakKeyDictionary[type, type | None]] = WeakKeyDictionary()


def with_all(value: Any) -> tuple[Any, ...] | None:
    """Return how to pickle a value with what its pickling leaves behind.

    Returns:
        What a reducer returns; ``None`` if nothing is left behind.
    """
    kind = type(value)
    try:
        maker = _makers[kind]
    except KeyError:
        maker = _makers[kind] = _maker(kind)
    if maker is None:
        return None
    everything = _attributes(value, kind, maker)
    again = _is_projects(maker)
    if again:
        everything = {k: part for k, part in everything.items() if _is_plain(part)}
    if not everything:
        return None
    reduce = copyreg.dispatch_table.get(kind)
    reduced = reduce(value) if reduce else value.__reduce_ex__(_PROTOCOL)
    if not isinstance(reduced, tuple):
        return None
    make, arguments, state, items, pairs, setter = (*reduced, *[None] * 4)[:6]
    for part in state if isinstance(state, tuple) else (state,):
        for name in part if isinstance(part, dict) else ():
            everything.pop(name, None)
    if not everything:
        return None
    setting = _set_absent if again else _set_all
    return make, arguments, (setter, state, everything), items, pairs, setting


def _set_all(value: Any, states: tuple[Any, Any, dict[str, Any]]) -> None:
    """Give a value its state, and what was left behind; called by unpickling."""
    setter, state, attributes = states
    _set_state(value, setter, state)
    for name, one in attributes.items():
        object.__setattr__(value, name, one)


def _set_absent(value: Any, states: tuple[Any, Any, dict[str, Any]]) -> None:
    """Give a value its state, and what it is without; called by unpickling."""
    setter, state, attributes = states
    _set_state(value, setter, state)
    for name, one in attributes.items():
        try:
            found = object.__getattribute__(value, "__dict__")
        except AttributeError:
            found = {}
        slot = getattr(type(value), name, None)
        if name not in found and not (
            isinstance(slot, MemberDescriptorType) and hasattr(value, name)
        ):
            object.__setattr__(value, name, one)


def _set_state(value: Any, setter: Any, state: Any) -> None:
    if setter is not None:
        setter(value, state)
    elif hasattr(value, "__setstate__"):
        if state is not None:
            value.__setstate__(state)
    elif state is not None:
        in_slots = isinstance(state, tuple) and len(state) == 2
        parts: tuple[Any, ...] = state if in_slots else (state,)
        for part in parts:
            for name, one in (part or {}).items():
                object.__setattr__(value, name, one)


def _maker(kind: type) -> type | None:
    """Return the class that says how values of a type are pickled, if it may forget."""
    if kind in copyreg.dispatch_table:
        # ``tblib`` registers all exceptions there are; these travel in another way.
        return kind if _is_projects(kind) else None
    for owner in kind.__mro__[:-1]:
        names = vars(owner)
        if any(name in names for name in _WAYS):
            break
    else:
        return None
    if not _is_projects(kind) or ("__getstate__" in names and _is_projects(owner)):
        return None
    return owner


def _is_plain(value: Any) -> bool:
    """Tell whether a value is data of Python's own types, and no more than a little."""
    waiting, left = [value], _MOST_PARTS
    while waiting and left:
        one = waiting.pop()
        kind, left = type(one), left - 1
        if kind is dict:
            waiting += (*one, *one.values())
        elif kind in _CONTAINERS:
            waiting += one
        elif kind not in _PLAIN:
            return False
    return not waiting


def _is_projects(owner: type) -> bool:
    name = owner.__module__
    return (
        origin_by_name(name if isinstance(name, str) else "builtins").kind == "project"
    )


def _attributes(value: Any, kind: type, maker: type) -> dict[str, Any]:
    """Return the attributes that classes of the project have given to a value."""
    try:
        found = dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        found = {}
    root = maker.__module__.partition(".")[0]
    tables = getattr(kind, "_internal_names_set", ())  # pandas has them
    for name, part in list(found.items()):
        whose = type(part).__module__
        own = name[:1] == "_" and str(whose).partition(".")[0] == root
        own = own or name in tables or (bool(tables) and name == "_attrs")
        if own or isinstance(getattr(kind, name, None), functools.cached_property):
            del found[name]
    below = kind.__mro__.index(maker) + _is_projects(maker)
    for owner in kind.__mro__[:below]:
        for name, member in vars(owner).items():
            if isinstance(member, MemberDescriptorType) and name not in found:
                try:
                    found[name] = member.__get__(value)
                except AttributeError:  # nothing is in it
                    continue
    return found
