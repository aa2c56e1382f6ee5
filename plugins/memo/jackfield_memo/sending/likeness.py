"""What a name stands for, as bytes that are the same in every process of one Python.

A function counts by its code, its defaults, its attributes and what its closure holds;
a class by its members; data by its content; a module by its name. What only the
function of another module refers to has an entry of its own, so that it is not followed
here; but a function of the script carries its globals with it, and counts with them.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from hashlib import sha256
from types import CodeType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any, Final, NamedTuple

from jackfield_memo.asking import registered
from jackfield_memo.atoms import ATOMS, UnknownValueError, sized
from jackfield_memo.code_names import names_of
from jackfield_memo.functions import is_as_made
from jackfield_memo.introspection import (
    MISSING,
    attributes_of,
    class_name,
    home_of,
    plain_name,
    set_on_member,
    slots_of,
    wrapped_by,
)
from jackfield_memo.objects import set_on_wrapper
from jackfield_memo.opaque import is_opaque
from jackfield_memo.policy import Unordered
from jackfield_memo.sending.finding import found
from jackfield_serialize import worker_can_import
from jackfield_serialize.origins import is_project_name, origin_by_name

_PROTOCOL: Final = 4
_LARGE: Final = 10_000
"""Parts or kilobytes; a constant that has more counts by its type, unless the result of
the call is cached."""

_SKIPPED: Final = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__"}
    | {"__annotations__", "__annotate__", "__annotate_func__", "_abc_impl"}
    | {"__annotations_cache__", "__slotnames__", "__classcell__", "__module__"}
)
"""Members of a class that Python makes, or that differ from process to process."""


Likenesses = Mapping[tuple[str, str], bytes]
"""What names stand for: by a module, and a name or the way to something in it."""


class _Looking(NamedTuple):
    """One look at a value: what it takes, and the functions that it is within."""

    thorough: bool
    within: set[int]


def likeness(value: Any, *, thorough: bool) -> bytes:
    """Return what a name stands for.

    Args:
        value: What it is bound to; ``MISSING`` if it is not.
        thorough: Whether large values count by their content, and objects of packages.
    """
    looking = _Looking(thorough, set())
    if value is MISSING:
        return b"-"
    if isinstance(value, type):
        return _class(looking, value)
    return _value(looking, value)


def _value(looking: _Looking, value: Any) -> bytes:
    atom = ATOMS.get(type(value))
    if atom is not None:
        return atom(value)
    if isinstance(value, FunctionType):
        return _function(looking, value)
    if isinstance(value, type | ModuleType):
        return _named(looking, value)
    if not looking.thorough and is_large(value):
        return _by_type(value)
    from jackfield_memo.policy import Policy  # for values that are no code
    from jackfield_memo.values import Encoder

    hooks: tuple[Callable[..., bytes | None], ...]
    hooks = () if looking.thorough else (_plainly,)

    def refer(thing: Any) -> bytes:
        if isinstance(thing, FunctionType):
            return _function(looking, thing)
        return _named(looking, thing)

    policy = Policy(
        refer,
        _by_type,
        lambda _: hooks,
        lambda file: str(file.url).encode(),
        ordered=True,
    )
    try:
        return Encoder(policy).identity(value)
    except UnknownValueError:
        return _by_type(value)


def _named(looking: _Looking, thing: Any) -> bytes:
    """Encode a module or class by its name; by more, if that leads to another class."""
    name = sized(b"y", plain_name(thing).encode())
    if not isinstance(thing, type) or not is_project_name(home_of(thing)):
        return name
    at_home = found(thing.__module__, thing.__qualname__) is thing
    if at_home or id(thing) in looking.within:
        return name
    looking.within.add(id(thing))
    try:
        return name + _class(looking, thing)
    finally:
        looking.within.discard(id(thing))


def _by_type(value: object, reason: str = "") -> bytes:
    del reason
    return sized(b"?", class_name(type(value)).encode())


def _plainly(value: Any, encode: Callable[[Any], bytes]) -> bytes | None:
    """Encode a value without code of its class: what it has, or its type alone."""
    kind = type(value)
    if kind is FunctionType:
        return None
    whose = origin_by_name(home_of(kind)).kind
    if callable(value) and wrapped_by(value) is not None:
        further = sorted(set_on_wrapper(value).items())
        set_on = [encode(name) + _tried(encode, part) for name, part in further]
        return sized(b"w", encode(wrapped_by(value)) + b"".join(set_on))
    if whose == "python":
        return None
    if home_of(kind).partition(".")[0] in {"numpy", "pandas", "pyarrow"}:
        return None
    if whose == "project" and is_opaque(kind):  # attributes do not say all
        return None
    if whose == "package":
        return _by_type(value)
    parts = {**slots_of(value), **attributes_of(value)}
    if len(parts) > _LARGE:
        return _by_type(value)
    inner = [encode(name) + _tried(encode, parts[name]) for name in sorted(parts)]
    if isinstance(value, dict | list | tuple | set | frozenset | deque):
        plain: Any = dict(value) if isinstance(value, dict) else list(value)
        inner.append(encode(plain) if len(plain) <= _LARGE else b"?")
    elif any(
        origin_by_name(home_of(one)).kind != "project" for one in kind.__mro__[:-1]
    ):
        inner.append(_tried(encode, _made_with(value)))
    return sized(b"a", class_name(kind).encode() + b"".join(inner))


def _is_foreign(owner: type) -> bool:
    return origin_by_name(home_of(owner)).kind != "project"


def _made_with(value: Any) -> Any:
    """Return what a value of a class derived from a foreign one is made anew with."""
    try:
        return value.__reduce_ex__(_PROTOCOL)[1]
    except Exception:  # it cannot be pickled: its attributes count
        return None


def _tried(encode: Callable[[Any], bytes], value: Any) -> bytes:
    try:
        return encode(value)
    except UnknownValueError:
        return _by_type(value)


def is_large(value: Any) -> bool:
    """Tell whether a value has too many parts for calls that are not cached."""
    kind = type(value)
    if issubclass(kind, str | bytes | bytearray):
        return len(value) > _LARGE << 10
    return issubclass(kind, dict | list | tuple | set | frozenset) and (
        len(value) > _LARGE
    )


# -- Functions


def _function(looking: _Looking, function: FunctionType) -> bytes:
    if id(function) in looking.within:
        return b"^"
    looking.within.add(id(function))
    try:
        parts = _function_parts(looking, function)
        return sha256(b"".join(parts)).digest()
    finally:
        looking.within.discard(id(function))


def _function_parts(looking: _Looking, function: FunctionType) -> Iterator[bytes]:
    yield f"{function.__module__}:{function.__qualname__}".encode()
    yield code_likeness(function.__code__)
    if function.__name__ != function.__code__.co_name:
        yield function.__name__.encode() + b"|"
    for value in function.__defaults__ or ():
        yield _value(looking, value)
    yield b"|"
    for name, value in sorted((function.__kwdefaults__ or {}).items()):
        yield name.encode() + _value(looking, value)
    yield b"|"
    for name, value in sorted(function.__dict__.items()):
        if name not in {"__signature__", "__type_params__"}:
            yield name.encode() + _value(looking, value)
    yield b"|"
    for cell in function.__closure__ or ():
        try:
            yield _value(looking, cell.cell_contents)
        except ValueError:
            yield b"-"
    if not is_live(function):
        for name in sorted(names_of(function.__code__).globals):
            if name in function.__globals__:
                yield name.encode() + _value(looking, function.__globals__[name])


def is_live(function: FunctionType) -> bool:
    """Tell whether a function's globals are those of a module that workers import."""
    return is_live_in(function.__globals__)


