"""What the kernel calls, and the loop that serves the workers.

The loop is one thread. It waits in a selector for whatever comes next: a worker has
sent something or takes more, the fork server has a notice, another thread has written
to the wake-up pipe, or time is up. Only the loop reports outcomes. Other threads change
the ``Pool`` under its lock, and wake the loop if it has to look at something before it
would do so by itself.

*The end.* ``shutdown`` only sets what the loop has to do, wakes it, and joins its
thread. Each step of the loop then goes on towards the end (``_continue_shutdown``). One
thread cannot be waited for: the loop's own, when ``report`` calls ``shutdown``. It then
runs the loop's steps itself, within the step that has reported, until the end is
reached; back in that outer step, the loop finds that it has ended.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import selectors
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from jackfield.abc import Capabilities, Executor, Health
from jackfield.clock import monotonic
from jackfield.errors import ExecutorBrokenError, ExecutorError
from jackfield_executors.elastic import Idle
from jackfield_executors.processes import cancellation, output
from jackfield_executors.processes.fitness import Fitness
from jackfield_executors.processes.handle import WorkerHandle
from jackfield_executors.processes.output import Output
from jackfield_executors.processes.pool import Pool
from jackfield_executors.processes.shared import Store
from jackfield_executors.processes.supervisor import KILL_AGAIN_S, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackfield.abc import ExecutorContext, Work
    from jackfield.events import Load, Running
    from jackfield_executors.processes.options import Options

log: Final = logging.getLogger("jackfield.executors.processes")

START_S: Final = 0.1
"""Seconds that a worker is expected to take to start."""

MEMORY_PERIOD_S: Final = 0.1
"""Seconds between two looks at the memory of busy workers, if it is limited."""

_NAP_S: Final = 1.0
"""Seconds of a wait for the loop's thread; Python looks for a Ctrl-C after each."""

_LOOK_S: Final = 0.01
"""Seconds between two looks whether a loop is over whose thread cannot be joined."""


