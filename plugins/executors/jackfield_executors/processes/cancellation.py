"""Stopping tasks: cancelled ones, and those that are over their walltime.

A task that nobody has sent is dropped from the queue. One that a worker holds and has
not begun is asked back by a recall. One that runs can only be stopped by killing its
worker.

The driver cannot tell for sure which of the two it is, because the worker begins and
ends tasks by itself while we look. These are the cases that a look can miss:

- *It begins the task just now*: it has looked for a recall before we set one, and has
  not noted the begin yet when we look. So we look again, every ``LOOK_AGAIN_S`` until
  no cancelled task is left in ``held``: the worker has returned it, or we have seen it
  running and killed it. Usually the worker answers the recall long before that, and
  ``is_to_be_killed`` looks when the answer comes.
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
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield.clock import monotonic
from jackfield.errors import AppTimeout
from jackfield_executors.processes.handle import KillReason

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield_executors.processes.handle import WorkerHandle
    from jackfield_executors.processes.pool import Pool


LOOK_AGAIN_S: Final = 0.05
"""Seconds between two looks at a worker that holds a cancelled task."""


class Cancelled(NamedTuple):
    """What ``cancel`` has found."""

    possible: bool
    """Whether the work had no outcome yet. If so, none is reported afterwards."""

    to_kill: WorkerHandle | None = None
    """The worker that runs the work; the caller has to kill it."""

    to_wake: bool = False
    """Whether the caller has to wake the loop, which has to look again soon."""


def cancel(pool: Pool, work: Work) -> Cancelled:
    """Keep a work from running, or find out which worker to kill for it.

    Called on any thread.
    """
    with pool.lock:
        if work in pool.waiting:
            pool.waiting.remove(work)
            return Cancelled(possible=True)
        for worker in pool.workers.values():
            if work in worker.held:
                pool.cancelled.add(work)
                worker.recall()
                if _mark_for_kill(worker, work):
                    return Cancelled(possible=True, to_kill=worker)
                nearer = _look_again(pool, worker, monotonic())
                return Cancelled(possible=True, to_wake=nearer)
        for worker in pool.sending:
            if work in worker.being_sent:
                pool.cancelled.add(work)
                return Cancelled(possible=True)
    return Cancelled(possible=False)


def is_to_be_killed(pool: Pool, worker: WorkerHandle) -> bool:
    """Tell whether a worker runs a cancelled work; the caller kills it then.

    To be called when a worker has answered a recall. On the loop's thread.
    """
    with pool.lock:
        work = worker.running()
        return work in pool.cancelled and _mark_for_kill(worker, work)


def _mark_for_kill(
    worker: WorkerHandle, work: Work | None, error: AppTimeout | None = None
) -> bool:
    """Note that a worker is killed for a work; false if it does not run it.

    The lock is held, so that nobody but the caller kills the worker for that reason.
    """
    if worker.running() is not work or worker.kill_reason is not None:
        return False
    worker.kill_reason = KillReason(work, error)
    return True


def _look_again(pool: Pool, worker: WorkerHandle, now: float) -> bool:
    """Have the loop look at a worker soon; true if that is earlier than it planned."""
    worker.deadline = min(worker.deadline, now + LOOK_AGAIN_S)
    nearer = worker.deadline < pool.next_deadline
    if nearer:
        pool.next_deadline = worker.deadline
    return nearer


def find_workers_to_kill(pool: Pool, now: float) -> list[WorkerHandle]:
    """Look at the workers whose deadline has come, and set their next one.

    On the loop's thread.

    Returns:
        Those whose task is cancelled or over its walltime. The caller kills them.
    """
    with pool.lock:
        found = []
        for worker in pool.workers.values():
            if worker.deadline <= now:
                work = worker.running()
                if work in pool.cancelled:
                    worker.deadline = math.inf
                    kill = _mark_for_kill(worker, work)
                else:
                    kill = _is_overdue(worker, work, now)
                if kill:
                    found.append(worker)
                elif not pool.cancelled.isdisjoint(worker.held):
                    _look_again(pool, worker, now)
        deadlines = (worker.deadline for worker in pool.workers.values())
        pool.next_deadline = min(deadlines, default=math.inf)
    return found


def _is_overdue(worker: WorkerHandle, work: Work | None, now: float) -> bool:
    """Tell whether a worker has to be killed for its work; set the next deadline.

    A deadline says only when to look. The work for which it was set may have ended, or
    have begun later than was assumed; or its function is still being imported, and the
    walltime begins after that.
    """
    if work is None or work.walltime is None:
        limits = [held.walltime for held in worker.held if held.walltime is not None]
        worker.deadline = now + min(limits, default=math.inf)
        return False
    worker.deadline = (worker.called() or now) + work.walltime
    if worker.deadline > now:
        return False
    worker.deadline = now + work.walltime
    # First the recall, so that no other task begins; then a second look, because this
    # one may have ended before the worker saw the recall.
    worker.recall()
    return _mark_for_kill(worker, work, AppTimeout(work.name, work.walltime))


def drop_queue(pool: Pool) -> None:
    """Drop what has not begun, here and in the workers. On the loop's thread.

    A work that begins while this looks counts as not begun: it is stopped.
    """
    now = monotonic()
    with pool.lock:
        pool.clear()
        for worker in pool.sending:
            pool.cancelled.update(worker.being_sent)
        for worker in pool.workers.values():
            if worker.held:
                pool.cancelled.update(worker.not_begun())
                worker.recall()
                _look_again(pool, worker, now)
