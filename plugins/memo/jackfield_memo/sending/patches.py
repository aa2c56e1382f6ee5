"""Names of modules by value, for a worker that has something else under them.

Functions keep to the worker's modules: their globals are those of the module there, not
copies. A class is changed in place where that can be done, so that instances,
subclasses and ``isinstance`` go on with it; else it comes by value.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from functools import cache, cached_property, cmp_to_key
from types import CellType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NewType

from jackfield_memo.asking import is_pythons, registered
from jackfield_memo.introspection import (
    MISSING,
    attributes_of,
    compared_by,
    home_of,
    set_on_member,
    wrapped_by,
)
from jackfield_memo.sending.finding import found
from jackfield_memo.sending.likeness import is_live, is_live_in, likeness, members_of
from jackfield_serialize import cloud_pickler, dump_parts, loads, remade
from jackfield_serialize.origins import is_project_name

if TYPE_CHECKING:
    import pickle

    from jackfield_memo.sending.likeness import Likenesses


Name = tuple[str, str]
"""A module, and a name in it or the way to something."""
_Item = tuple[str, str, bool, Any]
"""A name, whether it is to go, and what it is to stand for."""


class ClassParts:
    """The members of a class that is there under the same name.

    Attributes:
        bases: Its bases.
        members: Its members.
        registered: Of an abstract class, those that it was told to stand for.
        further: Of an enumeration, what each member has, its value included.
    """

    def __init__(self, owner: type) -> None:
        self.bases: tuple[type, ...] = owner.__bases__
        self.members: dict[str, Any] = _settable(owner)
        self.registered: list[type] = registered(owner)
        self.further: dict[str, dict[str, Any]] = {}
        if issubclass(owner, Enum):
            items = owner.__members__.items()
            self.further = {name: set_on_member(one) for name, one in items}


def _settable(owner: type) -> dict[str, Any]:
    """Return the members that can be set; of an enumeration, not what it enumerates."""
    members = members_of(owner)
    if not issubclass(owner, Enum):
        return members
    return {name: one for name, one in members.items() if isinstance(one, _METHODS)}


_METHODS: Final = (FunctionType, property, classmethod, staticmethod)


def make(
    names: Mapping[Name, Any], replaced: Collection[Name], *, apart: bool = False
) -> tuple[list[bytes], set[Name]]:
    """Pickle what names stand for: together, so that what they share stays shared.

    What cannot be pickled keeps nothing else from being sent.

    Args:
        names: The names with their values here; ``MISSING`` for one that is to go.
        replaced: Those of them where a class is not to be changed but replaced.
        apart: Whether each is to be a pickle of its own: one cannot be loaded.

    Returns:
        The pickles, and the names that cannot be pickled.
    """
    items = [_item(name, value, replaced) for name, value in names.items()]
    with _classes_by_value({module for module, _ in replaced}):
        if not apart:
            try:
                return [_pickled(items, names, replaced)], set()
            except Exception:  # something in it cannot be pickled
                failing = {
                    one[:2] for one in items if not _tried_alone(one, names, replaced)
                }
            fine = [one for one in items if one[:2] not in failing]
            try:
                return [_pickled(fine, names, replaced)] if fine else [], failing
            except Exception:  # each can, and not all together: it changes meanwhile
                return [], set(names)
        found = {one[:2]: _tried_alone(one, names, replaced) for one in items}
    pickles = [pickle for pickle in found.values() if pickle]
    return pickles, {name for name, pickle in found.items() if not pickle}


def _item(name: Name, value: Any, replaced: Collection[Name]) -> _Item:
    module, path = name
    if module == "builtins" and is_pythons(path, value):
        value = MISSING  # what was set in its place is to go
    carried = None if value is MISSING else value
    if isinstance(value, type) and _home(value) == name and name not in replaced:
        carried = ClassParts(value)
    return module, path, value is MISSING, carried


def _pickled(
    items: list[_Item], names: Collection[Name], replaced: Collection[Name]
) -> bytes:
    patch = _Patch(items, names, replaced)
    return b"".join(dump_parts(patch, fallback=_pickler))


def _tried_alone(
    item: _Item, names: Collection[Name], replaced: Collection[Name]
) -> bytes:
    """Pickle one name alone; ``b""`` if it cannot be pickled."""
    try:
        return _pickled([item], names, replaced)
    except Exception:
        return b""


_registering: Final = threading.Lock()


@contextmanager
def _classes_by_value(modules: Collection[str]) -> Iterator[None]:
    """Have cloudpickle pickle classes of some modules by value; ours says which."""
    import cloudpickle

    with _registering:
        registered = [sys.modules[name] for name in modules if name in sys.modules]
        for module in registered:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in registered:
                cloudpickle.unregister_pickle_by_value(module)


def _home(thing: Any) -> tuple[str, str]:
    return thing.__module__, thing.__qualname__


class _Patch:
    """What is pickled. Makes the standard pickler give up, so that ours does it."""

    def __init__(
        self,
        items: list[_Item],
        names: Collection[Name],
        replaced: Collection[Name],
    ) -> None:
        self.items: list[_Item] = items
        self.names: Collection[Name] = names
        self.replaced: Collection[Name] = replaced

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError


@cache
def _pickler() -> type[pickle.Pickler]:
    class PatchPickler(cloud_pickler()):  # type: ignore[misc]  # cloudpickle is untyped
        def dump(self, obj: Any) -> Any:
            self._patch = obj
            return super().dump(obj.items)

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, FunctionType) and is_live(obj):
                if _has_name(obj) and not self._comes_by_value(obj):
                    return NotImplemented
                return remade(obj) or _reduced(obj)
            if type(obj) is CellType:
                return _cell_reduced(obj)
            compares = compared_by(obj)
            if compares is not None:
                return cmp_to_key, (compares,)
            if type(obj) is NewType and _home(obj) in self._patch.names:
                return _new_type, (*_home(obj), obj.__supertype__)
            if wrapped_by(obj) is not None:
                again = remade(obj) if self._comes_by_value(wrapped_by(obj)) else None
                if again is not None:
                    return again
            if isinstance(obj, type) and self._goes_by_name(obj):
                return NotImplemented
            return super().reducer_override(obj)

        def _goes_by_name(self, owner: type) -> bool:
            home = _home(owner)
            if home in self._patch.replaced or found(*home) is not owner:
                return False
            return is_live_in(vars(sys.modules[owner.__module__]))

        def _comes_by_value(self, function: Any) -> bool:
            """Tell whether a function, or the class it belongs to, is in the patch."""
            if not isinstance(function, FunctionType):
                return False
            home, path = _home(function)
            while path:
                if (home, path) in self._patch.names:
                    return True
                path = path.rpartition(".")[0]
            return False

    return PatchPickler


def _cell_reduced(cell: CellType) -> tuple[Any, ...]:
    """Return how to make a cell anew. It may hold the function that it is part of."""
    try:
        content = cell.cell_contents
    except ValueError:
        return CellType, ()
    return CellType, (), (content,), None, None, _fill


def _fill(cell: CellType, state: tuple[Any]) -> None:
    (cell.cell_contents,) = state


def _new_type(home: str, name: str, supertype: Any) -> Any:
    """Return a ``NewType`` with what it is made of now; called by unpickling."""
    made: Any = NewType(name, supertype)  # type: ignore[misc]  # not a static one
    made.__module__ = home
    return made


def _has_name(function: FunctionType) -> bool:
    """Tell whether a function is found by its name, here and so in the worker."""
    return found(*_home(function)) is function


def _reduced(function: FunctionType) -> tuple[Any, ...]:
    home = function.__globals__["__name__"]
    state = {
        "__name__": function.__name__,
        "__qualname__": function.__qualname__,
        "__module__": function.__module__,
        "__doc__": function.__doc__,
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__annotations__": function.__annotations__,
    }
    arguments = home, function.__code__, function.__closure__
    return _function, arguments, (state, function.__dict__), None, None, _set_state


def _function(
    home: str, code: CodeType, closure: tuple[CellType, ...] | None
) -> FunctionType:
    module = importlib.import_module(home)
    return FunctionType(code, vars(module), code.co_name, None, closure)


def _set_state(function: FunctionType, state: Any) -> None:
    attributes, own = state
    for name, value in attributes.items():
        setattr(function, name, value)
    function.__dict__.update(own)


# -- In the worker


def apply(data: Collection[bytes], expected: Likenesses, *, thorough: bool) -> None:
    """Set the names that are not as they are expected, as far as that can be done."""
    for one in data:
        try:
            items = loads(one)
        except Exception:  # it refers to what is not here: so names go on to differ
            items = []
        for item in items:
            with suppress(Exception):  # a module or class of its own may refuse
                _set(item, expected, thorough=thorough)


_builtins: Final[dict[str, Any]] = {}
"""What built-in names stood for before something was set in their place."""


def _set(item: _Item, expected: Likenesses, *, thorough: bool) -> None:
    module, path, gone, value = item
    name = module, path
    if name in expected and likeness(found(*name), thorough=thorough) == expected[name]:
        return
    owner, last = _owner(module, path)
    if owner is MISSING:
        return
    if module == "builtins" and last not in _builtins:
        _builtins[last] = vars(builtins).get(last, MISSING)
    if gone and _builtins.get(last, MISSING) is not MISSING and module == "builtins":
        setattr(owner, last, _builtins[last])
    elif gone:
        if last in attributes_of(owner):
            delattr(owner, last)
    elif isinstance(value, ClassParts):
        _change(found(module, path), value, thorough=thorough)
    else:
        setattr(owner, last, value)


def _owner(module: str, path: str) -> tuple[Any, str]:
    above, _, last = path.rpartition(".")
    if above:
        return found(module, above), last
    return sys.modules.get(module, MISSING), last


def _change(owner: Any, parts: ClassParts, *, thorough: bool) -> None:
    """Give a class the members that it is to have; what cannot be set is left."""
    if not isinstance(owner, type):
        return
    members = parts.members
    if owner.__bases__ != parts.bases:
        _tried(setattr, owner, "__bases__", parts.bases)
    for name in _settable(owner).keys() - members.keys():
        _tried(delattr, owner, name)
    for name, member in members.items():
        now = vars(owner).get(name, MISSING)
        if likeness(now, thorough=thorough) != likeness(member, thorough=thorough):
            _tried(setattr, owner, name, member)
    for derived in set(parts.registered).difference(registered(owner)):
        _tried(_register, owner, derived)
    if not issubclass(owner, Enum):
        return
    for key, further in parts.further.items():
        one = owner.__members__.get(key)
        if one is not None:
            for name in set_on_member(one).keys() - further.keys():
                _tried(delattr, one, name)
            for name, value in further.items():
                _tried(setattr, one, name, value)


def _register(owner: Any, derived: type) -> None:
    owner.register(derived)


def _tried(action: Callable[..., None], *arguments: Any) -> None:
    try:
        action(*arguments)
    except (AttributeError, TypeError):
        return


def forget_computed(*, properties: bool) -> None:
    """Empty what the project's modules have kept of earlier calls, by ``functools``.

    It was computed with what was there before. With ``properties``, this is done with
    cached properties too: where they do not count in what a name stands for.
    """
    for name, module in list(sys.modules.items()):
        if not is_project_name(name) or type(module) is not ModuleType:
            continue
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == name:
                for member in list(vars(value).values()):
                    _forget(getattr(member, "__func__", member), properties)
            else:
                _forget(value, properties)


def _forget(value: Any, properties: bool) -> None:
    kind = type(value)
    if kind is _CACHED:
        value.cache_clear()
    elif properties and is_project_name(home_of(kind)):
        for owner in kind.__mro__:
            for name, member in list(vars(owner).items()):
                if type(member) is cached_property:
                    _pop(value, name)


def _pop(value: Any, name: str) -> None:
    kept = attributes_of(value)
    if isinstance(kept, dict):
        kept.pop(name, None)


_CACHED: Final = type(cache(len))
