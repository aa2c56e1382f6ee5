"""How calls and outcomes get from one process into another.

The functions here come in pairs, one for each side. The driver pickles a function and
the arguments of a call (``dump_function``, ``dump_call``). A worker loads them, calls,
and packs the outcome (``run_packed``). The driver unpacks that (``load_outcome``).
In between there are only ``bytes`` and other built-in types, which any pool can carry.

Pickling is done by the standard pickler if possible, because it is the fastest, and
else by cloudpickle. A function or class that a worker cannot import is pickled *by
value*, with its code: those of ``__main__``, of notebooks, and of modules that are on
no import path. Others are pickled *by reference*, as a name.

To pickle or unpickle a user's object runs code of its class, which may raise anything.
So each is done in a ``try`` of its own, and one bad object makes one task fail.
"""

from __future__ import annotations

import linecache
import pickle
import re
import sys
import traceback
from collections import OrderedDict
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jackfield.errors import (
    RemoteError,
    SerializationError,
    TaskExitError,
    class_name,
    traceback_of,
)
from jackfield_serialize._by_value import remade
from jackfield_serialize._errors import cause_of, lightened, set_cause
from jackfield_serialize._missing import note_missing_name, why_unloadable
from jackfield_serialize._pickling import (
    PROTOCOL,
    Buffers,
    cloud_pickler,
    dump_parts,
    dumps,
    dumps_by_value,
    loads,
    note_preloading,
    note_shared,
    preloaded,
    sending_pickler,
    shipped,
    worker_can_import,
)
from jackfield_serialize._unpicklable import (
    argument_error,
    explain_unpicklable,
    one_line,
    safe_repr,
    safe_str,
    shortened,
    with_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "PLAIN",
    "Buffers",
    "Packed",
    "RemoteTraceback",
    "broken_result",
    "cloud_pickler",
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
    "note_preloading",
    "note_shared",
    "pack_error",
    "pack_plainly",
    "pack_unloadable",
    "pack_unpicklable",
    "pack_value",
    "preloaded",
    "remade",
    "run_packed",
    "shipped",
    "worker_can_import",
]

Packed: TypeAlias = tuple[Any, ...]
"""The outcome of a call, made of built-in types alone. One of these:

- ``("ok", data)``, or with buffers as a third item: the pickled result.
- ``("plain", value)``: a result of one of the types in ``PLAIN``, as it is.
- ``("error", data, class name, message, traceback)``: the pickled exception, or
  ``None`` if it cannot be pickled, and what is shown of it then.
- ``("exit", repr, traceback)``: ``SystemExit``, ``KeyboardInterrupt`` or the like.
- ``("unpicklable", what, reason)``: function, arguments or result cannot be pickled or
  unpickled.
"""

PLAIN: Final = frozenset({int, float, bool, type(None)})
"""Types of values that travel as they are, within what is pickled for many calls: to
set up a pickler for one of them takes ten times as long as to pickle it."""

_LINELESS: Final = re.compile(
    r'^(?P<lead>[ |]*)File "(?P<file>.+)", line (?P<number>\d+), in .*\n'
    r"(?!(?P=lead)  )",
    re.MULTILINE,
)
"""A frame of a traceback that does not show its line."""

_FUNCTIONS_KEPT: Final = 256
"""How many functions a worker remembers, so that it does not load them again."""


class RemoteTraceback(Exception):  # noqa: N818  (shown as a cause, never raised)
    """The traceback of a task's exception in the worker, as text.

    It becomes the ``__cause__`` of the driver's exception, or of the last of the causes
    that this has: Python prints it above.
    """

    def __init__(self, text: str) -> None:
        self.text: str = text
        super().__init__(text)

    def __str__(self) -> str:
        """Show the remote traceback."""
        return f"\n{self.text.rstrip()}"


# -- Functions


def dump_function(name: str, function: Callable[..., Any]) -> bytes:
    """Pickle a function: by reference if a worker can import it, else by value.

    If a decorator has put something else under the function's name, the reference leads
    through ``__wrapped__``. By value means with its closure, its defaults and the
    globals that it uses, as they are now. A callable that stands for a function which
    was pickled before may have the bytes as its ``jackfield_pickled``.

    Raises:
        SerializationError: It cannot be pickled. The error names the app, by ``name``.
    """
    path = _attribute_path(function)
    try:
        if path is not None:
            return dump_reference(function.__module__, path)
        if type(function) is FunctionType:
            return dumps_by_value(function)
        pickled = getattr(type(function), "jackfield_pickled", None) and (
            function.jackfield_pickled  # type: ignore[attr-defined]  # seen in its class
        )
        if type(pickled) is bytes:
            return pickled
        return b"".join(dump_parts(function, None, sending_pickler))
    except SerializationError as error:  # from a function within it
        raise SerializationError(name, error.what, error.reason) from error
    except Exception as error:
        what = with_path(
            "its function", explain_unpicklable(function, "function"), "function"
        )
        raise SerializationError(name, what, one_line(error)) from error


