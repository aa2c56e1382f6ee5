"""Cancelling one task for a user, on any thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.futures.future import claim_cancel
from jackfield.states import TaskState
from jackfield.steps.ends import has_not_begun

if TYPE_CHECKING:
    from logging import Logger

    from jackfield.futures import AppFuture
    from jackfield.graph.task import Task
    from jackfield.steps.ends import Ends


class Canceller:
    """Cancels tasks.

    ``post`` leaves an item for the dispatcher; by it, ``ends`` ends what was cancelled.
    """

    def __init__(self, ends: Ends, post: Callable[[Any], None], log: Logger) -> None:
        self._ends = ends
        self._post = post
        self._log = log

    def cancel(self, task: Task, future: AppFuture[Any]) -> bool:
        """Cancel a task if its function has not returned; tell whether it is.

        The future is ended at once, on this thread. The graph learns of it later, by
        the dispatcher, which also ends what depends on the task.
        """
        stopped = False
        try:
            if not claim_cancel(future, partial(has_not_begun, task)):
                stopped = self._stopped(task)
        finally:
            # Also after a Ctrl-C: a work that its executor has dropped is not reported
            # any more, and of a future that has ended the graph has to learn. If it has
            # learnt of it before, this does nothing.
            if stopped:
                claim_cancel(future)
            if future.cancelled():
                self._post(partial(self._ends.end_cancelled, task))
        return future.cancelled()

    def _stopped(self, task: Task) -> bool:
        """Have a task's executor cancel it; tell whether it will not report it."""
        work, entry = task.work, task.entry
        if task.state is not TaskState.SUBMITTED or work is None or entry is None:
            return False
        try:
            return entry.executor.cancel(work)
        except Exception:
            self._log.exception("Executor %r raised in cancel", entry.label)
            return False
