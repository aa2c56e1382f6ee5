"""How calls and outcomes cross a process boundary.

Standard pickle, protocol 5, comes first because it is the fastest; cloudpickle
takes over for what pickle cannot do and for what a worker could not import:
functions and classes of ``__main__``, of notebooks, and of modules that no import
path leads to travel by value.

User objects are pickled and unpickled here only, each in a ``try`` of its own, so
that one bad object ends in one failed task. What goes through a pool is ``bytes``.
"""

from __future__ import annotations

import pickle
import sys
import traceback
from collections import OrderedDict
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jackfield.errors import RemoteError, SerializationError, TaskExitError
from jackfield.serialize._pickling import (
    PROTOCOL,
    Buffers,
    dump_parts,
    dumps,
    loads,
    travels,
)
from jackfield.serialize._unpicklable import (
    blame_argument,
    cut,
    explain_unpicklable,
    one_line,
    place,
    safe_repr,
    safe_str,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "Buffers",
    "Packed",
    "RemoteTraceback",
    "dump_call",
    "dump_call_parts",
    "dump_function",
    "dump_parts",
    "dump_reference",
    "dumps",
    "explain_unpicklable",
    "load_call",
    "load_function",
    "load_outcome",
    "loads",
    "pack_error",
    "pack_unloadable",
    "pack_unpicklable",
    "pack_value",
    "run_packed",
]

Packed: TypeAlias = tuple[Any, ...]
"""An outcome made of built-in types alone, so that any pickler can carry it.

``("ok", data, buffers)``; ``("error", data or None, class name, message,
traceback)``; ``("exit", repr, traceback)``; ``("unpicklable", what, reason)``.
"""

_FUNCTIONS_KEPT: Final = 256


class RemoteTraceback(Exception):  # noqa: N818  (shown as a cause, never raised)
    """The traceback of a task's exception, as the worker saw it.

    It is the ``__cause__`` of the exception that the driver gets, so that Python
    prints it above the driver's own traceback.
    """

    def __init__(self, text: str) -> None:
        self.text: str = text
        super().__init__(text)

    def __str__(self) -> str:
        """Show the remote traceback."""
        return f"\n{self.text.rstrip()}"


# -- Functions


def dump_function(name: str, function: Callable[..., Any]) -> bytes:
    """Pickle a function: by reference where a worker can import it, else by value.

    A function that a decorator has replaced under its own name is found again
    through ``__wrapped__``. By value means with its closure, its defaults and the
    globals that it uses, as they are now.

    Args:
        name: The app's name, for the error.
        function: Any callable.

    Raises:
        SerializationError: It cannot be pickled.
    """
    path = _attribute_path(function)
    try:
        if path is not None:
            return dump_reference(function.__module__, path)
        return dumps(function)
    except Exception as error:
        what = place(
            "its function", explain_unpicklable(function, "function"), "function"
        )
        raise SerializationError(name, what, one_line(error)) from error


def dump_reference(module: str, path: str) -> bytes:
    """Serialize a function by its name: ``load_function`` imports it."""
    return pickle.dumps(_Reference(module, path), PROTOCOL)


def load_function(data: bytes) -> Callable[..., Any]:
    """Undo ``dump_function``; raises what an import or an unpickling raises."""
    function = loads(data)
    if not callable(function):
        raise TypeError(f"the function arrived as {type(function).__name__!r}")
    return function  # type: ignore[no-any-return]  # `callable` narrows Any to Any


class _Reference:
    """Pickles as a look-up of ``module.path``."""

    def __init__(self, module: str, path: str) -> None:
        self._target = module, path

    def __reduce__(self) -> tuple[Any, ...]:
        return _resolve, self._target


def _resolve(module: str, path: str) -> Any:
    import importlib
    from operator import attrgetter

    return attrgetter(path)(importlib.import_module(module))


def _attribute_path(function: Any) -> str | None:
    """The dotted way from an importable module to a function, if there is one."""
    path = getattr(function, "__qualname__", None)
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if not isinstance(function, FunctionType) or path is None or "<" in path:
        return None
    if module is None or not travels(function.__module__):
        return None
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    while found is not function and found is not None:
        path += ".__wrapped__"
        found = getattr(found, "__wrapped__", None)
    return None if found is None else path


# -- Calls


def dump_call(
    name: str,
    function: Callable[..., Any] | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    buffers: Buffers | None = None,
) -> bytes:
    """Pickle the arguments of one call.

    Args:
        name: The app's name, for the error.
        function: What is to be called, for its parameters' names; or ``None``.
        args: Positional arguments.
        kwargs: Keyword arguments.
        buffers: As for ``dumps``.

    Raises:
        SerializationError: An argument cannot be pickled. The error names it and
            the way to the part at fault: ``argument 'x', at x.handlers[0].lock``.
    """
    return b"".join(dump_call_parts(name, function, args, kwargs, buffers))


