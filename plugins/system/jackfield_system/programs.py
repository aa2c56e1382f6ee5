"""Ending the programs that tasks start, and whatever these have started.

A program may leave its process group, its session and its parent. What stays with it,
and goes to all that it starts, is its environment. So each command has *marks* there,
in the variable ``MARK``: one of the process that runs the commands, one of its own. All
with a mark are found in ``/proc``. Without that (on macOS) only process groups end.

This process may be killed at any moment. Then its *guard*, a small process that starts
with the first command and waits for this one's end, kills all that has its mark. It
runs this file as a program, so this imports small modules of Python's own only.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import sys
import time
import zlib
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import subprocess

MARK: Final = "_JACKFIELD_MARKS"
"""The variable: marks between colons, first those of processes further up."""

YOUNG_S: Final = 0.5
"""Seconds after the start of a process in which it may become a program."""

FORKED_S: Final = 5.0
"""The same for what a process has forked that was killed: it may wait for a core."""

QUIET_LOOKS: Final = 3
"""So many looks in a row that find nothing are enough."""

READ: Final = 65_536
"""Bytes of an environment that are read at once."""

LOOKS: Final = 1000
"""Looks for what was killed, until it is gone; one in a system call may take long."""

_lock: Lock = Lock()
_numbers: Final = itertools.count(1)
_mark: str = ""
"""This process's own mark; empty before its first command."""
_guard: subprocess.Popen[bytes] | None = None

ends: int = 0
"""How often all commands of this process were ended, with a run."""


def be_marked(marks: list[str]) -> None:
    """Have all programs of this process bear marks by which its parent ends them."""
    global _mark  # noqa: PLW0603  (one process, one mark)
    _mark = marks[-1]
    os.environ[MARK] = _joined(*marks)


def environment(begun_after: int) -> tuple[str, dict[str, str]]:
    """Return a new command's mark, and an environment with it.

    The task of the command began when there had been so many ``ends``.
    """
    global _mark  # noqa: PLW0603  (as above)
    with _lock:
        if not _mark:
            _mark = f"{os.getpid()}.{os.urandom(4).hex()}"
        marks = _joined(_mark) if _mark not in os.environ.get(MARK, "") else ""
        if marks and _guard is None and ends == begun_after:
            _start_guard()
    mark = f"{_mark}.{next(_numbers)}"
    return mark, {**os.environ, MARK: _joined(marks.strip(":"), mark)}


def _joined(*marks: str) -> str:
    before = os.environ.get(MARK, "").strip(":").split(":")
    return f":{':'.join(filter(None, (*before, *marks)))}:"


def end_all() -> None:
    """Kill what the commands of this process have left, and end the guard.

    A thread that was given up may start one more command. It looks at ``ends`` when it
    has started it, and this looks for commands when it has counted there: so one of
    the two ends the command. After a Ctrl-C in between, this can be called again.
    """
    global ends, _guard  # noqa: PLW0603  (one process, one guard)
    ends += 1
    with _lock:
        guard = _guard
    if guard is not None:
        kill_marked(_mark)
        guard.kill()
        guard.wait()
        if guard.stdin is not None:
            guard.stdin.close()
        _guard = None


def kill_marked(mark: str, forked: int | None = None) -> None:
    """Kill every program with a mark, until none is left that could start one.

    A program may start another when the list of processes is made already, and be gone
    before its turn comes. So a look that finds none is not the last one yet.

    Args:
        mark: It.
        forked: The checksum of the environment of a process that was killed. It may
            have been killed between the fork of a command and its ``exec``. Until that,
            the child has the environment of its parent, which bears no mark; it is
            waited for then, as long as it is young.
    """
    quiet = 0
    for _ in range(LOOKS):
        found = sum(_kill(pid, mark, forked) for pid in pids())
        quiet = 0 if found else quiet + 1
        if quiet == QUIET_LOOKS:
            return
        time.sleep(0.002 if found else 0.0)


def pids() -> list[int]:
    """Return all process ids, the lowest first: parents mostly before children."""
    with contextlib.suppress(OSError), os.scandir("/proc") as entries:
        return sorted(int(one.name) for one in entries if one.name.isdigit())
    return []


def bears_mark(pid: int, mark: str) -> bool:
    """Tell whether a process has a mark; not so if it is not ours to look into."""
    return f":{mark}:".encode() in (_environment_of(pid) or b"")


def _environment_of(pid: int) -> bytes | None:
    """Return the environment of a process; ``None`` if it is gone, or not ours.

    This is done for each process of the machine, some times in a row; hence by plain
    calls of the system.
    """
    try:
        file = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = b""
        while more := os.read(file, READ):
            data += more
    except OSError:
        return None
    else:
        return data
    finally:
        os.close(file)


def _begins(pid: int, limit: float = YOUNG_S) -> bool:
    """Tell whether a process is so young that it may be about to become a program.

    Within ``exec`` its environment cannot be read: for a moment it seems to have none.
    That, or its parent's environment, is what has been found just before.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    fields = text.rpartition(")")[2].split()
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    young = time.clock_gettime(time.CLOCK_BOOTTIME) - began < limit
    return young and fields[0] not in "ZX"


def _kill(pid: int, mark: str, forked: int | None) -> bool:
    """Kill a process if it has a mark; tell whether it has, or may have one soon.

    A descriptor of the process goes on meaning this one process, where the id may be
    another's by the time of the signal. Hence the second look, behind it.
    """
    if pid == os.getpid():
        return False
    environment = _environment_of(pid)
    if not environment:
        return environment is not None and _begins(pid)
    if f":{mark}:".encode() not in environment:
        return zlib.crc32(environment) == forked and _begins(pid, FORKED_S)
    try:
        process = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return False
    try:
        if bears_mark(pid, mark):
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:  # it is gone
        return False
    finally:
        os.close(process)
    return True


def _start_guard() -> None:
    """Start the guard; where that fails, commands run without one."""
    global _guard  # noqa: PLW0603  (one process, one guard)
    import subprocess

    if sys.platform != "linux" or not sys.executable or not Path(__file__).is_file():
        return
    own = str(zlib.crc32(_environment_of(os.getpid()) or b""))
    with contextlib.suppress(OSError):
        _guard = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, _mark, str(os.getpid()), own],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _forget() -> None:
    """Forget the parent's commands in a forked child: its own have their own mark."""
    global _mark, _guard, _lock
    _mark, _guard, _lock = "", None, Lock()


def _guard_main(mark: str, driver: str, environment: str) -> None:
    """Wait for the driver's end, then kill.

    Standard input is a pipe that closes when the driver ends. A child that the driver
    has forked holds it open, though, so this watches the process itself as well. That
    may have ended before this could watch it: then it is not the parent any more.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    poll = select.poll()
    poll.register(0)
    with contextlib.suppress(OSError):  # it is gone already
        poll.register(os.pidfd_open(int(driver)), select.POLLIN)
    if os.getppid() == int(driver):
        poll.poll()
    kill_marked(mark, int(environment))


if __name__ == "__main__":
    _guard_main(*sys.argv[1:])
else:
    from jackfield.last_end import at_last_end

    at_last_end(end_all)
    os.register_at_fork(after_in_child=_forget)
