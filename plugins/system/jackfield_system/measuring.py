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
from typing import TYPE_CHECKING, Final

from jackfield.clock import monotonic

if TYPE_CHECKING:
    from resource import struct_rusage

    from jackfield.events import Begin, Ran

_UNIT: Final = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system counts the memory of a process."""

_UNKNOWN: Final = -1
"""Stands for the memory of programs that is not known."""

_NO_PROGRAMS: Final = (0.0, 0)

_BRIEF_S: Final = 0.005
"""Seconds of processor time in which no task takes much memory."""

_MOMENT_S: Final = 0.0001
"""Seconds for which processor time is known well enough: to ask for it takes a system
call, which is longer than a task that does nothing."""


class _Thread(local):
    """What is known of a thread; to lack an attribute would take half a microsecond.

    Attributes:
        here: Its name, host and process; ``None`` until somebody has asked.
        programs: What those have taken that its present task has started.
        cpu: The processor time that it, or its process, had taken when asked last.
        until: Until when that is known well enough.
    """

    here: tuple[str, str, int] | None = None
    programs: tuple[float, int] = _NO_PROGRAMS
    cpu: float = 0.0
    until: float = 0.0


_known: Final = _Thread()

_last_peak: Final = [0.0, 0.0]
"""Until when the memory at the most counts that follows."""

_process_time: Final = partial(time.clock_gettime, time.CLOCK_PROCESS_CPUTIME_ID)
_thread_time: Final = partial(time.clock_gettime, time.CLOCK_THREAD_CPUTIME_ID)


def begin(measure: str) -> Begin:
    """Note place and time at a task's begin, on the thread that will run it.

    ``measure`` is ``Work.measure``.
    """
    worker, host, pid = _known.here or _find_here()
    began = monotonic()
    if measure != "resources":
        return worker, host, pid, began, None
    return worker, host, pid, began, cpu_time(began, process=False)


def cpu_time(now: float, *, process: bool = True) -> float:
    """Return seconds of processor time at a task's begin, which is ``now``.

    They are those of this thread, or of the whole ``process``: that is for workers that
    run one task at a time.
    """
    thread = _known
    thread.programs = _NO_PROGRAMS
    return thread.cpu if now < thread.until else _ask(now, process=process)


def spent(
    before: float, began: float, ended: float, *, process: bool = True
) -> tuple[float, int | None]:
    """Return seconds of processor time since a begin, and bytes of memory at the most.

    The seconds are right within ``_MOMENT_S``: a task that has not taken longer counts
    as if it had never waited. Of a task that has run programs, as bash apps do, these
    count: their processor time besides, and the memory of the largest in the place of
    this process's; ``None`` if that is not known.
    """
    cpu = ended - began
    if cpu < _MOMENT_S:
        return max(cpu, 0.0), _peak(ended, exact=False)
    programs, memory = _known.programs
    cpu = _ask(ended, process=process) - before + programs
    if memory == _UNKNOWN:
        return cpu, None
    return cpu, memory or _peak(ended, exact=cpu > _BRIEF_S)


def place(began: Begin) -> Ran:
    """Return the place of a task that has just ended on this thread."""
    ended = monotonic()
    worker, host, pid, since, before = began
    if before is None:
        return worker, host, pid, since, ended, None, None
    taken = spent(before, since, ended, process=False)
    return worker, host, pid, since, ended, *taken


def _ask(now: float, *, process: bool) -> float:
    """Ask the system for processor time, and remember what it says for a moment."""
    cpu = _process_time() if process else _thread_time()
    _known.cpu, _known.until = cpu, now + _MOMENT_S
    return cpu


def note_program(usage: struct_rusage) -> None:
    """Note what a program has taken, by the thread whose task has started it.

    A program begins as a copy of this process, and Linux counts what that had in memory
    at the most as the program's. So only a larger figure is known to be its own.
    """
    cpu, memory = _known.programs
    cpu += usage.ru_utime + usage.ru_stime
    larger = usage.ru_maxrss > _own_usage().ru_maxrss
    taken = usage.ru_maxrss * _UNIT if larger else _UNKNOWN
    _known.programs = (cpu, max(memory, taken) or _UNKNOWN)


def this_host() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def _peak(now: float, *, exact: bool) -> int:
    """Return the bytes of memory that this process has had at the most.

    To ask the system takes longer than a short task. So what it said last counts for a
    moment, unless it is to be ``exact``: after a task that had the time to take much.
    """
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
    _known.here = here
    return here


def _forget() -> None:
    _known.here, _known.until = None, 0.0
    _last_peak[0] = 0.0


os.register_at_fork(after_in_child=_forget)
