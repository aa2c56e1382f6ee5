"""Objects that pickle by a name which no worker can import: made anew instead.

A ``NewType``, a function behind ``lru_cache`` and their like say of themselves no more
than their name; a sentinel says nothing. Such an object is made once in a process, so
that ``is`` holds there, and one that comes back is the one that was sent.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import struct
import sys
import threading
import typing
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final, TypeAlias

_KEPT: Final = 10_000
"""Objects to remember; of one that was forgotten another is made."""
_lock: Final = threading.Lock()
_tokens: Final[dict[int, bytes]] = {}
_objects: Final[OrderedDict[bytes, Any]] = OrderedDict()

_MARKERS: Final = ("MISSING", "KW_ONLY", "_HAS_DEFAULT_FACTORY")
"""Things of ``dataclasses`` that exist once and pickle as if there were more."""
_Reduced: TypeAlias = tuple[Any, ...]


def once(token: bytes, make: Callable[..., Any], *arguments: Any) -> Any:
    """Return the object of a token, made at the first time; called by unpickling."""
    found = _objects.get(token)
    return _noted(token, make(*arguments)) if found is None else found


def _noted(token: bytes, thing: Any) -> Any:
    with _lock:  # two threads may have made it: the first counts
        kept = _objects.setdefault(token, thing)  # held: its ``id`` stays its own
        _tokens[id(kept)] = token
        if len(_objects) > _KEPT:
            _tokens.pop(id(_objects.popitem(last=False)[1]), None)
    return kept


def _once(thing: Any, make: Callable[..., Any], *arguments: Any) -> _Reduced:
    token = _tokens.setdefault(id(thing), os.urandom(12))  # no other process has it
    _noted(token, thing)
    return once, (token, make, *arguments)


_PLAIN: Final = ("__reduce_ex__", "__reduce__", "__getstate__", "__new__")


def sentinel(thing: Any) -> _Reduced | None:
    """Return how to make an object that has nothing but itself; ``None`` for others.

    Only what a module or a class of it names can be meant by ``is``. Any other object
    is a value, of which whoever gets it has a copy.
    """
    kind = type(thing)
    if any(getattr(kind, name) is not getattr(object, name) for name in _PLAIN):
        return None
    if thing.__getstate__() is not None:
        return None
    if kind is object:  # nothing can be set in it
        return _once(thing, object.__new__, kind)
    token = _tokens.get(id(thing))
    if (token is None or _objects.get(token) is not thing) and not _is_named(thing):
        return None
    _, (token, *_rest) = _once(thing, object.__new__, kind)
    return _only, (token, kind)


def _is_named(thing: Any) -> bool:
    """Tell whether a name stands for an object in its class's module, or below it."""
    module = sys.modules.get(type(thing).__module__)
    for value in list(vars(module).values()) if module is not None else ():
        if value is thing:
            return True
        if type(value) is type and any(one is thing for one in vars(value).values()):
            return True
    return False


def _only(token: bytes, kind: type) -> Any:
    """Return a sentinel, or another if a task has changed that; for unpickling."""
    found = once(token, object.__new__, kind)
    if type(found) is kind and found.__getstate__() is None:
        return found
    return object.__new__(kind)


def _new_type(thing: Any) -> _Reduced:
    return _once(thing, _make, typing.NewType, _name_of(thing), thing.__supertype__)


def _parameter(thing: Any) -> _Reduced:
    names = ("bound", "covariant", "contravariant", "infer_variance")
    given = {name: getattr(thing, f"__{name}__", None) for name in names}
    options = {name: value for name, value in given.items() if value}
    if getattr(thing, "has_default", bool)():
        options["default"] = thing.__default__
    kind: Callable[..., Any] = type(thing)
    make = functools.partial(kind, **options)
    return _once(thing, _make, make, _name_of(thing))


def _alias(thing: Any) -> _Reduced:
    kind: Callable[..., Any] = type(thing)
    make = functools.partial(kind, type_params=thing.__type_params__)
    return _once(thing, make, thing.__name__, thing.__value__)


def _name_of(thing: Any) -> tuple[str, str]:
    return thing.__name__, thing.__module__


def _make(kind: Callable[..., Any], name: tuple[str, str], *arguments: Any) -> Any:
    made = kind(name[0], *arguments)
    made.__module__ = name[1]
    return made


def _cached(thing: Any) -> _Reduced:
    return _cache, (thing.__wrapped__, thing.cache_parameters())


def _cache(function: Any, options: dict[str, Any]) -> Any:
    return functools.lru_cache(**options)(function)


def _cached_property(thing: Any) -> _Reduced:
    state = {name: value for name, value in vars(thing).items() if name != "lock"}
    return functools.cached_property, (thing.func,), state


def _marked(name: str, thing: Any) -> _Reduced:
    del thing
    return _marker, (name,)


def _marker(name: str) -> Any:
    return getattr(dataclasses, name)


def _dispatching(thing: Any) -> _Reduced | None:
    """Return how to make a function of ``singledispatch`` anew; ``None`` for others."""
    attributes = vars(thing)
    if not {"registry", "dispatch", "_clear_cache"} <= attributes.keys():
        return None
    return _dispatch, (dict(attributes["registry"]),)


def _dispatch(registry: dict[type, Any]) -> Any:
    made = functools.singledispatch(registry.pop(object))
    for kind, function in registry.items():
        made.register(kind, function)
    return made


def _method(thing: Any) -> _Reduced:
    return (
        functools.singledispatchmethod,
        (thing.func,),
        {"dispatcher": thing.dispatcher},
    )


def remade(thing: Any) -> _Reduced | None:
    """Return how to make an object anew that would pickle by its name, or ``None``."""
    kind = type(thing)
    return KINDS[kind](thing) if kind in KINDS else None


def _variable(thing: ContextVar[Any]) -> _Reduced:
    """Leave the values of a context variable behind: each task has its own context."""
    try:
        default: tuple[Any, ...] = (Context().run(thing.get),)
    except LookupError:
        default = ()
    return _once(thing, _make_variable, thing.name, *default)


def _make_variable(name: str, *default: Any) -> ContextVar[Any]:
    return ContextVar(name, default=default[0]) if default else ContextVar(name)


def _local(thing: threading.local) -> _Reduced:
    """What is each thread's own has nothing in it for a thread of another process."""
    return _once(thing, threading.local)


def _struct(thing: Any) -> _Reduced:
    return struct.Struct, (thing.format,)


ALWAYS: Final = {object, functools.cached_property, functools.singledispatchmethod}
ALWAYS.update((struct.Struct, ContextVar, threading.local))
"""Types that never pickle as they should; the others only where no worker can import
the module that they name."""
KINDS: Final[dict[type, Callable[[Any], _Reduced | None]]] = {
    object: sentinel,
    typing.NewType: _new_type,
    typing.ParamSpec: _parameter,
    type(functools.lru_cache(len)): _cached,
    functools.cached_property: _cached_property,
    functools.singledispatchmethod: _method,
    type(_dispatch): _dispatching,
    struct.Struct: _struct,
    ContextVar: _variable,
    threading.local: _local,
}
for _name in ("TypeVarTuple", "TypeAliasType"):
    if hasattr(typing, _name):
        KINDS[getattr(typing, _name)] = (
            _alias if _name == "TypeAliasType" else _parameter
        )
for _name in _MARKERS:
    KINDS[type(getattr(dataclasses, _name))] = functools.partial(_marked, _name)
    ALWAYS.add(type(getattr(dataclasses, _name)))
