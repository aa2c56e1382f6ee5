"""What is left to do when a function has returned: join, outputs, memo.

Runs without the scheduler's role, on the thread that worked the report off. The
plain task never comes here.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.errors import CircularWaitError, MissingOutputs
from jackfield.futures import DataFuture, KernelFuture
from jackfield.futures.claims import settle
from jackfield.graph import transitions as graph
from jackfield.graph.arguments import futures_in, substitute
from jackfield.states import FINAL, TaskState
from jackfield.steps.foreign import own_tasks, watch
from jackfield.steps.launch import fail
from jackfield.steps.retry import handle_failure

if TYPE_CHECKING:
    from jackfield.graph.effects import Effects
    from jackfield.graph.task import Task
    from jackfield.steps.engine import Engine


def finish(engine: Engine, task: Task, value: Any) -> None:
    """Do what follows a function's return, then end the task."""
    try:
        inner = _inner(engine, task, value)
    except MissingOutputs as error:
        handle_failure(engine, task, error)
    except BaseException as error:
        fail(engine, task, error)
    else:
        if inner:
            engine.control(partial(_join, engine, task, value, inner))
        else:
            _succeed(engine, task, value)


def _inner(engine: Engine, task: Task, value: Any) -> list[Future[Any]]:
    """Return the futures that have to end before the task does."""
    inner: list[Future[Any]] = []
    extras = task.extras
    assert extras is not None
    if task.spec.kind == "join":
        inner += _joined_futures(task, value)
        extras.joining = True
    if extras.in_task or not (extras.outputs or extras.streams):
        return inner
    if extras.outputs:
        missing = [
            file.filepath
            for file in extras.outputs
            if not os.path.exists(file.filepath)  # noqa: PTH110  (a str is at hand)
        ]
        if missing:
            raise MissingOutputs(task.spec.name, missing)
    for file in extras.remote_outputs():
        inner.append(engine.staging.send(file))
    return inner


def _joined_futures(task: Task, value: Any) -> list[Future[Any]]:
    futures = futures_in(value)
    if not futures and not isinstance(value, list | tuple | dict | set | frozenset):
        raise TypeError(
            f"Join app {task.spec.name!r} returned {type(value).__name__}; expected a "
            f"future, or futures in a list, tuple, dict, set or dataclass."
        )
    return futures


def _join(
    engine: Engine,
    task: Task,
    value: Any,
    inner: list[Future[Any]],
    effects: Effects,
) -> None:
    if task.state in FINAL or task.extras is None:
        return
    own = own_tasks(engine, inner)
    blocked = graph.waits_for(task, own)
    if blocked is not None:
        error = CircularWaitError(
            f"Join {task.title} returned a future of task {blocked.title}, which waits "
            f"for the join itself: neither could ever end."
        )
        engine.end(task, TaskState.FAILED, error, None, effects)
        return
    foreign = [future for future in inner if not _is_own(engine, future)]
    task.state = TaskState.JOINING
    task.extras.value = value
    task.waiting = len(foreign)
    failed = graph.add(engine.live, task, own)
    if engine.memo.joins_followed:
        _refuse_circles(engine, task, effects)
    if failed is not None:
        engine.doom(failed, [task], effects)
    elif task.waiting == 0:
        effects.rest.append((complete_join, task))
    elif foreign:
        effects.rest.append((watch, task, foreign))


def _refuse_circles(engine: Engine, task: Task, effects: Effects) -> None:
    followers = engine.memo.followers
    for leader in list(graph.downstream(task, followers)):
        for follower in followers(leader):
            refuse_circle(engine, follower, leader, effects)


def refuse_circle(engine: Engine, task: Task, leader: Task, effects: Effects) -> None:
    """End a task that waits for an equal call, if that is a join waiting for it.

    Not the join, whose end would have the equal call executed and join in its place.
    """
    if task.state in FINAL:
        return
    if graph.waits_for(task, [leader], engine.memo.followers) is not None:
        error = CircularWaitError(
            f"Task {task.title} is the same call as join {leader.title}, which waits "
            f"for it: neither could ever end."
        )
        engine.end(task, TaskState.FAILED, error, None, effects)


def _is_own(engine: Engine, future: Future[Any]) -> bool:
    return isinstance(future, KernelFuture) and future._task.kernel is engine


def complete_join(engine: Engine, task: Task) -> None:
    """End a task whose inner futures have all ended well."""
    extras = task.extras
    assert extras is not None
    value = extras.value
    if task.state in FINAL:  # cancelled; then the value may be gone, so in this order
        return
    try:
        if task.spec.kind == "join":
            (value,), _ = substitute((value,), {}, _result)
    except BaseException as error:
        fail(engine, task, error)
    else:
        _succeed(engine, task, value)


def _result(placeholder: Any) -> Any:
    return placeholder.result(0) if isinstance(placeholder, Future) else placeholder


def _succeed(engine: Engine, task: Task, value: Any) -> None:
    if task.extras is not None and task.extras.memo == "miss":
        engine.memo.remember(task, value)
    else:
        engine.succeed(task, value)


def settle_data(task: Task, error: BaseException | None) -> tuple[DataFuture, ...]:
    """End the futures of a task's outputs; return them."""
    settle(
        [
            (future, error, future.file_obj, task, task.state)
            for future in task.data_futures
        ]
    )
    return task.data_futures