def dump_call_parts(
    name: str,
    function: Callable[..., Any] | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    buffers: Buffers | None = None,
) -> list[bytes]:
    """Pickle like ``dump_call``, into pieces: large ``bytes`` are not copied."""
    try:
        return dump_parts((tuple(args), dict(kwargs)), buffers)
    except Exception as error:
        raise blame_argument(name, function, args, kwargs, error) from error


def load_call(
    data: bytes | bytearray | memoryview, buffers: Iterable[Any] = ()
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Undo ``dump_call``; raises what the unpickling raises."""
    args, kwargs = loads(data, buffers)
    return args, kwargs


# -- In the worker

_functions: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()


def run_packed(function: bytes, call: bytes, buffers: Sequence[Any] = ()) -> Packed:
    """Load a function and its arguments, call it, and pack what comes of it.

    To be run in a worker of any kind of pool: takes and returns built-in types
    only, and never raises. Functions are remembered, the last few hundred.

    Args:
        function: From ``dump_function``.
        call: From ``dump_call``.
        buffers: What ``dump_call`` put into its ``buffers``.

    Returns:
        What ``load_outcome`` takes.
    """
    try:
        loaded = _remembered(function)
    except BaseException as error:
        return pack_unloadable("its function", error)
    try:
        args, kwargs = load_call(call, buffers)
    except BaseException as error:
        return pack_unloadable("its arguments", error)
    try:
        value = loaded(*args, **kwargs)
    except BaseException as error:
        return pack_error(error)
    return pack_value(value)


def _remembered(data: bytes) -> Callable[..., Any]:
    function = _functions.get(data)
    if function is None:
        function = _functions[data] = load_function(data)
        if len(_functions) > _FUNCTIONS_KEPT:
            _functions.popitem(last=False)
    return function


def pack_value(value: object) -> Packed:
    """Pack what a task returned; one that cannot be pickled is an outcome too."""
    try:
        return "ok", dumps(value)
    except BaseException as error:
        return pack_unpicklable(value, error)


def pack_unloadable(what: str, error: BaseException) -> Packed:
    """Pack the news that ``what`` does not unpickle in the worker."""
    return "unpicklable", what, f"unpickling failed: {one_line(error)}"


def pack_unpicklable(value: object, error: BaseException) -> Packed:
    """Pack the news that a result cannot be pickled, with the place."""
    path = explain_unpicklable(value, "result")
    reason = f"{one_line(error)} (a {type(value).__qualname__})"
    return "unpicklable", place("its result", path, "result"), reason


def pack_error(error: BaseException, *, skip_frames: int = 1) -> Packed:
    """Pack what a task raised, tested to unpickle; else as text.

    Args:
        error: The exception.
        skip_frames: How many of the traceback's first frames are not the task's.
    """
    text = _format(error, skip_frames)
    if not isinstance(error, Exception):
        return "exit", safe_repr(error), text
    data: bytes | None
    try:
        data = dumps(error)
        if type(loads(data)) is not type(error):
            data = None
    except BaseException:
        data = None
    cls = type(error)
    return "error", data, f"{cls.__module__}.{cls.__qualname__}", safe_str(error), text


def _format(error: BaseException, skip_frames: int) -> str:
    trace = error.__traceback__
    for _ in range(skip_frames):
        trace = trace.tb_next if trace is not None else None
    try:
        return cut("".join(traceback.format_exception(type(error), error, trace)))
    except Exception:
        return f"{type(error).__qualname__}: its traceback cannot be shown\n"


# -- Back in the driver


def load_outcome(name: str, packed: Packed) -> tuple[BaseException | None, Any]:
    """Unpack what ``run_packed`` returned; never raises.

    Args:
        name: The app's name, for errors.
        packed: The outcome.

    Returns:
        ``(error, value)`` as in a report. The error is the task's own, with a
        ``RemoteTraceback`` as its cause; ``RemoteError`` where that cannot be
        brought back; ``TaskExitError`` for what would have ended the worker;
        ``SerializationError`` for a result that cannot be pickled or unpickled.
    """
    kind = packed[0]
    if kind == "ok":
        try:
            return None, loads(*packed[1:])
        except BaseException as error:
            return _broken_result(name, error), None
    if kind == "error":
        return _load_error(*packed[1:]), None
    if kind == "exit":
        return _caused(TaskExitError(name, packed[1]), packed[2]), None
    return SerializationError(name, packed[1], packed[2]), None


def _broken_result(name: str, error: BaseException) -> SerializationError:
    reason = f"unpickling it failed: {one_line(error)}"
    broken = SerializationError(name, "its result", reason)
    broken.__cause__ = error
    return broken


def _load_error(
    data: bytes | None, type_name: str, message: str, text: str
) -> BaseException:
    if data is not None:
        try:
            error = loads(data)
        except BaseException:
            error = None  # the stand-in below tells of it
        if isinstance(error, BaseException):
            return _caused(error, text)
    return RemoteError(type_name, message, text)


def _caused(error: BaseException, text: str) -> BaseException:
    error.__cause__ = RemoteTraceback(text)
    return error
