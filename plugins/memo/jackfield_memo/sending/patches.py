"""Names of modules by value, for a worker that has something else under them.

Functions keep to the worker's modules: their globals are those of the module there, not
copies. A class is changed in place where that can be done, so that instances,
subclasses and ``isinstance`` go on with it; else it comes by value.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import cache
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from jackfield.serialize import cloud_pickler, dump_parts, loads, remade
from jackfield_memo.introspection import MISSING, attributes_of, wrapped_by
from jackfield_memo.sending.finding import found
from jackfield_memo.sending.likeness import is_live, is_live_in, likeness, members_of

if TYPE_CHECKING:
    import pickle

    from jackfield_memo.sending.likeness import Likenesses


class ClassParts:
    """The members of a class that is there under the same name."""

    def __init__(self, owner: type) -> None:
        self.members: dict[str, Any] = _settable(owner)


def _settable(owner: type) -> dict[str, Any]:
    """Return the members that can be set; of an enumeration, not what it enumerates."""
    members = members_of(owner)
    if not issubclass(owner, Enum):
        return members
    return {name: one for name, one in members.items() if isinstance(one, _METHODS)}


_METHODS: Final = (FunctionType, property, classmethod, staticmethod)


def make(
    names: Mapping[tuple[str, str], Any], replaced: Collection[tuple[str, str]]
) -> bytes:
    """Pickle what names stand for.

    Args:
        names: The names with their values here; ``MISSING`` for one that is to go.
        replaced: Those of them where a class is not to be changed but replaced.

    Raises:
        Exception: Something cannot be pickled.
    """
    items = []
    for (module, path), value in names.items():
        carried = None if value is MISSING else value
        at_home = isinstance(value, type) and _home(value) == (module, path)
        if at_home and (module, path) not in replaced:
            carried = ClassParts(value)
        items.append((module, path, value is MISSING, carried))
    with _classes_by_value({module for module, _ in replaced}):
        patch = _Patch(items, names, replaced)
        return b"".join(dump_parts(patch, fallback=_pickler()))


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
        items: list[Any],
        names: Collection[tuple[str, str]],
        replaced: Collection[tuple[str, str]],
    ) -> None:
        self.items: list[Any] = items
        self.names: Collection[tuple[str, str]] = names
        self.replaced: Collection[tuple[str, str]] = replaced

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


def apply(data: bytes, expected: Likenesses, *, thorough: bool) -> None:
    """Set the names that are not as they are expected, as far as that can be done."""
    try:
        items = loads(data)
    except Exception:  # it refers to what is not here: so names go on to differ
        return
    for module, path, gone, value in items:
        name = module, path
        if (
            name in expected
            and likeness(found(*name), thorough=thorough) == (expected[name])
        ):
            continue
        owner, last = _owner(module, path)
        if owner is MISSING:
            continue
        if gone:
            if last in attributes_of(owner):
                delattr(owner, last)
        elif isinstance(value, ClassParts):
            _change(found(module, path), value.members, thorough=thorough)
        else:
            setattr(owner, last, value)


def _owner(module: str, path: str) -> tuple[Any, str]:
    above, _, last = path.rpartition(".")
    if above:
        return found(module, above), last
    return sys.modules.get(module, MISSING), last


def _change(owner: Any, members: Mapping[str, Any], *, thorough: bool) -> None:
    """Give a class the members that it is to have; what cannot be set is left."""
    if not isinstance(owner, type):
        return
    for name in _settable(owner).keys() - members.keys():
        _tried(delattr, owner, name)
    for name, member in members.items():
        now = vars(owner).get(name, MISSING)
        if likeness(now, thorough=thorough) != likeness(member, thorough=thorough):
            _tried(setattr, owner, name, member)


def _tried(action: Callable[..., None], *arguments: Any) -> None:
    try:
        action(*arguments)
    except (AttributeError, TypeError):
        return
