"""Run tasks on threads of this process. Plugin name: ``threads``.

Right for tasks that wait or release the GIL: arguments and results are shared, not
copied. Option: ``workers``, how many tasks run at once; without it, four more than
there are cores, and at most 32.

Until its outcome is reported, a work is in one of two dictionaries. ``dict.pop`` gives
an entry to one caller only, and so decides every race:

- ``_queued`` has the works that have not begun. The thread that takes one from the
  queue removes it to run it; ``cancel`` removes it to drop it; ``shutdown`` with a
  grace removes them all. Whoever comes second finds nothing, and leaves the work alone.
  A cancelled work stays in the queue itself; the thread that comes to it skips it.
- ``_running`` has, under each thread's name, the work that the thread runs. The thread
  removes it to report the outcome; ``shutdown`` removes it to give the thread up, after
  the grace. Whoever comes second does nothing, so nothing is reported after
  ``shutdown``.

Each outcome is reported at once. If a thread kept one back to report it with the next,
it would wait as long as the next task runs; and for short tasks that was not faster.
"""

from __future__ import annotations

import logging
import math
import os
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Capabilities, Executor, run_work
from jackfield.clock import monotonic
from jackfield.errors import ConfigurationError, ExecutorError, suggest
from jackfield.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jackfield.abc import ExecutorContext, Work

log: logging.Logger = logging.getLogger("jackfield.executors.threads")

MOST_DEFAULT_WORKERS: Final = 32
"""How many threads there are at most if the option is not set."""

LAST_REPORT_S: Final = 1.0
"""Seconds that threads have to end after ``grace``, if they run no task any more."""

NAP_S: Final = 1.0
"""Seconds that one wait for a thread takes at most; see ``_join``."""


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> ThreadsExecutor | None:
    """Make the executor for a configuration's table with ``plugin = "threads"``."""
    return ThreadsExecutor(_workers(label, options)) if kind == "threads" else None


@hookimpl
def jackfield_check_options(name: str, options: Mapping[str, Any]) -> bool:
    """Check an executor's table."""
    return _workers(name, options) > 0


def _workers(label: str, options: Mapping[str, Any]) -> int:
    for name in options:
        if name != "workers":
            raise ConfigurationError(
                f"Executor {label!r}: threads has no option {name!r}"
                f"{suggest(name, ['workers'])} Its one option is 'workers'."
            )
    workers = options.get("workers")
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

    If one of the threads calls ``shutdown``, within a report, it waits for the other
    threads only.
    """

    capabilities: Capabilities = Capabilities(
        isolated=False, cancels_running=False, walltime="soft"
    )

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._queued: dict[Work, bool] = {}
        self._running: dict[str, Work] = {}
        # Guards the two attributes below. It also keeps the `None` that ends the
        # threads behind all works in the queue, and a closed executor from getting
        # more.
        self._lock = Lock()
        self._threads: list[Thread] = []
        self._closed = False

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        return self._workers

    def start(self, context: ExecutorContext) -> None:
        """Remember where to report; threads start with the first works."""
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
            # First here, then into the queue: a thread that takes a work which is not
            # in `_queued` yet would skip it as cancelled.
            self._queued.update(dict.fromkeys(batch, True))
            put = self._queue.put
            for work in batch:
                put(work)

    def _grow(self, wanted: int) -> None:
        """Start up to ``wanted`` more threads. The lock is held.

        If the system refuses, the executor goes on with those that it has.

        Raises:
            ExecutorError: There is not a single one.
        """
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
        """Drop a work that no thread has begun; false if one has."""
        return self._queued.pop(work, False)

    def _work(self) -> None:
        """Run works until the end. This is all that a thread does."""
        name = current_thread().name
        while True:
            try:
                return self._serve(name)
            except BaseException as error:
                # `run_work` never raises, and neither may `report`. So somebody has
                # thrown an exception into this thread from outside, and it has arrived
                # when the task it was meant for had ended; or `report` has a defect.
                # The thread goes on either way.
                self._fail_running(name, error)

    def _serve(self, name: str) -> None:
        queue, queued, running = self._queue, self._queued, self._running
        report = self._report
        # An exception that another thread throws into this one arrives when CPython
        # looks for it: after a call of a function and at the end of a loop's round.
        # `iter` calls `queue.get` from C, so there is no such point between taking a
        # work and noting it in `running`, and none is lost between the two.
        #
        # It is noted in `running` before it is removed from `_queued`, so that it is in
        # at least one of them when `shutdown` looks.
        for work in iter(queue.get, None):
            running[name] = work
            if queued.pop(work, False):
                outcome = run_work(work)
                if running.pop(name, None) is not None:
                    report((outcome,))
                del outcome
            else:
                running.pop(name, None)  # it was cancelled
            # A thread that waits must not keep arguments and results alive.
            del work
        queue.put(None)  # there is one for all threads: pass it on to the next

    def _fail_running(self, name: str, error: BaseException) -> None:
        """Report the work that a thread had taken when an exception tore its loop.

        If the work is not in ``_running`` any more, it has been reported, or given up.
        Only an exception that somebody throws in the instant between its removal and
        its report can lose the outcome. The kernel's own, at a walltime, cannot: it
        arrives within ``run_work`` or not at all.
        """
        log.error("Thread %s was interrupted between two tasks", name, exc_info=error)
        work = self._running.pop(name, None)
        if work is not None:
            self._queued.pop(work, None)
            reason = f"its thread was interrupted by {error!r}"
            failure = ExecutorError(self._label, reason)
            failure.__cause__ = error
            self._report(((work, failure, None),))

    def shutdown(self, *, grace: float | None = None) -> None:
        """End. Threads whose tasks go on after ``grace`` are left running and logged.

        Without a grace this waits for everything that was submitted.
        """
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
        """Drop the works that no thread has begun. The lock is held."""
        self._queued.clear()
        try:
            while True:
                self._queue.get_nowait()
        except Empty:
            return

    def _abandon(self, threads: Sequence[Thread]) -> set[str]:
        """Give up the works that still run, and return the names of their threads."""
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
    """Wait for threads to end: at most ``limit`` seconds for all of them together.

    It waits a second at a time. A Ctrl-C that comes just before a wait does not end
    that wait, and a wait without end would keep Python from handling it for ever.
    """
    deadline = math.inf if limit is None else monotonic() + limit
    for thread in threads:
        while thread.is_alive() and (left := deadline - monotonic()) > 0.0:
            thread.join(min(left, NAP_S))
