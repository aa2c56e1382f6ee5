"""The identity of values that are no built-in containers: by what they are made of.

In this order: what a plugin says, what the value's own class says
(``__jackfield_hash__``), a rule for a few families of types, and for everything else
what pickling would carry to another process. The class counts as well: for one of
the project's that means its code, so that the methods which a function may call on
its arguments belong to the key.

What stands for something outside itself (an open file, a connection, an iterator) has
no identity.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import sys
import types
import typing
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, Flag
from io import BytesIO, StringIO
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from jackfield.files import File
from jackfield_memo.atoms import CycleError, UnknownValueError, sized
from jackfield_memo.files import compiled_version
from jackfield_memo.forgotten import added, forgotten, is_cache
from jackfield_memo.introspection import (
    attributes_of,
    class_name,
    compared_by,
    home_of,
    slots_of,
    wrapped_by,
)
from jackfield_memo.opaque import HANDLES, IN_MEMORY, VIEWS
from jackfield_memo.policy import Unordered
from jackfield_memo.syntax import code_form
from jackfield_serialize.origins import origin_by_name

if TYPE_CHECKING:
    from jackfield.memo_keys import ValueHook
    from jackfield_memo.policy import PartEncoder

HOW_TO_TEACH: Final = (
    "Name the argument in ignore_for_cache, give the class a __jackfield_hash__ "
    "method that returns what its values are made of, or register a plugin with "
    "jackfield_hash_value."
)

_CODE: Final = (
    types.FunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.ModuleType,
    type,
)
"""What the policy refers to. All else is encoded by what it is made of."""
_SKIPPED_BY_WRAPPERS: Final = {*functools.WRAPPER_ASSIGNMENTS, "__wrapped__"}
"""Attributes that ``functools.wraps`` sets: they are those of what is wrapped."""
_PLAIN_PATHS: Final = {type(Path()), PurePosixPath, PureWindowsPath}
_PROTOCOL: Final = 4  # 5 would put buffers beside the state


def encode_object(encoder: PartEncoder, value: Any) -> bytes:
    """Encode a value of a type that has no encoding of its own."""
    kind = type(value)
    try:
        for hook in encoder.policy.hooks(kind):
            answer = _ask(encoder, hook, value)
            if answer is not None:
                return answer
        if isinstance(value, _CODE):
            return encoder.policy.refer(value)
        if hasattr(kind, "__jackfield_hash__"):
            return _as_taught(encoder, value)
        for family, encode in _FAMILIES:
            if isinstance(value, family):
                return encode(encoder, value)
        return _other(encoder, value)
    except (UnknownValueError, CycleError, RecursionError):
        raise
    except Exception as error:
        name = class_name(kind)
        reason = f"a {name}: its identity raised {type(error).__name__}: {error}"
        raise UnknownValueError(f"{reason}. {HOW_TO_TEACH}") from error


def _composed(encoder: PartEncoder, tag: bytes, value: object, *parts: Any) -> bytes:
    """Encode a value as a reference to its class, followed by some parts."""
    kind = encoder.policy.refer(type(value))
    return sized(tag, kind + b"".join(map(encoder.encode, parts)))


def _ask(encoder: PartEncoder, hook: ValueHook, value: object) -> bytes | None:
    answer = hook(value, encoder.encode)
    if answer is None:
        return None
    if not isinstance(answer, bytes):
        raise TypeError(f"a plugin answered with a {type(answer).__name__}, not bytes")
    encoded = _composed(encoder, b"p", value, answer)
    rest = added(value)
    return _with(encoder, rest, encoded) if rest else encoded


def _as_taught(encoder: PartEncoder, value: Any) -> bytes:
    made_of = value.__jackfield_hash__()
    try:
        return _composed(encoder, b"j", value, made_of)
    except UnknownValueError as error:
        error.path.append(".__jackfield_hash__()")
        raise


def _other(encoder: PartEncoder, value: Any) -> bytes:
    kind = type(value)
    if kind is object:
        return encoder.policy.unknown(value, f"it is only itself. {HOW_TO_TEACH}")
    if home_of(kind).partition(".")[0] in HANDLES:
        reason = f"it stands for something outside itself. {HOW_TO_TEACH}"
        unknown = encoder.policy.unknown(value, reason)
        target = _referred(value)
        return unknown if target is None else unknown + encoder.encode(target)
    if callable(value) and wrapped_by(value) is not None:
        return _wrapper(encoder, value)
    compares = compared_by(value)
    if compares is not None:
        return _composed(encoder, b"w", value, compares)
    return _as_pickled(encoder, value)


# -- Families


def _path(encoder: PartEncoder, value: PurePath) -> bytes:
    if type(value) not in _PLAIN_PATHS:
        return _as_pickled(encoder, value)
    return _composed(encoder, b"P", value, str(value))


def _enum(encoder: PartEncoder, value: Enum) -> bytes:
    name = value.value if isinstance(value, Flag) else value.name
    return _composed(encoder, b"e", value, name)


def _exception(encoder: PartEncoder, value: BaseException) -> bytes:
    """Encode an exception with its direct cause, which pickling leaves out."""
    return sized(b"x", _as_pickled(encoder, value) + encoder.encode(value.__cause__))


def _set(encoder: PartEncoder, value: Any) -> bytes:
    """Encode a set of a derived class, whose pickling has the items in any order."""
    head = encoder.policy.refer(type(value)) + _state(encoder, value.__getstate__())
    return sized(b"z", head + encoder.unordered(value))


def _method(encoder: PartEncoder, value: types.MethodType) -> bytes:
    return _composed(encoder, b"m", value, value.__func__, value.__self__)


def _builtin(encoder: PartEncoder, value: types.BuiltinFunctionType) -> bytes:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return encoder.policy.refer(value)
    return _composed(encoder, b"m", value, value.__name__, owner)


def _wrapping_method(encoder: PartEncoder, value: Any) -> bytes:
    return _composed(encoder, b"w", value, value.__func__)


def _property(encoder: PartEncoder, value: property) -> bytes:
    return _composed(encoder, b"w", value, value.fget, value.fset, value.fdel)


def _cached_property(
    encoder: PartEncoder, value: functools.cached_property[Any]
) -> bytes:
    return _composed(encoder, b"w", value, value.func)


def _slot(encoder: PartEncoder, value: Any) -> bytes:
    return _composed(encoder, b"w", value, value.__name__)


def _file(encoder: PartEncoder, value: File) -> bytes:
    return sized(b"F", encoder.policy.file(value))


def _struct(encoder: PartEncoder, value: Struct) -> bytes:
    return _composed(encoder, b"w", value, value.format)


def _code(encoder: PartEncoder, value: types.CodeType) -> bytes:
    return _composed(encoder, b"w", value, code_form(value))


def _hash(encoder: PartEncoder, value: Any) -> bytes:
    """Encode a hash object of ``hashlib`` by what it has been fed with."""
    length = (16,) if value.digest_size == 0 else ()  # of shake, which has any length
    return _composed(encoder, b"w", value, value.name, value.digest(*length))


def _iterator(encoder: PartEncoder, value: Iterator[Any]) -> bytes:
    reason = "it is used up by reading it; pass a list of what it gives."
    return encoder.policy.unknown(value, reason)


def _in_memory(encoder: PartEncoder, value: BytesIO | StringIO) -> bytes:
    """Encode a file that is all there is of it, where code holds it."""
    reason = "it is used up by reading it; pass what it gives."
    unknown = encoder.policy.unknown(value, reason)
    return unknown if value.closed else unknown + encoder.encode(value.__getstate__())


def _view(encoder: PartEncoder, value: Any) -> bytes:
    """Encode what a dict has, where code holds a view of it."""
    unknown = encoder.policy.unknown(value, "cannot pickle a view; pass a list of it.")
    return unknown + encoder.encode(list(value))


def _referred(value: Any) -> Any:
    """Return what a weak reference leads to, or ``None``.

    Dicts of such are caches, as ``singledispatch`` has one: they count by their type.
    """
    if isinstance(value, weakref.ReferenceType):
        return value()
    if type(value) in weakref.ProxyTypes:
        try:
            return value.__repr__.__self__
        except ReferenceError:
            return None
    return None


def _wrapper(encoder: PartEncoder, value: Any) -> bytes:
    """Encode a callable object that wraps a function, as decorators make them."""
    further = Unordered(set_on_wrapper(value))
    return _composed(encoder, b"w", value, wrapped_by(value), further)


def set_on_wrapper(value: object) -> dict[str, Any]:
    """Return what a wrapper has besides what it wraps.

    Of one whose class is not the project's, that is what the project has set on it:
    what a package keeps there itself follows from its version and from what is wrapped.
    """
    home = home_of(type(value))
    kind = origin_by_name(home).kind
    if kind == "package" and home.partition(".")[0] != "jackfield":
        return {}
    return {
        name: part
        for name, part in {**slots_of(value), **attributes_of(value)}.items()
        if name not in _SKIPPED_BY_WRAPPERS
        and (kind == "project" or not (name[:1] == "_" or name == "cache_parameters"))
    }


_HASHES: Final = tuple(
    {type(hashlib.new(name)) for name in hashlib.algorithms_guaranteed}
)
_Encode = Callable[["PartEncoder", Any], bytes]
_FAMILIES: Final[tuple[tuple[Any, _Encode], ...]] = (
    (File, _file),
    (PurePath, _path),
    (Enum, _enum),
    (BaseException, _exception),
    ((set, frozenset), _set),
    (types.MethodType, _method),
    ((types.BuiltinFunctionType, types.MethodWrapperType), _builtin),
    ((staticmethod, classmethod), _wrapping_method),
    (property, _property),
    (functools.cached_property, _cached_property),
    ((types.MemberDescriptorType, types.GetSetDescriptorType), _slot),
    (Struct, _struct),
    (types.CodeType, _code),
    (_HASHES, _hash),
    (IN_MEMORY, _in_memory),
    (VIEWS, _view),
    (Iterator, _iterator),
)


# -- Everything else


def _as_pickled(encoder: PartEncoder, value: Any) -> bytes:
    """Encode what pickling would make of a value.

    That is all that an executor with processes would give to the function.
    """
    try:
        reduced = _reduced(value)
    except Exception as error:
        reason = f"pickling it raised {type(error).__name__}: {error}"
        unknown = encoder.policy.unknown(value, f"{reason}. {HOW_TO_TEACH}")
        if origin_by_name(home_of(type(value))).kind != "project":
            return unknown
        parts = {**slots_of(value), **attributes_of(value)}
        return _composed(encoder, b"?", value, Unordered(parts))
    if isinstance(reduced, str):  # the name of something that exists once
        return _named(encoder, value, reduced)
    function, args, state, items, pairs = (*reduced, None, None, None)[:5]
    body = [encoder.encode(function), encoder.encode(args)]
    body.append(_state(encoder, _without_caches(value, state)))
    body.append(b"" if items is None else encoder.sequence(items))
    if pairs is not None and isinstance(value, OrderedDict):
        body.append(encoder.encode(tuple(pairs)))
    elif pairs is not None:
        body.append(encoder.items(dict(pairs)))
    encoded = sized(b"o", b"".join(sized(b":", part) for part in body))
    rest = forgotten(value, _names_in(state), named=False)
    return _with(encoder, rest, encoded) if rest else encoded


def _named(encoder: PartEncoder, value: Any, name: str) -> bytes:
    """Encode what pickles as a name: by that, and by what the project has given it."""
    home = str(getattr(value, "__module__", None) or "")
    if type(value) in _MADE_OF and origin_by_name(home).kind == "project":
        rest = _MADE_OF[type(value)](value)
    else:
        rest = forgotten(value, (), named=True)
    if not home and not _is_named(value, name):
        reason = f"it says that its name is {name!r}, which stands for something else"
        unknown = encoder.policy.unknown(value, f"{reason}. {HOW_TO_TEACH}")
        return _with(encoder, rest, unknown) if rest else unknown
    version = compiled_version(home)
    encoded = _composed(encoder, b"g", value, name, home, version)
    return _with(encoder, rest, encoded) if rest else encoded


def _is_named(value: object, name: str) -> bool:
    """Tell whether a name of some module stands for what says no module of its own."""
    if _found.get(id(value)) is value:
        return True
    root = home_of(type(value)).partition(".")[0]
    for module in (sys.modules.get(root), *list(sys.modules.values())):
        if attributes_of(module).get(name) is value:
            if len(_found) >= _FOUND_KEPT:
                _found.clear()
            _found[id(value)] = value
            return True
    return False


_found: Final[dict[int, object]] = {}
"""What a name was found for: modules hold it anyway."""
_FOUND_KEPT: Final = 1000


def _parameter(value: Any) -> dict[str, Any]:
    """Return what a type variable is made of, apart from its name."""
    names = ("bound", "constraints", "covariant", "contravariant", "infer_variance")
    given = {name: getattr(value, f"__{name}__", None) for name in (*names, "default")}
    return {name: one for name, one in given.items() if one}


_MADE_OF: Final[dict[type, Callable[[Any], dict[str, Any]]]] = {
    typing.NewType: lambda value: {"supertype": value.__supertype__},
    typing.TypeVar: _parameter,
    typing.ParamSpec: _parameter,
    typing.TypeVarTuple: _parameter,
}
if sys.version_info >= (3, 12):
    _MADE_OF[typing.TypeAliasType] = lambda value: {"value": value.__value__}
"""Types of ``typing`` whose values pickle as a name: what these are made of."""


def _names_in(state: Any) -> set[str]:
    """Return the names of the attributes that a state carries."""
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    return {name for part in parts if isinstance(part, dict) for name in part}


def _with(encoder: PartEncoder, rest: Mapping[str, Any], encoded: bytes) -> bytes:
    """Add attributes to an encoding; those without identity count by their type."""
    parts = [encoded]
    for name in sorted(rest):
        try:
            part = encoder.encode(rest[name])
        except UnknownValueError:
            part = sized(b"?", class_name(type(rest[name])).encode())
        parts += (encoder.encode(name), part)
    return sized(b"+", b"".join(parts))


def _reduced(value: Any) -> str | tuple[Any, ...]:
    reduce = copyreg.dispatch_table.get(type(value))
    # ``tblib``, which Dask imports, registers one function for all exceptions there
    # are. What that makes of one is something else in a process without Dask.
    if reduce is copyreg.dispatch_table.get(BaseException):
        reduce = None
    reduced: str | tuple[Any, ...]
    reduced = reduce(value) if reduce else value.__reduce_ex__(_PROTOCOL)
    return reduced


def _state(encoder: PartEncoder, state: Any) -> bytes:
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        return _state(encoder, state[0]) + b"," + encoder.attributes(state[1])
    if type(state) is dict and set(map(type, state)) <= {str}:
        return encoder.attributes(state)
    return encoder.encode(state)


def _without_caches(value: object, state: Any) -> Any:
    """Leave out what ``functools.cached_property`` keeps in an instance."""
    if type(state) is not dict:
        return state
    kind = type(value)
    kept = {name for name in state if is_cache(kind, name)}
    return {k: v for k, v in state.items() if k not in kept} if kept else state
