"""Dependencies on futures that are no tasks of the kernel.

They may be of any class derived from ``concurrent.futures.Future``, so what is asked
of them is asked without the scheduler's role, and may raise.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.futures import KernelFuture
from jackfield.graph.dependency_errors import blame_foreign
from jackfield.states import FINAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from jackfield.graph.effects import Effects
    from jackfield.graph.task import Task
    from jackfield.steps.engine import Engine


def watch(engine: Engine, task: Task, futures: Sequence[Future[Any]]) -> None:
    """Have futures release ``task``; ``task.waiting`` counts them already."""
    for future in futures:
        future.add_done_callback(partial(_done, engine, task))


def _done(engine: Engine, task: Task, future: Future[Any]) -> None:
    cause = _cause(future)
    blamed = None if cause is None else blame_foreign(task, future, cause)

    def release_or_end(effects: Effects) -> None:
        if task.state in FINAL:
            return
        if blamed is None:
            engine.release([task], effects)
        else:
            error, state = blamed
            engine.end(task, state, error, None, effects)

    # May run on a user's thread, which never takes the role.
    engine.scheduler.post(release_or_end)


def _cause(future: Future[Any]) -> BaseException | None:
    """Return why a future failed, if it did."""
    try:
        if future.cancelled():
            return CancelledError("a future that it depends on was cancelled")
        return future.exception()
    except BaseException as error:
        return error


def own_tasks(engine: Engine, futures: Iterable[Future[Any]]) -> dict[Task, None]:
    """Return the distinct tasks of this kernel behind futures."""
    return {
        future._task: None
        for future in futures
        if isinstance(future, KernelFuture) and future._task.kernel is engine
    }
