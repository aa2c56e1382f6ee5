"""The worker processes: starting them, hearing them, ending them, replacing them.

All of it runs on the loop's thread, except for ``kill`` and ``may_grow``.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import select
import selectors
import signal
from time import monotonic
from typing import TYPE_CHECKING, Final

from jackfield import serialize
from jackfield.errors import ExecutorError, SerializationError
from jackfield_executors.processes import cancellation, resources
from jackfield_executors.processes.exits import ExitHandler
from jackfield_executors.processes.forkserver import ENDED, NOT_STARTED, STARTED
from jackfield_executors.processes.forkserver_client import ForkServerClient, kill_group
from jackfield_executors.processes.handle import KillReason
from jackfield_executors.processes.pool import STOP_S
from jackfield_executors.processes.spawn import start_worker
from jackfield_executors.processes.wire import Kind

if TYPE_CHECKING:
    import socket

    from jackfield_executors.processes.forkserver_client import Notice
    from jackfield_executors.processes.handle import WorkerHandle
    from jackfield_executors.processes.options import Options
    from jackfield_executors.processes.output import Output
    from jackfield_executors.processes.pool import Pool
    from jackfield_executors.processes.wire import Frame

log: Final = logging.getLogger("jackfield.executors.processes")

MOST_STARTING: Final = 64
"""Workers that are being started at any time."""

MOST_FAILED_STARTS: Final = 4
"""So many workers may die in a row before one is ready; then what waits fails."""

RETRY_S: Final = 1.0
"""When to try again if there was no process or descriptor for another worker."""

DISCONNECTED_S: Final = 0.5
"""How long a worker may live on after its connection is closed."""


class Supervisor:
    """The processes of one executor."""

    def __init__(
        self,
        options: Options,
        pool: Pool,
        output: Output,
        selector: selectors.BaseSelector,
    ) -> None:
        self._options = options
        self._pool = pool
        self._output = output
        self._selector = selector
        self._exits = ExitHandler(pool)
        self._server: ForkServerClient | None = None
        self._numbers = 0
        self._target = 0
        self._failed_starts = 0
        self._retry_at = 0.0

    # -- Starting --------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the fork server.

        Raises:
            OSError: No process or no descriptor can be had.
        """
        self._server = ForkServerClient(self._options.environment())
        control = self._server.control
        self._selector.register(control, selectors.EVENT_READ, self._read_notices)

    def may_grow(self) -> bool:
        """Whether there may be more workers than so far. Called on any thread."""
        return self._target < self._options.workers

    def grow(self, *, closing: bool) -> None:
        """Start the workers that are wanted and missing."""
        if not (self._pool.worker_missing or (self._pool.waiting and self.may_grow())):
            return
        busy = starting = living = 0
        for worker in self._pool.workers.values():
            busy += bool(worker.held)
            starting += not worker.ready
            living += not worker.stopping and not worker.disconnected
        wanted = busy + len(self._pool.waiting)
        wanted = wanted if closing else max(wanted, self._target)
        wanted = min(wanted, self._options.workers)
        self._pool.worker_missing = False
        if wanted > living:
            self._pool.worker_missing = True  # until they are started
            self._start_some(min(wanted - living, MOST_STARTING - starting))
        elif not closing:
            self._target = max(self._target, wanted)

    def _start_some(self, count: int) -> None:
        if monotonic() < self._retry_at:
            return
        self._retry_at = 0.0
        try:
            if self._server is None:
                self.start_server()
            assert self._server is not None
            for _ in range(count):
                self._numbers += 1
                number, options = self._numbers, self._options
                self._register(
                    start_worker(number, options, self._server, self._output)
                )
        except OSError as error:
            self._try_later()
            if not self._pool.workers:
                self._give_up(f"no worker can be started: {error}", error)
        except SerializationError as error:
            self._give_up(f"its initializer cannot be sent: {error}", error)

    def _try_later(self) -> None:
        self._retry_at = monotonic() + RETRY_S
        self._pool.next_check = min(self._pool.next_check, self._retry_at)

    def _register(self, worker: WorkerHandle) -> None:
        with self._pool.lock:
            self._pool.workers[worker.number] = worker
            self._pool.unsent_data |= bool(worker.outbox)
        self._selector.register(worker.sock, selectors.EVENT_READ, worker)

    # -- Hearing ---------------------------------------------------------------------

    def watch_outboxes(self) -> None:
        """Have the rest sent of what sockets did not take at once."""
        if self._pool.unsent_data:
            self._pool.unsent_data = False
            for worker in list(self._pool.workers.values()):
                self._watch_outbox(worker)

    def _watch_outbox(self, worker: WorkerHandle) -> None:
        wanted = bool(worker.outbox)
        if worker.watched != wanted and not worker.disconnected:
            worker.watched = wanted
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0)
            self._selector.modify(worker.sock, events, worker)

    def serve(self, worker: WorkerHandle) -> None:
        """Deal with what a worker has sent, and send it more."""
        if worker.dead:
            return  # it was buried after the selector had named it
        if worker.outbox:
            with self._pool.lock:
                worker.push()
                self._pool.note_idle(worker)
        try:
            for received in worker.reader.read():
                self._on_frame(worker, received)
        except BlockingIOError:
            pass  # it was the socket that takes more
        except Exception as error:
            self._on_disconnect(worker, error)
            return
        if self._options.max_memory_per_worker:
            self._retire_if_large(worker)
        if self._pool.queue:
            self._pool.feed(worker)
        if worker.watched:
            self._watch_outbox(worker)

    def _on_frame(self, worker: WorkerHandle, received: Frame) -> None:
        kind = received.kind
        if kind == Kind.RESULTS:
            values, durations = pickle.loads(received.body)
            self._pool.settle(worker, values, durations, packed=received.number != 0)
        elif kind == Kind.BYTES:
            self._pool.settle_large(worker, received.body, received.number / 1e9)
        elif kind == Kind.VALUE:
            value = ("ok", received.body, received.buffers)
            self._pool.settle_large(worker, value, received.number / 1e9)
        elif kind == Kind.RETURNED:
            first, count = pickle.loads(received.body)
            self._pool.take_back(worker, first, count)
            if cancellation.kill_if_cancelled(self._pool, worker):
                self.kill(worker)
        elif kind == Kind.LOG:
            self._output.log(received.body)
        elif kind == Kind.READY:
            self._failed_starts = 0
            with self._pool.lock:
                worker.ready = True
                self._pool.note_idle(worker)
        elif kind == Kind.UNFIT:
            worker.unfit = bytes(received.body).decode(errors="replace")

    def _on_disconnect(self, worker: WorkerHandle, error: Exception) -> None:
        """A worker's connection is closed or broken: it is dying, or will be killed."""
        self._selector.unregister(worker.sock)
        worker.disconnected = monotonic()
        self._pool.next_check = min(
            self._pool.next_check, worker.disconnected + DISCONNECTED_S
        )
        if not isinstance(error, EOFError | OSError):
            log.error("Worker %d has sent nonsense", worker.pid, exc_info=error)
            worker.kill_reason = KillReason(
                None, f"it sent what it should not: {error!r}."
            )
            self.kill(worker)

    # -- Ending ----------------------------------------------------------------------

    def kill(self, worker: WorkerHandle) -> None:
        """Kill a worker with its process group. Called on any thread."""
        server = self._server
        if server is not None:
            server.kill_worker(worker.number)

    def kill_all(self) -> None:
        """Kill all workers; what they run is not reported."""
        for worker in list(self._pool.workers.values()):
            worker.kill_reason = KillReason(None, None)
            self.kill(worker)

    def stop_idle(self) -> None:
        """End the workers that hold nothing."""
        for worker in list(self._pool.workers.values()):
            if (
                worker.held
                or worker.being_sent
                or worker.stopping
                or worker.kill_reason
            ):
                continue
            if worker.ready:
                with self._pool.lock:
                    self._pool.stop(worker)
            else:  # it may be in a long initializer
                worker.kill_reason = KillReason(None, None)
                self.kill(worker)

    def _retire_if_large(self, worker: WorkerHandle) -> None:
        limit = self._options.max_memory_per_worker
        if limit and not worker.stopping and resources.memory_used(worker.pid) > limit:
            with self._pool.lock:
                if worker.held:
                    worker.recall()
                self._pool.stop(worker)

    def enforce_memory(self, limit: int) -> None:
        """Kill the workers whose running task has taken too much memory."""
        for worker in list(self._pool.workers.values()):
            if worker.held and worker.kill_reason is None:
                used = resources.memory_used(worker.pid)
                if used > limit:
                    reason = (
                        f"it used {used / 1e6:,.0f} MB of memory, above the limit of "
                        f"{limit / 1e6:,.0f} MB (memory_limit_per_worker)."
                    )
                    worker.kill_reason = KillReason(None, reason)
                    self.kill(worker)

    def busy(self) -> bool:
        """Whether any worker holds a task."""
        return any(worker.held for worker in self._pool.workers.values())

    def check(self, now: float) -> None:
        """Kill the workers that should have ended by now."""
        due = [self._retry_at] if self._retry_at > now else []
        self._pool.worker_missing |= 0 < self._retry_at <= now
        for worker in list(self._pool.workers.values()):
            end = _end_due(worker)
            if end > now:
                due.append(end)
            elif worker.kill_reason is None:
                reason = "it closed its connection to the driver."
                worker.kill_reason = KillReason(None, reason)
                self.kill(worker)
        self._pool.next_check = min(due, default=math.inf)

    # -- Deaths ----------------------------------------------------------------------

    def _read_notices(self) -> None:
        """Deal with what the fork server has told."""
        if self._server is None:
            return
        try:
            notices = self._server.notices()
        except EOFError:
            self._replace_server()
            return
        for notice in notices:
            worker = self._pool.workers.get(notice.number)
            if worker is not None:
                self._on_notice(worker, notice)

    def _on_notice(self, worker: WorkerHandle, notice: Notice) -> None:
        if notice.what == STARTED:
            worker.pid = notice.amount
        elif notice.what == NOT_STARTED:
            worker.unfit = f"no process for it: {os.strerror(notice.code)}"
            self._on_exit(worker, signal.SIGKILL, 0)
        elif notice.what == ENDED:
            self._on_exit(worker, notice.code, notice.amount)

    def _on_exit(self, worker: WorkerHandle, status: int, peak: int) -> None:
        """Settle and release what a dead worker held."""
        if not worker.disconnected:
            try:
                while True:
                    for received in worker.reader.read():
                        self._on_frame(worker, received)
            except Exception:  # noqa: S110  (that was all that it has sent)
                pass
            self._selector.unregister(worker.sock)
        self._exits.settle(worker, status, peak)
        self._output.end(worker.pipes)
        if not worker.ready and worker.kill_reason is None:
            reason = _last_line(worker.unfit) or self._exits.explain(status, peak)
            cause = serialize.RemoteTraceback(worker.unfit) if worker.unfit else None
            self._count_failed_start(
                f"its workers die while they start: {reason}", cause
            )
        worker.close()

    def _count_failed_start(self, reason: str, cause: BaseException | None) -> None:
        self._failed_starts += 1
        if self._failed_starts < MOST_FAILED_STARTS:
            return
        if any(worker.ready for worker in self._pool.workers.values()):
            self._try_later()  # the others get everything done meanwhile
        else:
            self._give_up(reason, cause)

    def _give_up(self, reason: str, cause: BaseException | None) -> None:
        """Fail what waits. The next submission tries again."""
        self._failed_starts = 0
        self._target = 0
        self._pool.worker_missing = False
        error = ExecutorError(self._options.label, reason)
        error.__cause__ = cause
        self._pool.fail_queue(error)

    def _replace_server(self) -> None:
        """The fork server has been killed, and with it the workers."""
        self.close()
        reason = "the process that starts the workers has died, and they with it."
        for worker in list(self._pool.workers.values()):
            if worker.pid:
                kill_group(worker.pid)
                _wait_for_end(worker.sock)
            if worker.kill_reason is None:
                worker.kill_reason = KillReason(None, reason)
            self._on_exit(worker, signal.SIGKILL, 0)
        self._count_failed_start(reason, None)

    def close(self) -> None:
        """End the fork server; the workers have ended."""
        if self._server is not None:
            self._selector.unregister(self._server.control)
            self._server.close()
            self._server = None


def _end_due(worker: WorkerHandle) -> float:
    """When a worker should have ended."""
    if worker.stopping:
        return math.inf if worker.held else worker.stopping + STOP_S
    return worker.disconnected + DISCONNECTED_S if worker.disconnected else math.inf


def _wait_for_end(sock: socket.socket) -> None:
    """Wait until a killed worker has let go of its socket; a second at most."""
    poll = select.poll()
    poll.register(sock, 0)  # nothing but the other side's end
    poll.poll(1000)


def _last_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else ""
