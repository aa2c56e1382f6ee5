"""What a task leaves behind in its worker, and how the next task is spared it.

A worker runs many tasks in one process, and much of a process is everybody's: timers,
handlers of signals, standard streams, limits, hooks. ``Leftovers`` knows how they were
before the tasks, compares, and puts back what is other. A comparison takes as long as
three short tasks do. The worker compares after the first call of each function, after
each call of a function that has left something behind before, 5 ms after the last
comparison, and when it has nothing to do. So only what a function leaves behind
that has left nothing before, in a task shorter than that, may hit the tasks of the same
5 ms. Directory, umask and environment are ``surroundings``, which see
each change.

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
_SIGNALS: Final = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_STREAMS: Final = ((1, "stdout"), (2, "stderr"))
_LIMITS: Final = sorted(
    {number for name, number in vars(resource).items() if name.startswith("RLIMIT_")}
)

_DECIMAL: Final = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")

_ATTRIBUTES: Final[tuple[tuple[Any, str], ...]] = (
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


_ABOVE: Final = 200
"""Copies of descriptors get numbers from here on, where few tasks close any."""


class SpoiltError(Exception):
    """Something cannot be put back: no further task may run in this process."""


class Leftovers:
    """How a process was before its tasks. Used on its main thread alone."""

    def __init__(self) -> None:
        self._limited = False
        self._descriptors = [_Descriptor(number) for number in (0, 1, 2)]
        self._random: tuple[Any, ...] = ()
        self._is_random_seeded = False
        random.seed = self._telling(random.seed)
        random.setstate = self._telling(random.setstate)
        sys.addaudithook(self._note)
        with suppress(OSError):
            tempfile.gettempdir()  # which asks the environment once for all tasks
        self._filters = warnings.catch_warnings()
        self.take()

    def take(self) -> None:
        """Take what there is as right."""
        self._modules = len(sys.modules)
        self._names = set(sys.modules)
        self._limits = [resource.getrlimit(one) for one in _LIMITS]
        self._limited = self._is_random_seeded = False
        self._attributes = [getattr(owner, name) for owner, name in _ATTRIBUTES]
        self._path, self._path_list = sys.path[:], sys.path
        self._argv, self._argv_list = sys.argv[:], sys.argv
        self._settings = [read() for read, _ in _SETTINGS]
        self._warn_filters = warnings.filters[:]
        self._showwarning = warnings.showwarning
        self._numpy = numpy_is_seeded()
        self._filters = warnings.catch_warnings()
        self._filters.__enter__()

    def grown(self) -> bool:
        """Tell whether modules were imported since ``take``."""
        return len(sys.modules) != self._modules

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
        for (read, write), before in zip(_SETTINGS, self._settings, strict=True):
            if read() != before:
                write(before)
                found = True
        for descriptor in self._descriptors:
            found |= descriptor.undo()
        found |= self._undo_attributes()
        if self._limited:
            self._limited = False
            for number, limits in zip(_LIMITS, self._limits, strict=True):
                resource.setrlimit(number, limits)
            self._limited = False  # the line above tells, too
            found = True
        if self._is_random_seeded:
            random.Random.setstate(_generator(), self._random)
            self._is_random_seeded = False
            found = True
        if not self._numpy and numpy_is_seeded():
            reseed_numpy()
            found = True
        imported = self.grown() and self._imported()
        return self._undo_warnings(imported) or self._undo_path(imported) or found

    def _undo_attributes(self) -> bool:
        found = False
        known = zip(_ATTRIBUTES, self._attributes, strict=True)
        for at, ((owner, name), before) in enumerate(known):
            if getattr(owner, name) is not before:
                if before is None:  # a temporary directory, found only now
                    self._attributes[at] = getattr(owner, name)
                    continue
                setattr(owner, name, before)
                found = True
        for number, name in _STREAMS:
            if getattr(sys, name).closed:
                stream = line_writer(number)
                self._attributes[_ATTRIBUTES.index((sys, name))] = stream
                setattr(sys, name, stream)
                found = True
        return found

    def _undo_path(self, imported: bool) -> bool:
        found = False
        if imported:
            self._path, self._path_list = sys.path[:], sys.path
        elif sys.path is not self._path_list or sys.path != self._path:
            found = True
            sys.path, path = self._path_list, None
            while path is not self._path:  # another thread may be in `follow_path`
                path = self._path
                sys.path[:] = path
        if sys.argv is not self._argv_list or sys.argv != self._argv:
            sys.argv = self._argv_list
            sys.argv[:] = self._argv
            found = True
        return found

    def _undo_warnings(self, imported: bool) -> bool:
        now = warnings.filters
        if now == self._warn_filters and warnings.showwarning is self._showwarning:
            return False
        before = self._warn_filters
        new = [
            one for one in now if imported and one not in before and _is_modules(one)
        ]
        self._filters.__exit__(None, None, None)
        warnings.filters[:0] = new  # type: ignore[index]  # it is a list
        self._warn_filters = warnings.filters[:]
        self._filters = warnings.catch_warnings()
        self._filters.__enter__()  # this makes the list known, too
        return True

    def _imported(self) -> bool:
        """Tell whether modules that are no part of Python have come."""
        names = sys.modules.keys() - self._names
        self._modules = len(sys.modules)
        self._names |= names
        return any(
            name.partition(".")[0] not in sys.stdlib_module_names for name in names
        )

    def _note(self, event: str, _: tuple[Any, ...]) -> None:
        if event in {"resource.setrlimit", "resource.prlimit"}:
            self._limited = True

    def _telling(self, change: Callable[..., None]) -> Callable[..., None]:
        """Return a function of ``random`` that keeps what was before the first call."""

        def told(*args: Any, **named: Any) -> None:
            if not self._is_random_seeded:
                self._random = random.getstate()
                self._is_random_seeded = True
            change(*args, **named)

        told.__name__ = told.__qualname__ = change.__name__
        told.__module__ = "random"
        told.__doc__ = change.__doc__
        return told


class _Descriptor:
    """A standard stream of the process, and a copy of its descriptor to restore it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._copy = -1
        self._known = self._look()
        if self._known is not None:
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[
                0
            ]  # -1: as many as wanted
            above = most // 2 if 0 <= most <= 2 * _ABOVE else _ABOVE
            self._copy = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, above)

    def undo(self) -> bool:
        """Put it back if it is closed or leads elsewhere; return whether it was."""
        if self._known is None or self._look() == self._known:
            return False
        os.dup2(self._copy, self._number)
        if self._look() != self._known:
            raise OSError(f"the copy of descriptor {self._number} is gone")
        return True

    def _look(self) -> tuple[int, int] | None:
        try:
            status = os.fstat(self._number)
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


