"""Supervising the workers: start them, read what they send, stop and replace them.

All of it runs on the loop's thread, except for ``kill`` and ``may_grow``. So the
selector, the fork server's connection and the list of workers have one user, and the
pool's lock is only taken for what threads that submit and cancel also change.

A worker's life, as it is seen here:

1. ``grow`` finds that one is missing, and asks the fork server for it. From now on it
   is in ``Pool.workers``, under a number that is never used again.
2. The fork server tells its process id, or that there is no process for it.
3. The worker tells that it is ``READY``, or why it is not, and is sent tasks.
4. It exits because it was told to, or it is killed, or it dies. Often its connection
   closes first (``_on_disconnect``), which says nothing yet about why.
5. The fork server has reaped it and tells its wait status. Only now its works are
   settled (``_on_exit``), because only now nothing of it can change any more.

*A fork server that does not answer* for ``ANSWER_S`` starts no worker, kills none, and
tells of no end, so that a task of a dead worker would never be settled. If no worker is
ready, it is replaced, and all of them with it. Otherwise it is frozen, so that it can
never go on, and another one is started beside it (``_set_aside``). Its workers that are
ready go on. Where they end, and when they have to, is then seen to here: by their
connection, and by their process id, which nobody can get as long as nobody reaps them.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import select
import selectors
import signal
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

import jackfield_serialize as serialize
from jackfield.clock import monotonic
from jackfield.errors import ExecutorLostError, SerializationError
from jackfield.states import WorkerEvent
from jackfield_executors.processes import cancellation, family, resources, shared
from jackfield_executors.processes.exits import ExitHandler
from jackfield_executors.processes.forkserver_client import (
    ForkServerClient,
    Preloading,
    kill_group,
)
from jackfield_executors.processes.handle import KillReason
from jackfield_executors.processes.needs import needed
from jackfield_executors.processes.pool import SAMPLE, STOP_S
from jackfield_executors.processes.progress import ROOM
from jackfield_executors.processes.requests import (
    ENDED,
    NOT_STARTED,
    RAISES,
    STARTED,
)
from jackfield_executors.processes.spawn import start_worker, what_to_preload
from jackfield_executors.processes.wire import Kind, small_frame
from jackfield_system.measuring import this_host

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from jackfield_executors.processes.fitness import Fitness
    from jackfield_executors.processes.forkserver_client import Notice
    from jackfield_executors.processes.handle import WorkerHandle
    from jackfield_executors.processes.options import Options
    from jackfield_executors.processes.output import Output
    from jackfield_executors.processes.pool import Pool
    from jackfield_executors.processes.shared import Store
    from jackfield_executors.processes.wire import Frame

log: Final = logging.getLogger("jackfield.executors.processes")

MOST_STARTING: Final = 64
"""How many workers may be in their start at a time."""

MOST_FAILED_STARTS: Final = 4
"""When so many workers in a row have died before one was ready, what waits fails."""

ANSWER_S: Final = 60.0
"""Seconds until the fork server has to tell what has become of a worker that it was
asked for, was asked to kill, or whose connection is closed. On a busy machine it may
take some to start."""

STUCK: Final = "the process that starts the workers is stuck."

PRELOAD_S: Final = 300.0
"""Seconds that it gets before that to preload modules."""

RETRY_S: Final = 1.0
"""Seconds until the next try if there was no process or descriptor for a worker."""

DISCONNECTED_S: Final = 5.0
"""Seconds until it has to be told that a worker has exited whose connection has closed:
on a busy machine, it may take some."""

KILL_AGAIN_S: Final = 0.01
"""Seconds until the next try if the fork server's connection had no room for a kill."""


