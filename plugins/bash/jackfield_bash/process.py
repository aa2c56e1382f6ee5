"""A command's process: how it begins, and how it ends with all that it has started.

Each command has a process group and a mark of its own (see ``programs``), so that at
its walltime, and at the end of the program, it is killed together with all that it has
started.

*Process ids.* Until a command is reaped, its id is its own; afterwards it may be that
of a foreign process. The thread that runs the command kills it before it reaps it. At
the program's end another thread kills what is in ``_running``, with ``_lock`` held; so
a command leaves ``_running``, under that lock, before it is reaped.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import IO, Any, Final

from jackfield.clock import monotonic
from jackfield_system import programs
from jackfield_system.credentials import without_credentials
from jackfield_system.measuring import note_program

SHELL: Final = "/bin/bash"

_running: Final[dict[subprocess.Popen[bytes], str]] = {}
"""The commands of this process that are not reaped, with their marks."""

_lock: Lock = Lock()
"""Held to kill a command, and to take one out of ``_running``."""

_codes_get_lost: bool = False
"""Whether some code in this process has reaped a command before this module could."""

_LONGEST_MS: Final = 2e9
"""The longest time that ``poll`` can wait, some weeks. Longer walltimes are none."""

_LOOK: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT
"""Asks whether a command has ended, and neither waits nor takes its exit code."""

_NAP_S: Final = 0.01
"""The pause between two looks at a command, where nothing wakes the one who waits."""

_LONGEST_ARGUMENT: Final = 131_071
"""Bytes of one argument of a program, at most; Linux counts a NUL at its end, too."""


@contextmanager
def arguments_of(command: str) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Give the arguments that start a command, and the descriptors that it needs.

    The system takes no argument that is longer than 128 KiB. A longer command is in a
    file without a name, which bash reads, and closes before the command begins.
    """
    data = os.fsencode(command)
    if len(data) <= _LONGEST_ARGUMENT:
        yield [SHELL, "-c", "--", command], ()
        return
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        number = file.fileno()
        read = f'__command=$(</dev/fd/{number}); exec {number}<&-; eval "$__command"'
        yield [SHELL, "-c", read], (number,)


@contextmanager
def file_for_code() -> Iterator[IO[bytes] | None]:
    """Give a file for an exit code, where the code cannot be had by waiting for it.

    Where SIGCHLD is ignored, which a parent can hand on, the system throws it away.
    """
    ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    if not (ignored or _codes_get_lost):
        yield None
        return
    with tempfile.TemporaryFile() as file:
        yield file


def said(file: IO[bytes] | None) -> int | None:
    """Return the exit code that a file holds; ``None`` if there is none."""
    global _codes_get_lost  # noqa: PLW0603  (what is true of this process)
    if file is None:
        _codes_get_lost = True  # the next commands, as retries, use a file
        return None
    file.seek(0)
    code = file.read()
    return int(code) if code else None


def start(
    arguments: list[str],
    streams: tuple[Any, Any],
    fds: tuple[int, ...],
    file: IO[bytes] | None,
    directory: str,
    ends: int,
) -> subprocess.Popen[bytes]:
    """Start a command in its own process group, to be killed with all it starts.

    With a file, a shell around that of the command writes the exit code there.
    """
    if file is not None:
        fd = file.fileno()
        around = f'"$@" {fd}>&-; printf %d $? >&{fd}'
        arguments, fds = [SHELL, "-c", around, SHELL, *arguments], (*fds, fd)
    mark, environment = programs.environment(ends)
    process = subprocess.Popen(
        arguments,
        cwd=directory or None,
        stdin=subprocess.DEVNULL,
        stdout=streams[0],
        stderr=streams[1],
        env=without_credentials(environment),
        process_group=0,
        pass_fds=fds,
    )
    _running[process] = mark
    return process


def ends_within(process: subprocess.Popen[bytes], limit: float | None) -> bool:
    """Wait until a command has ended, and do not reap it; false if it goes on."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:  # somebody else has reaped it
        return True
    except (AttributeError, OSError):  # not on this system, or no descriptor is left
        return _ends_within_naps(process, limit)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        limit = math.inf if limit is None else limit * 1000.0
        return bool(poll.poll(limit if limit < _LONGEST_MS else None))
    finally:
        os.close(fd)


def _ends_within_naps(process: subprocess.Popen[bytes], limit: float | None) -> bool:
    """Do as ``ends_within``, by looking at the command again and again."""
    deadline = math.inf if limit is None else monotonic() + limit
    while _goes_on(process):
        if monotonic() >= deadline:
            return False
        time.sleep(_NAP_S)
    return True


def _goes_on(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether a command runs; false if it has ended, or if nobody can know."""
    try:
        return os.waitid(os.P_PID, process.pid, _LOOK) is None
    except ChildProcessError:  # somebody else has reaped it
        return False


def end(process: subprocess.Popen[bytes]) -> int | None:
    """Reap a command and return its exit code; kill all of it first, if it still runs.

    The code is what the system hands out once, to whoever reaps the command. ``None``
    says that somebody else in this process was faster, which nothing that is asked
    before can rule out.
    """
    if not ends_within(process, 0.0):
        _kill(process, _running[process])
    with _lock:
        del _running[process]
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except ChildProcessError:
        process.wait()  # so that the object knows; it takes a lost code for a zero
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    note_program(usage)
    return process.returncode


def _kill_running() -> None:
    """Kill commands at the program's end: the threads that would may be gone."""
    with _lock:
        for process, mark in list(_running.items()):
            _kill(process, mark)


atexit.register(_kill_running)


def _forget() -> None:
    """In a forked child, the commands are the parent's and must not be killed."""
    global _lock  # noqa: PLW0603  (a thread of the parent may have held it)
    _lock = Lock()
    _running.clear()


os.register_at_fork(after_in_child=_forget)


def _kill(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill a command, if it is not reaped, and all that it has started."""
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        os.waitid(os.P_PID, process.pid, _LOOK)  # fails where the id may be another's
        os.killpg(process.pid, signal.SIGKILL)
    programs.kill_marked(mark)
