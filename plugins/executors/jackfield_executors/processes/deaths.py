"""What becomes of a dead worker's tasks, and telling why it has died."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING, Final

from jackfield.errors import WorkerDiedError
from jackfield_executors.processes import machine
from jackfield_executors.processes.progress import BEGUN, FINISHED

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield_executors.processes.handle import WorkerHandle
    from jackfield_executors.processes.pool import Pool

log: Final = logging.getLogger("jackfield.executors.processes")

MOST_DELIVERIES: Final = 3
"""Workers may die so many times while they receive a work, then it is blamed."""

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


class Undertaker:
    """Settles what dead workers held. Belongs to the loop."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kills = machine.memory_kills()
        self._deliveries: dict[Work, int] = {}

    def bury(self, worker: WorkerHandle, status: int, peak: int) -> None:
        """Settle a worker's tasks, after its last frame.

        What it had finished is kept, what it had not begun goes to others, and the
        task that it was running fails.

        Args:
            worker: The worker, which has ended.
            status: Its wait status.
            peak: The most memory that it held, in bytes; 0 for unknown.
        """
        pool = self._pool
        self._salvage(worker)
        words = worker.page.words
        with pool.lock:
            worker.dead = True
            pool.workers.pop(worker.number, None)
            pool.idle.pop(worker, None)
            pool.short = True
            begun = words[BEGUN] > max(words[FINISHED], worker.received)
            running = worker.held.popleft() if begun and worker.held else None
            blamed = None if running else self._blame_delivery(worker)
            pool.requeue(worker.held)
            worker.held.clear()
        if running is not None:
            self._fail(worker, running, status, peak)
        if blamed is not None:
            reason = f"it died {MOST_DELIVERIES} times while it received the task: "
            self._report(blamed, status, reason + self.explain(status, peak))

    def _salvage(self, worker: WorkerHandle) -> None:
        try:
            values = worker.page.salvage(worker.received)
            if values:
                self._pool.settle(worker, values, packed=True)
        except Exception:  # a crash has written into the page
            log.exception("The last results of worker %d are damaged", worker.pid)

    def _blame_delivery(self, worker: WorkerHandle) -> Work | None:
        """Count a death before a task; return the work if that was once too often."""
        if not worker.held or worker.verdict is not None:
            return None
        work = worker.held[0]
        count = self._deliveries.pop(work, 0) + 1
        if count >= MOST_DELIVERIES:
            return worker.held.popleft()
        while len(self._deliveries) > 100:  # those have long been delivered
            del self._deliveries[next(iter(self._deliveries))]
        self._deliveries[work] = count
        return None

    def _fail(self, worker: WorkerHandle, work: Work, status: int, peak: int) -> None:
        """Report the task that was running, as the verdict or the death has it."""
        pool = self._pool
        verdict = worker.verdict
        if verdict is None:
            self._report(work, status, self.explain(status, peak))
        elif verdict.victim not in (None, work):
            # The victim ended just before the blow, which was not meant for this one.
            with pool.lock:
                pool.requeue([work])
        elif isinstance(verdict.error, str):
            self._report(work, status, verdict.error)
        elif verdict.error is not None:
            pool.report([(work, verdict.error, None)])
        else:
            pool.cancelled.discard(work)

    def _report(self, work: Work, status: int, reason: str) -> None:
        task = f"{work.id} ({work.name})"
        code = os.waitstatus_to_exitcode(status)
        error = WorkerDiedError(self._pool.label, reason, task, code)
        self._pool.report([(work, error, None)])

    def explain(self, status: int, peak: int) -> str:
        """Say in a sentence what ended a process; arguments as for ``bury``."""
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
        """Whether the kernel has killed a process for memory since the last call."""
        before, self._kills = self._kills, machine.memory_kills()
        return self._kills > before


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
