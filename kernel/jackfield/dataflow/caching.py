"""Cached calls put together with an engine: what flights have done with tasks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.executors.pool import INTERNAL
from jackfield.graph.effects import Ended
from jackfield.graph.task import AppSpec
from jackfield.plugins.key_makers import create_key_maker
from jackfield.results.flights import Actions, Flights
from jackfield.states import TaskState
from jackfield.steps import launch
from jackfield.steps.finish import refuse_circle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackfield.graph.effects import Effects
    from jackfield.graph.task import Task
    from jackfield.steps.engine import Engine

LOOK_UP: Final = AppSpec("memo_look_up", kind="transfer", executors=(INTERNAL,))
"""Making the key of a call whose arguments would hold the kernel's threads up."""


def make_flights(engine: Engine) -> Flights:
    """Make the flights of an engine's cached calls."""
    files = engine.config.checkpoint.get("files", "content")

    def end(
        task: Task, state: TaskState, error: BaseException | None, value: Any
    ) -> None:
        engine.post_end(Ended(task, state, error, value))

    def launch_ready(tasks: Sequence[Task]) -> None:
        engine.control(partial(_launch_ready, tasks))

    def refuse(task: Task, leader: Task) -> None:
        engine.control(partial(refuse_circle, engine, task, leader))

    return Flights(
        partial(create_key_maker, engine.manager, files),
        engine.checkpoints,
        Actions(
            end=end,
            fail=partial(launch.fail, engine),
            launch=launch_ready,
            refuse_circle=refuse,
            elsewhere=partial(engine.submit_internal, LOOK_UP),
        ),
    )


def _launch_ready(tasks: Sequence[Task], effects: Effects) -> None:
    """Launch those tasks that still wait for it. A control."""
    effects.ready.extend(task for task in tasks if task.state is TaskState.READY)
