"""From ready to submitted: values put in, memo looked up, executor chosen.

Runs without the scheduler's role, on whichever thread found the tasks ready. A
task is here once per attempt and nowhere else meanwhile, so its fields are ours.
"""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.apps.walltime import soft_walltime, without_walltime
from jackfield.dataflow.blame import one_line
from jackfield.dataflow.dependencies import substitute
from jackfield.dataflow.executors import ExecutorEntry, select
from jackfield.errors import ExecutorError
from jackfield.futures import KernelFuture, mark_submitted
from jackfield.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackfield.dataflow.effects import Effects
    from jackfield.dataflow.engine import Engine
    from jackfield.dataflow.task import Task


def launch(engine: Engine, tasks: Sequence[Task]) -> None:
    """Give ready tasks to their executors, one ``submit`` for each executor."""
    groups: dict[ExecutorEntry, list[Task]] = {}
    extra: dict[str, int] = {}
    for task in tasks:
        try:
            if (task.found or task.extras) and not _prepare(engine, task):
                continue
            entry = _choose(engine, task, extra)
        except BaseException as error:
            fail(engine, task, error)
            continue
        group = groups.get(entry)
        if group is None:
            group = groups[entry] = []
        group.append(task)
        extra[entry.label] = len(group)
    for entry, group in groups.items():
        _hand_over(engine, entry, group)


def fail(engine: Engine, task: Task, error: BaseException) -> None:
    """End a task with an error that a retry would only meet again."""

    def end(effects: Effects) -> None:
        engine.end(task, TaskState.FAILED, error, None, effects)

    engine.control(end)


def _prepare(engine: Engine, task: Task) -> bool:
    """Put values in and look the memo up; tell whether the task is still to run."""
    work, found = task.work, task.found
    if work is None:
        return False
    if found is not None:
        task.found = None
        work.args, work.kwargs = substitute(
            work.args,
            dict(work.kwargs),
            partial(_value, found.files),
            deep=engine.config.dependencies == "deep",
        )
    if task.spec.cache and engine.config.app_cache:
        return engine.memo.begin(task)
    return True


def _value(files: dict[Any, Any], placeholder: Any) -> Any:
    """Return what stands for a future or a remote file."""
    future = placeholder
    if not isinstance(placeholder, Future):
        future = files.get(placeholder)
        if future is None:  # a file with a local copy, or one that staging inhibits
            return placeholder
    if isinstance(future, KernelFuture):
        return future._result
    return future.result(0)


def _choose(engine: Engine, task: Task, extra: dict[str, int]) -> ExecutorEntry:
    spec, extras = task.spec, task.extras
    route = engine.pool.route(spec, extras.walltime if extras else spec.walltime)
    if extras is not None and extras.forced is not None:
        for entry in route.entries:
            if entry.label == extras.forced:
                return entry
        raise ExecutorError(
            extras.forced,
            f"asked for by a retry of {task.title}, "
            f"is none of those that fit: {', '.join(route.labels)}",
        )
    hooks = engine.manager.select_executor
    if not hooks and len(route.entries) == 1:
        return route.entries[0]
    return select(task, route, hooks, extra)


def _hand_over(engine: Engine, entry: ExecutorEntry, tasks: Sequence[Task]) -> None:
    def mark(task: Task) -> None:
        task.entry = entry
        task.state = TaskState.SUBMITTED

    submitted = mark_submitted(tasks, mark)
    works = []
    for task in submitted:
        work = task.work
        assert work is not None
        if task.extras is not None or task.spec.walltime is not None:
            _limit(task, entry)
        works.append(work)
    if engine.events is not None:
        for task in submitted:
            engine.events.note(task, None)
    try:
        entry.submit(works)
    except BaseException as error:
        reason = ExecutorError(entry.label, f"submit raised {one_line(error)}")
        reason.__cause__ = error
        engine.report([(work, reason, None) for work in works])


def _limit(task: Task, entry: ExecutorEntry) -> None:
    """Arrange for the attempt's walltime in the way the executor can."""
    work, extras = task.work, task.extras
    if work is None:
        return
    seconds = extras.walltime if extras is not None else task.spec.walltime
    work.function = without_walltime(work.function)
    work.walltime = None
    if seconds is None:
        return
    if entry.capabilities.walltime == "kill":
        work.walltime = seconds
    else:
        work.function = soft_walltime(work.function, work.name, seconds)
