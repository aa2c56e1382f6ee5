"""A call of an app as messages show it: ``align('s1.bam', threads=4, label='s1')``.

It is made where a task fails or somebody looks at a future, perhaps by a thread that
has the scheduler's role. So no code of users runs for it: it could wait, raise or never
end. Builtin values, containers and dataclasses are taken apart here; of other objects
there is only the class, unless ``_OTHERS`` has their package. Long values are cut. No
passwords are shown, be they in URLs or values of names that say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from enum import Enum
from itertools import islice
from pathlib import PurePath
from types import FunctionType
from typing import Any, Final

from jackfield.abc import Command
from jackfield.errors import printable
from jackfield.files import CALLED_IN, KEPT_STDERR, File
from jackfield.futures import KernelFuture
from jackfield.futures.future import task_of
from jackfield.graph.arguments import Quote
from jackfield.kept import Kept
from jackfield.messages import LONGEST, cut, hide_url_secrets, holds_secret

_SECRET: Final = re.compile(
    r"passw|passphrase|secret|token|credential|api_?key|access_?key|cookie"
    r"|(?<![a-z])(?:auth|pwd)(?![a-z])|authorization",
    re.IGNORECASE,
)
"""Found in a name whose value is a secret."""

_NOT_SHOWN: Final = frozenset({CALLED_IN, KEPT_STDERR})
"""Arguments that the kernel has added to a call."""

_TEXT: Final = 60  # characters of a text or a ``repr``
_ITEMS: Final = 6  # arguments by position, and parts of a container
_DEPTH: Final = 3  # containers within each other
_PLAIN: Final = frozenset({bool, complex, float, range, slice, type(None)})
_OTHERS: Final = frozenset(
    {"datetime", "decimal", "fractions", "ipaddress", "numpy", "pandas", "uuid"}
)
"""Packages whose values have a ``repr`` that is quick, short and harmless."""

_SEQUENCES: Final[tuple[tuple[type[Iterable[Any]], str, str], ...]] = (
    (list, "[", "]"),
    (tuple, "(", ")"),
    (set, "{", "}"),
    (frozenset, "{", "}"),
)


def shown_call(
    name: str,
    function: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    label: str,
) -> str:
    """Return a call as one would write it, cut to ``LONGEST``; never raises."""
    try:
        names = iter(_parameters(function))
        parts = [_argument(next(names, ""), value, "") for value in args[:_ITEMS]]
        parts += ["..."] * (len(args) > _ITEMS)
        named = {key: kwargs[key] for key in kwargs if key not in _NOT_SHOWN}
        named |= {"label": label} if label else {}
        parts += [_argument(key, named[key], f"{key}=") for key in islice(named, 12)]
        text = cut(", ".join(parts), LONGEST)
    except Exception:
        text = "..."
    return printable(f"{name}({text})")


def _parameters(function: object) -> tuple[str, ...]:
    """Return the names of positional parameters, of a plain function only."""
    while _is_wrapper(type(function)):
        wrapped = getattr(function, "function", None)
        function = wrapped or getattr(function, "__wrapped__", None)
    if type(function) is not FunctionType:
        return ()
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def _is_wrapper(kind: type) -> bool:
    """Tell whether a callable of this class, of ours, wraps a user's function."""
    of_kernel = kind.__module__.startswith("jackfield.")
    return of_kernel or issubclass(kind, Command)


def _argument(name: str, value: Any, prefix: str, depth: int = 0) -> str:
    """Show a value after ``prefix``; its ``name`` may say that it is a secret."""
    return prefix + ("***" if _SECRET.search(name) else shown(value, depth))


def shown(value: Any, depth: int = 0) -> str:
    """Return a value as messages show it; never raises, runs no code of users."""
    try:
        return _shown(value, depth)
    except Exception:
        return f"<{type(value).__name__}>"


def _shown(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind in _PLAIN:
        return repr(value)
    if kind is int:
        bits = value.bit_length()
        return repr(value) if bits < 200 else f"<int of {bits} bits>"
    if kind is bytes or kind is bytearray:
        return cut(repr(bytes(value[:_TEXT])), _TEXT)
    if kind is type or kind is FunctionType:
        return str(value.__name__)
    if issubclass(kind, File):
        return f"File({_quoted(value.url)})"
    if issubclass(kind, KernelFuture):
        return f"<{task_of(value).title}>"
    if issubclass(kind, PurePath) and kind.__module__.startswith("pathlib"):
        return _quoted(str(value))
    if issubclass(kind, Kept):
        return repr(value)
    if kind is Quote:
        return _shown(value.value, depth)
    return _compound(value, kind, depth)


def _compound(value: Any, kind: type, depth: int) -> str:
    """Show a value that has parts, or whose class is not known."""
    parts = None if depth >= _DEPTH else _parts(value, kind, depth + 1)
    if parts is not None:
        begin, texts, end = parts
        listed = list(islice(texts, _ITEMS + 1))
        if len(listed) > _ITEMS:
            listed[_ITEMS] = "..."
        name = "" if kind in (list, tuple, dict, set) else kind.__name__
        if name and begin != "(":  # as Python shows it: frozenset({1}), deque([1])
            begin, end = f"({begin}", f"{end})"
        return name + begin + ", ".join(listed) + end
    if issubclass(kind, Enum):
        return f"{kind.__name__}.{vars(value).get('_name_')}"
    if kind.__module__.partition(".")[0] in _OTHERS:
        shape = getattr(value, "shape", ())
        return f"<{kind.__name__} {shape}>" if shape else cut(repr(value), _TEXT)
    return "<Future>" if issubclass(kind, Future) else f"<{kind.__name__}>"


def _parts(value: Any, kind: type, depth: int) -> tuple[str, Iterator[str], str] | None:
    """Return how a container begins, the texts of its parts, and how it ends.

    The methods are those of the builtin class, so that no subclass of a user's runs.
    """
    if issubclass(kind, dict):
        return "{", (_item(*one, depth) for one in dict.items(value)), "}"
    names: Any = getattr(kind, "_fields", None)
    if issubclass(kind, tuple) and names:
        return "(", _fields(names, tuple.__iter__(value), depth), ")"
    for base, begin, end in _SEQUENCES:
        if issubclass(kind, base):
            return begin, (shown(one, depth) for one in base.__iter__(value)), end
    if hasattr(kind, "__dataclass_fields__"):
        held: dict[str, Any] = object.__getattribute__(value, "__dict__")
        return "(", _fields(held, held.values(), depth), ")"
    return None


def _item(key: Any, value: Any, depth: int) -> str:
    name = key if type(key) is str else ""
    return f"{shown(key, depth)}: {_argument(name, value, '', depth)}"


def _fields(names: Iterable[str], values: Iterable[Any], depth: int) -> Iterator[str]:
    for name, one in zip(names, values, strict=False):
        yield _argument(name, one, f"{name}=", depth)


def _quoted(text: str) -> str:
    """Quote a text; of a long one keep both ends, because the ends of paths differ.

    Of a very long one with a URL only the beginning: a half URL might show a secret.
    """
    if len(text) > 20 * _TEXT:  # nothing of megabytes is searched
        head, tail = text[: 10 * _TEXT], text[-10 * _TEXT :]
        text = f"{hide_url_secrets(head)[:_TEXT]}..." if "://" in text else head + tail
    text = hide_url_secrets(text)
    hidden = holds_secret(text)  # where the secret ends is not known
    return "'***'" if hidden else repr(cut(text, _TEXT))