def dump_reference(module: str, path: str) -> bytes:
    """Pickle a function by its name; ``load_function`` imports it."""
    return pickle.dumps(_ByName(module, path), PROTOCOL)


def load_function(data: bytes) -> Callable[..., Any]:
    """Load what ``dump_function`` has pickled; raises what an import may raise."""
    function = loads(data)
    if not callable(function):
        raise TypeError(f"the function arrived as {type(function).__name__!r}")
    return function  # type: ignore[no-any-return]  # `callable` narrows Any to Any


class _ByName:
    """An object that is pickled as the instruction to import ``module.path``."""

    def __init__(self, module: str, path: str) -> None:
        self._target = module, path

    def __reduce__(self) -> tuple[Any, ...]:
        return _resolve, self._target


def _resolve(module: str, path: str) -> Any:
    import importlib
    from operator import attrgetter

    return attrgetter(path)(importlib.import_module(module))


def _attribute_path(function: Any) -> str | None:
    """Return the dotted path by which a worker can import a function, or ``None``."""
    path = getattr(function, "__qualname__", None)
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if not isinstance(function, FunctionType) or path is None or "<" in path:
        return None
    if module is None or not worker_can_import(function.__module__):
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

    Errors name the app, by ``name``, and the parameters of ``function``, which is to be
    called; without it, positional arguments are numbered. ``buffers`` is as for
    ``dumps``.

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
    """Do what ``dump_call`` does, into pieces to be written one after another.

    A large ``bytes`` object among the arguments is a piece by itself, without a copy.
    """
    try:
        return dump_parts((tuple(args), dict(kwargs)), buffers, sending_pickler)
    except Exception as error:
        raise argument_error(name, function, args, kwargs, error) from error


