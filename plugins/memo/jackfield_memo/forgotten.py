"""Attributes of a value that its pickling leaves behind.

``Decimal``, ``date``, ``Counter`` and many types of packages say how they are pickled
and know nothing of the attributes that a derived class adds. A task on threads sees
these all the same. So what such a value has in its ``__dict__`` and its slots counts
besides what pickling carries; but what a class leaves out by a ``__getstate__`` of the
project's, it leaves out on purpose.
"""

from __future__ import annotations

import copyreg
import functools
from collections import Counter
from collections.abc import Collection, Mapping
from types import FunctionType, MemberDescriptorType
from typing import Any

from jackfield_memo.introspection import attributes_of, home_of
from jackfield_serialize.origins import origin_by_name


def forgotten(
    value: object, carried: Collection[str], *, named: bool
) -> dict[str, Any]:
    """Return the attributes of a value that its pickling leaves behind.

    Args:
        value: The value.
        carried: The names of those that it carries.
        named: Whether the value is pickled as the name of something that exists.
    """
    kind = type(value)
    maker = _pickled_by(kind)
    whose = _kind_of(kind)
    if maker is None or (whose == "python" and kind is not Counter):
        return {}  # Python's own forget nothing, but what is set on a Counter
    everything = dict(attributes_of(value))
    if whose == "package":  # it keeps there what it likes: but code counts
        everything = {k: part for k, part in everything.items() if callable(part)}
    else:
        everything |= _slots_below(value, kind, maker, named=named)
    internal = _internal(kind, maker, everything)
    return {
        name: part
        for name, part in everything.items()
        if name not in carried and name not in internal
    }


def added(value: object) -> dict[str, Any]:
    """Return the attributes that a class of the project adds to one of a package.

    For a value that a plugin knows by the package's class.
    """
    kind = type(value)
    if _kind_of(kind) != "project":
        return {}
    base = next((one for one in kind.__mro__ if _kind_of(one) != "project"), object)
    if _kind_of(base) != "package":
        return {}
    found = {**_slots_below(value, kind, base, named=False), **attributes_of(value)}
    internal = _internal(kind, base, found)
    return {name: part for name, part in found.items() if name not in internal}


def _internal(kind: type, base: type, attributes: Mapping[str, Any]) -> set[str]:
    """Return the names of attributes that are caches, or the base class's own."""
    found = {name for name in attributes if is_cache(kind, name)}
    if _kind_of(base) != "package" or _kind_of(kind) != "project":
        return found
    root = home_of(base).partition(".")[0]
    found.update(
        name
        for name, part in attributes.items()
        if name[:1] == "_" and home_of(type(part)).partition(".")[0] == root
    )
    tables = getattr(kind, "_internal_names_set", ())  # pandas has them
    return found.union(tables, {"_attrs"} if tables else ())


def is_cache(kind: type, name: str) -> bool:
    """Tell whether an attribute is what ``functools.cached_property`` keeps."""
    return isinstance(getattr(kind, name, None), functools.cached_property)


def _kind_of(owner: type) -> str:
    return origin_by_name(home_of(owner)).kind


def _pickled_by(kind: type) -> type | None:
    """Return the class that says how a value is pickled, if it may forget something."""
    if kind in copyreg.dispatch_table and not issubclass(kind, BaseException):
        return kind if _kind_of(kind) == "project" else None
    for owner in kind.__mro__[:-1]:
        names = vars(owner)
        if "__getstate__" in names:
            subclassed = _kind_of(owner) != "project" == _kind_of(kind)
            return owner if subclassed else None
        way = names.get("__reduce_ex__", names.get("__reduce__"))
        if way is not None:
            compiled = not isinstance(way, FunctionType) and owner is kind
            return None if compiled and _kind_of(owner) == "project" else owner
    return None


def _slots_below(
    value: object, kind: type, base: type, *, named: bool
) -> dict[str, Any]:
    """Return what is in the slots of the classes that are derived from another."""
    found: dict[str, Any] = {}
    line = kind.__mro__
    last = line.index(base) + (named or _kind_of(base) == "project")
    for owner in line[:last]:
        for name, member in vars(owner).items():
            if isinstance(member, MemberDescriptorType) and name not in found:
                try:
                    found[name] = member.__get__(value)
                except AttributeError:  # nothing is in it
                    continue
    return found
