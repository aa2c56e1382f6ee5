"""Functions and apps that went to another process by value come back as themselves.

A function of the script is a copy in a worker. If a task returns it, or something that
it is in, the script gets the function that it has sent: so that ``is`` holds, and what
it uses as a key. To that end such a function travels with a token, which the worker
sends back with it. Only the process that has sent a function knows its token; any other
one makes a function of what has come. So does that process, too, if it has let go of
its own.

A function that the task has changed is another one, and comes back as what it is now.
It counts as changed if that cannot be told: because a default, an attribute or a
variable of its closure is an object of a class, or a large container. What a task sets
in the variables of the script's module never comes back, and does not count. An app is
as its function is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

_Reduced: TypeAlias = tuple[Any, ...]

_tokens: Final[WeakKeyDictionary[Any, bytes]] = WeakKeyDictionary()
_sent: Final[WeakValueDictionary[bytes, Any]] = WeakValueDictionary()
"""What this process has sent by value, and the tokens of that."""
_received: Final[WeakKeyDictionary[Any, tuple[bytes, list[Any]]]] = WeakKeyDictionary()
"""What has come with a token, and what it held then."""

_MOST_PARTS: Final = 200
_FIXED: Final = frozenset(
    {
        *(int, float, complex, str, bytes, bool, type(None), type(...), range),
        *(CodeType, BuiltinFunctionType, ModuleType),
    }
)
_FIXED_NAMES: Final = frozenset(
    {
        *(("datetime", name) for name in ("date", "datetime", "time", "timedelta")),
        *(("pathlib", name) for name in ("PosixPath", "PurePosixPath")),
        ("decimal", "Decimal"),
        ("fractions", "Fraction"),
        ("re", "Pattern"),
        ("uuid", "UUID"),
    }
)
"""Types of what does not change."""


def with_token(thing: Any, reduced: _Reduced, *, sends: bool) -> _Reduced:
    """Return how to pickle a function or app by value so that it finds its way back.

    Args:
        thing: The function or app.
        reduced: How to make it anew.
        sends: Whether this is a call that is sent, and not a result.
    """
    known = _received.get(thing) if _received else None
    if known is not None:
        token = known[0] if _is_as_received(thing) else None
    else:
        token = _token_of(thing) if sends else None
    if token is None:
        return reduced
    padded: _Reduced = (*reduced, None, None, None, None)
    make, arguments, state, _, _, setter = padded[:6]
    begin = _copy if sends else _own_or_copy
    return begin, (token, make, *arguments), (token, setter, state), None, None, _set


def _token_of(thing: Any) -> bytes:
    token = _tokens.get(thing)
    if token is None:
        # If two threads send it for the first time at once, both go on with the token
        # of the one that came first: ``setdefault`` returns it to the other.
        token = _tokens.setdefault(thing, os.urandom(12))
        _sent[token] = thing
    return token


def _copy(token: bytes, make: Callable[..., Any], *arguments: Any) -> Any:
    """Make what a call has sent; called by unpickling.

    A worker may be a thread of the process that has sent it. It gets a copy there too,
    which has the script's variables as they were when it was sent.
    """
    del token  # for `_set`
    return make(*arguments)


def _own_or_copy(token: bytes, make: Callable[..., Any], *arguments: Any) -> Any:
    """Return what this process has sent, or make another; called by unpickling."""
    own = _sent.get(token)
    return make(*arguments) if own is None else own


def _set(thing: Any, state: tuple[Any, ...]) -> None:
    """Give a thing its state, unless it is this process's; called by unpickling."""
    token, setter, theirs = state
    if _sent.get(token) is not thing:
        if setter is not None:
            setter(thing, theirs)
        _received[thing] = token, _parts(thing)


def _is_as_received(thing: Any) -> bool:
    """Tell whether a function or app, and functions that it holds, are as they came."""
    waiting, seen = [thing], {thing}
    while waiting:
        one = waiting.pop()
        _, before = _received[one]
        now = _parts(one)
        if len(now) != len(before):
            return False
        for part, was in zip(now, before, strict=True):
            if part is not was and not (type(part) is type(was) is int and part == was):
                return False
            if part is _UNKNOWN:
                return False
            inner = part() if type(part) is ref else None
            if inner not in seen and inner in _received:
                seen.add(inner)
                waiting.append(inner)
    return True


_UNKNOWN: Final = object()
"""Stands among parts for what may have changed without a trace."""


def _parts(function: Any) -> list[Any]:
    """Return what a function is made of, with the contents of small containers."""
    if type(function) is not FunctionType:  # an app
        return [ref(function.__wrapped__)]
    parts: list[Any] = [
        function.__code__,
        function.__name__,
        function.__qualname__,
        function.__doc__,
        function.__module__,
    ]
    held: list[Any] = [function.__defaults__, function.__kwdefaults__]
    held += (function.__dict__, function.__annotations__)
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # nothing is in it
            held.append(cell)
    while held:
        value = held.pop()
        kind = type(value)
        if kind is dict:
            parts.append(len(value))
            held += (*value, *value.values())
        elif kind in {list, tuple, set, frozenset}:
            parts += kind, len(value)
            held += value
        elif kind is FunctionType or issubclass(kind, type):
            parts.append(ref(value))  # it may hold the function, which shall not last
        elif (
            kind in _FIXED
            or issubclass(kind, Enum)
            or (kind.__module__, kind.__name__) in _FIXED_NAMES
        ):
            parts.append(value)
        else:
            parts.append(_UNKNOWN)
        if len(held) + len(parts) > _MOST_PARTS:
            return [_UNKNOWN]
    return parts
