"""Finds futures and files among a task's arguments, and puts values in their place.

There are two passes over the arguments. ``find`` runs when a task is submitted, and
lists what the task has to wait for. ``substitute`` runs when all that has ended, and
returns the arguments with each future replaced by its result. A container that holds
nothing to replace is passed on as the very same object.

Both look into ``list``, ``tuple`` (named ones too), ``dict`` with its keys, ``set``,
``frozenset``, ``deque``, subclasses of these, and the fields of dataclasses and of
attrs and pydantic classes, to any depth. Neither uses recursion, and both visit an
object once. So deep nesting does no harm, nor do objects that are met twice, nor
cycles, unless there is a future in the cycle. Of other objects only the type is looked
at: a lazy proxy, which pretends to be of another class, is loaded by ``isinstance``.

Most calls are simpler: their arguments are plain values, objects that hold nothing (an
array, say) and futures of the same kernel, none of them in a container. For these,
``candidates``, ``may_hold``, ``put_in`` and ``parents_of`` (in ``task``) do the same at
a fraction of the cost: nothing is walked through, and a task that waits keeps nothing
but its arguments.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from types import NoneType
from typing import Any, Final, Generic, TypeAlias, TypeVar

from jackfield.files import File
from jackfield.futures import AppFuture
from jackfield.futures.future import value_of
from jackfield.kept import SHALLOW

T = TypeVar("T")

ATOMIC: Final[frozenset[type]] = frozenset(
    {bool, bytearray, bytes, complex, float, int, NoneType, range, slice, str, type}
)
"""Types of values that cannot hold a future; they are not looked at any further.

A subclass of one of these may hold anything, so only the exact type counts.
"""

Opened: TypeAlias = tuple[Sequence[Any], Callable[[Sequence[Any]], Any]]
"""Parts of a value, and what makes it anew; see ``jackfield_find_futures``."""

Opener: TypeAlias = Callable[[Any], Opened | None]
"""Asks plugins about a value that the kernel does not look into."""

_LISTS: Final = (list, tuple, deque)
_CONTAINERS: Final = (*_LISTS, set, frozenset)
_MAY_STAND: Final = ATOMIC | {AppFuture}


# -- the usual shapes


def candidates(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """List the arguments that are something to wait for, or may hold it."""
    found = [value for value in args if type(value) not in ATOMIC]
    if kwargs:
        found += [value for value in kwargs.values() if type(value) not in ATOMIC]
    return found


def may_hold(values: list[Any]) -> list[Any]:
    """Leave out the objects whose types hold nothing that could be looked into."""
    return [value for value in values if not _is_opaque(_type(value))]


_type: Final[Callable[[Any], Any]] = type
"""For type checkers, which doubt that a type can be hashed."""


@lru_cache(1_000)
def _is_opaque(kind: type) -> bool:
    if issubclass(kind, (*_CONTAINERS, dict, *_LEAVES)):
        return False
    return not _fields(kind)


def put_in(
    args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Replace the futures, which have all ended well, by their results."""
    args = tuple([value_of(v) if type(v) is AppFuture else v for v in args])
    if kwargs:
        kwargs = {
            name: value_of(value) if type(value) is AppFuture else value
            for name, value in kwargs.items()
        }
    return args, kwargs


# -- results that are kept where they were made


