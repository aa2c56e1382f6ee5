"""The transitions of the graph, as functions on plain data.

The state of the graph is in the tasks themselves:

- ``task.waiting``: how many of its dependencies have not ended,
- ``task.dependents``: the tasks that wait for it,
- ``task.state``,

and in ``live``, a dict ``{task.id: task}`` of the tasks that are registered and have
not ended. Edges point forward only: a task holds those that wait for it, and never
those that it depends on. So the beginning of a long chain can be freed while its end
waits.

A task fails as soon as one of its dependencies fails, without waiting for the others.
Its error tells of the failure that came first. A join app whose body has returned waits
for all its inner tasks, and then fails if one of them has.

All of this is called with the scheduler's role held, so by one thread at a time.
Nothing here recurses, locks, calls users' code or touches a future.

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
    from jackfield.stream import Notes

SUCCESS: Final[frozenset[TaskState]] = frozenset(
    {TaskState.SUCCEEDED, TaskState.MEMOIZED}
)
"""The final states of tasks that have a result."""


class Ended(NamedTuple):
    """An item of the inbox: this task is to end in this state."""

    task: Task
    state: TaskState
    error: BaseException | None
    value: Any


class Effects:
    """What is to be done when a step is over and the role has been given back.

    It is done in this order.

    Attributes:
        ready: Tasks to launch.
        ended: Futures that have ended, whose callbacks are to be called.
        joined: Tasks in state ``JOINING`` for which all that they waited for after
            their function had returned has ended well: join apps, and tasks whose
            outputs were staged out.
        stop_run: Whether a failure of this step is to stop the run.
        rest: Anything else, which is rare: ``(action, task, *arguments)``. The action
            is called with the task and the arguments. If it raises, the task fails.
        noted: What observers are to be told of the step; ``None`` if there are none.
    """

    __slots__ = ("ended", "joined", "noted", "ready", "rest", "stop_run")

    def __init__(self) -> None:
        self.ready: list[Task] = []
        self.ended: list[KernelFuture[Any]] = []
        self.joined: list[Task] = []
        self.stop_run: bool = False
        self.rest: list[tuple[Callable[..., object], Task, *tuple[Any, ...]]] = []
        self.noted: Notes | None = None


def add(live: dict[int, Task], task: Task, dependencies: Iterable[Task]) -> Task | None:
    """Register a task with its dependencies, each given once.

    Afterwards the task is ready if ``task.waiting`` is 0. If a dependency has failed
    already, so that the task cannot run, the first such dependency is returned. A task
    that joins waits for the others all the same.
    """
    live[task.id] = task
    joins = task.extras is not None and task.extras.joining
    failed: Task | None = None
    for dependency in dependencies:
        if dependency.state in SUCCESS:
            continue
        if dependency.state in FINAL:
            failed = failed or dependency
            if joins:
                continue
            return failed
        if dependency.dependents is None:
            dependency.dependents = []
        dependency.dependents.append(task)
        task.waiting += 1
    return failed


def end(live: dict[int, Task], task: Task, state: TaskState) -> Sequence[Task]:
    """Put a task into a final state and out of ``live``; return its dependents."""
    dependents = task.dependents
    task.state = state
    task.dependents = None
    live.pop(task.id, None)
    return dependents or ()


def release(dependents: Iterable[Task]) -> list[Task]:
    """Note for each dependent that one of its dependencies has succeeded.

    Those that wait for nothing any more are returned. One that was waiting is ``READY``
    then; one that joins stays ``JOINING``.
    """
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
    """Put all tasks that depend on a failed one, directly or not, into a final state.

    Returns ``(ended, blamed)`` for each: the task, and its dependency because of which
    it cannot run. Breadth first, so that ``blamed`` has ended before.
    """
    ended: list[tuple[Task, Task]] = []
    queue = deque((dependent, task) for dependent in dependents)
    while queue:
        doomed, blamed = queue.popleft()
        if doomed.state in FINAL or _waits_for_more(doomed, blamed):
            continue
        if doomed.extras is not None and doomed.extras.blamed is not None:
            blamed, doomed.extras.blamed = doomed.extras.blamed, None
        further = end(live, doomed, TaskState.DEPENDENCY_FAILED)
        ended.append((doomed, blamed))
        queue.extend((dependent, doomed) for dependent in further)
    return ended


def _waits_for_more(task: Task, blamed: Task) -> bool:
    """Note the failure of an inner task of a join; tell whether others have not ended.

    A task that does not join is doomed at once.
    """
    extras = task.extras
    if extras is None or not extras.joining or task.state is not TaskState.JOINING:
        return False
    extras.blamed = extras.blamed or blamed
    task.waiting -= 1
    return task.waiting > 0


def waits_for(
    task: Task,
    targets: Iterable[Task],
    followers: Callable[[Task], Iterable[Task]] = lambda _: (),
    dependencies: Callable[[Task], Iterable[Task]] | None = None,
) -> Task | None:
    """Return one of the targets that waits for ``task``, directly or not, if any does.

    A target that is the task itself counts. If a task were to wait for such a target,
    both would wait for ever.

    Much may hang on a task, and little is above a target, or the other way round. So
    where ``dependencies`` gives the tasks for which one waits, it is searched from both
    ends by turns, until one of them has no way on: then nothing is between them. Only
    if the two may meet, all that hangs on the task is looked through.
    """
    wanted = {target for target in targets if target.state not in FINAL}
    if not wanted:
        return None
    if dependencies is not None and task not in wanted:
        # One task from each side at a time. If ``zip`` ends, one side has been searched
        # to its end and has not met the other: ``task`` is not above a target.
        below, above = downstream(task, followers), _spread(wanted, dependencies)
        if all(a not in wanted and b is not task for a, b in zip(below, above)):  # noqa: B905  (the shorter one decides)
            return None
    found = (other for other in downstream(task, followers) if other in wanted)
    return next(found, None)


def downstream(
    task: Task, followers: Callable[[Task], Iterable[Task]] = lambda _: ()
) -> Iterator[Task]:
    """Give a task and all tasks that wait for it, directly or not, each once.

    ``followers`` returns the tasks that wait for a task's result because they are equal
    calls, which the graph does not know.
    """
    return _spread({task}, lambda one: (*(one.dependents or ()), *followers(one)))


def _spread(
    tasks: set[Task], neighbours: Callable[[Task], Iterable[Task]]
) -> Iterator[Task]:
    """Give tasks and all that can be reached from them, each once."""
    seen = set(tasks)
    stack = list(tasks)
    while stack:
        current = stack.pop()
        yield current
        for other in neighbours(current):
            if other not in seen:
                seen.add(other)
                stack.append(other)