def load_call(
    data: bytes | bytearray | memoryview, buffers: Iterable[Any] = ()
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Load what ``dump_call`` has pickled; raises what the unpickling raises."""
    args, kwargs = loads(data, buffers)
    return args, kwargs


# -- In the worker

_functions: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()


def run_packed(
    function: bytes,
    call: bytes | tuple[Any, ...],
    buffers: Sequence[Any] = (),
    pack: Callable[[object], Packed] | None = None,
) -> Packed:
    """Load a function and its arguments, call it, and pack the outcome.

    This is what runs in a worker, of any kind of pool. It never raises. The functions
    that were loaded last are remembered. ``function`` and ``call`` come from
    ``dump_function`` and ``dump_call``, ``buffers`` is what the latter has put into its
    own. A call without keywords may be its arguments as they are. The outcome is for
    ``load_outcome``. ``pack`` takes the place of ``pack_value``, and does not raise
    either.
    """
    try:
        loaded = _remembered(function)
    except BaseException as error:
        return pack_unloadable("its function", error)
    try:
        if isinstance(call, tuple):
            args, kwargs = call, dict[str, Any]()
        else:
            args, kwargs = load_call(call, buffers)
    except BaseException as error:
        return pack_unloadable("its arguments", error)
    try:
        value = loaded(*args, **kwargs)
    except BaseException as error:
        return pack_error(error)
    return (pack or pack_value)(value)


def _remembered(data: bytes) -> Callable[..., Any]:
    """Load a function, or return it if it was loaded before."""
    function = _functions.get(data)
    if function is None:
        function = _functions[data] = load_function(data)
        if len(_functions) > _FUNCTIONS_KEPT:
            _functions.popitem(last=False)
    return function


def pack_value(value: object) -> Packed:
    """Pack a result; that it cannot be pickled is an outcome, too."""
    try:
        return "ok", dumps(value)
    except BaseException as error:
        return pack_unpicklable(value, error)


def pack_plainly(value: object) -> Packed:
    """Do what ``pack_value`` does, for who pickles the outcomes of many calls."""
    return ("plain", value) if type(value) in PLAIN else pack_value(value)


def pack_unloadable(what: str, error: BaseException) -> Packed:
    """Return the outcome that the worker cannot unpickle ``what``."""
    reason = f"unpickling failed: {one_line(error)}{why_unloadable(error)}"
    return "unpicklable", what, reason


def pack_unpicklable(value: object, error: BaseException) -> Packed:
    """Return the outcome that a result cannot be pickled, with the part at fault."""
    path = explain_unpicklable(value, "result")
    reason = f"{one_line(error)} (a {type(value).__qualname__})"
    return "unpicklable", with_path("its result", path, "result"), reason


def pack_error(error: BaseException, *, skip_frames: int = 1) -> Packed:
    """Pack what a task has raised.

    It is unpickled here for a test, because some exceptions can be pickled but not
    unpickled. One that cannot is packed without those parts of it that are to blame, or
    as text alone; if only its cause cannot, a ``RemoteError`` is its cause. The first
    ``skip_frames`` of the traceback are ours and are left out. It never raises: of an
    error whose class answers nothing without raising, its name and traceback are told.
    """
    text = _format(error, skip_frames)
    try:
        return _packed(error, text)
    except BaseException as fault:
        name = _class_name(error)
        return "error", None, name, f"<its class raises {one_line(fault)}>", text


def _packed(error: BaseException, text: str) -> Packed:
    if not isinstance(error, Exception):
        return "exit", safe_repr(error), text
    if isinstance(error, LookupError | NameError | AttributeError):
        note_missing_name(error)
    data = _dump_error(error)
    if data is None and (cause := cause_of(error)) is not None:
        set_cause(error, RemoteError(_class_name(cause), safe_str(cause), ""))
        data = _dump_error(error)
    return "error", data, _class_name(error), safe_str(error), text


_DEEPEST: Final = 20
"""So many errors around it an error is still packed as what it is; see above."""


def _dump_error(error: Exception) -> bytes | None:
    try:
        data = dumps(error)
        if type(loads(data)) is type(error):
            return data
    except BaseException:  # noqa: S110  (some part of it: the others may do)
        pass
    try:
        light = lightened(error, _travels, partial(_in_its_place, around=(error,)))
        data = dumps(light)
        return data if type(loads(data)) is type(error) else None
    except BaseException:
        return None


def _travels(value: object) -> bool:
    try:
        return type(loads(dumps(value))) is type(value)
    except BaseException:
        return False


def _in_its_place(value: object, around: tuple[BaseException, ...]) -> Any:
    """Return what stands for a part of an error that cannot travel.

    That may be an argument, a cause or a member of a group. It is in the errors
    ``around`` it, of which the first is a task's. One that is in itself, or far down,
    becomes a text: each level is pickled once more for each that is around it.
    """
    if not isinstance(value, Exception):
        return safe_repr(value)
    if len(around) < _DEEPEST and all(value is not one for one in around):
        place = partial(_in_its_place, around=(*around, value))
        light = lightened(value, _travels, place)
        if light is not None and _is_made(light):
            return light
    return RemoteError(_class_name(value), safe_str(value), "")


def _is_made(light: object) -> bool:
    try:
        return isinstance(loads(dumps(light)), Exception)
    except BaseException:
        return False


def _class_name(error: BaseException) -> str:
    kind = type(error)
    try:
        return f"{kind.__module__}.{kind.__qualname__}"
    except BaseException:  # of a metaclass that has properties of these names
        return class_name(kind)


def _format(error: BaseException, skip_frames: int) -> str:
    trace = traceback_of(error)
    for _ in range(skip_frames):
        trace = trace.tb_next if trace is not None else None
    try:
        return shortened("".join(traceback.format_exception(type(error), error, trace)))
    except BaseException:
        return f"{class_name(type(error))}: its traceback cannot be shown\n"


# -- Back in the driver


def load_outcome(name: str, packed: Packed) -> tuple[BaseException | None, Any]:
    """Unpack what ``run_packed`` returned for an app of this name; never raises.

    Returns:
        ``(error, value)``, of which the error is ``None`` if the task has returned. The
        error is the task's own, with a ``RemoteTraceback`` as its cause, or behind the
        causes that it has; or a ``RemoteError``, if that cannot be unpickled; a
        ``TaskExitError`` for what would have ended the worker; a ``SerializationError``
        if function, arguments or result could not be pickled or unpickled.
    """
    kind = packed[0]
    if kind == "plain":
        return None, packed[1]
    if kind == "ok":
        try:
            return None, loads(*packed[1:])
        except BaseException as error:
            return broken_result(name, error), None
    if kind == "error":
        return _load_error(*packed[1:]), None
    if kind == "exit":
        return _caused(TaskExitError(name, packed[1]), packed[2]), None
    return SerializationError(name, packed[1], packed[2]), None


def broken_result(name: str, error: BaseException) -> SerializationError:
    """Return the error of a result that cannot be unpickled; ``name`` is the app's."""
    reason = f"unpickling it failed: {one_line(error)}{why_unloadable(error)}"
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
            error = None  # a ``RemoteError`` takes its place
        if isinstance(error, BaseException):
            return _caused(error, text)
    return RemoteError(type_name, message, text)


def _caused(error: BaseException, text: str) -> BaseException:
    """Put the remote traceback at the end of an error's chain of causes."""
    last, seen = error, {id(error)}
    while (cause := cause_of(last)) is not None and id(cause) not in seen:
        last = cause
        seen.add(id(last))
    set_cause(last, RemoteTraceback(_LINELESS.sub(_with_line, text)))
    return error


def _with_line(frame: re.Match[str]) -> str:
    """Add a line of source that only this process has, such as a notebook's."""
    line = linecache.getline(frame["file"], int(frame["number"])).strip()
    return f"{frame[0]}{frame['lead']}  {line}\n" if line else frame[0]
