"""What becomes of a dead worker's tasks, and how its death is explained.

Everything here happens after the process has ended and all that it had sent has been
read, so its progress page and ``received`` do not change any more, and together they
tell exactly how far it has come.
"""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING, Final

from jackfield.clock import monotonic_ns
from jackfield.errors import WorkerDiedError, one_line
from jackfield_executors.processes import resources
from jackfield_executors.processes.progress import BEGUN, CALLED, FINISHED, SINCE

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield_executors.processes.handle import WorkerHandle
    from jackfield_executors.processes.pool import Pool
    from jackfield_executors.processes.wire import Ran

log: Final = logging.getLogger("jackfield.executors.processes")

MOST_DELIVERIES: Final = 3
"""When so many workers have died holding a work that none of them has begun, it fails.

Such a work kills a worker before its function is called: when it is unpickled."""

_MEGABYTE: Final = 1_000_000

_HINTS: Final = {
    "SIGSEGV": "native code crashed, or the C stack overflowed by deep recursion",
    "SIGBUS": "native code crashed, or a mapped file has become shorter",
    "SIGILL": "native code was built for another processor",
    "SIGFPE": "native code divided by zero",
    "SIGABRT": "native code gave up by abort()",
    "SIGTERM": "something asked the process to end",
    "SIGKILL": "something killed it; if nobody did, memory is the likely cause",
    "SIGXCPU": "it used up its limit of processor time",
}


class ExitHandler:
    """Settles what dead workers held. Used on the loop's thread only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kills = resources.memory_kills()
        self._deliveries: dict[Work, int] = {}

    def settle(self, worker: WorkerHandle, status: int, peak: int) -> str:
        """Settle the works that a dead worker held.

        Those that it had finished get their results. The one that it was running fails,
        unless the kill was meant for another. Those that it had not begun go back to
        the queue.

        No work is lost to a thread that is sending to this worker: under the lock we
        mark the worker as dead and empty ``held``. A thread that has sent before has
        put its works into ``held``; one that sends later sees the mark, and puts its
        works back into the queue itself.

        Args:
            worker: The worker.
            status: Its wait status.
            peak: The most memory that it has held, in bytes; 0 if that is unknown.

        Returns:
            Why it has ended, in a sentence; ``""`` if it was to.
        """
        pool = self._pool
        reason = self.explain(status, peak)
        self._keep_unsent(worker)
        words = worker.page.words
        with pool.lock:
            worker.dead = True
            pool.workers.pop(worker.number, None)
            pool.idle.pop(worker, None)
            pool.worker_missing = True
            begun = words[BEGUN] > max(words[FINISHED], worker.received)
            running = worker.held.popleft() if begun and worker.held else None
            blamed = None if running else self._blame_delivery(worker)
            pool.requeue(worker.held)
            worker.held.clear()
        if running is not None:
            if running.measure is not None:
                running.ran = worker.place(_ran(worker, peak), running.measure)
            self._fail(worker, running, status, reason)
        if blamed is not None:
            times = f"it died {MOST_DELIVERIES} times while it received the task: "
            self._report(blamed, status, times + reason)
        return _why(worker, status, reason)

    def _keep_unsent(self, worker: WorkerHandle) -> None:
        try:
            values = worker.page.unsent_outcomes(worker.received)
            if values:
                self._pool.settle(worker, values, packed=True)
        except Exception:
            # Native code has written into the page before it crashed. The results are
            # lost, and their tasks count as running or as not begun.
            log.exception("The last results of worker %d are damaged", worker.pid)

    def _blame_delivery(self, worker: WorkerHandle) -> Work | None:
        """Count a death before a task's begin; return the work if it has to fail."""
        if not worker.held or worker.kill_reason is not None:
            return None
        work = worker.held[0]
        count = self._deliveries.pop(work, 0) + 1
        if count >= MOST_DELIVERIES:
            return worker.held.popleft()
        while len(self._deliveries) > 100:  # the oldest have long been begun
            del self._deliveries[next(iter(self._deliveries))]
        self._deliveries[work] = count
        return None

    def _fail(self, worker: WorkerHandle, work: Work, status: int, reason: str) -> None:
        """Report the task that was running, by the reason for the kill or the death."""
        pool = self._pool
        kill_reason = worker.kill_reason
        if kill_reason is None:
            self._report(work, status, reason)
        elif kill_reason.target not in (None, work):
            # The target ended just before the kill, which was not meant for this task.
            with pool.lock:
                pool.requeue([work])
        elif isinstance(kill_reason.error, str):
            # It may have ended by itself before the kill, and nobody has heard of it.
            killed = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
            self._report(work, status, kill_reason.error if killed else reason)
        elif kill_reason.error is not None:
            pool.report([(work, kill_reason.error, None)])
        else:
            pool.cancelled.discard(work)

    def _report(self, work: Work, status: int, reason: str) -> None:
        task = f"{work.id} ({work.name})"
        code = os.waitstatus_to_exitcode(status)
        error = WorkerDiedError(self._pool.label, reason, task, code)
        self._pool.report([(work, error, None)])

    def explain(self, status: int, peak: int) -> str:
        """Say in a sentence what ended a process; arguments as for ``settle``."""
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return f"it exited with code {code}, by os._exit() or in native code."
        name = _signal_name(-code)
        hint = _HINTS.get(name, "a signal that ends a process")
        if name == "SIGKILL" and self._memory_was_short():
            hint = "the kernel's out-of-memory killer was at work: memory is the cause"
        memory = f"; it had used up to {peak / _MEGABYTE:,.0f} MB" if peak else ""
        return f"killed by signal {-code} ({name}): {hint}{memory}."

    def _memory_was_short(self) -> bool:
        """Tell whether the system has killed a process for memory since the last call.

        It may have been some other process: this is a hint.
        """
        before, self._kills = self._kills, resources.memory_kills()
        return self._kills > before


def _ran(worker: WorkerHandle, peak: int) -> Ran:
    """Return how the task ran with which a worker has ended."""
    words = worker.page.words
    return words[CALLED] or words[SINCE], monotonic_ns(), None, peak or None


def _why(worker: WorkerHandle, status: int, explained: str) -> str:
    """Return why a worker has ended, ``""`` if it was to."""
    killed = worker.kill_reason
    if killed is None:
        return "" if worker.stopping and status == 0 else explained
    if isinstance(killed.error, BaseException):
        return one_line(killed.error)
    return killed.error or ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
