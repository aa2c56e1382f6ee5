"""What a task leaves behind in its worker, and how the next task is spared it.

A worker runs many tasks in one process, and much of a process is everybody's: timers,
handlers of signals, standard streams, limits, hooks. ``Leftovers`` has a table of these
things. Each entry says how a thing looks and how it is put back; what looks other than
before the tasks is put back.

A comparison takes as long as three short tasks do. The worker compares after the first
call of each function, after each call of a function that has left something behind
before, 5 ms after the last comparison, and when it has nothing to do. So only what a
function leaves behind that has left nothing before, in a task shorter than that, may
hit the tasks of the same 5 ms. Directory, umask and environment are ``surroundings``,
which see each change.

What modules set at their import has to stay, since they are not imported again. What a
function's own loading imports is taken over as right. If a task itself imports modules
that are no part of Python, what it has changed of ``sys.path``, and warning filters
that name a module, a message or a class of their own, may be theirs, and stay.

Other state of libraries, such as an attribute that a task replaces in a module, is not
known here, and stays.
"""

from __future__ import annotations

import faulthandler
import fcntl
import functools
import gc
import importlib
import locale
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import warnings
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_signal: Final[Any] = importlib.import_module("_signal")  # 25 times as fast


class SpoiltError(Exception):
    """Something cannot be put back: no further task may run in this process."""


class Leftovers:
    """How a process was before its tasks. Used on its main thread alone."""

    def __init__(self) -> None:
        with suppress(OSError):
            tempfile.gettempdir()  # which asks the environment once for all tasks
        self._descriptors = _Descriptors()
        self._told: dict[str, Any] = {}
        for module, name, note in (
            (random, "seed", self._note_random),
            (random, "setstate", self._note_random),
            (resource, "setrlimit", self._note_limits),
            (resource, "prlimit", self._note_limits),
        ):
            setattr(module, name, _telling(getattr(module, name), note))
        self._filters = warnings.catch_warnings()
        self.take()

    def take(self) -> None:
        """Take what there is as right."""
        self._told.clear()
        self._limits = _limits()
        self._known = [look() for look, _ in _TABLE]
        self._objects = [getattr(owner, name) for owner, name in _OBJECTS]
        self._numpy = numpy_is_seeded()
        self._modules = set(sys.modules)
        self._take_path()
        self._take_warnings()

    def grown(self) -> bool:
        """Tell whether modules were imported since ``take``."""
        return len(sys.modules) != len(self._modules)

    def follow_path(self, path: list[str]) -> None:
        """Have ``sys.path`` be another from now on. Called on any thread."""
        self._path = path  # first: see `_undo_path`
        follow_path(path)

    def undo(self) -> bool:
        """Put back what was changed since ``take``; return whether anything was.

        Raises:
            SpoiltError: Not all of it can be put back.
        """
        try:
            return self._undo()
        except Exception as error:
            raise SpoiltError(str(error)) from error

    def _undo(self) -> bool:
        found = False
        faulthandler.cancel_dump_traceback_later()
        for (look, put_back), known in zip(_TABLE, self._known, strict=True):
            if look() != known:
                put_back(known)
                found = True
        found |= self._descriptors.undo() | self._undo_objects() | self._undo_told()
        if not self._numpy and numpy_is_seeded():
            reseed_numpy()
            found = True
        imported = self.grown() and self._imported()
        return found | self._undo_warnings(imported) | self._undo_path(imported)

    def _undo_objects(self) -> bool:
        found = False
        for at, (owner, name) in enumerate(_OBJECTS):
            now, known = getattr(owner, name), self._objects[at]
            if name in _STREAMS and known.closed:
                known = line_writer(_STREAMS[name])
            elif now is known:
                continue
            elif known is None:  # a temporary directory, found only now
                known = now
            self._objects[at] = known
            setattr(owner, name, known)
            found = True
        return found

    # -- What tells that it is changed, since a look would take long

    def _note_random(self) -> None:
        self._told.setdefault("random", random.getstate())

    def _note_limits(self) -> None:
        self._told["limits"] = self._limits

    def _undo_told(self) -> bool:
        if not self._told:
            return False
        if "limits" in self._told:
            for number, limits in self._limits.items():
                resource.setrlimit(number, limits)
        if "random" in self._told:
            random.setstate(self._told["random"])
        self._told.clear()  # the lines above tell, too
        return True

    # -- What modules may have set at their import

    def _imported(self) -> bool:
        """Tell whether modules that are no part of Python have come."""
        names = sys.modules.keys() - self._modules
        self._modules = set(sys.modules)
        return any(
            name.partition(".")[0] not in sys.stdlib_module_names for name in names
        )

    def _take_path(self) -> None:
        self._path, self._path_list = sys.path[:], sys.path

    def _undo_path(self, imported: bool) -> bool:
        if imported:
            self._take_path()
        if sys.path is self._path_list and sys.path == self._path:
            return False
        sys.path, path = self._path_list, None
        while path is not self._path:  # another thread may be in `follow_path`
            path = self._path
            sys.path[:] = path
        return True

    def _take_warnings(self) -> None:
        self._warnings = warnings.filters[:], warnings.showwarning
        self._filters = warnings.catch_warnings()
        self._filters.__enter__()  # this makes the list known, too

    def _undo_warnings(self, imported: bool) -> bool:
        before, show = self._warnings
        now = warnings.filters
        if now == before and warnings.showwarning is show:
            return False
        new = [
            one for one in now if imported and one not in before and _is_modules(one)
        ]
        self._filters.__exit__(None, None, None)
        warnings.filters[:0] = new  # type: ignore[index]  # it is a list
        self._take_warnings()
        return True