def is_live_in(namespace: Mapping[str, Any]) -> bool:
    """Tell whether names are those of a module that workers import."""
    home = namespace.get("__name__")
    module = sys.modules.get(home) if isinstance(home, str) else None
    if module is None or vars(module) is not namespace:
        return False
    return worker_can_import(home)


def code_likeness(code: CodeType) -> bytes:
    """Return a digest of a code object: of all but where it stands."""
    known = _digests.get(code)
    if known is None:
        if len(_digests) > _DIGESTS_KEPT:
            _digests.clear()
        known = _digests[code] = sha256(b"".join(_code_parts(code))).digest()
    return known


_digests: Final[dict[CodeType, bytes]] = {}
_DIGESTS_KEPT: Final = 10_000


def _code_parts(code: CodeType) -> Iterator[bytes]:
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    yield repr((counts, code.co_flags, names)).encode("utf-8", "surrogatepass")
    yield code.co_code
    yield code.co_exceptiontable
    for constant in code.co_consts:
        yield _constant(constant)


def _constant(value: Any) -> bytes:
    if isinstance(value, CodeType):
        return code_likeness(value)
    if isinstance(value, tuple):
        return sized(b"t", b"".join(map(_constant, value)))
    if isinstance(value, frozenset):
        return sized(b"z", b"".join(sorted(map(_constant, value))))
    atom = ATOMS.get(type(value))
    return atom(value) if atom is not None else repr(value).encode()


# -- Classes


def _class(looking: _Looking, owner: type) -> bytes:
    parts = [class_name(owner).encode(), class_name(type(owner)).encode()]
    parts += [class_name(base).encode() for base in owner.__bases__]
    for name, member in sorted(members_of(owner).items()):
        parts += (name.encode(), _member(looking, member))
    parts += [class_name(one).encode() for one in registered(owner)]
    if issubclass(owner, Enum):
        for one in owner.__members__.values():
            parts.append(_value(looking, Unordered(set_on_member(one))))
    return sha256(b"\0".join(parts)).digest()


def members_of(owner: type) -> dict[str, Any]:
    """Return the members of a class that count."""
    return {
        name: member
        for name, member in vars(owner).items()
        if name not in _SKIPPED
        and not isinstance(member, MemberDescriptorType)
        and not _is_generated(owner, member)
    }


def _is_generated(owner: type, member: Any) -> bool:
    """Tell whether attrs has made a method: with numbers of its process in it.

    One whose default values have been changed since counts.
    """
    code = getattr(member, "__code__", None)
    if code is None or not code.co_filename.startswith("<attrs generated"):
        return False
    return is_as_made(owner, member)


def _member(looking: _Looking, member: Any) -> bytes:
    if isinstance(member, classmethod | staticmethod):
        return type(member).__name__.encode() + _value(looking, member.__func__)
    if isinstance(member, property):
        functions = member.fget, member.fset, member.fdel
        return b"property" + b"".join(_value(looking, one) for one in functions)
    if isinstance(member, functools.cached_property):
        return b"cached" + _value(looking, member.func)
    return _value(looking, member)
