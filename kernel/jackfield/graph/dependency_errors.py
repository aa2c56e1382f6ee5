"""Makes the error of a task that cannot run because a dependency has failed."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import DependencyError, JoinError, one_line
from jackfield.futures.future import Cancellation
from jackfield.states import TaskState

if TYPE_CHECKING:
    from jackfield.graph.task import Task

_ENDS: Final = 3
"""How many tasks of a long path of dependencies are shown at each end."""


def dependency_error(task: Task, blamed: Task) -> tuple[BaseException, TaskState]:
    """Return the error and the final state of a task whose dependency has failed.

    The dependency ``blamed`` has failed, or was cancelled. If it could not run either,
    its error tells the path to the first failure.
    """
    cause = blamed.error
    if cause is None or isinstance(cause, Cancellation):
        cause = CancelledError(f"task {blamed.title} was cancelled")
    if blamed.spec.kind == "transfer":
        # Users do not know the kernel's own tasks. For them it is this task that has
        # failed, because its file did not arrive.
        task.reason = blamed.reason
        return cause, TaskState.FAILED
    if isinstance(cause, DependencyError):
        path, reason = _longer(cause.path, blamed.title), cause.reason
        cause = cause.__cause__ or cause
    else:
        path, reason = (blamed.title,), blamed.reason or one_line(cause)
    return _error(task, path, reason, cause)


def foreign_error(
    task: Task, future: Future[Any], cause: BaseException
) -> tuple[BaseException, TaskState]:
    """Do the same for a dependency that is no task of this kernel.

    It is a future of another kind, or of another kernel, and has ended with ``cause``.
    """
    return _error(
        task, (f"{type(future).__name__} of the caller",), one_line(cause), cause
    )


def _error(
    task: Task, path: tuple[str, ...], reason: str, cause: BaseException
) -> tuple[BaseException, TaskState]:
    joining = task.extras is not None and task.extras.joining
    kind = JoinError if joining else DependencyError
    error = kind(task.title, path, reason)
    error.__cause__ = cause
    return error, TaskState.DEPENDENCY_FAILED


def _longer(path: tuple[str, ...], last: str) -> tuple[str, ...]:
    """Return a path with one more task; of a long one only both ends."""
    path = (*path, last)
    if len(path) <= 2 * _ENDS + 1:
        return path
    return (*path[:_ENDS], "...", *path[-_ENDS:])
