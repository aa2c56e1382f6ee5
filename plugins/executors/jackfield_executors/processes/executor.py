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
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from jackfield.abc import Capabilities, Executor
from jackfield.clock import monotonic
from jackfield.errors import ExecutorBrokenError, ExecutorError
from jackfield_executors.processes import cancellation
from jackfield_executors.processes.handle import WorkerHandle
from jackfield_executors.processes.output import Output
from jackfield_executors.processes.pool import Pool
from jackfield_executors.processes.supervisor import KILL_AGAIN_S, Supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackfield.abc import ExecutorContext, Work
    from jackfield_executors.processes.options import Options

log: Final = logging.getLogger("jackfield.executors.processes")

MEMORY_PERIOD_S: Final = 0.1
"""Seconds between two looks at the memory of busy workers, if it is limited."""


class ProcessExecutor(Executor):
    """Runs works in processes of this machine."""

    capabilities: Capabilities = Capabilities(
        isolated=True,
        cancels_running=True,
        walltime="kill",
        survives_worker_death=True,
    )

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pid = os.getpid()
        self._pool = Pool(options.label, options.max_tasks_per_worker)
        self._thread: threading.Thread | None = None
        self._resources = ExitStack()
        self._kill_at = math.inf
        self._dropping = False
        self._ended = False

    @property
    def workers(self) -> int:
        """How many worker processes there are at most."""
        return self._options.workers

    def start(self, context: ExecutorContext) -> None:
        """Start the fork server and the loop; workers start with the first works.

        Raises:
            ExecutorError: No process or no descriptor can be had.
        """
        self._report = context.report
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
        self._output = Output(self._options.label)
        closing.callback(self._output.close)
        self._supervisor = Supervisor(
            self._options, self._pool, self._output, self._selector
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
        self._pool.submit(batch)
        if self._pool.feed_idle() or (self._pool.queue and self._supervisor.may_grow()):
            self._wake()

    def cancel(self, work: Work) -> bool:
        """Keep a work from running, or kill the worker that runs it."""
        possible, to_kill, to_wake = cancellation.cancel(self._pool, work)
        if to_kill is not None:
            to_wake = self._supervisor.kill(to_kill)
        if to_wake:
            self._wake()
        return possible

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
        if threading.current_thread() is not self._thread:
            self._thread.join()
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
            self._pool.fail_all(ExecutorBrokenError(self._options.label, reason))
            self._deliver()
            self._close()

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