def _is_modules(entry: Any) -> bool:
    """Tell whether a warning filter looks as modules make them: not for everything."""
    _, message, category, module, _ = entry
    return bool(message or module or category.__module__ != "builtins")


def _generator() -> random.Random:
    """Return the generator whose methods are the functions of ``random``."""
    generator: random.Random = random.random.__self__  # type: ignore[attr-defined]  # a bound method
    return generator


def numpy_is_seeded() -> bool:
    """Tell whether somebody has seeded the random numbers of ``numpy.random``."""
    numpy = sys.modules.get("numpy.random.mtrand")
    generator = getattr(getattr(numpy, "_rand", None), "_bit_generator", None)
    return generator is not None and getattr(generator, "_seed_seq", None) is None


# -- What is read, compared and set ---------------------------------------------------


def _running_timers() -> list[int]:
    return [one for one in _TIMERS if signal.getitimer(one) != (0.0, 0.0)]


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


def _collects() -> tuple[bool, tuple[int, int, int]]:
    return gc.isenabled(), gc.get_threshold()


def _set_collects(wanted: tuple[bool, tuple[int, int, int]]) -> None:
    (gc.enable if wanted[0] else gc.disable)()
    gc.set_threshold(*wanted[1])


def _blocked() -> set[Any]:
    return _signal.pthread_sigmask(signal.SIG_BLOCK, ())  # type: ignore[no-any-return]  # C


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


def _set_users(wanted: tuple[int, int]) -> None:
    os.seteuid(wanted[0])
    os.setegid(wanted[1])


_SETTINGS: Final[tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...]] = (
    (_running_timers, _stop_timers),  # first, before one goes off
    (_handlers, _set_handlers),
    (_decimal, _set_decimal),
    (_blocked, lambda mask: signal.pthread_sigmask(signal.SIG_SETMASK, mask)),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
    (_collects, _set_collects),
    (socket.getdefaulttimeout, socket.setdefaulttimeout),
    (
        lambda: locale.setlocale(locale.LC_ALL),
        lambda names: locale.setlocale(locale.LC_ALL, names),
    ),
    (
        faulthandler.is_enabled,
        lambda on: faulthandler.enable(2) if on else faulthandler.disable(),
    ),
    (lambda: (os.geteuid(), os.getegid()), _set_users),
    (
        lambda: os.getpriority(os.PRIO_PROCESS, 0),
        lambda nice: os.setpriority(os.PRIO_PROCESS, 0, nice),
    ),
    *(
        ((lambda: os.sched_getaffinity(0), lambda cpus: os.sched_setaffinity(0, cpus)),)
        if hasattr(os, "sched_getaffinity")
        else ()
    ),
)
"""How each is read, and how it is set. ``locale`` has its categories in one text."""
