"""Cancelling: one task for a user, or all that a run leaves behind."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.futures.claims import claim_cancel
from jackfield.states import TaskState
from jackfield.steps.perform import warn

if TYPE_CHECKING:
    from jackfield.futures import AppFuture
    from jackfield.graph.effects import Effects
    from jackfield.graph.task import Task
    from jackfield.steps.engine import Engine

_CANCELLABLE: Final = frozenset({TaskState.WAITING, TaskState.READY, TaskState.JOINING})


def cancel(engine: Engine, task: Task, future: AppFuture[Any]) -> bool:
    """Cancel a task on any thread; see ``AppFuture.cancel``."""
    if not claim_cancel(future, partial(_cancellable, task)) and not (
        _stopped(engine, task) and claim_cancel(future)
    ):
        return future.cancelled()
    engine.scheduler.post(partial(engine.on_cancelled, task))
    return True


def _stopped(engine: Engine, task: Task) -> bool:
    """Have a task's executor cancel it; tell whether it will not report it."""
    work, entry = task.work, task.entry
    if task.state is not TaskState.SUBMITTED or work is None or entry is None:
        return False
    try:
        return entry.executor.cancel(work)
    except Exception:
        engine.log.exception("Executor %r raised in cancel", entry.label)
        return False


def _cancellable(task: Task) -> bool:
    return task.state in _CANCELLABLE


def cancel_unsubmitted(engine: Engine, effects: Effects) -> None:
    """Cancel what has not been given to an executor. A control."""
    for task in list(engine.live.values()):
        if task.future is not None and claim_cancel(
            task.future, partial(_cancellable, task)
        ):
            engine.on_cancelled(task, effects)


def cancel_rest(engine: Engine, effects: Effects) -> None:
    """End what the executors have not reported and no longer will. A control."""
    rest = list(engine.live.values())
    if rest:
        titles = ", ".join(task.title for task in rest[:10])
        line = f"Ended with {len(rest)} unfinished tasks: {titles}"
        effects.rest.append((warn, rest[0], line))
    for task in rest:
        engine.end_cancelled(task, effects)