class ProcessExecutor(Executor):
    """Runs works in processes of this machine.

    ``write`` and ``handle`` take what they print and log; see ``Output``.
    """

    capabilities: Capabilities = Capabilities(
        isolated=True,
        cancels_running=True,
        walltime="kill",
        survives_worker_death=True,
        priorities=True,
    )

    def __init__(
        self,
        options: Options,
        write: Callable[[str, str], None] = output.write,
        handle: Callable[[bytes], None] = output.handle,
    ) -> None:
        self._options = options
        self._write = write
        self._handle = handle
        self._pid = os.getpid()
        self._limit = options.init if options.elastic else options.workers
        self.capabilities: Capabilities = self.capabilities._replace(
            resources=options.resources
        )
        per_worker = options.max_tasks_per_worker
        self._pool = Pool(options.label, per_worker, options.shares())
        self._thread: threading.Thread | None = None
        self._resources = ExitStack()
        self._kill_at = math.inf
        self._dropping = False
        self._ended = False
        self._over = False  # the loop has made its last step
        self._idle = Idle()
        self._fitness = Fitness(options.label)

    @property
    def workers(self) -> int:
        """How many worker processes there are at most, for now."""
        return self._limit

    @property
    def health(self) -> Health:
        """Whether workers can be started; see ``fitness``."""
        return self._fitness.health

    def load(self) -> Load | None:
        """Tell what there is to do, if the number of workers is elastic."""
        options = self._options
        if not options.elastic:
            return None
        from jackfield.events import Load  # only elastic executors need it

        queued, unfinished, unknown, seconds = self._pool.to_do()
        return Load(
            options.label, self._limit, unfinished, queued, self._limit,
            options.least, options.workers, unknown, seconds, START_S,
            self._idle.seconds(unfinished),
        )  # fmt: skip

    def scale(self, workers: int) -> None:
        """Have at most so many workers; they start when there is work for them.

        Those that are too many exit: first who has nothing, others after their task.
        """
        if self._limit == workers or not self._options.elastic:
            return
        self._limit = workers
        self._wake()
        # A work may come while the last worker goes: ``submit`` puts it into the queue
        # first and reads the limit afterwards, and here it is the other way round. So
        # at least one of the two sees that a work waits that nobody would run.
        self._changed()

    def start(self, context: ExecutorContext) -> None:
        """Start the fork server and the loop; workers start with the first works.

        Raises:
            ExecutorError: No process or no descriptor can be had.
        """
        self._report = context.report
        self._tell = context.tell
        self._changed = self._fitness.changed = context.changed
        self._options = self._options._replace(spill=str(context.run_dir))
        try:
            self._open()
        except OSError as error:
            self._resources.close()
            reason = f"it cannot be started: {error}"
            raise ExecutorError(self._options.label, reason) from error
        self._thread = threading.Thread(
            target=self._run, name=f"{self._options.label}-loop", daemon=True
        )
        self._thread.start()
        if self._options.elastic:
            self._wake()  # for those that there are to be from the start
        atexit.register(self._at_exit)

    def _open(self) -> None:
        """Open all that is closed at the end, and start the fork server.

        The wake-up pipe does not block on either side. When it is full, the loop has
        not read it yet and will wake anyway; so a failed write loses nothing.
        """
        closing = self._resources
        self._selector = closing.enter_context(selectors.DefaultSelector())
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            closing.callback(os.close, fd)
            os.set_blocking(fd, False)
        self._selector.register(
            self._wake_read, selectors.EVENT_READ, self._drain_wakeups
        )
        self._output = Output(self._options.label, self._write, self._handle)
        closing.callback(self._output.close)
        store = Store(self._options.max_shared)
        closing.callback(store.close)
        self._pool.share = store.share
        self._supervisor = Supervisor(
            self._options,
            self._pool,
            self._output,
            self._selector,
            self._tell,
            lambda: self._limit,
            store,
            self._fitness,
        )
        closing.callback(self._supervisor.close)
        self._supervisor.start_server()

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue works, and send idle workers what they can take at once.

        The loop is woken only if it has to do something: start a worker, send the rest
        of what a socket did not take, report what could not be pickled, or look at a
        walltime earlier than it had planned.

        Raises:
            ExecutorError: The executor has been shut down.
        """
        refused = self._pool.submit(batch)
        if self._options.elastic:
            self._idle.end()
            if not self._limit:  # nobody runs them, so somebody has to be asked for
                self._changed()
        fed = self._pool.feed_idle()
        grows = self._pool.has_queued and self._supervisor.may_grow()
        if fed or grows or refused:
            self._wake()

    def cancel(self, work: Work) -> bool:
        """Keep a work from running, or kill the worker that runs it."""
        possible, to_kill, to_wake = cancellation.cancel(self._pool, work)
        if to_kill is not None:
            to_wake = self._supervisor.kill(to_kill)
        if to_wake:
            self._wake()
        return possible

    def running(self) -> list[Running]:
        """Return what each worker runs, as its page has it."""
        with self._pool.lock:
            workers = self._pool.workers.values()
            found = [one.running_now() for one in workers if one.held]
        return [one for one in found if one is not None]

    def shutdown(self, *, grace: float | None = None) -> None:
        """End as the contract says. May be called on any thread, also within a report.

        While one call waits, another one may shorten it by a smaller ``grace``. A child
        that the driver has forked does nothing here: the workers are its parent's.
        """
        if self._thread is None or os.getpid() != self._pid:
            return
        with self._pool.lock:
            self._pool.closing = True
            if grace is not None:
                self._dropping = True
                self._kill_at = min(self._kill_at, monotonic() + grace)
        self._wake()
        # Until Python 3.13, a Ctrl-C that strikes in ``Thread.join`` marks the thread
        # as ended, though it runs: a second call of this would then end the pool
        # while the loop still works on it. So the loop says itself when it is over.
        thread = self._thread
        if threading.current_thread() is not thread and thread.ident is not None:
            while thread.is_alive() or not self._over:
                thread.join(_NAP_S)
                if not thread.is_alive() and not self._over:
                    time.sleep(_LOOK_S)
        while not self._ended:
            self._step()

    def _at_exit(self) -> None:
        self.shutdown(grace=0)

    def _wake(self) -> None:
        """Have the loop do its next step now. Called on any thread.

        Under the lock, since after the end the descriptor's number may be somebody
        else's; ``_close`` closes it under the same lock.
        """
        with self._pool.lock:
            if not self._ended:
                try:
                    os.write(self._wake_write, b"\0")
                except BlockingIOError:  # it is full, so the loop will wake
                    return

    # -- The loop --------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ended:
                self._step()
        except Exception as error:  # a defect of ours, but no future may stay pending
            log.exception("Executor %r has failed", self._options.label)
            self._pool.closing = True
            reason = f"it has failed: {error!r}"
            self._fitness.note_lost(reason)
            self._pool.fail_all(ExecutorBrokenError(self._options.label, reason))
            self._deliver()
            self._close()
        finally:
            self._over = True

    def _step(self) -> None:
        """Wait for something to happen, and deal with all that has."""
        for key, _ in self._selector.select(self._timeout()):
            if isinstance(key.data, WorkerHandle):
                self._supervisor.serve(key.data)
            else:
                key.data()
        self._deliver()  # comes first, because somebody waits for the results
        if self._ended:  # `report` has called `shutdown`, which ran the loop to its end
            return
        self._supervisor.kill_again()
        self._check_limits()
        self._pool.feed_idle()
        self._supervisor.watch_outboxes()
        self._supervisor.forget_arguments()
        if self._options.elastic and not self._pool.closing:
            self._supervisor.shrink()
        self._supervisor.grow(closing=self._pool.closing)
        if self._pool.closing:
            self._continue_shutdown()

    def _timeout(self) -> float | None:
        """Return how long the selector may wait, in seconds; ``None`` for ever.

        Other threads may make ``next_deadline`` earlier after this has read it. They
        wake the loop then, and the byte in the pipe ends the wait, also if it is
        written before the wait begins.
        """
        if self._pool.outcomes:
            return 0
        self._supervisor.note_kills()
        due = min(self._pool.next_deadline, self._pool.next_check, self._kill_at)
        if self._options.memory_limit_per_worker and self._supervisor.busy():
            due = min(due, monotonic() + MEMORY_PERIOD_S)
        if self._supervisor.unsent_kills:
            due = min(due, monotonic() + KILL_AGAIN_S)
        return None if due == math.inf else max(0.0, due - monotonic())

    def _drain_wakeups(self) -> None:
        os.read(self._wake_read, 4096)

    def _check_limits(self) -> None:
        """Stop what is cancelled, or over its walltime, memory or time to exit."""
        limit = self._options.memory_limit_per_worker
        if limit:
            self._supervisor.enforce_memory(limit)
        due = min(self._pool.next_check, self._pool.next_deadline)
        if due == math.inf or due > (now := monotonic()):
            return
        self._supervisor.check(now)
        for worker in cancellation.find_workers_to_kill(self._pool, now):
            self._supervisor.kill(worker)

    def _deliver(self) -> None:
        """Report what has ended. Not under the lock: the kernel submits meanwhile."""
        with self._pool.lock:
            outcomes, self._pool.outcomes = self._pool.outcomes, []
        if not outcomes:
            return
        try:
            self._report(outcomes)
        except Exception:
            log.exception("Executor %r: its report raised", self._options.label)

    # -- The end ---------------------------------------------------------------------

    def _continue_shutdown(self) -> None:
        """Go one step further towards the end, and close when it is reached.

        Workers exit when nothing waits any more. A worker that is fed by another thread
        at this moment, or is started for what was put back into the queue, keeps the
        end from being reached; the loop comes here again in a later step.
        """
        pool = self._pool
        if self._dropping:
            self._dropping = False
            cancellation.drop_queue(pool)
        if monotonic() >= self._kill_at:
            self._kill_at = math.inf
            self._supervisor.kill_all()
        if not pool.waiting:
            self._supervisor.stop_idle()
        if not (pool.waiting or pool.workers or pool.sending or pool.outcomes):
            self._close()

    def _close(self) -> None:
        self._supervisor.close()
        self._output.close()
        with self._pool.lock:  # `_wake` writes to a descriptor that this closes
            self._ended = True
            self._resources.close()
        atexit.unregister(self._at_exit)
