"""Stopping tasks: cancelled ones, and those over their walltime.

A worker is killed for one task, its *victim*. Before the blow it is told to begin
nothing more; should it have begun another task nevertheless, that one runs again
elsewhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jackfield.errors import AppTimeout
from jackfield_executors.processes.handle import KillReason

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield_executors.processes.handle import WorkerHandle
    from jackfield_executors.processes.pool import Pool


def cancel(pool: Pool, work: Work) -> tuple[bool, WorkerHandle | None]:
    """Keep a work from running, or have it stopped, and drop its outcome.

    Called on any thread.

    Returns:
        Whether that is possible; and the worker to kill, if the work is running.
    """
    with pool.lock:
        if work in pool.waiting:
            pool.waiting.remove(work)
            return True, None
        for worker in pool.workers.values():
            if work in worker.held:
                pool.cancelled.add(work)
                worker.recall()
                return True, worker if _mark_for_kill(worker, work) else None
        for worker in pool.sending:
            if work in worker.being_sent:
                pool.cancelled.add(work)
                return True, None
    return False, None


def kill_if_cancelled(pool: Pool, worker: WorkerHandle) -> bool:
    """Tell whether a worker has begun a work since it was cancelled: then kill it."""
    with pool.lock:
        work = worker.running()
        return work in pool.cancelled and _mark_for_kill(worker, work)


def _mark_for_kill(worker: WorkerHandle, work: Work | None) -> bool:
    if worker.running() is not work or worker.kill_reason is not None:
        return False
    worker.kill_reason = KillReason(work, None)
    return True


def find_overdue(pool: Pool, now: float) -> list[WorkerHandle]:
    """Return the workers to kill because their task is over its walltime."""
    with pool.lock:
        overdue = [
            worker
            for worker in pool.workers.values()
            if worker.deadline <= now and _is_overdue(worker, now)
        ]
        deadlines = (worker.deadline for worker in pool.workers.values())
        pool.next_deadline = min(deadlines, default=math.inf)
    return overdue


def _is_overdue(worker: WorkerHandle, now: float) -> bool:
    """Look at a worker whose deadline has come; set the next one."""
    work = worker.running()
    if work is None or work.walltime is None:
        limits = [held.walltime for held in worker.held if held.walltime is not None]
        worker.deadline = now + min(limits, default=math.inf)
        return False
    worker.deadline = worker.since() + work.walltime
    if worker.deadline > now:
        return False
    worker.deadline = now + work.walltime
    worker.recall()
    if worker.kill_reason is not None or worker.running() is not work:
        return False
    worker.kill_reason = KillReason(work, AppTimeout(work.name, work.walltime))
    return True


def drop_queue(pool: Pool) -> None:
    """Forget what has not begun, here and in the workers."""
    with pool.lock:
        pool.queue.clear()
        pool.waiting.clear()
        for worker in pool.sending:
            pool.cancelled.update(worker.being_sent)
        for worker in pool.workers.values():
            if worker.held:
                pool.cancelled.update(worker.held)
                running = worker.running()
                if running is not None:
                    pool.cancelled.discard(running)
                worker.recall()
