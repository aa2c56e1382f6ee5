"""The executor: a pool of worker processes and the thread that serves them.

Data flow::

    submit()  -> pool.queue -> frames -> worker's socket -> worker   (any thread)
    worker -> its socket -> frames -> pool.outcomes -> report()      (the loop)
    fork server -> notices of starts and deaths                      (the loop)
    worker's stdout and stderr -> pipes -> sys.stdout, sys.stderr    (the output thread)

``submit`` writes to idle workers itself, which saves a hand-over between threads;
what no worker takes at once waits in the queue until the loop feeds the worker that
has answered. No lock and no queue is shared between workers, so the death of one
cannot hold up another.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import selectors
import threading
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING, Final

from jackfield.abc import Capabilities, Executor
from jackfield.errors import ExecutorError
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
"""How often the memory of running tasks is measured, if it is limited."""


class ProcessExecutor(Executor):
    """Runs works in processes of this resources."""

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
        closing = self._resources
        self._selector = closing.enter_context(selectors.DefaultSelector())
        self._wake_fd, self._signal_fd = os.pipe()
        for fd in (self._wake_fd, self._signal_fd):
            closing.callback(os.close, fd)
            os.set_blocking(fd, False)
        self._selector.register(
            self._wake_fd, selectors.EVENT_READ, self._drain_wakeups
        )
        self._output = Output(self._options.label)
        closing.callback(self._output.close)
        self._supervisor = Supervisor(
            self._options, self._pool, self._output, self._selector
        )
        closing.callback(self._supervisor.close)
        self._supervisor.start_server()

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue works, and send what idle workers can take at once.

        Raises:
            ExecutorError: The executor has been shut down.
        """
        self._pool.submit(batch)
        if self._pool.feed_idle() or (self._pool.queue and self._supervisor.may_grow()):
            self._wake()

    def cancel(self, work: Work) -> bool:
        """Drop a work from the queue, or kill the worker that runs it."""
        cancelled, worker = cancellation.cancel(self._pool, work)
        if worker is not None and self._supervisor.kill(worker):
            self._wake()
        return cancelled

    def shutdown(self, *, grace: float | None = None) -> None:
        """End as the contract says; also from within a report.

        While one call waits, another may hurry it by a shorter ``grace``.
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
        with self._pool.lock:
            if not self._ended:
                try:
                    os.write(self._signal_fd, b"\0")
                except BlockingIOError:  # it is full, so it wakes
                    return

    # -- The loop --------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ended:
                self._step()
        except Exception as error:  # a defect, but nobody shall wait for ever
            log.exception("Executor %r has failed", self._options.label)
            self._pool.closing = True
            reason = f"it has failed: {error!r}"
            self._pool.fail_all(ExecutorError(self._options.label, reason))
            self._deliver()
            self._close()

    def _step(self) -> None:
        """Wait for something to happen, and deal with all that has."""
        for key, _ in self._selector.select(self._timeout()):
            if isinstance(key.data, WorkerHandle):
                self._supervisor.serve(key.data)
            else:
                key.data()
        self._deliver()  # first: somebody waits for it
        if self._ended:  # the report has shut us down
            return
        self._supervisor.kill_again()
        self._check_limits()
        self._pool.feed_idle()
        self._supervisor.watch_outboxes()
        self._supervisor.grow(closing=self._pool.closing)
        if self._pool.closing:
            self._continue_shutdown()

    def _timeout(self) -> float | None:
        """Seconds until something is due, ``None`` for nothing."""
        if self._pool.outcomes:
            return 0
        due = min(self._pool.next_deadline, self._pool.next_check, self._kill_at)
        if self._options.memory_limit_per_worker and self._supervisor.busy():
            due = min(due, monotonic() + MEMORY_PERIOD_S)
        if self._supervisor.unsent_kills:
            due = min(due, monotonic() + KILL_AGAIN_S)
        return None if due == math.inf else max(0.0, due - monotonic())

    def _drain_wakeups(self) -> None:
        os.read(self._wake_fd, 4096)

    def _check_limits(self) -> None:
        limit = self._options.memory_limit_per_worker
        if limit:
            self._supervisor.enforce_memory(limit)
        due = min(self._pool.next_check, self._pool.next_deadline)
        if due == math.inf or due > (now := monotonic()):
            return
        self._supervisor.check(now)
        for worker in cancellation.find_overdue(self._pool, now):
            self._supervisor.kill(worker)

    def _deliver(self) -> None:
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
        """Go one step further towards the end, and close when it is reached."""
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
        with self._pool.lock:  # nobody writes to a descriptor that is closed
            self._ended = True
            self._resources.close()
        atexit.unregister(self._at_exit)
