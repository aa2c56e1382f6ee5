"""Dependencies on futures that are no tasks of the kernel.

They may be of any class derived from ``concurrent.futures.Future``, so what is asked
of them is asked without the scheduler's role, and may raise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.graph.dependency_errors import foreign_error
from jackfield.states import FINAL

if TYPE_CHECKING:
    from concurrent.futures import Future

    from jackfield.graph.task import Task
    from jackfield.graph.transitions import Effects
    from jackfield.steps.ends import Ends


class ForeignFutures:
    """Has foreign futures release the tasks that wait for them."""

    def __init__(self, ends: Ends, post: Callable[[Any], None]) -> None:
        self._ends = ends
        self._post = post

    def watch(self, task: Task, futures: Sequence[Future[Any]]) -> None:
        """Have futures release ``task``; ``task.waiting`` counts them already."""
        for future in futures:
            future.add_done_callback(partial(self._done, task))

    def _done(self, task: Task, future: Future[Any]) -> None:
        cause = _cause(future)
        blamed = None if cause is None else foreign_error(task, future, cause)

        def release_or_end(effects: Effects) -> None:
            if task.state in FINAL:
                return
            if blamed is None:
                self._ends.release([task], effects)
            else:
                error, state = blamed
                self._ends.end(task, state, error, None, effects)

        self._post(release_or_end)  # this may be a user's thread, which takes no role


def _cause(future: Future[Any]) -> BaseException | None:
    """Return why a future failed, if it did."""
    try:
        if future.cancelled():
            return CancelledError("a future that it depends on was cancelled")
        return future.exception()
    except BaseException as error:
        return error
