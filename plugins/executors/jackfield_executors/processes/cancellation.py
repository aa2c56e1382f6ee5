"""Stopping tasks: cancelled ones, and those that are over their walltime.

A task that nobody has sent is dropped from the queue. One that a worker holds and has
not begun is asked back by a recall. One that runs can only be stopped by killing its
worker.

The driver cannot tell for sure which of the two it is, because the worker begins and
ends tasks by itself while we look. These are the cases that a look can miss:

- *It begins the task just now.* We set the recall first and look afterwards; the worker
  notes the begin first and looks for a recall afterwards. So either we see the task
  running, or the worker answers the recall during the task, and ``kill_if_cancelled``
  looks again when that answer comes.
- *The task is still on its way to the worker* when it answers. ``Pool.take_back`` lets
  the recall stand until no cancelled task is left in ``held``.
- *It ends the task just now*, when the kill is on its way. The result arrives and is
  reported, or dropped if the task was cancelled. Because of the recall the worker
  begins nothing more. Should it have begun another task before it saw the recall, then
  that one dies for nothing and runs again elsewhere: the kill has a *target*, the task
  that it was meant for, and ``ExitHandler`` sees that this is another one.
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
    """Keep a work from running, or find out which worker to kill for it.

    Called on any thread. No outcome of the work is reported afterwards.

    Returns:
        Whether the work has no outcome yet, so that it can be cancelled; and the worker
        that the caller has to kill, if the work is running.
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
    """Tell whether a worker runs a cancelled work, so that the caller has to kill it.

    To be called when a worker has answered a recall. On the loop's thread.
    """
    with pool.lock:
        work = worker.running()
        return work in pool.cancelled and _mark_for_kill(worker, work)


def _mark_for_kill(worker: WorkerHandle, work: Work | None) -> bool:
    """Note that a worker is killed for a work; false if it does not run it.

    The lock is held, so that the caller, and nobody else, kills the worker then.
    """
    if worker.running() is not work or worker.kill_reason is not None:
        return False
    worker.kill_reason = KillReason(work, None)
    return True


def find_overdue(pool: Pool, now: float) -> list[WorkerHandle]:
    """Return the workers whose task is over its walltime; the caller kills them.

    On the loop's thread.
    """
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
    """Look at a worker whose deadline has come, and set the next one.

    A deadline says only when to look. The task for which it was set may have ended, or
    have begun later than was assumed.
    """
    work = worker.running()
    if work is None or work.walltime is None:
        limits = [held.walltime for held in worker.held if held.walltime is not None]
        worker.deadline = now + min(limits, default=math.inf)
        return False
    worker.deadline = worker.since() + work.walltime
    if worker.deadline > now:
        return False
    worker.deadline = now + work.walltime
    # First the recall, so that no other task begins; then a second look, because this
    # one may have ended before the recall was seen.
    worker.recall()
    if worker.kill_reason is not None or worker.running() is not work:
        return False
    worker.kill_reason = KillReason(work, AppTimeout(work.name, work.walltime))
    return True


def drop_queue(pool: Pool) -> None:
    """Drop what has not begun, here and in the workers. On the loop's thread.

    A work that begins while this looks counts as not begun: its outcome is dropped.
    """
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
