"""The process that starts the workers, and reaps them.

It is a fresh interpreter with one thread, so that forking it is safe whatever the
driver's threads are doing, and a worker is up in milliseconds. It imports nothing
of the user's and never runs the main module.

It is the workers' parent, which is what makes their end certain: it sees each
death at once, kills what is left of the dead worker's process group, and when the
driver goes, however that happens, it kills all workers and goes too. If it is
killed itself, the kernel kills the workers (``PR_SET_PDEATHSIG``).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from struct import Struct
from time import monotonic, sleep
from typing import Any, Final, NoReturn

REQUEST: Final = Struct("<cxxxxxxxQ")
"""Start or kill, and the worker's number. A start carries the descriptors of the
worker's socket, its progress page, its standard output and its standard error."""

NOTICE: Final = Struct("<cxxxiQQ")
"""What happened, wait status or error number, worker, pid or peak memory in bytes."""

START: Final = b"S"
KILL: Final = b"K"
STARTED: Final = b"s"
NOT_STARTED: Final = b"n"
ENDED: Final = b"e"

DESCRIPTORS: Final = 4

END_S: Final = 1.0
"""How long the end waits for what has been killed to be gone."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


def main(control_fd: int, driver: int) -> None:
    """Serve the driver until it goes. In a worker, return when its work is done."""
    os.set_inheritable(control_fd, False)
    server = _ForkServer(socket.socket(fileno=control_fd), driver)
    descriptors = server.serve()
    from jackfield_executors.processes import worker

    worker.main(*descriptors)


class _ForkServer:
    def __init__(self, control: socket.socket, driver: int) -> None:
        self._control = control
        self._workers: dict[int, int] = {}
        """``{pid: number}`` of the workers that are not reaped."""
        self._killed: set[int] = set()
        """Process groups that have been killed, some of which may be dying still."""
        self._prctl = _find_prctl()
        self._poll = select.poll()
        self._driver_fd = _open_process(driver)
        self._wake_fd, self._signal_fd = os.pipe()

    def serve(self) -> list[int]:
        """Fork workers and reap them; in a worker, return its descriptors."""
        self._prepare()
        try:
            while True:
                ready = {fd for fd, _ in self._poll.poll()}
                if self._wake_fd in ready:
                    os.read(self._wake_fd, 4096)
                    self._reap()
                if self._driver_fd in ready:
                    self._end()
                if self._control.fileno() in ready:
                    descriptors = self._serve_request()
                    if descriptors is not None:
                        return descriptors
        except ConnectionError:  # the driver has closed the connection
            self._end()

    def _prepare(self) -> None:
        for fd in (self._wake_fd, self._signal_fd):
            os.set_blocking(fd, False)
        for fd in (self._wake_fd, self._driver_fd, self._control.fileno()):
            if fd >= 0:
                self._poll.register(fd, select.POLLIN)
        signal.set_wakeup_fd(self._signal_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the driver's is inherited
        signal.signal(signal.SIGINT, _do_nothing)
        self._prctl(_PR_SET_CHILD_SUBREAPER, 1)  # so that no zombie is left to others
        _import_what_workers_need()

    def _serve_request(self) -> list[int] | None:
        message, fds, _, _ = socket.recv_fds(self._control, REQUEST.size, DESCRIPTORS)
        for fd in fds:
            os.set_inheritable(fd, False)  # not for the programs that tasks start
        if len(message) != REQUEST.size:
            raise ConnectionError
        request, number = REQUEST.unpack(message)
        if request == KILL:
            self._kill(number)
            return None
        return self._start(number, fds)

    def _start(self, number: int, fds: list[int]) -> list[int] | None:
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._notify(NOT_STARTED, error.errno or 0, number, 0)
        else:
            if pid == 0:
                self._become_worker(server)
                return fds
            self._workers[pid] = number
            self._notify(STARTED, 0, number, pid)
        for fd in fds:
            os.close(fd)
        return None

    def _become_worker(self, server: int) -> None:
        os.setsid()
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        for fd in (self._wake_fd, self._signal_fd, self._driver_fd):
            if fd >= 0:
                os.close(fd)

    def _kill(self, number: int) -> None:
        for pid, known in self._workers.items():
            if known == number:
                _kill_group(pid)

    def _reap(self) -> None:
        """Take notice of the children that have ended, and of those we inherited."""
        while (pid := _dead_child()) is not None:
            number = self._workers.pop(pid, None)
            if number is not None:
                # Before it is reaped, so that the group's number is still its own.
                _kill_group(pid)
            _, status, usage = os.wait4(pid, 0)
            if number is not None:
                self._killed.add(pid)
                self._notify(ENDED, status, number, usage.ru_maxrss * _MAXRSS_UNIT)
        self._killed = {group for group in self._killed if _exists(group)}

    def _notify(self, what: bytes, code: int, number: int, amount: int) -> None:
        try:
            self._control.sendall(NOTICE.pack(what, code, number, amount))
        except OSError:  # nobody listens any more, which `serve` will see
            return

    def _end(self) -> NoReturn:
        """Kill all that there is, wait until it is gone, and end."""
        for pid in self._workers:
            _kill_group(pid)
        end = monotonic() + END_S
        while True:
            self._reap()
            if not (self._workers or self._killed) or monotonic() > end:
                os._exit(0)
            sleep(0.001)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # some other user's, by now
        return False
    return True


def _dead_child() -> int | None:
    """A child that has ended and is not reaped yet, or ``None``."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it was killed before it could make its group
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _open_process(pid: int) -> int:
    """A descriptor that is readable when a process has ended; -1 if there is none.

    The connection's end is not enough: a child that the driver has forked keeps a
    copy of it open.
    """
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _find_prctl() -> Any:
    if sys.platform != "linux":
        return _do_nothing
    try:
        import ctypes

        return ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return _do_nothing


def _do_nothing(*_: object) -> None:
    """Stand for what is not there, and for a signal's default action."""


def _import_what_workers_need() -> None:
    import gc

    import cloudpickle  # noqa: F401  (workers find it imported)

    from jackfield_executors.processes import worker  # noqa: F401  (as above)

    # Keeps the pages that all workers share from being written to.
    gc.collect()
    gc.freeze()
