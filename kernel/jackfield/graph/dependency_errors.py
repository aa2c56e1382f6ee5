"""Makes the errors of tasks tell: which call it is, and which dependency has failed."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import (
    DependencyError,
    JackfieldError,
    JoinError,
    one_line,
    printable,
)
from jackfield.futures.future import Cancellation
from jackfield.states import TaskState

if TYPE_CHECKING:
    from jackfield.graph.task import Task

_ENDS: Final = 3
"""How many tasks of a long path of dependencies are shown at each end."""


_NOTES: Final = 5
"""Notes on one exception object, which several tasks may have raised."""


def name_call(task: Task, error: BaseException) -> None:
    """Write into an error, and into what is told of it, which call it is of."""
    give_reason(task, " ".join([one_line(error), *notes_of(error)]))
    if isinstance(error, JackfieldError) and not error.call:
        error.__dict__["call"] = task.call_text()
    else:
        note_task(task, error)


def notes_of(error: BaseException) -> list[str]:
    """Return the first line of each note: the plugin's name, where one is to blame."""
    try:
        return [note.partition("\n")[0] for note in error.__dict__["__notes__"]]
    except Exception:  # there is none, or something else that has that name
        return []


def give_reason(task: Task, reason: str) -> None:
    """Keep in a line why a task has failed, and which call it is."""
    call = task.keep_call()
    task.reason = printable(reason) + (f" [in {call}]" if call else "")


def note_task(task: Task, error: BaseException) -> None:
    """Add a note to an error: which task it is of.

    Several may have raised the same object; of these the first few have a note.
    """
    note = f"In task {task.id}: {task.call_text() or task.spec.name}"
    try:
        notes = error.__dict__.get("__notes__", ())
        if note not in notes and len(notes) < _NOTES:
            BaseException.add_note(error, note)
    except Exception:  # noqa: S110  (a class may see to it that there are no notes)
        pass


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
        give_reason(task, blamed.reason)
        note_task(task, cause)
        return cause, TaskState.FAILED
    task.blame(blamed)
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
    name_call(task, error)
    return error, TaskState.DEPENDENCY_FAILED


def _longer(path: tuple[str, ...], last: str) -> tuple[str, ...]:
    """Return a path with one more task; of a long one only both ends."""
    path = (*path, last)
    if len(path) <= 2 * _ENDS + 1:
        return path
    return (*path[:_ENDS], "...", *path[-_ENDS:])
