"""``jackfield.explain``: why a task was a hit or a miss.

It is found out when somebody asks. During the run nothing is noted but the time when a
call was looked up, and what gives the manifest of its key.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.errors import CheckpointError, one_line
from jackfield.files import redact
from jackfield.futures import AppFuture, DataFuture
from jackfield.graph.task import task_of
from jackfield.results.explanation import Call, Explanation, explain_miss, shown_time
from jackfield.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackfield.graph.task import Extras, Task


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
    try:
        if info.status == "hit":
            return _hit(task, extras, say)
        return _miss(task, extras, say)
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


def _hit(task: Task, extras: Extras, say: Callable[..., Explanation]) -> Explanation:
    assert extras.key is not None
    if task.state is TaskState.FAILED:
        return say(("an equal call of this run failed, and its failures are cached",))
    with task.home.stores() as stores:
        for url, store in stores:
            record = store.get(extras.key)
            if record is None:
                continue
            facts = {"stored": record.created, "store": redact(url)}
            if record.created >= extras.looked_up:
                return say(("an equal call was being executed",), **facts)
            by = f", by {record.app!r}" if record.app != task.spec.name else ""
            when = shown_time(record.created)
            return say((f"stored {when} in {redact(url)}{by}",), **facts)
    return say(("an equal call of this run had the result, which is not stored",))


def _miss(task: Task, extras: Extras, say: Callable[..., Explanation]) -> Explanation:
    assert extras.key is not None
    if extras.refusal:
        return say((extras.refusal,))
    assert extras.manifest is not None
    with task.home.stores() as stores:
        if not stores:
            reason = "no equal call was made in this run, and no results are stored"
            return say((reason,))
        call = Call(
            task.spec.name,
            extras.key,
            extras.manifest(),
            extras.looked_up,
            task.home.started,
        )
        return explain_miss(call, stores, task.id)