class Supervisor:
    """Starts, hears, stops and replaces the workers of one executor.

    ``_target`` is the number of workers that is kept up. It rises with the number of
    works that ran or waited at the same time, and falls only when workers cannot be
    started, or when ``limit`` says that there are to be fewer.
    """

    def __init__(
        self,
        options: Options,
        pool: Pool,
        output: Output,
        selector: selectors.BaseSelector,
        tell: Callable[[WorkerEvent], None],
        limit: Callable[[], int],
        store: Store,
        fitness: Fitness,
    ) -> None:
        self._fitness = fitness
        self._answers_from = 0.0  # when the fork server began to serve requests
        self._store = store
        selector.register(store.news, selectors.EVENT_READ, self._forget_segments)
        self._limit = limit
        self._options = options
        self._tell = tell
        self._pool = pool
        self._output = output
        self._selector = selector
        self._exits = ExitHandler(pool)
        self.unsent_kills: deque[WorkerHandle] = deque()
        self._server: ForkServerClient | None = None
        # Fork servers that were given up because they do not answer. They have forked
        # the workers with numbers below ``_first``, the present server all later ones.
        self._frozen: list[ForkServerClient] = []
        self._first = 0
        self._new_kills = False
        self._preloading: Preloading | None = None
        self._wanted = options.preload
        self._preloaded = False
        self._numbers = 0
        self._target = limit() if options.elastic else 0
        pool.worker_missing = self._target > 0
        self._failed_starts = 0
        self._retry_at = 0.0

    # -- Starting --------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the fork server.

        Raises:
            OSError: No process or no descriptor can be had.
        """
        self._server = ForkServerClient(self._options.environment())
        self._preloaded = False
        self._answers_from = monotonic()
        control = self._server.control
        self._selector.register(control, selectors.EVENT_READ, self._read_notices)

    def may_grow(self) -> bool:
        """Tell whether there may be more workers than so far. Called on any thread.

        The answer may be old when it arrives. Then the loop is woken for nothing, or
        looks by itself: it raises the target in ``grow``, having seen what waits.
        """
        return self._target < self._limit()

    def grow(self, *, closing: bool) -> None:
        """Start the workers that are missing.

        While the executor closes, only as many are wanted as there is work for.
        """
        grows = self.may_grow() or closing
        if not (self._pool.worker_missing or (self._pool.waiting and grows)):
            return
        busy = starting = living = 0
        for worker in self._pool.workers.values():
            busy += bool(worker.held)
            starting += not worker.ready
            living += not worker.stopping and not worker.disconnected
        wanted = busy + len(self._pool.waiting)
        wanted = wanted if closing else max(wanted, self._target)
        # An elastic pool may have been asked for no workers. While it closes, nobody
        # asks for more, and the works that wait still have to run.
        limit = self._limit() or (self._options.workers if closing else 0)
        wanted = min(wanted, limit)
        self._pool.worker_missing = False
        if wanted > living:
            self._pool.worker_missing = True  # look again until they are started
            self._start_some(min(wanted - living, MOST_STARTING - starting))
        elif not closing:
            self._target = max(self._target, wanted)
            if not (starting or self._fitness.lost):
                self._fitness.note_well()

    def shrink(self) -> None:
        """Have workers exit if there are more than there are to be.

        Those that have nothing to do go first. Another one gives back what it has not
        begun, and exits after its task: so no task is lost, and none runs twice.
        """
        limit = self._limit()
        self._target = min(self._target, limit)
        living = [
            worker
            for worker in self._pool.workers.values()
            if not (worker.stopping or worker.disconnected or worker.kill_reason)
        ]
        too_many = len(living) - limit
        if too_many <= 0:
            return
        living.sort(key=lambda one: len(one.held) + len(one.being_sent))
        for worker in living[:too_many]:
            self._dismiss(worker)

    def _dismiss(self, worker: WorkerHandle) -> None:
        """Have a worker exit, after the task that it runs."""
        if worker.ready:
            with self._pool.lock:
                if worker.held:
                    worker.recall()
                self._pool.stop(worker)
        else:  # it may be in an initializer that takes long
            worker.kill_reason = KillReason(None, None)
            self.kill(worker)

    def _start_some(self, count: int) -> None:
        if monotonic() < self._retry_at:
            return
        self._retry_at = 0.0
        try:
            if self._server is None:
                self.start_server()
            assert self._server is not None
            if not self._preloaded:
                self._preloaded = True
                self._preload(self._server)
            for _ in range(count):
                self._numbers += 1
                number, options = self._numbers, self._options
                self._register(
                    start_worker(number, options, self._server, self._output)
                )
        except OSError as error:
            self._try_later()
            reason = f"no worker can be started: {error}"
            if self._pool.workers:
                self._fitness.note_short(reason)
            else:
                self._give_up(reason, error)
        except SerializationError as error:
            self._give_up(f"its initializer cannot be sent: {error}", error)

    def _preload(self, server: ForkServerClient) -> None:
        """Have modules imported before the first worker is forked.

        What an initializer sets may have to come before such imports. So then it is
        not done of ourselves.
        """
        if self._wanted is None and self._options.initializer is None:
            with self._pool.lock:
                first = {work.function for work in islice(self._pool.queue, SAMPLE)}
            self._wanted = tuple(needed(first)) if first else None
        if self._wanted:
            wanted = what_to_preload(self._wanted)
            self._preloading = Preloading(server, self._output, wanted)
            self._selector.register(
                self._preloading.sock, selectors.EVENT_READ, self._read_preloading
            )

    def _read_preloading(self) -> None:
        """Deal with what comes of preloading."""
        if self._preloading is None:
            return
        try:
            for frame in self._preloading.read():
                if frame.kind == Kind.LOG:
                    self._output.add_record(frame.body)
                elif frame.kind == Kind.UNFIT:
                    self._tell_fault(bytes(frame.body).decode(errors="replace"))
                else:
                    self._end_preloading()
        except EOFError:
            self._end_preloading()

    def _tell_fault(self, text: str) -> None:
        module, why = text.split("\n", 1)
        # If the user has not asked for this import, it is no news that it raises: the
        # task that needs the module will get the same error.
        expected = self._options.preload is None and why.startswith(RAISES)
        log.log(
            logging.DEBUG if expected else logging.WARNING,
            "Executor %r: each worker imports %r itself, which cannot be preloaded: %s",
            self._options.label,
            module,
            why,
        )

    def _end_preloading(self) -> None:
        if self._preloading is not None:
            self._selector.unregister(self._preloading.sock)
            self._preloading.close(self._output)
            self._preloading = None
            self._answers_from = monotonic()

    def _try_later(self) -> None:
        self._retry_at = monotonic() + RETRY_S
        self._pool.next_check = min(self._pool.next_check, self._retry_at)

    def forget_arguments(self) -> None:
        """Let go of the arguments that are shared, when nothing is left to run."""
        if self._store.recent and not self._pool.queue and not self.busy():
            self._store.recent.clear()

    def _tell_room(self) -> None:
        """Tell all workers how much they may share."""
        room = self._store.room() + 1 if self._store.open else 0
        for worker in self._pool.workers.values():
            worker.page.words[ROOM] = room

    def _forget_segments(self) -> None:
        """Have the workers forget the segments to which nothing refers any more.

        No work refers to them either, so none that a worker has still to run.
        """
        gone = self._store.take_gone()
        with self._pool.lock:
            for worker in self._pool.workers.values():
                mapped = worker.attached.intersection(gone)
                if mapped and not worker.disconnected:
                    worker.attached -= mapped
                    worker.send([small_frame(Kind.DETACH, number=n) for n in mapped])
                    self._pool.unsent_data |= bool(worker.outbox)
        self._tell_room()

    def _register(self, worker: WorkerHandle) -> None:
        with self._pool.lock:
            self._pool.workers[worker.number] = worker
            self._pool.unsent_data |= bool(worker.outbox)
            self._look_at(self._answer_due(worker))
        self._selector.register(worker.sock, selectors.EVENT_READ, worker)
        self._tell_room()

    # -- Hearing ---------------------------------------------------------------------

    def watch_outboxes(self) -> None:
        """Have the selector tell when sockets that were full have room again."""
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
            return  # it was settled in this very step, after the selector's answer
        if worker.outbox:
            with self._pool.lock:
                worker.push()
                self._pool.note_idle(worker)
        try:
            for received in worker.reader.read():
                self._on_frame(worker, received)
        except BlockingIOError:
            pass  # nothing to read: the socket had room to write
        except Exception as error:
            self._on_disconnect(worker, error)
            return
        if self._options.max_memory_per_worker:
            self._retire_if_large(worker)
        if self._pool.has_queued:
            self._pool.feed(worker)
        if worker.watched:
            self._watch_outbox(worker)

    def _on_frame(self, worker: WorkerHandle, received: Frame) -> None:
        kind = received.kind
        if kind == Kind.RESULTS:
            values, durations, rans = pickle.loads(received.body)
            packed = received.number != 0
            self._pool.settle(worker, values, durations, rans, packed=packed)
        elif kind == Kind.RAN:
            worker.ran = pickle.loads(received.body)
        elif kind == Kind.BYTES:
            self._pool.settle_large(worker, received.body, received.number / 1e9)
        elif kind == Kind.KEPT:
            result = received.body, received.buffers
            self._pool.settle_kept(worker, result, received.number / 1e9)
        elif kind == Kind.SHARED:
            known, head = pickle.loads(received.body)
            fd = shared.received(worker.reader.descriptors, known)
            segment = self._store.add(fd, known[2])
            if head:
                segment.head, segment.writer = head, worker
            self._tell_room()
            self._pool.settle_kept(worker, segment, received.number / 1e9)
        elif kind == Kind.VALUE:
            value = ("ok", received.body, received.buffers)
            self._pool.settle_large(worker, value, received.number / 1e9)
        elif kind == Kind.GIVEN_BACK:
            first, count = pickle.loads(received.body)
            self._pool.take_back(worker, first, count)
            if cancellation.is_to_be_killed(self._pool, worker):
                self.kill(worker)
        elif kind == Kind.LOG:
            self._output.add_record(received.body)
        elif kind == Kind.READY:
            self._failed_starts = 0
            self._note_started(worker, int(received.body))
            with self._pool.lock:
                worker.ready = True
                self._pool.note_idle(worker)
            self._fitness.note_well()
        elif kind == Kind.SPOILT:
            reason = bytes(received.body).decode(errors="replace")
            log.info(
                "Worker %d is replaced, as a task has spoilt it: %s", worker.pid, reason
            )
            if not worker.stopping:
                self._dismiss(worker)
        elif kind == Kind.UNFIT:
            worker.unfit = bytes(received.body).decode(errors="replace")

    def _on_disconnect(self, worker: WorkerHandle, error: Exception) -> None:
        """Note that a worker's connection is closed, or useless after an error.

        Usually the process is dying, and its exit follows at once. If it lives on, a
        task has closed the descriptor: ``check`` kills the worker after a moment.
        """
        self._selector.unregister(worker.sock)
        worker.disconnected = monotonic()
        self._look_at(worker.disconnected + DISCONNECTED_S)
        if worker.number < self._first:
            self._end_orphan(worker)
        elif not isinstance(error, EOFError | OSError):
            log.error("Worker %d has sent nonsense", worker.pid, exc_info=error)
            worker.kill_reason = KillReason(
                None, f"it sent what it should not: {error!r}."
            )
            self.kill(worker)

    # -- Ending ----------------------------------------------------------------------

    def kill(self, worker: WorkerHandle) -> bool:
        """Kill a worker with its process group. Called on any thread.

        The fork server does it, since it is the one that reaps the worker: it cannot
        mistake a new process with the same id for it.

        Returns:
            Whether the loop has to be woken, to try again or to see whether it is done.
        """
        if worker.number < self._first:
            kill_group(worker.pid)  # its connection closes then
            return False
        server, preloading = self._server, self._preloading
        new = not worker.killed
        if new:
            worker.killed = monotonic()
            self._new_kills = True  # after that; see ``note_kills``
        if preloading is not None and not worker.pid:
            preloading.stop()  # which it would have to wait for
        if server is None or server.kill_worker(worker.number):
            return new
        self.unsent_kills.append(worker)
        return True

    def kill_again(self) -> None:
        """Try again to kill the workers for which there was no room before."""
        for _ in range(len(self.unsent_kills)):
            self.kill(self.unsent_kills.popleft())

    def note_kills(self) -> None:
        """Have it looked at in time whether the fork server has done new kills."""
        if self._new_kills:
            self._new_kills = False
            with self._pool.lock:
                self._look_at(monotonic() + ANSWER_S)

    def kill_all(self) -> None:
        """Kill all workers. The tasks that they run are not reported."""
        for worker in list(self._pool.workers.values()):
            worker.kill_reason = KillReason(None, None)
            self.kill(worker)

    def stop_idle(self) -> None:
        """Have the workers exit that hold nothing; those in their start are killed."""
        for worker in list(self._pool.workers.values()):
            if (
                worker.held
                or worker.being_sent
                or worker.stopping
                or worker.kill_reason
            ):
                continue
            self._dismiss(worker)

    def _retire_if_large(self, worker: WorkerHandle) -> None:
        """Replace a worker that holds too much memory, before its next task."""
        limit = self._options.max_memory_per_worker
        if limit and not worker.stopping and resources.memory_used(worker.pid) > limit:
            self._dismiss(worker)

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
        """Tell whether any worker holds a task."""
        return any(worker.held for worker in self._pool.workers.values())

    def check(self, now: float) -> None:
        """Kill the workers that should have exited by now, and set the next check."""
        self._replace_if_stuck(now)
        self._try_whether_well(now)
        due = [at for at in (self._retry_at, self._fitness.trial) if at > now]
        self._pool.worker_missing |= 0 < self._retry_at <= now
        # Under the lock, because a thread that sends a worker its last task tells it to
        # exit, and makes `next_check` earlier: that must not be overwritten here.
        with self._pool.lock:
            for worker in self._pool.workers.values():
                due.append(max(self._answer_due(worker), now + RETRY_S))
                end = _end_due(worker)
                if end > now:
                    due.append(end)
                elif worker.kill_reason is None:
                    reason = "it closed its connection to the driver."
                    worker.kill_reason = KillReason(None, reason)
                    self.kill(worker)
            self._pool.next_check = min(due, default=math.inf)

    def _look_at(self, when: float) -> None:
        """Have ``check`` called at that time, if it is not called before."""
        self._pool.next_check = min(self._pool.next_check, when)

    def _answer_due(self, worker: WorkerHandle) -> float:
        """Return when the fork server has to have told of a worker; infinite if it has.

        While it preloads, it serves no requests; that has a limit of its own.
        """
        asked = worker.disconnected or worker.killed
        asked = asked or (0.0 if worker.pid else worker.asked)
        if worker.dead or not asked or worker.number < self._first:
            return math.inf
        if self._preloading is not None:
            return self._answers_from + PRELOAD_S
        return max(asked, self._answers_from) + ANSWER_S

    def _replace_if_stuck(self, now: float) -> None:
        """Replace a fork server that does not answer, or go on beside it."""
        workers = list(self._pool.workers.values())
        due = min(map(self._answer_due, workers), default=math.inf)
        if due > now or self._server is None:
            return
        if self._preloading is not None:
            log.warning(
                "Executor %r: to preload %s takes more than %g s; workers start "
                "without", self._options.label, ", ".join(self._wanted or ()), PRELOAD_S
            )  # fmt: skip
            self._wanted = ()
            self._preloading.stop()
            self._end_preloading()
        elif any(one.ready and not (one.disconnected or one.killed) for one in workers):
            self._set_aside(self._server)
        else:
            self._replace_server(STUCK)

    def _set_aside(self, server: ForkServerClient) -> None:
        """Go on with another fork server, and with the workers of this one."""
        self._selector.unregister(server.control)
        server.freeze()
        self._frozen.append(server)
        self._server = None
        self._first = self._numbers + 1
        workers = list(self._pool.workers.values())
        for worker in workers:
            if not worker.pid or worker.disconnected or worker.killed:
                self._end_orphan(worker)
        left = sum(not worker.dead for worker in workers)
        log.warning(
            "Executor %r: %s Another one is started; %d of its workers go on",
            self._options.label, STUCK, left,
        )  # fmt: skip
        self._pool.worker_missing = True

    def _end_orphan(self, worker: WorkerHandle) -> None:
        """See to the end of a worker whose fork server tells of none."""
        status: int = signal.SIGKILL
        if worker.pid:
            kill_group(worker.pid)
            _wait_for_end(worker.sock)
            status = family.status_of(worker.pid) or status
        elif worker.kill_reason is None:  # it never began
            worker.kill_reason = KillReason(None, STUCK)
        self._on_exit(worker, status, 0)
        if not any(number < self._first for number in self._pool.workers):
            self._end_frozen()

    def _end_frozen(self) -> None:
        for server in self._frozen:
            server.end_frozen()
        self._frozen.clear()

    def _try_whether_well(self, now: float) -> None:
        """Start a worker although nothing waits, if the pool was lost and it is time.

        If there are to be no workers, none is tried: the next works will tell.
        """
        fitness = self._fitness
        if not fitness.trial or fitness.trial > now or self._pool.closing:
            return
        fitness.trial = 0.0
        if self._limit():
            self._target = max(self._target, 1)
            self._pool.worker_missing = True
        else:
            fitness.note_well()

    # -- Exits -----------------------------------------------------------------------

    def _read_notices(self) -> None:
        """Deal with what the fork server has to tell."""
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
            self._note_started(worker, notice.amount)
        elif notice.what == NOT_STARTED:
            worker.unfit = f"no process for it: {os.strerror(notice.code)}"
            self._on_exit(worker, signal.SIGKILL, 0)
        elif notice.what == ENDED:
            self._on_exit(worker, notice.code, notice.amount)

    def _note_started(self, worker: WorkerHandle, pid: int) -> None:
        """Note a worker's process, of which the worker and the fork server both tell.

        The worker may be the first, and have run tasks before the fork server is heard.
        """
        if not worker.pid:
            worker.pid = pid
            self._tell_of(worker, alive=True)

    def _on_exit(self, worker: WorkerHandle, status: int, peak: int) -> None:
        """Deal with the end of a worker, which the fork server has reaped.

        Its process is gone, so all that it has sent is in the socket: read that to its
        end first, so that no result is taken for lost and run again.
        """
        if not worker.disconnected:
            try:
                while True:
                    for received in worker.reader.read():
                        self._on_frame(worker, received)
            except Exception:  # noqa: S110  (the end, or the half frame before it)
                pass
            self._selector.unregister(worker.sock)
        reason = self._exits.settle(worker, status, peak)
        if worker.pid:  # else there was no process
            self._tell_of(worker, alive=False, reason=reason)
        self._output.end(worker.pipes)
        if not worker.ready and worker.kill_reason is None:
            reason = _last_line(worker.unfit) or self._exits.explain(status, peak)
            cause = serialize.RemoteTraceback(worker.unfit) if worker.unfit else None
            self._count_failed_start(
                f"its workers die while they start: {reason}", cause
            )
        worker.close()

    def _tell_of(self, worker: WorkerHandle, *, alive: bool, reason: str = "") -> None:
        """Tell observers of a worker that has come or gone."""
        label, name, now = self._options.label, worker.name, monotonic()
        self._tell(
            WorkerEvent(label, name, this_host(), worker.pid, alive, reason, now)
        )

    def _count_failed_start(self, reason: str, cause: BaseException | None) -> None:
        """Note that a worker has died before it was ready, for this reason."""
        self._failed_starts += 1
        tried = self._fitness.lost and not self._pool.has_queued
        if self._failed_starts < MOST_FAILED_STARTS and not tried:
            return
        if any(worker.ready for worker in self._pool.workers.values()):
            self._try_later()  # the ready ones do the work meanwhile
            self._fitness.note_short(reason)
        else:
            self._give_up(reason, cause)

    def _give_up(self, reason: str, cause: BaseException | None) -> None:
        """Fail what waits. Workers are started again when the next works come.

        What fails now is to go elsewhere, so the kernel is told of the loss first.
        """
        self._failed_starts = 0
        self._target = 0
        self._pool.worker_missing = False
        self._fitness.note_lost(reason)
        self._look_at(self._fitness.trial)
        error = ExecutorLostError(self._options.label, reason)
        error.__cause__ = cause
        self._pool.fail_queue(error)

    def _replace_server(self, why: str = "") -> None:
        """Settle all workers after the death of the fork server; ``grow`` starts anew.

        The operating system kills the workers with their parent where it can (on
        Linux); elsewhere we do. Nobody is left who could tell when they have ended, so
        we wait until each has let go of its socket. Then all that it has sent is in
        there.
        """
        self._close_server()
        died = "the process that starts the workers has died, and they with it."
        reason = why or died
        for worker in list(self._pool.workers.values()):
            if worker.number < self._first:
                continue
            if worker.pid:
                kill_group(worker.pid)
                _wait_for_end(worker.sock)
            if worker.kill_reason is None:
                worker.kill_reason = KillReason(None, reason)
            self._on_exit(worker, signal.SIGKILL, 0)
        self._count_failed_start(reason, None)

    def close(self) -> None:
        """End the fork server, and with it all workers that are left."""
        self._close_server()
        self._end_frozen()

    def _close_server(self) -> None:
        self._end_preloading()
        if self._server is not None:
            self._selector.unregister(self._server.control)
            self._server.close()
            self._server = None


def _end_due(worker: WorkerHandle) -> float:
    """Return when a worker has to have exited; infinite if it may go on."""
    if worker.stopping:
        return math.inf if worker.held else worker.stopping + STOP_S
    return worker.disconnected + DISCONNECTED_S if worker.disconnected else math.inf


def _wait_for_end(sock: socket.socket) -> None:
    """Wait, a second at most, until a killed worker has let go of its socket."""
    poll = select.poll()
    poll.register(sock, 0)  # asks for nothing: errors and hang-ups always count
    poll.poll(1000)


def _last_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else ""
