"""Run tasks on threads of this process.

Right for tasks that wait or release the GIL: arguments and results are shared, not
copied. Plugin name: ``threads``. Option: ``workers``, how many tasks run at once;
without it, four more than there are cores, and at most 32.

Data flow: ``submit`` notes each work in ``queued`` and puts it into one queue. A
worker takes it from the queue, and *claims* it by removing it from ``queued``;
``cancel`` removes it the same way, so that exactly one of them has it. While a work
runs it stands in ``running`` under its thread's name, and whoever removes it from
there, the worker or ``shutdown``, decides whether it is still reported. Each outcome
is reported at once: one kept for a batch would wait for the next task, however long
that takes, and batches of short tasks measured no faster.
"""

from __future__ import annotations

import logging
import math
import os
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Capabilities, Executor, run_work
from jackfield.errors import ConfigurationError, ExecutorError, suggest
from jackfield.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jackfield.abc import ExecutorContext, Work

log: logging.Logger = logging.getLogger("jackfield.executors.threads")

MOST_DEFAULT_WORKERS: Final = 32
LAST_REPORT_S: Final = 1.0
NAP_S: Final = 1.0


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> ThreadsExecutor | None:
    """Make the executor of a table with ``plugin = "threads"``."""
    if kind != "threads":
        return None
    for name in options:
        if name != "workers":
            raise ConfigurationError(
                f"Executor {label!r}: threads has no option {name!r}"
                f"{suggest(name, ['workers'])} Its one option is 'workers'."
            )
    return ThreadsExecutor(_checked(label, options.get("workers")))


def _checked(label: str, workers: object) -> int:
    if workers is None:
        return _default_workers()
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ConfigurationError(
            f"Executor {label!r}: option 'workers' must be a whole number from 1 on, "
            f"not {workers!r}."
        )
    return workers


def _default_workers() -> int:
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(MOST_DEFAULT_WORKERS, cores + 4)


class ThreadsExecutor(Executor):
    """Daemon threads on one queue, started when there is work for them.

    ``shutdown`` may be called by one of the threads too, in a report: it then waits
    for the others alone.
    """

    capabilities: Capabilities = Capabilities(
        isolated=False, cancels_running=False, walltime="soft"
    )

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._queued: dict[Work, bool] = {}
        self._running: dict[str, Work] = {}
        self._lock = Lock()  # of the two below, and of the order of queue entries
        self._threads: list[Thread] = []
        self._closed = False

    @property
    def workers(self) -> int:
        """The number that was configured."""
        return self._workers

    def start(self, context: ExecutorContext) -> None:
        """Remember where to report; threads come with the first works."""
        self._label = context.label
        self._report = context.report

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue works.

        Raises:
            ExecutorError: After ``shutdown``, or where no thread can be started.
        """
        with self._lock:
            if self._closed:
                raise ExecutorError(self._label, "it takes no works after shutdown")
            if len(self._threads) < self._workers:
                self._grow(len(batch))
            self._queued.update(dict.fromkeys(batch, True))
            put = self._queue.put
            for work in batch:
                put(work)

    def _grow(self, wanted: int) -> None:
        """Start up to ``wanted`` threads more; one that runs at all is enough."""
        threads = self._threads
        for n in range(len(threads), min(self._workers, len(threads) + wanted)):
            name = f"jackfield-{self._label}-{n}"
            thread = Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                if not threads:
                    reason = f"no thread can be started: {error}"
                    raise ExecutorError(self._label, reason) from error
                log.warning(
                    "Executor %r goes on with %d threads of %d: %s",
                    self._label, len(threads), self._workers, error,
                )  # fmt: skip
                return
            threads.append(thread)

    def cancel(self, work: Work) -> bool:
        """Take a work back that no thread has begun."""
        return self._queued.pop(work, False)

    def _work(self) -> None:
        """Serve until the end; a thread's whole life."""
        name = current_thread().name
        while True:
            try:
                return self._serve(name)
            except BaseException as error:
                # Nothing in the loop raises: this was thrown into the thread, too
                # late for the task it was meant for, or a report broke its promise.
                self._fail_running(name, error)

    def _serve(self, name: str) -> None:
        queue, queued, running = self._queue, self._queued, self._running
        report = self._report
        # With this form of loop nothing thrown into the thread from outside can hit
        # between taking a work and noting it; and it is noted before it is claimed,
        # so that `shutdown` overlooks none.
        for work in iter(queue.get, None):
            running[name] = work
            if queued.pop(work, False):
                outcome = run_work(work)
                if running.pop(name, None) is not None:
                    report((outcome,))
                del outcome
            else:
                running.pop(name, None)
            # A thread that waits must not keep arguments and results alive.
            del work
        queue.put(None)  # for the next thread

    def _fail_running(self, name: str, error: BaseException) -> None:
        log.error("Thread %s was interrupted between two tasks", name, exc_info=error)
        work = self._running.pop(name, None)
        if work is not None:
            self._queued.pop(work, None)
            reason = f"its thread was interrupted by {error!r}"
            failure = ExecutorError(self._label, reason)
            failure.__cause__ = error
            self._report(((work, failure, None),))

    def shutdown(self, *, grace: float | None = None) -> None:
        """End; threads whose tasks go on after ``grace`` are left and logged."""
        with self._lock:
            self._closed = True
            if grace is not None:
                self._drop_queued()
            self._queue.put(None)
        me = current_thread()
        threads = [thread for thread in self._threads if thread is not me]
        join_within(threads, grace)
        if grace is None:
            return
        stuck = self._abandon(threads)
        self._threads = [thread for thread in threads if thread.name not in stuck]
        join_within(self._threads, LAST_REPORT_S)

    def _drop_queued(self) -> None:
        self._queued.clear()
        try:
            while True:
                self._queue.get_nowait()
        except Empty:
            return

    def _abandon(self, threads: Sequence[Thread]) -> set[str]:
        """Forget the works that still run, and return the names of their threads."""
        stuck = set()
        for thread in threads:
            work = self._running.pop(thread.name, None)
            if work is not None:
                stuck.add(thread.name)
                log.warning(
                    "Executor %r leaves thread %s, which still runs task %d (%s): "
                    "a thread cannot be stopped",
                    self._label, thread.name, work.id, work.name,
                )  # fmt: skip
        return stuck


def join_within(threads: Sequence[Thread], limit: float | None) -> None:
    """Wait for threads to end: at most ``limit`` seconds for them all.

    In naps: a Ctrl-C that comes just before a wait would not end it.
    """
    deadline = math.inf if limit is None else monotonic() + limit
    for thread in threads:
        while thread.is_alive() and (left := deadline - monotonic()) > 0.0:
            thread.join(min(left, NAP_S))
