"""What a step of the engine called for, done without the scheduler's role.

In this order: launch what is ready, tell who waits, then what may run users' or
plugins' code or take its time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jackfield.futures.claims import take_callbacks
from jackfield.steps.launch import fail, launch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from jackfield.files import File
    from jackfield.graph.effects import Effects
    from jackfield.graph.task import Task
    from jackfield.steps.engine import Engine


def perform(engine: Engine, effects: Effects) -> None:
    """Do what a step called for."""
    if effects.ready:
        launch(engine, effects.ready)
    for future in effects.ended:
        callbacks = take_callbacks(future)
        if callbacks:
            engine.callbacks.put(future, callbacks)
    while engine.room:
        with suppress(IndexError):  # another thread may be at it
            engine.room.popleft().open()
    for action, task, *arguments in effects.rest:
        _do(engine, action, task, *arguments)


def _do(
    engine: Engine, action: Callable[..., object], task: Task, *arguments: Any
) -> None:
    """Do one thing; what it raises ends the task and neither thread nor batch."""
    try:
        action(engine, task, *arguments)
    except BaseException as error:
        fail(engine, task, error)
        engine.fault(error)


# -- actions that are no room's own


def release_files(
    engine: Engine, task: Task, files: Mapping[File, Future[Any] | None]
) -> None:
    """Note that a task has ended before it had its remote files."""
    del task
    engine.staging.release(files)


def free(engine: Engine, task: Task) -> None:
    """Have another task with the same memo key run in a task's place."""
    engine.memo.free(task)


def warn(engine: Engine, task: Task, line: str) -> None:
    """Log a warning."""
    del task
    engine.log.warning("%s", line)
