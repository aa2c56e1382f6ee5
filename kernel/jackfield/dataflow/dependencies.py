"""Finding futures and files among a task's arguments, and putting values in.

Two passes over the same shapes. ``find`` runs where the task is submitted: it
lists what the task has to wait for. ``substitute`` runs when that is done: it
gives back the argument with futures replaced by results. A container that holds
nothing to replace is passed on as the very same object.

Shapes that are looked into: ``list``, ``tuple`` (named ones too), ``dict`` with its
keys, ``set``, ``frozenset``, subclasses of these, and dataclass instances. The walk
of ``find`` uses no recursion and visits an object once, so depth and cycles are
harmless as long as no future lies below them.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from enum import Enum
from pathlib import PurePath
from types import NoneType
from typing import Any, Final, Generic, TypeVar

from jackfield.files import File

T = TypeVar("T")

ATOMIC: Final[frozenset[type]] = frozenset(
    {
        bool,
        bytearray,
        bytes,
        complex,
        float,
        int,
        NoneType,
        range,
        slice,
        str,
        type,
    }
)
"""Exact types of values that cannot hold a future. Skipped without a look."""

_CONTAINERS: Final = (list, tuple, dict, set, frozenset)


class Quote(Generic[T]):
    """Carries a value to a task untouched; see ``quote``."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value: T = value


def quote(value: T) -> T:
    """Pass a container to an app as it is, without looking for futures in it.

    Saves the walk through a large structure, and lets an app receive futures. The
    app gets ``value`` itself.
    """
    return Quote(value)  # type: ignore[return-value]  # the app is called with the value


class Found:
    """What ``find`` found in a task's arguments.

    Attributes:
        futures: Each future once, in the order met.
        files: Each remote file once, in the order met; later with the future of
            its local copy.
        quoted: Whether there is a ``Quote`` to open.
    """

    __slots__ = ("files", "futures", "quoted")

    def __init__(self) -> None:
        self.futures: dict[Future[Any], None] = {}
        self.files: dict[File, Future[Any] | None] = {}
        self.quoted: bool = False

    def __bool__(self) -> bool:
        return bool(self.futures or self.files or self.quoted)


def find(
    args: tuple[Any, ...], kwargs: dict[str, Any], *, deep: bool = True
) -> Found | None:
    """List what a task must wait for; ``None`` if there is nothing.

    Args:
        args: Positional arguments.
        kwargs: Keyword arguments.
        deep: Whether to look into containers. Otherwise only the arguments
            themselves and the items of ``inputs`` are looked at.
    """
    candidates = [value for value in args if type(value) not in ATOMIC]
    if kwargs:
        candidates += [value for value in kwargs.values() if type(value) not in ATOMIC]
    if not candidates:
        return None
    found = Found()
    if deep:
        _walk(candidates, found)
    else:
        inputs = kwargs.get("inputs")
        if isinstance(inputs, list | tuple):
            candidates.extend(inputs)
        for value in candidates:
            _note(value, found)
    return found or None


def futures_in(value: Any) -> list[Future[Any]]:
    """List the futures in one value, to any depth."""
    found = Found()
    _walk([value], found)
    return list(found.futures)


def _walk(stack: list[Any], found: Found) -> None:
    seen: set[int] = set()
    stack.reverse()
    while stack:
        value = stack.pop()
        if type(value) in ATOMIC or _note(value, found) or id(value) in seen:
            continue
        children = _children(value)
        if children:
            seen.add(id(value))
            stack.extend(reversed(children))


def _note(value: Any, found: Found) -> bool:
    """Record a value that is itself of interest; tell whether it was."""
    if isinstance(value, Future):
        found.futures[value] = None
    elif isinstance(value, File):
        if value.remote and value.local_path is None:
            found.files[value] = None
    elif isinstance(value, Quote):
        found.quoted = True
    else:
        return False
    return True


def _children(value: Any) -> list[Any]:
    """List the parts of a container that may hold a future."""
    if isinstance(value, dict):
        return _interesting(value.keys()) + _interesting(value.values())
    if isinstance(value, _CONTAINERS):
        return _interesting(value)
    if _is_data(value):
        return [
            getattr(value, field.name)
            for field in dataclasses.fields(value)
            if hasattr(value, field.name)
        ]
    return []


