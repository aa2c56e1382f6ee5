"""Looking at objects without running code of theirs.

Some have any attribute that they are asked for, some raise whatever they like.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType, MemberDescriptorType, ModuleType
from typing import Any, Final

MISSING: Final = object()
"""Stands for a name that is not bound, an empty cell, an argument that is not given."""

_HEAP_TYPE: Final = 1 << 9
"""CPython's flag of classes that are made when a program runs."""
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

_OF_A_MEMBER: Final = frozenset(
    {"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"}
)
"""What ``enum`` sets on each member."""


def attributes_of(thing: object) -> Mapping[str, Any]:
    """Return what is in an object's ``__dict__``; nothing, if it has none."""
    try:
        found = object.__getattribute__(thing, "__dict__")
    except Exception:
        return _NOTHING
    return found if isinstance(found, dict | MappingProxyType) else _NOTHING


def slots_of(thing: object) -> Mapping[str, Any]:
    """Return what is in an object's slots, by the names that its classes give them."""
    found: dict[str, Any] = {}
    for owner in type(thing).__mro__:
        for name, member in vars(owner).items():
            if isinstance(member, MemberDescriptorType) and name not in found:
                try:
                    found[name] = member.__get__(thing)
                except AttributeError:  # nothing is in it
                    continue
    return found


def wrapped_by(thing: object) -> Any:
    """Return the function that a decorator's product wraps, or ``None``."""
    return attributes_of(thing).get("__wrapped__")


def further_of(one: Enum) -> dict[str, Any]:
    """Return what a member of an Enum has besides its name and value."""
    return {
        name: value
        for name, value in attributes_of(one).items()
        if name not in _OF_A_MEMBER
        and not isinstance(getattr(type(one), name, None), functools.cached_property)
    }


def set_on_member(one: Enum) -> dict[str, Any]:
    """Return what somebody may set on a member of an Enum: its value included."""
    return {"_value_": one._value_, **further_of(one)}


def compared_by(value: object) -> Any:
    """Return what a key made by ``functools.cmp_to_key`` compares with, or ``None``."""
    if type(value) is not _COMPARING:
        return None
    held = [one for one in gc.get_referents(value) if one is not _COMPARING]
    return next(iter(held), None)


_COMPARING: Final = type(functools.cmp_to_key(lambda _one, _other: 0))


def class_name(owner: type) -> str:
    """Return the full name of a class."""
    return f"{home_of(owner)}.{owner.__qualname__}"


def home_of(owner: type) -> str:
    """Return the name of the module that a class says it is from."""
    home = getattr(owner, "__module__", None)  # one made by hand may have none
    return home if isinstance(home, str) else "builtins"


def made_here(owner: type) -> bool:
    """Tell whether a class is not what its full name says.

    ``make_dataclass`` and others say that the classes they make are from a module
    of Python's, where no class of that name is.
    """
    if not owner.__flags__ & _HEAP_TYPE:
        return False
    found: Any = sys.modules.get(home_of(owner))
    for name in owner.__qualname__.split("."):
        found = attributes_of(found).get(name)
    return found is not owner


def plain_name(thing: Any) -> str:
    """Return the full name of a function, class or module."""
    if isinstance(thing, ModuleType):
        return thing.__name__
    if isinstance(thing, type):
        return class_name(thing)
    owner = getattr(thing, "__objclass__", None) or thing
    return f"{owner.__module__ or 'builtins'}.{thing.__qualname__}"