def _telling(function: Any, note: Callable[[], None]) -> Callable[..., Any]:
    """Return a function of a module's that says that it is called, just before."""

    def told(*args: Any, **named: Any) -> Any:
        note()
        return function(*args, **named)

    functools.update_wrapper(told, function)
    told.__qualname__ = told.__name__  # as the module has it
    return told


class _Descriptors:
    """The standard streams of the process, and copies of them to restore them."""

    def __init__(self) -> None:
        self._known = list(map(_file, range(3)))
        self._copies = [
            _copy(fd) if file else -1 for fd, file in enumerate(self._known)
        ]

    def undo(self) -> bool:
        """Put back those that are closed or lead elsewhere; tell whether there were."""
        found = False
        for fd, known in enumerate(self._known):
            if known is None or _file(fd) == known:
                continue
            found = True
            os.dup2(self._copies[fd], fd)
            if _file(fd) != known:
                raise OSError(f"the copy of descriptor {fd} is gone")
        return found


_ABOVE: Final = 200
"""Copies of descriptors get numbers from here on, where few tasks close any."""


def _copy(fd: int) -> int:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # -1: as many as wanted
    above = most // 2 if 0 <= most <= 2 * _ABOVE else _ABOVE
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above)


def _file(fd: int) -> tuple[int, int] | None:
    """Return what a descriptor leads to; ``None`` if it is closed."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def line_writer(fd: int) -> TextIO:
    """Return a text stream to a descriptor that stays open, written line by line."""
    return open(fd, "w", 1, "utf-8", "backslashreplace", closefd=False)


def follow_path(path: list[str]) -> None:
    """Set ``sys.path`` to the driver's."""
    sys.path[:] = path
    importlib.invalidate_caches()


def reseed_numpy() -> None:
    """Give ``numpy.random`` numbers that nobody has chosen.

    Not by ``seed()``, after which they look as if somebody had, as far as NumPy can.
    """
    numbers: Any = sys.modules["numpy.random"]
    if hasattr(numbers, "set_bit_generator"):
        numbers.set_bit_generator(numbers.MT19937())
    else:
        numbers.seed()


def numpy_is_seeded() -> bool:
    """Tell whether somebody has seeded the random numbers of ``numpy.random``."""
    numpy = sys.modules.get("numpy.random.mtrand")
    generator = getattr(getattr(numpy, "_rand", None), "_bit_generator", None)
    return generator is not None and getattr(generator, "_seed_seq", None) is None


