"""What a step of the engine calls for, and what waits for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from jackfield.futures.locks import Latch

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackfield.futures import KernelFuture
    from jackfield.graph.task import Task
    from jackfield.states import TaskState

Ending: TypeAlias = (
    "tuple[KernelFuture[Any] | None, BaseException | None, Any, Task, TaskState]"
)
"""``(future, error, value, task, final state)``."""


class Ended(NamedTuple):
    """An item of the inbox: a task that is to end so. Posted once for a task."""

    task: Task
    state: TaskState
    error: BaseException | None
    value: Any


class Effects:
    """What a step calls for.

    Attributes:
        ready: Tasks to launch.
        ended: Futures to announce.
        rest: What few steps call for, done last: ``(action, task, ...)``. An action
            is called with the engine, the task and what follows it.
    """

    __slots__ = ("ended", "ready", "rest")

    def __init__(self) -> None:
        self.ready: list[Task] = []
        self.ended: list[KernelFuture[Any]] = []
        self.rest: list[tuple[Callable[..., object], Task, *tuple[Any, ...]]] = []


class Barrier:
    """Waits for the tasks that were live when it was set."""

    __slots__ = ("down", "left")

    def __init__(self) -> None:
        self.left: set[int] = set()
        self.down: Latch = Latch()
