"""A program that runs a server and lets nothing of it outlive the tests.

The driver holds the other end of standard input. ``k`` there means: kill the server
and keep its files. The end of it, or of the driver: kill the server and remove its
files. Servers fork and open sessions of their own, so the guard adopts the orphans of
everything below it, and kills until it has no child left.

    python -I -S guard.py DRIVER_PID LEFTOVER ... -- COMMAND ...
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

DIE_WITH_PARENT = 1
"""prctl's PR_SET_PDEATHSIG, from linux/prctl.h."""

ADOPT_ORPHANS = 36
"""prctl's PR_SET_CHILD_SUBREAPER, from linux/prctl.h."""

POLL_MS = 1000
"""How long the death of a driver goes unseen when a fork of it holds the pipe open."""


def remove(leftovers: Iterable[str | Path]) -> None:
    """Remove files and directories, as far as they are there."""
    for path in map(Path, leftovers):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) was refused")


def _start(command: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(DIE_WITH_PARENT, signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(127)


def _watch(server: int, driver: int) -> bool:
    """Wait until the server has ended or is to be ended.

    Returns:
        Whether its files are to be kept.
    """
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(ended := os.pidfd_open(server), select.POLLIN)
    while os.getppid() == driver:
        ready = [fd for fd, _ in poll.poll(POLL_MS)]
        if 0 in ready:
            return os.read(0, 1) == b"k"
        if ended in ready:
            return True
    return False


def _children() -> list[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in listed.split()]


def _kill_all(server: int) -> int:
    """Kill every descendant; return the server's exit code."""
    code = 0
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return code
        if pid == server:
            code = os.waitstatus_to_exitcode(status)


def main(driver: str, *arguments: str) -> int:
    """Run the command until it ends or is to be ended; return its exit code."""
    end = arguments.index("--")
    leftovers, command = arguments[:end], list(arguments[end + 1 :])
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _prctl(ADOPT_ORPHANS, 1)
    server = _start(command)
    keep = _watch(server, int(driver))
    code = _kill_all(server)
    if not keep:
        remove(leftovers)
    return abs(code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