def are_shallow(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether futures are only arguments, and items of lists and dicts that are.

    Only there a ``Kept`` may stand for a value: to put it into anything else would run
    code of users, or of a set, that looks at it.
    """
    for value in candidates(args, kwargs):
        kind = type(value)
        items = value.values() if kind is dict else value
        if kind is dict and not ATOMIC.issuperset(map(type, value)):
            return False
        if kind is not AppFuture and (
            kind not in SHALLOW or not _MAY_STAND.issuperset(map(type, items))
        ):
            return False
    return True


# -- any shape


class Quote(Generic[T]):
    """Carries a value to a task untouched; see ``quote``."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value: T = value


def quote(value: T) -> T:
    """Mark an argument that an app gets as it is, without a search for futures in it.

    This saves the walk through a large container, and lets an app receive futures. The
    app gets ``value`` itself.
    """
    return Quote(value)  # type: ignore[return-value]  # the app is called with the value


_LEAVES: Final = (Future, File, Quote)
"""What is replaced, and never looked into."""


class Found:
    """What ``find`` found in a task's arguments.

    Attributes:
        futures: The futures, each once, in the order of the arguments.
        files: The files to be staged, each once, in the order of the arguments. Each
            has ``None``, and later the future of its local copy.
        located: The files with a relative path, each with where that is now.
        quoted: Whether there is a ``Quote`` to be replaced by its value.
        copies: Whether ``file:`` URLs are staged like those of other schemes.
    """

    __slots__ = ("copies", "files", "futures", "located", "quoted")

    def __init__(self, *, copies: bool = False) -> None:
        self.copies: bool = copies
        self.futures: dict[Future[Any], None] = {}
        self.files: dict[File, Future[Any] | None] = {}
        self.located: dict[File, File] = {}
        self.quoted: bool = False

    def __bool__(self) -> bool:
        return bool(self.futures or self.files or self.located or self.quoted)


def find(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    deep: bool = True,
    copies: bool = False,
    opener: Opener | None = None,
) -> Found | None:
    """List what a task must wait for; ``None`` if there is nothing.

    Containers are looked into if ``deep``; otherwise only the arguments themselves and
    the items of the argument ``inputs`` are looked at. For ``copies`` see ``Found``.
    Other values are looked into if the ``opener`` knows them.
    """
    looked_at = candidates(args, kwargs)
    if not looked_at:
        return None
    found = Found(copies=copies)
    if deep:
        _walk(looked_at, found, opener)
    else:
        inputs = kwargs.get("inputs")
        if inputs is not None and issubclass(type(inputs), list | tuple):
            looked_at.extend(inputs)
        for value in looked_at:
            if not _note(value, found) and opener is not None:
                for part in _parts_of(value, opener):
                    _note(part, found)
    return found or None


def futures_in(value: Any) -> list[Future[Any]]:
    """List the futures in one value, to any depth."""
    found = Found()
    _walk([value], found)
    return list(found.futures)


def _walk(stack: list[Any], found: Found, opener: Opener | None = None) -> None:
    """Note what is found in values, to any depth; uses up the list."""
    # Holds the containers too: if one were freed meanwhile, another could get its id.
    seen: dict[int, Any] = {}
    stack.reverse()
    while stack:
        value = stack.pop()
        if type(value) in ATOMIC or _note(value, found) or id(value) in seen:
            continue
        children = _children(value, opener)
        if children:
            seen[id(value)] = value
            stack.extend(reversed(children))


def _note(value: Any, found: Found) -> bool:
    """Note a value if it is a future, a file or a quote; tell whether it is."""
    kind = type(value)
    if issubclass(kind, Future):
        found.futures[value] = None
    elif issubclass(kind, File):
        if value.verified is None and (value.local_path is None or value.relative):
            _note_file(value, found)
    elif kind is Quote:
        found.quoted = True
    else:
        return False
    return True


def _note_file(file: File, found: Found) -> None:
    where = file.located()
    if where is not file:
        found.located[file] = where
    if file.stageable and (found.copies or file.remote or file.declared):
        found.files[where] = None


def checked_parts(answer: Any) -> Opened:
    """Check what a plugin's ``jackfield_find_futures`` has answered.

    Raises:
        TypeError: It is no pair of parts and a function.
    """
    parts, rebuild = answer if isinstance(answer, tuple) else (None, None)
    if not isinstance(parts, list | tuple) or not callable(rebuild):
        raise TypeError(
            f"A plugin's jackfield_find_futures answered {answer!r:.80}; expected a "
            f"list of parts and a function, or None."
        )
    return parts, rebuild


def _parts_of(value: Any, opener: Opener) -> Sequence[Any]:
    """List the parts of a value that plugins know, and the kernel does not."""
    kind = type(value)
    if issubclass(kind, dict | list | tuple | deque | set | frozenset) or _fields(kind):
        return ()
    opened = opener(value)
    return () if opened is None else opened[0]


def _children(value: Any, opener: Opener | None = None) -> list[Any]:
    """List the parts of a container that may hold a future."""
    kind = type(value)
    found: list[Any] = []
    if issubclass(kind, dict):
        found = _interesting(value.keys()) + _interesting(value.values())
    elif issubclass(kind, _CONTAINERS):
        found = _interesting(value)
    names = _fields(kind)
    if opener is not None:
        found = found + _interesting(_parts_of(value, opener))
    return found + [getattr(value, n) for n in names if hasattr(value, n)]


def _interesting(values: Iterable[Any]) -> list[Any]:
    # The usual case, a large list of plain values, is found out by one pass in C.
    if ATOMIC.issuperset(map(type, values)):
        return []
    return [value for value in values if type(value) not in ATOMIC]


def _fields(kind: Any) -> tuple[str, ...]:
    """Return the fields that a dataclass, or a class of attrs or pydantic, declares."""
    if kind in _CONTAINERS or kind is dict or issubclass(kind, type | Enum | PurePath):
        return ()
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        return tuple([field.name for field in dataclasses.fields(kind)])
    if hasattr(kind, "__attrs_attrs__"):
        return tuple([one.name for one in kind.__attrs_attrs__])
    return tuple(getattr(kind, "__pydantic_fields__", ()))


def substitute(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    replace: Callable[[Any], Any],
    *,
    deep: bool = True,
    opener: Opener | None = None,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Replace futures, files and quotes among arguments by their values.

    A container that occurs twice is rebuilt once, and occurs twice in the result.
    ``replace`` returns the value for a future or a file; ``deep`` and ``opener`` are as
    in ``find``.

    Raises:
        ValueError: A container holds a future or a file and, at some depth, itself.
    """
    if deep:
        done = _rebuilt_within([*args, *kwargs.values()], replace, opener)
        return (
            tuple([_new(value, replace, done) for value in args]),
            {key: _new(value, replace, done) for key, value in kwargs.items()},
        )
    known = {}
    for value in (*args, *kwargs.values()) if opener is not None else ():
        if type(value) not in ATOMIC and not _is_replaced(value):
            known[id(value)] = _reopened(value, replace, {}, opener)
    new_args = tuple([_new(value, replace, known) for value in args])
    new_kwargs = {key: _new(value, replace, known) for key, value in kwargs.items()}
    inputs = new_kwargs.get("inputs")
    if inputs is not None and issubclass(type(inputs), list | tuple):
        new_kwargs["inputs"] = _rebuilt(
            inputs, [_new(item, replace, {}) for item in inputs]
        )
    return new_args, new_kwargs


def _new(value: Any, replace: Callable[[Any], Any], done: dict[int, Any]) -> Any:
    """Return what replaces a value: itself, if nothing does.

    ``done`` has the containers that have been rebuilt: ``{id(old): new}``.
    """
    if type(value) is Quote:
        return value.value
    return replace(value) if _is_replaced(value) else done.get(id(value), value)


def _is_replaced(value: Any) -> bool:
    """Tell whether a value may stand for another one."""
    kind = type(value)
    if issubclass(kind, File):
        return value.stageable or value.relative  # type: ignore[no-any-return]  # both are bool
    return issubclass(kind, Future | Quote)


def _rebuilt_within(
    values: list[Any], replace: Callable[[Any], Any], opener: Opener | None
) -> dict[int, Any]:
    """Rebuild each container that holds something to replace, the inner ones first.

    This is a topological sort: a container is rebuilt when all that it contains have
    been. Those in a cycle are never reached. Returns ``{id(container): replacement}``.
    """
    holders, known = _holders(values, opener)
    inside = dict.fromkeys(known, 0)  # how many in each are yet to be rebuilt
    for container in known:
        for holder in holders.get(container, ()):
            inside[holder] += 1
    done: dict[int, Any] = {}
    ready = [container for container, number in inside.items() if number == 0]
    while ready:
        container = ready.pop()
        done[container] = _container(known[container], replace, done, opener)
        for holder in holders.get(container, ()):
            inside[holder] -= 1
            if inside[holder] == 0:
                ready.append(holder)
    for container, value in known.items():
        if container not in done:
            raise ValueError(
                f"A {type(value).__name__} among the arguments contains itself and a "
                f"future or a file; wrap it in jackfield.quote()."
            )
    return done


def _holders(
    values: list[Any], opener: Opener | None
) -> tuple[dict[int, list[int]], dict[int, Any]]:
    """Find the containers that hold something to replace.

    Returns ``{id(container): ids of the containers that it is in}`` for all containers,
    and ``{id(container): container}`` for those that hold such a thing, at any depth.
    """
    holders: dict[int, list[int]] = {}
    seen: dict[int, Any] = {}
    marked: list[int] = []
    stack = [value for value in values if type(value) not in ATOMIC]
    while stack:
        value = stack.pop()
        if id(value) in seen or issubclass(type(value), _LEAVES):
            continue
        seen[id(value)] = value
        for child in _children(value, opener):
            if issubclass(type(child), _LEAVES):
                if _is_replaced(child):
                    marked.append(id(value))
            else:
                holders.setdefault(id(child), []).append(id(value))
                stack.append(child)
    known: dict[int, Any] = {}
    while marked:
        container = marked.pop()
        if container not in known:
            known[container] = seen[container]
            marked.extend(holders.get(container, ()))
    return holders, known


def _reopened(
    value: Any,
    replace: Callable[[Any], Any],
    done: dict[int, Any],
    opener: Opener | None,
) -> Any:
    """Make a value anew that a plugin has opened, if a part of it is replaced."""
    if opener is None or not _parts_of(value, opener):
        return value
    opened = opener(value)
    assert opened is not None  # it had parts a moment ago
    parts, rebuild = opened
    new = [_new(part, replace, done) for part in parts]
    return value if _same(parts, new) else rebuild(new)


def _container(
    value: Any,
    replace: Callable[[Any], Any],
    done: dict[int, Any],
    opener: Opener | None,
) -> Any:
    new = value
    if isinstance(value, dict):
        new = _dict(value, replace, done)
    elif isinstance(value, _LISTS):
        new = _rebuilt(value, [_new(item, replace, done) for item in value])
    elif isinstance(value, set | frozenset):
        items = list(value)
        others = [_new(item, replace, done) for item in items]
        new = value if _same(items, others) else type(value)(others)
    else:
        new = _reopened(value, replace, done, opener)
    return _with_fields(value, new, replace, done)


def _rebuilt(old: Any, new: list[Any]) -> Any:
    if _same(old, new):
        return old
    if type(old) is list:
        return new
    if type(old) is tuple:
        return tuple(new)
    if hasattr(old, "_make"):  # a named tuple, whose class takes one argument an item
        return old._make(new)
    if isinstance(old, tuple):
        return type(old)(new)
    # A copy keeps what a subclass adds, and does not call its ``__init__``.
    result = copy.copy(old)
    result.clear()
    result.extend(new)
    return result


def _dict(value: Any, replace: Callable[[Any], Any], done: dict[int, Any]) -> Any:
    keys = [_new(key, replace, done) for key in value]
    items = [_new(item, replace, done) for item in value.values()]
    if _same(list(value), keys) and _same(list(value.values()), items):
        return value
    if type(value) is dict:
        return dict(zip(keys, items, strict=True))
    # A copy keeps a defaultdict's factory and a Counter's class. The items are set one
    # by one, because ``Counter.update`` would add numbers up.
    result = copy.copy(value)
    result.clear()
    for key, item in zip(keys, items, strict=True):
        result[key] = item
    return result


def _with_fields(
    value: Any, new: Any, replace: Callable[[Any], Any], done: dict[int, Any]
) -> Any:
    """Return ``new``, which has the items that replace those of ``value``, with fields.

    It may be the same object, which then is copied before a field is set.
    """
    changed: dict[str, Any] = {}
    for name in _fields(type(value)):
        if hasattr(value, name):
            old = getattr(value, name)
            other = _new(old, replace, done)
            if other is not old:
                changed[name] = other
    if changed and new is value:
        # ``dataclasses.replace`` calls ``__init__``, and refuses ``init=False`` fields.
        new = copy.copy(value)
    for name, other in changed.items():
        object.__setattr__(new, name, other)
    return new


def _same(old: Iterable[Any], new: list[Any]) -> bool:
    """Tell whether two sequences hold the very same objects."""
    return all(a is b for a, b in zip(old, new, strict=True))
