"""What a step of the engine calls for, and what waits for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from jackfield.dataflow.locks import Latch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from jackfield.dataflow.task import Task
    from jackfield.files import File
    from jackfield.futures import KernelFuture
    from jackfield.states import TaskState

Ending: TypeAlias = "tuple[Task, TaskState, BaseException | None, Any]"
"""``(task, final state, error, value)``."""


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
        joined: Tasks whose inner futures have ended well.
        ended: Futures to announce.
        failed: ``(task, error)`` to retry or to end.
        returned: ``(task, value)`` of tasks with something left to do.
        freed: Cached tasks that have no result for those of the same key.
        unwanted: Remote files of tasks that ended before they had them.
        watches: ``(task, futures)``: tasks that wait for futures of others.
        warnings: Lines for the log.
    """

    __slots__ = (
        "ended",
        "failed",
        "freed",
        "joined",
        "ready",
        "returned",
        "unwanted",
        "warnings",
        "watches",
    )

    def __init__(self) -> None:
        self.ready: list[Task] = []
        self.joined: list[Task] = []
        self.ended: list[KernelFuture[Any]] = []
        self.failed: list[tuple[Task, BaseException]] = []
        self.returned: list[tuple[Task, Any]] = []
        self.freed: list[Task] = []
        self.unwanted: list[Mapping[File, Future[Any] | None]] = []
        self.watches: list[tuple[Task, list[Future[Any]]]] = []
        self.warnings: list[str] = []


class Barrier:
    """Waits for the tasks that were live when it was set."""

    __slots__ = ("down", "left")

    def __init__(self) -> None:
        self.left: set[int] = set()
        self.down: Latch = Latch()
