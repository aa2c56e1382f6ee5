"""The state of the graph, and its transitions, as functions on plain data.

State, all of it on the tasks themselves:

- ``task.waiting``: how many of its dependencies have not ended,
- ``task.dependents``: the tasks that wait for it (edges point forward only: a task
  never holds those it depends on, so a chain is released as it ends),
- ``task.state``,
- ``live``: ``{task.id: task}`` of the tasks that are registered and not ended.

Policy: a dependent fails as soon as one dependency fails, without waiting for the
others; whichever failure comes first is the one it reports. Nothing here recurses,
locks, calls users' code or touches a future, so that every transition can be
tested as a whole.

Example: ``a -> c <- b``. After ``add`` of all three, ``c.waiting == 2``. When ``a``
succeeds, ``release(live, a)`` gives ``[]`` and ``c.waiting == 1``; when ``b`` does, it
gives ``[c]``, which is ``READY``. Had ``b`` failed, ``doom(b)`` would have given
``[(c, b)]``: the tasks to end as ``DEPENDENCY_FAILED``, each with the one to blame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jackfield.states import FINAL, TaskState

if TYPE_CHECKING:
    from jackfield.futures import KernelFuture
    from jackfield.graph.task import Task

SUCCESS: Final[frozenset[TaskState]] = frozenset(
    {TaskState.SUCCEEDED, TaskState.MEMOIZED}
)


class Ended(NamedTuple):
    """An item of the inbox: a task that is to end so. Posted once for a task."""

    task: Task
    state: TaskState
    error: BaseException | None
    value: Any


class Effects:
    """What a step calls for, done in this order when it is over.

    Attributes:
        ready: Tasks to launch.
        ended: Futures whose callbacks are to be called.
        joined: Join tasks, and tasks with outputs, of which all that they waited for
            after their function had returned has ended well.
        stops: Whether the run is to stop at this failure.
        rest: What few steps call for: ``(action, task, ...)``. An action is called with
            the task and what follows it. What it raises fails the task.
    """

    __slots__ = ("ended", "joined", "ready", "rest", "stops")

    def __init__(self) -> None:
        self.ready: list[Task] = []
        self.ended: list[KernelFuture[Any]] = []
        self.joined: list[Task] = []
        self.stops: bool = False
        self.rest: list[tuple[Callable[..., object], Task, *tuple[Any, ...]]] = []


def add(live: dict[int, Task], task: Task, dependencies: Iterable[Task]) -> Task | None:
    """Register a task; return the dependency that has failed already, if any.

    Afterwards ``task.waiting`` says whether it is ready. Dependencies are given
    once each.
    """
    live[task.id] = task
    for dependency in dependencies:
        if dependency.state in SUCCESS:
            continue
        if dependency.state in FINAL:
            return dependency
        if dependency.dependents is None:
            dependency.dependents = []
        dependency.dependents.append(task)
        task.waiting += 1
    return None


def end(live: dict[int, Task], task: Task, state: TaskState) -> Sequence[Task]:
    """Put a task into a final state and take it out; return its dependents."""
    dependents = task.dependents
    task.state = state
    task.dependents = None
    live.pop(task.id, None)
    return dependents or ()


def release(dependents: Iterable[Task]) -> list[Task]:
    """Count a success on each dependent; return those that wait no longer."""
    ready: list[Task] = []
    for dependent in dependents:
        state = dependent.state
        if state is TaskState.WAITING or state is TaskState.JOINING:
            dependent.waiting -= 1
            if dependent.waiting == 0:
                if state is TaskState.WAITING:
                    dependent.state = TaskState.READY
                ready.append(dependent)
    return ready


def doom(
    live: dict[int, Task], task: Task, dependents: Iterable[Task]
) -> list[tuple[Task, Task]]:
    """End everything that hangs on a failed task.

    Returns:
        ``(ended, blamed)`` in breadth-first order: ``blamed`` is the direct
        dependency, which has ended before.
    """
    ended: list[tuple[Task, Task]] = []
    queue = deque((dependent, task) for dependent in dependents)
    while queue:
        doomed, blamed = queue.popleft()
        if doomed.state in FINAL:
            continue
        further = end(live, doomed, TaskState.DEPENDENCY_FAILED)
        ended.append((doomed, blamed))
        queue.extend((dependent, doomed) for dependent in further)
    return ended


def _none(task: Task) -> Iterable[Task]:
    del task
    return ()


def waits_for(
    task: Task,
    targets: Iterable[Task],
    followers: Callable[[Task], Iterable[Task]] = _none,
) -> Task | None:
    """Return a target that waits for ``task``, directly or not, or is it."""
    wanted = {target for target in targets if target.state not in FINAL}
    if not wanted:
        return None
    found = (other for other in downstream(task, followers) if other in wanted)
    return next(found, None)


def downstream(
    task: Task, followers: Callable[[Task], Iterable[Task]] = _none
) -> Iterator[Task]:
    """Give ``task`` and all that wait for it, each once.

    Args:
        task: The task.
        followers: Gives those that wait for the result of an equal call.
    """
    seen: set[Task] = {task}
    stack = [task]
    while stack:
        current = stack.pop()
        yield current
        for dependent in (*(current.dependents or ()), *followers(current)):
            if dependent not in seen:
                seen.add(dependent)
                stack.append(dependent)