def _is_modules(entry: Any) -> bool:
    """Tell whether a warning filter looks as modules make them: not for everything."""
    _, message, category, module, _ = entry
    return bool(message or module or category.__module__ != "builtins")


# -- How things look, and how they are put back ---------------------------------------

_SIGNALS: Final = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_LIMITS: Final = {
    number for name, number in vars(resource).items() if name.startswith("RLIMIT_")
}
_DECIMAL: Final = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
_STREAMS: Final = {"stdout": 1, "stderr": 2}
_OBJECTS: Final[tuple[tuple[Any, str], ...]] = (
    (sys, "stdin"),
    (sys, "stdout"),
    (sys, "stderr"),
    (sys, "excepthook"),
    (sys, "unraisablehook"),
    (sys, "displayhook"),
    (threading, "excepthook"),
    (os, "environ"),
    (tempfile, "tempdir"),
)
"""Attributes that are to be the same objects as before."""


def _limits() -> dict[int, tuple[int, int]]:
    return {number: resource.getrlimit(number) for number in _LIMITS}


def _set_argv(wanted: list[str]) -> None:
    sys.argv = wanted[:]


def _timers() -> list[int]:
    return [one for one in _TIMERS if _signal.getitimer(one) != (0.0, 0.0)]


def _stop_timers(wanted: list[int]) -> None:
    for one in _TIMERS:
        if one not in wanted:
            signal.setitimer(one, 0)


def _handlers() -> list[Any]:
    return list(map(_signal.getsignal, _SIGNALS))


def _set_handlers(wanted: list[Any]) -> None:
    for number, handler in zip(_SIGNALS, wanted, strict=True):
        if handler is not None and _signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    if faulthandler.is_enabled():  # its own handlers may have been among them
        faulthandler.disable()
        faulthandler.enable(2)


def _blocked() -> Any:
    return _signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _collecting() -> tuple[bool, tuple[int, int, int]]:
    return gc.isenabled(), gc.get_threshold()


def _collect(wanted: tuple[bool, tuple[int, int, int]]) -> None:
    (gc.enable if wanted[0] else gc.disable)()
    gc.set_threshold(*wanted[1])


def _decimal() -> tuple[Any, ...] | None:
    """Return how ``decimal`` is set outside of tasks, which have their own."""
    for variable, value in copy_context().items():
        if variable.name == "decimal_context":
            traps = tuple(one for one in value.traps if value.traps[one])
            return (value, *(getattr(value, name) for name in _DECIMAL), traps)
    return None


def _set_decimal(wanted: tuple[Any, ...] | None) -> None:
    if wanted is not None:
        context, *values, traps = wanted
        for name, value in zip(_DECIMAL, values, strict=True):
            setattr(context, name, value)
        for one in context.traps:
            context.traps[one] = one in traps


_TABLE: Final[list[tuple[Callable[[], Any], Callable[[Any], object]]]] = [
    (_timers, _stop_timers),  # first, before one goes off
    (_handlers, _set_handlers),
    (_blocked, lambda mask: signal.pthread_sigmask(signal.SIG_SETMASK, mask)),
    (_decimal, _set_decimal),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    (lambda: sys.argv[:], _set_argv),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
    (_collecting, _collect),
    (socket.getdefaulttimeout, socket.setdefaulttimeout),
    (  # all categories in one text
        lambda: locale.setlocale(locale.LC_ALL),
        lambda names: locale.setlocale(locale.LC_ALL, names),
    ),
    (
        faulthandler.is_enabled,
        lambda on: faulthandler.enable(2) if on else faulthandler.disable(),
    ),
    (
        lambda: os.getpriority(os.PRIO_PROCESS, 0),
        lambda nice: os.setpriority(os.PRIO_PROCESS, 0, nice),
    ),
]
if hasattr(os, "sched_getaffinity"):
    _TABLE.append(
        (
            lambda: os.sched_getaffinity(0),
            lambda processors: os.sched_setaffinity(0, processors),
        )
    )
