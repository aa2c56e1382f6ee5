"""What becomes of a failed attempt: another one, or the end."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.abc import Retry, Work
from jackfield.errors import one_line
from jackfield.graph.task import Extras
from jackfield.plugins.asking import ask
from jackfield.states import FINAL, TaskState
from jackfield.steps.launch import fail, route_of

if TYPE_CHECKING:
    from jackfield.graph.effects import Effects
    from jackfield.graph.task import Task
    from jackfield.steps.engine import Engine

JITTER = 0.1
"""Delays are stretched by up to this part, so that retries do not march in step."""


def handle_failure(engine: Engine, task: Task, error: BaseException) -> None:
    """Retry a task whose attempt failed, or end it. Runs without the role."""
    if task.state in FINAL:
        return
    try:
        answer = _ask(engine, task, error)
        task.cost += answer.cost
        if _stopped(engine) or task.cost > _allowed(engine, task):
            fail(engine, task, error)
            return
        delay = _delay(engine, task, answer)
    except BaseException as fault:
        fault.__cause__ = error
        fail(engine, task, fault)
        return
    what = one_line(error)
    engine.log.info("Task %s: attempt %d failed: %s", task.title, task.attempt, what)
    engine.control(partial(_again, engine, task, delay, answer.executor))


def _stopped(engine: Engine) -> bool:
    """Tell whether the run is being cut short: nothing is tried again then."""
    first_failure = engine.closed is not None and not engine.config.lazy_errors
    return first_failure or engine.stopped.is_set()


def _ask(engine: Engine, task: Task, error: BaseException) -> Retry:
    manager = engine.manager
    if not manager.hooks.retry or task.spec.kind == "transfer":
        return Retry()
    view = task.view(route_of(engine, task).labels)
    return (
        ask(manager, manager.hooks.retry, _checked, view, error, view.attempt)
        or Retry()
    )


def _checked(answer: Any) -> Retry:
    if not isinstance(answer, Retry):
        raise TypeError(
            f"A plugin's jackfield_retry answered {answer!r}; expected a "
            f"jackfield.Retry or None."
        )
    for name, number in (("cost", answer.cost), ("delay", answer.delay or 0.0)):
        if not isinstance(number, int | float) or math.isnan(number):
            raise TypeError(
                f"A plugin's jackfield_retry answered {answer!r}; {name} is no number."
            )
    return answer


def _allowed(engine: Engine, task: Task) -> float:
    if task.spec.kind == "transfer":
        return 0
    retries = task.spec.retries
    return engine.config.retries if retries is None else retries


def _delay(engine: Engine, task: Task, answer: Retry) -> float:
    """Return the seconds to wait: the answer's, or exponential backoff."""
    if answer.delay is not None:
        return answer.delay
    spec, config = task.spec, engine.config
    first = config.retry_delay if spec.retry_delay is None else spec.retry_delay
    factor = config.retry_backoff if spec.retry_backoff is None else spec.retry_backoff
    if first <= 0:
        return 0.0
    try:
        delay = first * factor ** (task.attempt - 1)
    except OverflowError:
        delay = config.retry_max_delay
    import random  # few runs need it

    delay = min(delay, max(first, config.retry_max_delay))
    return delay * (1 + JITTER * random.random())  # noqa: S311  (no secret)


def _again(
    engine: Engine,
    task: Task,
    delay: float,
    executor: str | None,
    effects: Effects,
) -> None:
    old = task.work
    if task.state in FINAL or old is None:
        return
    task.attempt += 1
    task.work = Work(
        old.id, task.attempt, old.name, old.function, old.args, old.kwargs,
        old.walltime, old.resources,
    )  # fmt: skip
    if executor is not None or task.extras is not None:
        task.extras = task.extras or _extras(task)
        task.extras.forced = executor
    task.state = TaskState.WAITING
    if delay > 0:
        engine.scheduler.call_later(
            delay, partial(engine.control, partial(_ready, task))
        )
    else:
        _ready(task, effects)


def _extras(task: Task) -> Extras:
    extras = Extras()
    extras.walltime = task.spec.walltime
    return extras


def _ready(task: Task, effects: Effects) -> None:
    if task.state is TaskState.WAITING:
        task.state = TaskState.READY
        effects.ready.append(task)
