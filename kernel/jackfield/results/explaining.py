"""``jackfield.explain``: why a task was a hit or a miss.

It is found out when somebody asks. During the run nothing is noted but the time when a
call was looked up, and what gives the manifest of its key.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.errors import CheckpointError, one_line
from jackfield.futures import AppFuture, DataFuture
from jackfield.graph.task import task_of
from jackfield.keeping import CachedCall, Explanation
from jackfield.states import TaskState

if TYPE_CHECKING:
    from jackfield.graph.task import Task


def explain(future: AppFuture[Any] | DataFuture) -> Explanation:
    """Tell why the task of a future, or of one of its outputs, was a hit or a miss.

    A miss is compared with the nearest call of the app that was stored when it was
    looked up: the one with the fewest different arguments, then with the least
    different code. Reads the checkpoint stores, on the calling thread; after the
    kernel has ended too. Of an app with very many stored calls, the last 10,000 are
    compared.

    Raises:
        TypeError: It is no future of a task.
    """
    if isinstance(future, DataFuture):
        future = future.parent
    if not isinstance(future, AppFuture):
        kind = type(future).__name__
        raise TypeError(f"explain() takes the future of an app's call, not a {kind}.")
    task, info = task_of(future), future.memo
    say = partial(Explanation, task.spec.name, task.id, info.status, info.key)
    extras = task.extras
    if info.status in {"pending", "off"} or extras is None or extras.key is None:
        return say((_unknown(task, info.status, info.key),))
    if extras.refusal and info.status == "miss":
        return say((extras.refusal,))
    if task.state is TaskState.FAILED and info.status == "hit":
        return say(("an equal call of this run failed, and its failures are cached",))
    keeper = task.home.keeper()
    assert keeper is not None  # it was asked for the call
    assert extras.manifest is not None
    call = CachedCall(
        task.spec.name,
        task.id,
        extras.key,
        extras.manifest,
        extras.looked_up,
        hit=info.status == "hit",
    )
    try:
        return keeper.explain(call)
    except CheckpointError as error:
        return say((f"the checkpoint store cannot be read: {one_line(error)}",))


def _unknown(task: Task, status: str, key: str | None) -> str:
    """Say why a call has been neither a hit nor a miss."""
    if status == "pending":
        if key is None:
            return "it has not been looked up yet"
        return "it waits for an equal call, which is being executed"
    if not task.spec.cache:
        return "the app is not cached: its decorator does not say cache=True"
    if not task.home.caches:
        return "apps are not cached in this run: app_cache = false is configured"
    error = task.error if task.state is not TaskState.CANCELLED else None
    why = f": {one_line(error)}" if error is not None else ""
    return f"it ended before it was looked up ({task.state.value}){why}"
