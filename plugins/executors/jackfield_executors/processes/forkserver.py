"""The process that forks the workers and reaps them.

It is a fresh interpreter with a single thread. So it may fork at any time, whatever the
threads of the driver are doing (a fork of the driver could copy a lock that some thread
holds, and that nobody in the child would ever release). It has imported what workers
need, so a worker is up in milliseconds. It never runs the main module.

*Preloading.* Before the first worker, the driver may ask for modules to be imported
here. Such an import can do anything: start a thread, hang, crash. So a child does it
(``preload``), and if all goes well, it takes this process's place: the connection, and
the workers to come. This process then only waits for its end, and kills what is left
below it. If not, the child is killed, another one imports the modules before the one at
fault, and without any this process stays what it was. Requests that come meanwhile wait
in the connection, for whichever of the two reads on.

As the workers' parent it makes sure that they end. It sees each death at once, and
kills what is left of the dead worker's family (see ``family``): the programs that its
tasks have started, and what these have started. Only then the driver is told, so that a
retry does not meet them. When the driver ends, however that happens, it kills all that
is below it and exits. When it is killed itself, Linux kills the workers
(``PR_SET_PDEATHSIG``), and the driver kills what bears its mark.

*Process ids.* A process id may be given to a new process as soon as the old one is
reaped. Only a parent reaps its children, so between seeing that a worker has ended and
reaping it, this process, and no other, can be sure whom a signal to that id or group
reaches. That is why all kills go through here, and why the driver names workers by
numbers.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from time import sleep
from typing import Any, Final, NoReturn

from jackfield.clock import monotonic
from jackfield_executors.processes import family, preload
from jackfield_executors.processes.requests import (
    ENDED,
    KILL,
    NOT_STARTED,
    NOTICE,
    PRELOAD,
    REQUEST,
    STARTED,
)
from jackfield_executors.processes.wire import Kind, small_frame
from jackfield_system import programs

DESCRIPTORS: Final = 4

END_S: Final = 1.0
"""Seconds that this process waits for what it has killed to be gone."""

PRELOAD_S: Final = 20.0
"""Seconds that preloading may take. What waits for it hangs as long."""

_NOT_FOR_US: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


def main(control_fd: int, driver: int, mark: str) -> None:
    """Serve the driver until it ends. All that workers start bears ``mark``.

    Each worker is a fork of this process, so it comes out of ``serve`` here, too: with
    its descriptors, to run as a worker. The fork server itself never comes out of
    there.
    """
    os.set_inheritable(control_fd, False)
    server = _ForkServer(socket.socket(fileno=control_fd), driver, mark)
    descriptors = server.serve()
    from jackfield_executors.processes import worker

    worker.main(*descriptors)


class _ForkServer:
    """The state of the fork server, which has one thread and therefore no lock.

    It waits in ``poll`` for three things: a request, the driver's end, and a byte in
    the wake-up pipe, which Python's signal handling writes when a child has ended. A
    child that ends just before the wait leaves its byte in the pipe, so no death is
    missed.
    """

    def __init__(self, control: socket.socket, driver: int, mark: str) -> None:
        self._control = control
        self._mark = mark
        self._workers: dict[int, int] = {}
        """``{process id: number}`` of the workers that are not reaped yet."""
        self._prctl = _find_prctl()
        self._poll = select.poll()
        self._driver_fd = _open_process(driver)
        self._wake_read, self._wake_write = os.pipe()
        self._heir = 0
        """The process id of the child that has taken this process's place."""

    def serve(self) -> list[int]:
        """Fork workers and reap them. Returns only in a worker: its descriptors."""
        self._prepare()
        _import_what_workers_need()
        try:
            while True:
                ready = {fd for fd, _ in self._poll.poll()}
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
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
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        for fd in (self._wake_read, self._driver_fd, self._control.fileno()):
            if fd >= 0:
                self._poll.register(fd, select.POLLIN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _do_nothing)
        # A thread of the driver may have blocked signals, which would be inherited.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        # What ends the driver ends this process in its turn. It must not end before.
        for number in _NOT_FOR_US:
            signal.signal(number, _do_nothing)
        # Orphans become our children, so that we reap them and not the system's init.
        self._prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def _serve_request(self) -> list[int] | None:
        """Do what the driver asks for; in a new worker, return its descriptors.

        Raises:
            ConnectionError: The driver has closed the connection.
        """
        message, fds, _, _ = socket.recv_fds(self._control, REQUEST.size, DESCRIPTORS)
        for fd in fds:
            os.set_inheritable(fd, False)  # programs that tasks start must not get it
        if len(message) != REQUEST.size:
            raise ConnectionError
        request, number = REQUEST.unpack(message)
        if request == KILL:
            self._kill(number)
            return None
        if request == PRELOAD:
            self._preload(fds)
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
                self._become_worker(server, number)
                return fds
            self._workers[pid] = number
            self._notify(STARTED, 0, number, pid)
        for fd in fds:
            os.close(fd)
        return None

    def _preload(self, fds: list[int]) -> None:
        """Have modules imported; come back as the fork server that workers come from.

        That is this process, where there are none but Jackfield's own, or the child
        that has imported them.
        """
        streams = fds[1:]
        with socket.socket(fileno=fds[0]) as driver:
            try:
                told = preload.wanted(driver)
                told["modules"] = preload.import_own(told["modules"])
                while modules := told["modules"]:
                    fault, why = self._preload_once(told, driver, streams)
                    if not fault:
                        break
                    told["modules"] = modules[: modules.index(fault)]
                    text = f"{fault}\n{why}".encode(errors="replace")
                    driver.sendall(small_frame(Kind.UNFIT, text))
                driver.sendall(small_frame(Kind.READY))
            except (EOFError, OSError):  # the driver wants it no more
                pass
        for fd in streams:
            os.close(fd)

    def _preload_once(
        self, told: preload.Wanted, driver: socket.socket, streams: list[int]
    ) -> tuple[str, str]:
        """Have a child import modules, and take this process's place.

        Returns:
            The module that is at fault and why, or ``""`` in the child that has taken
            the place.

        Raises:
            EOFError: The driver wants it no more.
            OSError: There is no process for it.
        """
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            is_heir = False
            try:
                ours.close()
                self._become_server(parent)
                with theirs:
                    is_heir = preload.run(told, driver, streams, theirs)
            finally:
                if not is_heir:
                    os._exit(0)
            streams.clear()  # it has closed them
            return "", ""
        theirs.close()
        with ours:
            try:
                at, why = self._watch(ours, driver)
                if not why:
                    ours.sendall(preload.GO_ON)
                    driver.close()
                    self._control.close()
                    self._guard(pid)
            except OSError:  # it has died this very moment
                at, why = told["modules"][-1], "its import ends the process"
            finally:
                self._kill_child(pid)
        return at or told["modules"][0], why

    def _become_server(self, parent: int) -> None:
        """Make the child of a fork a fork server of its own."""
        self._die_with(parent)
        for fd in (self._wake_read, self._wake_write):
            os.close(fd)
        self._wake_read, self._wake_write = os.pipe()
        self._poll = select.poll()
        self._prepare()

    def _watch(self, child: socket.socket, driver: socket.socket) -> tuple[str, str]:
        """Wait until a child has imported everything, or will not.

        Returns:
            The module at which it is, and why that is at fault; ``""`` if all is well.

        Raises:
            EOFError: The driver wants it no more.
        """
        poll = select.poll()
        for fd in (child.fileno(), driver.fileno(), self._driver_fd):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        at, end = "", monotonic() + PRELOAD_S
        with child.makefile("rb", 0) as lines:
            while True:
                ready = {fd for fd, _ in poll.poll(max(0, end - monotonic()) * 1e3)}
                if not ready:
                    return at, f"its import takes more than {PRELOAD_S:.0f} seconds"
                if self._driver_fd in ready:
                    self._end()
                if driver.fileno() in ready:
                    raise EOFError
                line = lines.readline()
                if not line:
                    return at, "its import ends the process"
                if line == preload.FINE:
                    return at, ""
                text = line.decode(errors="replace").strip()
                if text.startswith(preload.TROUBLE):
                    return at, text[1:]
                at = text

    def _kill_child(self, pid: int) -> None:
        """Kill the child that was to import, and what it may have started."""
        os.kill(pid, signal.SIGKILL)  # it is ours, and not reaped
        os.waitpid(pid, 0)
        family.kill(family.of_server(os.getpid()))
        self._reap()

    def _guard(self, heir: int) -> NoReturn:
        """Wait until the child that has taken our place has ended, or the driver."""
        self._heir = heir
        self._poll = select.poll()
        for fd in (self._wake_read, self._driver_fd):
            if fd >= 0:
                self._poll.register(fd, select.POLLIN)
        while self._heir:
            self._reap()
            ready = {fd for fd, _ in self._poll.poll()} if self._heir else set()
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            if self._driver_fd in ready:
                break
        self._end()

    def _become_worker(self, server: int, number: int) -> None:
        """Make the child of a fork independent of what belongs to the fork server."""
        os.setsid()  # a process group of its own, to be killed as a whole
        self._die_with(server)
        signal.set_wakeup_fd(-1)
        for signal_number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signal_number, signal.SIG_DFL)
        programs.be_marked([self._mark, f"{self._mark}.{number}"])
        self._control.close()
        for fd in (self._wake_read, self._wake_write, self._driver_fd):
            if fd >= 0:
                os.close(fd)

    def _die_with(self, parent: int) -> None:
        # The parent may have died between the fork and this line, and then no signal
        # will come. But then this process has another parent already.
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    def _kill(self, number: int) -> None:
        """Kill a worker and its family, while it is still known who started whom."""
        for pid, known in self._workers.items():
            if known == number:
                members = self._family(pid, number)
                _kill_group(pid)
                family.kill(members)

    def _family(self, worker: int, number: int) -> list[family.Process]:
        return family.of_worker(worker, f"{self._mark}.{number}", os.getpid())

    def _kill_rest(self, worker: int, number: int) -> None:
        """Kill what is left of a dead worker's family, until nothing of it lives.

        Its children were handed to this process when it died, so without other
        children than workers there is none: then this costs next to nothing.
        """
        _kill_group(worker)
        end, quiet = monotonic() + END_S, 0
        while quiet < programs.QUIET_LOOKS and monotonic() < end:
            children = family.children()
            if children is not None and children <= self._workers.keys():
                return
            members = self._family(worker, number)
            family.kill(members)
            # One may start another and be gone, between the list and the look at it.
            quiet = 0 if members else quiet + 1
            sleep(0.001)

    def _reap(self) -> None:
        """Reap the children that have ended, and tell the driver of the workers.

        A child may also be an orphan that a task has left, which nobody asks about.
        """
        while (pid := _dead_child()) is not None:
            number = self._workers.get(pid)
            if number is not None:
                # Before it is reaped: until then the ids of its group and session are
                # its own.
                self._kill_rest(pid, number)
                del self._workers[pid]
            _, status, usage = os.wait4(pid, 0)
            if pid == self._heir:
                self._heir = 0
            if number is not None:
                self._notify(ENDED, status, number, usage.ru_maxrss * _MAXRSS_UNIT)

    def _notify(self, what: bytes, code: int, number: int, amount: int) -> None:
        try:
            self._control.sendall(NOTICE.pack(what, code, number, amount))
        except OSError:  # the driver has gone, which `serve` will see
            return

    def _end(self) -> NoReturn:
        """Kill all that is below this process, wait until it is gone, and exit."""
        for pid in self._workers:
            _kill_group(pid)
        end = monotonic() + END_S
        while True:
            members = family.of_server(os.getpid())
            family.kill(members)
            self._reap()
            left = self._workers or members or family.children()
            if not left or monotonic() > end:
                os._exit(0)
            sleep(0.001)


def _dead_child() -> int | None:
    """Return a child that has ended and is not reaped, and do not reap it."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has not come to make its group yet
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _open_process(pid: int) -> int:
    """Return a descriptor that becomes readable when a process ends; -1 without one.

    Usually the connection closes when the driver ends. But a child that the driver has
    forked has a copy of the connection, and may outlive it.
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
    """Stand for a function that this system lacks, or ignore a signal.

    A handler that does nothing, unlike ``SIG_IGN``, is not inherited by programs.
    """


def _import_what_workers_need() -> None:
    import gc

    import cloudpickle  # noqa: F401  (workers find it imported)

    from jackfield_executors.processes import worker  # noqa: F401  (as above)

    # Workers share this process's memory until somebody writes to it. The garbage
    # collector writes to every object that it looks at; frozen ones it leaves alone.
    gc.collect()
    gc.freeze()
