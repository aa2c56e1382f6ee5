"""Finds, by pickling parts one by one, which part of an object cannot be pickled."""

from __future__ import annotations

import functools
import pickle
from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from jackfield import clock
from jackfield.errors import SerializationError, class_name
from jackfield_serialize._pickling import dump_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MAX_OBJECTS: Final = 500
"""How many objects are tried."""

MAX_SECONDS: Final = 1.0
"""How long the search may take."""

MAX_CHILDREN: Final = 200
"""How many parts of one object are tried."""

MAX_PATH: Final = 200
"""Characters of the path beyond which the search gives up."""

MAX_TEXT: Final = 100_000
"""Characters of a remote traceback or message; of a longer one the middle is cut."""


def argument_error(
    name: str,
    function: Callable[..., Any] | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    error: Exception,
) -> SerializationError:
    """Return an error that names the first argument that cannot be pickled.

    ``name`` is the app's, ``function`` what is to be called, or ``None``, and ``error``
    what pickling all arguments together has raised.
    """
    for parameter, value in _named_arguments(function, args, kwargs):
        trouble = _pickling_error(value)
        if trouble is not None:
            path = explain_unpicklable(value, parameter)
            what = with_path(f"argument {parameter!r}", path, parameter)
            return SerializationError(name, what, one_line(trouble))
    return SerializationError(name, "the arguments together", one_line(error))


def _named_arguments(
    function: Callable[..., Any] | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    import inspect

    names = [f"#{index}" for index in range(1, len(args) + 1)]
    try:
        parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]  # None raises TypeError, which is caught
        for index, parameter in zip(range(len(args)), parameters, strict=False):
            if parameter.kind is parameter.VAR_POSITIONAL:
                rest = range(len(args) - index)
                names[index:] = [f"{parameter.name}[{n}]" for n in rest]
                break
            names[index] = parameter.name
    except (TypeError, ValueError):
        pass  # a callable without a signature: its arguments go by number
    return [*zip(names, args, strict=True), *kwargs.items()]


def with_path(subject: str, path: str, root: str) -> str:
    """Return a subject with the path to the part of it that is at fault.

    Examples of the three are ``"argument 'x'"``, ``"x.handlers[0].lock"`` and ``"x"``.
    A path that is no longer than the root says nothing.
    """
    return subject if path == root else f"{subject}, at {path}"


def explain_unpicklable(value: object, name: str) -> str:
    """Return the path from a value to the part of it that cannot be pickled.

    The search goes breadth first, so that the path is a shortest one, such as
    ``"x.handlers[0].lock"``. It begins with ``name``, and is no more than that if the
    value itself is at fault. The search is limited to a few hundred objects and about a
    second. It never raises: at worst, the answer is ``name``.
    """
    try:
        return _find(value, name, _pickling_error)
    except Exception:
        return name


def _pickling_error(value: object) -> Exception | None:
    """Return what pickling a value raises, or ``None``."""
    try:
        dump_parts(value, [])
    except Exception as error:
        return error
    return None


def _find(
    value: object, name: str, trouble: Callable[[object], Exception | None]
) -> str:
    """Return the path to the nearest part that fails though none of its parts does.

    The path begins with ``name``. ``trouble`` returns what pickling raises, or
    ``None``.
    """
    queue = deque([(name, value)])
    seen = {id(value)}
    best = name
    deadline = clock.monotonic() + MAX_SECONDS
    left = MAX_OBJECTS
    while queue:
        path, parent = queue.popleft()
        guilty = False
        for step, child in _children(parent):
            left -= 1
            if left < 0 or clock.monotonic() > deadline:
                return best
            if id(child) in seen or trouble(child) is None:
                continue
            seen.add(id(child))
            guilty = True
            queue.append((path + step, child))
        if not guilty:
            return path
        if len(path) > MAX_PATH:  # it is the depth of nesting that is at fault
            return name
        best = path
    return best


def _children(value: Any) -> Iterator[tuple[str, object]]:
    """Give at most ``MAX_CHILDREN`` parts of an object, each with the step to it."""
    for count, pair in enumerate(_all_children(value)):
        if count == MAX_CHILDREN:
            return
        yield pair


def _all_children(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"[{key!r:.40}]", item
        yield from ((f".<key {key!r:.40}>", key) for key in value)
    elif isinstance(value, list | tuple | deque):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, AbstractSet):
        yield from ((".<item>", item) for item in value)
    elif isinstance(value, FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, functools.partial):
        yield ".func", value.func
        yield from ((f".args[{n}]", item) for n, item in enumerate(value.args))
        yield from ((f".keywords[{k!r}]", item) for k, item in value.keywords.items())
    yield from _attributes(value)


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, object]]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    for name, cell in cells:
        try:
            yield f".<closure {name}>", cell.cell_contents
        except ValueError:  # the variable has no value yet
            continue
    for index, item in enumerate(function.__defaults__ or ()):
        yield f".__defaults__[{index}]", item
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f".<global {name}>", function.__globals__[name]


def _attributes(value: Any) -> Iterator[tuple[str, object]]:
    """Give the attributes of an object that would be pickled.

    Those are the ones that its ``__getstate__`` returns: a dict, or a pair of a dict
    and the values of its slots.
    """
    if isinstance(value, type):
        return
    state = _state(value)
    if isinstance(state, tuple) and len(state) == 2:
        slots = state[1] if isinstance(state[1], dict) else {}
        state = {**(state[0] or {}), **slots} if not state[0] or slots else state[0]
    if isinstance(state, dict):
        yield from ((f".{name}", item) for name, item in state.items())


def _state(value: Any) -> Any:
    try:
        return value.__getstate__()
    except Exception:
        return getattr(value, "__dict__", None)


def one_line(error: BaseException) -> str:
    text = " ".join(safe_str(error).split()) or class_name(type(error))
    if not isinstance(error, TypeError | pickle.PickleError):
        text = f"{class_name(type(error))}: {text}"
    return text[:500]


def safe_str(value: object) -> str:
    try:
        return shortened(str(value))
    except BaseException:  # also what would end a worker that only tells of an error
        return f"<{class_name(type(value))} whose str() raises>"


def safe_repr(value: object) -> str:
    try:
        return shortened(repr(value))
    except BaseException:  # also what would end a worker that only tells of an error
        return f"<{class_name(type(value))} whose repr() raises>"


def shortened(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    cut = f"\n[... {len(text) - MAX_TEXT} characters left out ...]\n"
    return text[:half] + cut + text[-half:]
