"""What executors report: outcomes that count, strays, and nonsense.

Runs with the scheduler's role, as a part of ``Engine.step``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackfield.abc import Outcome, Work
from jackfield.errors import ExecutorError
from jackfield.states import TaskState
from jackfield.steps.finish import finish
from jackfield.steps.retry import handle_failure

if TYPE_CHECKING:
    from jackfield.graph.effects import Effects, Ending
    from jackfield.graph.task import Extras, Task
    from jackfield.steps.engine import Engine


def take(
    engine: Engine, outcome: Outcome, endings: list[Ending], effects: Effects
) -> None:
    """Take one outcome, unless its attempt does not count any more."""
    try:
        work, error, value = outcome
        task = engine.live.get(work.id)
    except (AttributeError, TypeError, ValueError):
        take_nonsense(engine, outcome, endings, effects)
        return
    if (
        task is None
        or task.work is not work
        or task.state is not TaskState.SUBMITTED
        or task.entry is None
    ):
        engine.strays += 1
        return
    task.entry.returned += 1
    if error is not None:
        if not isinstance(error, BaseException):
            kind = type(error).__name__
            reason = f"it reported {kind} as the error of task {task.title}"
            error = ExecutorError(task.entry.label, reason)
        task.state = TaskState.FINISHING
        effects.rest.append((handle_failure, task, error))
    elif task.extras is None or _ends_at_once(engine, task, task.extras, value):
        task.state = TaskState.FINISHING
        endings.append((task.future, None, value, task, TaskState.SUCCEEDED))
    else:
        task.state = TaskState.FINISHING
        effects.rest.append((finish, task, value))


def _ends_at_once(engine: Engine, task: Task, extras: Extras, value: Any) -> bool:
    """Tell whether a task with extras has ended with its function."""
    if task.spec.kind == "join" or extras.outputs or extras.streams:
        return False
    return extras.memo != "miss" or engine.memo.keep_at_once(extras, value)


def take_nonsense(
    engine: Engine, report: Any, endings: list[Ending], effects: Effects
) -> None:
    """Fail the work that a malformed report is about, or drop the report."""
    if isinstance(report, tuple) and type(report) is not tuple:  # a named one
        take(engine, tuple(report), endings, effects)
        return
    work = report[0] if isinstance(report, tuple | list) and report else None
    task = engine.live.get(work.id) if isinstance(work, Work) else None
    if task is None or task.entry is None or not isinstance(work, Work):
        engine.strays += 1
        return
    reason = f"it reported no (work, error, value) for task {task.title}"
    error = ExecutorError(task.entry.label, reason)
    take(engine, (work, error, None), endings, effects)
