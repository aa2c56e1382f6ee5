"""When and where a thread runs a task, and what the task takes of the machine.

For executors: around the call of a work's function they call ``begin`` and ``place``
where ``work.measure`` says so, and put what they get into ``work.ran``.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from threading import current_thread, local, main_thread
from typing import TYPE_CHECKING, Final, TypeAlias

from jackfield.clock import monotonic

if TYPE_CHECKING:
    from resource import struct_rusage

    from jackfield.events import Ran

Begin: TypeAlias = tuple[str, str, int, float, float | None]
"""Where a task was begun, as the first fields of ``Place`` have it, and when; where
resources are measured too, with the seconds of processor time that the thread had taken
until then."""

_thread: local = local()
"""Has ``here``: name, host and process of a thread; and ``programs``: what those have
taken that the task of the moment has started."""

_UNIT: Final = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system counts the memory of a process."""

_UNKNOWN: Final = -1
"""Stands for the memory of programs that is not known."""

_NO_PROGRAMS: Final = (0.0, 0)

_BRIEF_S: Final = 0.005
"""Seconds of processor time in which no task takes much memory."""

_last_peak: Final = [0.0, 0.0]
"""Until when the memory at the most counts that follows."""

_process_time: Final = partial(time.clock_gettime, time.CLOCK_PROCESS_CPUTIME_ID)
_thread_time: Final = partial(time.clock_gettime, time.CLOCK_THREAD_CPUTIME_ID)


def begin(measure: str) -> Begin:
    """Note place and time at a task's begin, on the thread that will run it.

    ``measure`` is ``Work.measure``.
    """
    try:
        worker, host, pid = _thread.here
    except AttributeError:
        worker, host, pid = _find_here()
    began = monotonic()
    before = cpu_time(process=False) if measure == "resources" else None
    return worker, host, pid, began, before


def cpu_time(*, process: bool = True) -> float:
    """Return seconds of processor time until now, at a task's begin.

    They are those of this thread, or of the whole ``process``: that is for workers that
    run one task at a time.
    """
    _thread.programs = _NO_PROGRAMS
    return _process_time() if process else _thread_time()


def spent(before: float, *, process: bool = True) -> tuple[float, int | None]:
    """Return seconds of processor time since a begin, and bytes of memory at the most.

    Of a task that has run programs, as bash apps do, these count: their processor time
    besides, and the memory of the largest in the place of this process's; ``None`` if
    that is not known.
    """
    programs, memory = getattr(_thread, "programs", _NO_PROGRAMS)
    cpu = (_process_time() if process else _thread_time()) - before + programs
    if memory == _UNKNOWN:
        return cpu, None
    return cpu, memory or _peak(exact=cpu > _BRIEF_S)


def place(began: Begin) -> Ran:
    """Return the place of a task that has just ended on this thread."""
    ended = monotonic()
    worker, host, pid, since, before = began
    if before is None:
        return worker, host, pid, since, ended, None, None
    return worker, host, pid, since, ended, *spent(before, process=False)


def note_program(usage: struct_rusage) -> None:
    """Note what a program has taken, by the thread whose task has started it.

    A program begins as a copy of this process, and Linux counts what that had in memory
    at the most as the program's. So only a larger figure is known to be its own.
    """
    cpu, memory = getattr(_thread, "programs", _NO_PROGRAMS)
    cpu += usage.ru_utime + usage.ru_stime
    larger = usage.ru_maxrss > _own_usage().ru_maxrss
    taken = usage.ru_maxrss * _UNIT if larger else _UNKNOWN
    _thread.programs = (cpu, max(memory, taken) or _UNKNOWN)


def this_host() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def _peak(*, exact: bool) -> int:
    """Return the bytes of memory that this process has had at the most.

    To ask the system takes longer than a short task. So what it said last counts for a
    moment, unless it is to be ``exact``: after a task that had the time to take much.
    """
    now = monotonic()
    if exact or now > _last_peak[0]:
        _last_peak[:] = now + _BRIEF_S, _own_usage().ru_maxrss * _UNIT
    return int(_last_peak[1])


def _own_usage() -> struct_rusage:
    import resource  # few runs measure it

    return resource.getrusage(resource.RUSAGE_SELF)


def _find_here() -> tuple[str, str, int]:
    """Return the name, host and process of this thread; remember them."""
    thread = current_thread()
    name = thread.name.removeprefix("jackfield-")
    if thread is main_thread():  # in a fork it may have been another one's
        name = "MainThread"
    here: tuple[str, str, int] = (name, this_host(), os.getpid())
    _thread.here = here
    return here


def _forget() -> None:
    vars(_thread).pop("here", None)
    _last_peak[0] = 0.0


os.register_at_fork(after_in_child=_forget)
