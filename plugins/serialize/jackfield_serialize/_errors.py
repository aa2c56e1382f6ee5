"""Exceptions that cross a border as what they are, and are not made anew there.

By itself an exception is pickled as its class and its ``args``, and made again by a
call of the class. That runs an ``__init__`` that may want other arguments, or makes the
message of them, and then makes a message of the message. Here an exception gets its
parts back without it: ``args``, attributes with the notes, slots, the fields of its
built-in base, and its cause. A class that says itself how it is pickled does so.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType, MemberDescriptorType
from typing import Any, Final

_PROTOCOL: Final = 5

_NOT_BUILT_IN: Final = 1 << 9
"""The flag of classes that a program has made (``Py_TPFLAGS_HEAPTYPE``)."""

_CAUSE: Final = vars(BaseException)["__cause__"]
_ARGS: Final = vars(BaseException)["args"]

_LEFT: Final = frozenset({"obj", "__suppress_context__"})
"""Fields that stay behind; ``obj`` is whatever lacked an attribute."""


def reduce_error(error: BaseException) -> Any:
    """Return how to pickle an exception, as a ``reducer_override`` does."""
    if _says_how(type(error)):
        return _reduce_itself(error)
    made_of = args = _ARGS.__get__(error)
    if isinstance(error, BaseExceptionGroup):
        made_of = error.message, error.exceptions
    fields = [field.__get__(error) for field in _fields(type(error))]
    attributes = object.__getstate__(error)
    parts = args, attributes, fields, cause_of(error)
    return _reduced(type(error), made_of, parts)


def lightened(
    error: BaseException,
    travels: Callable[[Any], bool],
    instead: Callable[[Any], Any],
) -> Lightened | None:
    """Return what is pickled as an error without those parts that cannot travel.

    So ``except`` finds it all the same. A note says what was left behind.

    Args:
        error: The error.
        travels: Tells whether a value can be pickled and unpickled.
        instead: Returns what takes the place of an argument, or of a member of a group.

    Returns:
        ``None`` if the class says itself how it is pickled.
    """
    if _says_how(type(error)):
        return None
    left: list[str] = []

    def light(value: Any, name: str) -> Any:
        if travels(value):
            return value
        left.append(name)
        return instead(value)

    given = enumerate(_ARGS.__get__(error), 1)
    args = tuple([light(one, f"argument {n}") for n, one in given])
    made_of: tuple[Any, ...] = args
    if isinstance(error, BaseExceptionGroup):
        left.clear()
        members = [light(one, repr(type(one).__name__)) for one in error.exceptions]
        args = made_of = error.message, members
    fields = [field.__get__(error) for field in _fields(type(error))]
    fields = [one if travels(one) else None for one in fields]
    own, slots = _attributes(error)
    for names in (own, slots):
        for name in [name for name, one in names.items() if not travels(one)]:
            left.append(repr(name))
            del names[name]
    if left:
        notes = own.get("__notes__", ())
        note = f"Left behind, as it cannot be pickled: {', '.join(left)}"
        own["__notes__"] = [*(notes if isinstance(notes, list) else ()), note]
    cause = cause_of(error)
    if cause is not None and not travels(cause):
        cause = instead(cause)
    parts = args, (own, slots), fields, cause
    return Lightened(_reduced(type(error), made_of, parts))


class Lightened:
    """Is pickled as an error."""

    def __init__(self, reduced: tuple[Any, ...]) -> None:
        self._reduced = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduced


def _reduced(
    cls: type, made_of: tuple[Any, ...], state: tuple[Any, ...]
) -> tuple[Any, ...]:
    if _in_python(cls, "__init__", "__new__"):
        return _blank, (cls, made_of), state, None, None, _restore
    return cls, made_of, state, None, None, _restore


def _says_how(cls: type) -> bool:
    """Tell whether a class says how its instances are pickled."""
    return bool(_registered(cls)) or _in_python(cls, "__reduce__", "__reduce_ex__")


def _attributes(error: BaseException) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return copies of an error's attributes, and of what is in its slots."""
    state: Any = object.__getstate__(error)
    own, slots = state if isinstance(state, tuple) else (state, None)
    return dict(own or {}), dict(slots or {})


def _registered(cls: type) -> Any:
    """Return what ``copyreg`` has for this class alone; ``None`` for nothing.

    ``tblib``, which Dask imports, registers one function for all classes there are.
    That loses a syntax error's message, and sends tracebacks.
    """
    reduce = copyreg.dispatch_table.get(cls)
    return None if reduce is copyreg.dispatch_table.get(BaseException) else reduce


def _reduce_itself(error: BaseException) -> Any:
    """Have an exception say how it is pickled, and add notes and cause."""
    notes = getattr(error, "__notes__", None)
    reduce = _registered(type(error))
    reduced: Any = reduce(error) if reduce else error.__reduce_ex__(_PROTOCOL)
    cause = cause_of(error)
    plain = not notes and cause is None
    if isinstance(reduced, str) or len(reduced) > 3 or plain:
        return reduced
    make, args, *state = reduced
    return make, args, (state, notes, cause), None, None, _restore_more


def _restore_more(error: BaseException, more: tuple[Any, ...]) -> None:
    (*state,), notes, cause = more
    for one in state:
        error.__setstate__(one)
    if notes is not None:
        object.__setattr__(error, "__notes__", notes)
    if cause is not None:
        set_cause(error, cause)


def _in_python(cls: type, *methods: str) -> bool:
    return any(isinstance(getattr(cls, name), FunctionType) for name in methods)


def _base(cls: type) -> type:
    """Return the built-in class that an exception is, in memory."""
    base: Any = cls
    while base.__flags__ & _NOT_BUILT_IN:
        base = base.__base__
    return base  # type: ignore[no-any-return]  # a class


def _fields(cls: type) -> list[Any]:
    """Return the fields of a built-in class, such as an ``OSError``'s ``errno``."""
    found = [vars(one) for one in _base(cls).__mro__]
    return [
        field
        for members in found
        for name, field in members.items()
        if isinstance(field, MemberDescriptorType) and name not in _LEFT
    ]


def _blank(cls: type, args: tuple[Any, ...]) -> Any:
    """Return an exception whose ``__init__`` was not called."""
    return _base(cls).__new__(cls, *args)


def _restore(error: BaseException, state: tuple[Any, ...]) -> None:
    args, attributes, fields, cause = state
    for field, value in zip(_fields(type(error)), fields, strict=False):
        if value is not field.__get__(error):
            with suppress(AttributeError, TypeError):  # it can only be read
                field.__delete__(error) if value is None else field.__set__(
                    error, value
                )
    own, slots = attributes if isinstance(attributes, tuple) else (attributes, None)
    vars(error).update(own or {})
    # Not by plain assignment: a class may allow none, as a frozen dataclass does.
    for name, value in (slots or {}).items():
        object.__setattr__(error, name, value)
    _ARGS.__set__(error, args)
    if cause is not None:
        set_cause(error, cause)


# An error's class may define ``__cause__`` anew, or forbid that it is assigned to. So
# the two functions below use the descriptor of ``BaseException``.


def cause_of(error: BaseException) -> BaseException | None:
    """Return ``__cause__``, without asking the class."""
    return _CAUSE.__get__(error)  # type: ignore[no-any-return]  # it is C's


def set_cause(error: BaseException, cause: BaseException) -> None:
    """Set ``__cause__``, without asking the class."""
    _CAUSE.__set__(error, cause)
