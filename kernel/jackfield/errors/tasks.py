"""Errors of tasks that cannot run or end, and of the executors that run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackfield.errors.base import JackfieldError
from jackfield.errors.kernel import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable


class DependencyError(JackfieldError):
    """A task was not run, because a task it depends on failed or was cancelled.

    ``__cause__`` is the exception of the task that failed first.

    Attributes:
        task: The task that was not run, as ``"7 (total)"``.
        path: The tasks from the one that failed first to the direct dependency. Of a
            long path only both ends.
        reason: The exception of the one that failed first, in one line.
    """

    def __init__(self, task: str, path: tuple[str, ...], reason: str) -> None:
        self.task: str = task
        self.path: tuple[str, ...] = path
        self.reason: str = reason
        super().__init__(task, path, reason)

    def __str__(self) -> str:
        """Show the path from the first failure to this task."""
        way = " -> ".join(self.path)
        return (
            f"Task {self.task} was not run, because task {way} failed with "
            f"{self.reason}"
        )


class JoinError(DependencyError):
    """A join app failed, because one of the futures that its body returned failed."""

    def __str__(self) -> str:
        """Name the task that failed."""
        way = " -> ".join(self.path)
        return f"Join {self.task} failed, because task {way} failed with {self.reason}"


class CircularWaitError(JackfieldError, ValueError):
    """A join app returned a future that waits for the join app itself.

    Both would wait for ever.
    """


class AppTimeout(JackfieldError, TimeoutError):  # noqa: N818  (the name Parsl's users catch)
    """A task ran longer than its walltime.

    Attributes:
        task: The app's name.
        walltime: The limit, in seconds.
    """

    def __init__(self, task: str, walltime: float) -> None:
        self.task: str = task
        self.walltime: float = walltime
        super().__init__(task, walltime)

    def __str__(self) -> str:
        """Name the app and its limit."""
        return f"{self.task} did not end within its walltime of {self.walltime:g} s"


class TaskExitError(JackfieldError):
    """A task raised ``SystemExit``, ``KeyboardInterrupt`` or the like.

    As it is, that would end a program; here only the task has failed.

    Attributes:
        task: The app's name.
        reason: The exception as its ``repr``.
    """

    def __init__(self, task: str, reason: str) -> None:
        self.task: str = task
        self.reason: str = reason
        super().__init__(task, reason)

    def __str__(self) -> str:
        """Say what was raised where."""
        return f"{self.task} raised {self.reason}; only the task has ended, not the run"


class ExecutorError(JackfieldError):
    """An executor, and not the task, has failed: it raised or reported nonsense.

    Attributes:
        label: The executor's label.
        reason: What went wrong, in a sentence.
    """

    def __init__(self, label: str, reason: str) -> None:
        self.label: str = label
        self.reason: str = reason
        super().__init__(label, reason)

    def __str__(self) -> str:
        """Name the executor."""
        return f"Executor {self.label!r}: {self.reason}"


class UnsupportedByExecutorError(ConfigurationError):
    """A task needs something that none of the executors it may use can do.

    Attributes:
        task: The app's name.
        reasons: For each executor, a sentence that says why it cannot run the task.
    """

    def __init__(self, task: str, reasons: Iterable[str]) -> None:
        self.task: str = task
        self.reasons: tuple[str, ...] = tuple(reasons)
        super().__init__(task, self.reasons)

    def __str__(self) -> str:
        """Give the reason for each executor."""
        return f"No executor can run {self.task!r}: {' '.join(self.reasons)}"


class WorkerDiedError(ExecutorError):
    """The worker process that ran a task has died, and the task with it.

    Attributes:
        label: The executor's label.
        task: The task that it was running, as ``"7 (total)"``.
        exitcode: The process's exit code; minus the number of the signal that has
            killed it; or ``None`` if it is not known.
        reason: What is known of the cause, in a sentence.
    """

    def __init__(
        self, label: str, task: str, exitcode: int | None, reason: str
    ) -> None:
        super().__init__(label, reason)
        self.task: str = task
        self.exitcode: int | None = exitcode

    def __reduce__(self) -> tuple[Any, ...]:
        facts = (self.label, self.task, self.exitcode, self.reason)
        return type(self), facts, self.__dict__

    def __str__(self) -> str:
        """Name task, executor and cause."""
        return f"The worker of task {self.task} on {self.label!r} died: {self.reason}"
