"""Gives jobs back to their batch system when the driver has been killed.

A driver that is killed can cancel nothing. Its jobs that run notice within a minute
that it is gone; but one that is queued stays there, and takes its turn when nobody
needs it. So a *guard*, a small process that starts with the first job, hears of each
job by which command it is cancelled, waits for the driver's end, and runs those that
are left. A job has no number while it is submitted. So where jobs can be cancelled by a
name, which is known before, the guard hears of that first. It runs such a command again
and again: the program that submits a job may outlive the driver for some seconds, and
the job comes when there was none of that name yet. Elsewhere, that job stays, and ends
a minute after it has begun.

It runs this file as a program, so this imports small modules of Python's own only.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from threading import Lock
from typing import Final

TRIES: Final = 3
"""How often a job is cancelled whose batch system does not answer, or knows no such."""

PAUSE_S: Final = 5.0
"""Seconds until the next try."""

CANCEL_S: Final = 60.0
"""Seconds that a batch system gets to cancel a job."""

READ: Final = 65_536
"""Bytes that are read at once."""


class JobGuard:
    """The driver's side. Its methods may be called on any thread, and raise nothing."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, command: str, *, again: bool = False) -> None:
        """Have a command run when this process has been killed.

        With ``again``, it is run at each try, whether it has worked before or not.
        """
        with self._lock:
            if self._process is None:
                with contextlib.suppress(OSError):  # then jobs have no guard
                    self._process = subprocess.Popen(
                        [sys.executable, "-I", "-S", __file__, str(os.getpid())],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,
                    )
            self._tell("*" if again else "+", command)

    def remove(self, command: str) -> None:
        """Have a command not run: its job has been cancelled, or is over."""
        with self._lock:
            self._tell("-", command)

    def _tell(self, sign: str, command: str) -> None:
        """Send a line. The lock is held."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # somebody has killed the guard
                self._process.stdin.write(f"{sign}{command}\n".encode())
                self._process.stdin.flush()

    def close(self) -> None:
        """End the guard: there is no job any more."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        process.kill()  # first: it takes the end of its input for that of the driver
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):  # what was not read is not missed
                process.stdin.close()


# -- The guard itself


def _left_by(driver: int) -> dict[str, bool]:
    """Wait for the driver's end; return the commands that are left then.

    With each comes whether it is to be run at each try.

    Standard input closes when the driver ends. A child that the driver has forked holds
    it open, though, so this watches the process itself as well. That may have ended
    before this could watch it: then it is not the parent any more.
    """
    commands: dict[str, bool] = {}
    poll = select.poll()
    poll.register(0, select.POLLIN)
    with contextlib.suppress(AttributeError, OSError):  # macOS, or it is gone
        poll.register(os.pidfd_open(driver), select.POLLIN)
    os.set_blocking(0, False)
    unread, ended = b"", False
    while not ended:
        poll.poll(0 if os.getppid() != driver else None)
        ended = os.getppid() != driver
        with contextlib.suppress(BlockingIOError):  # all that there was has been read
            while data := os.read(0, READ):
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    if line[:1] in {b"+", b"*"}:
                        commands[line[1:].decode()] = line[:1] == b"*"
                    else:
                        commands.pop(line[1:].decode(), None)
            ended = True
    return commands


def _run(command: str) -> bool:
    """Run a command; tell whether it has worked."""
    try:
        done = subprocess.run(shlex.split(command), check=False, timeout=CANCEL_S)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _main(driver: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left = _left_by(int(driver))
    for tries in range(TRIES):
        if tries:
            time.sleep(PAUSE_S)
        left = {one: again for one, again in left.items() if not _run(one) or again}
        if not left:
            return


if __name__ == "__main__":
    _main(*sys.argv[1:])