def _interesting(values: Iterable[Any]) -> list[Any]:
    # One pass in C settles the usual case, a large list of plain values.
    if ATOMIC.issuperset(map(type, values)):
        return []
    return [value for value in values if type(value) not in ATOMIC]


def _is_data(value: Any) -> bool:
    kind = type(value)
    return (
        hasattr(kind, "__dataclass_fields__")
        and not issubclass(kind, type)
        and not isinstance(value, Enum | PurePath)
    )


def substitute(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    replace: Callable[[Any], Any],
    *,
    deep: bool = True,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Put values in the place of futures, staged files and quotes.

    Args:
        args: Positional arguments.
        kwargs: Keyword arguments.
        replace: Gives the value for a future or a remote file.
        deep: As in ``find``.

    Raises:
        ValueError: A container holds a future and, somewhere below, itself.
        RecursionError: A future lies too deep in nested containers.
    """
    if deep:
        path: set[int] = set()
        return (
            tuple([_replaced(value, replace, path) for value in args]),
            {key: _replaced(value, replace, path) for key, value in kwargs.items()},
        )
    new_args = tuple([_single(value, replace) for value in args])
    new_kwargs = {key: _single(value, replace) for key, value in kwargs.items()}
    inputs = new_kwargs.get("inputs")
    if isinstance(inputs, list | tuple):
        new_kwargs["inputs"] = _rebuilt(
            inputs, [_single(item, replace) for item in inputs]
        )
    return new_args, new_kwargs


def _single(value: Any, replace: Callable[[Any], Any]) -> Any:
    if isinstance(value, Quote):
        return value.value
    if isinstance(value, Future) or (isinstance(value, File) and value.remote):
        return replace(value)
    return value


def _replaced(value: Any, replace: Callable[[Any], Any], path: set[int]) -> Any:
    if type(value) in ATOMIC:
        return value
    if isinstance(value, Future | File | Quote):
        return _single(value, replace)
    if not isinstance(value, _CONTAINERS) and not _is_data(value):
        return value
    if not _children(value):
        return value
    if id(value) in path:
        raise ValueError(
            f"A {type(value).__name__} among the arguments contains itself and a "
            f"future; wrap it in jackfield.quote()."
        )
    path.add(id(value))
    try:
        return _container(value, replace, path)
    finally:
        path.remove(id(value))


def _container(value: Any, replace: Callable[[Any], Any], path: set[int]) -> Any:
    if isinstance(value, dict):
        return _dict(value, replace, path)
    if isinstance(value, list | tuple):
        return _rebuilt(value, [_replaced(item, replace, path) for item in value])
    if isinstance(value, set | frozenset):
        items = list(value)
        new = [_replaced(item, replace, path) for item in items]
        return value if _same(items, new) else type(value)(new)
    return _dataclass(value, replace, path)


def _rebuilt(old: Any, new: list[Any]) -> Any:
    if _same(old, new):
        return old
    if type(old) is list:
        return new
    if type(old) is tuple:
        return tuple(new)
    if hasattr(old, "_make"):  # a named tuple takes its items one by one
        return old._make(new)
    return type(old)(new)


def _dict(value: Any, replace: Callable[[Any], Any], path: set[int]) -> Any:
    keys = [_replaced(key, replace, path) for key in value]
    items = [_replaced(item, replace, path) for item in value.values()]
    if _same(list(value), keys) and _same(list(value.values()), items):
        return value
    if type(value) is dict:
        return dict(zip(keys, items, strict=True))
    result = copy.copy(value)  # keeps a defaultdict's factory, a Counter's class
    result.clear()
    result.update(zip(keys, items, strict=True))
    return result


def _dataclass(value: Any, replace: Callable[[Any], Any], path: set[int]) -> Any:
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        if hasattr(value, field.name):
            old = getattr(value, field.name)
            new = _replaced(old, replace, path)
            if new is not old:
                changed[field.name] = new
    if not changed:
        return value
    # Not dataclasses.replace: it would run __init__ and reject init=False fields.
    result = copy.copy(value)
    for name, new in changed.items():
        object.__setattr__(result, name, new)
    return result


def _same(old: Any, new: list[Any]) -> bool:
    return all(a is b for a, b in zip(old, new, strict=True))
