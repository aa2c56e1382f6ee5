"""Says in the errors of tasks which call has failed, and because of which other one."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import (
    LINE_MOST,
    DependencyError,
    JackfieldError,
    JoinError,
    PropagatedError,
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
    """Write into an error which call it is of, and into what the run says of it."""
    give_reason(task, line_of(error))
    if isinstance(error, JackfieldError) and not error.call:
        error.__dict__["call"] = task.call_text()
    else:
        note_task(task, error)


def line_of(error: BaseException) -> str:
    """Return class, message and notes of an error in one line."""
    line = one_line(error)
    for note in _notes_of(error):
        if len(line) + len(note) > LINE_MOST:
            return f"{line}; ..."
        line += f" {note}" if line.endswith((".", "!", "?")) else f"; {note}"
    return line


def _notes_of(error: BaseException) -> list[str]:
    """Return the first line of each note, but for ours: the plugin's name, perhaps."""
    try:
        notes = error.__dict__["__notes__"]
        return [n.partition("\n")[0] for n in notes if not n.startswith("In task ")]
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
    cause = _error_of(blamed)
    if blamed.spec.kind == "transfer":
        # Users do not know the kernel's own tasks. For them it is this task that has
        # failed, because its file did not arrive.
        give_reason(task, blamed.reason)
        note_task(task, cause)
        return cause, TaskState.FAILED
    task.blame(blamed)
    if isinstance(cause, PropagatedError):
        path, reason = _longer(cause.path, blamed.title), cause.reason
        # Not by `or`: as a condition, an error that is a container too may be false.
        cause = cause if cause.__cause__ is None else cause.__cause__
    else:
        path, reason = (blamed.title,), blamed.reason or one_line(cause)
    return _error(task, path, reason, cause, ())


def _error_of(task: Task) -> BaseException:
    """Return the error of a task that failed or was cancelled."""
    if task.error is None or isinstance(task.error, Cancellation):
        return CancelledError(f"task {task.title} was cancelled")
    return task.error


def foreign_error(
    task: Task, future: Future[Any], cause: BaseException
) -> tuple[BaseException, TaskState]:
    """Return error and final state of a task that a foreign future has failed.

    That is a future of another kind, or of another kernel; it has ended with ``cause``.
    """
    plain = type(future).__repr__ is Future.__repr__  # else it may do anything
    name = repr(future) if plain else f"{type(future).__name__} of the caller"
    return _error(task, (name,), one_line(cause), cause, ((None, cause),))


def _error(
    task: Task,
    path: tuple[str, ...],
    reason: str,
    cause: BaseException,
    foreign: tuple[tuple[None, BaseException], ...],
) -> tuple[BaseException, TaskState]:
    extras = task.extras
    joining = extras is not None and extras.joining
    error = (JoinError if joining else DependencyError)(task.title, path, reason)
    error.__cause__ = cause
    direct = extras.inner if joining and extras is not None else task.inputs()
    failed = [one for one in direct if one.error is not None]
    vars(error)["failures"] = (
        *((one.id, _error_of(one)) for one in failed), *foreign
    )  # fmt: skip
    name_call(task, error)
    return error, TaskState.DEPENDENCY_FAILED


def _longer(path: tuple[str, ...], last: str) -> tuple[str, ...]:
    """Return a path with one more task; of a long one only both ends."""
    path = (*path, last)
    if len(path) <= 2 * _ENDS + 1:
        return path
    return (*path[:_ENDS], "...", *path[-_ENDS:])
