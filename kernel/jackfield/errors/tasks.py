"""Errors that tasks end with, and those of the executors that ran them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackfield.errors.base import JackfieldError
from jackfield.errors.kernel import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable


class DependencyError(JackfieldError):
    """A task was not run, because a task it depends on failed or was cancelled.

    ``__cause__`` is the first failure: the exception of the task at the root.

    Attributes:
        task: The task that was not run, as ``"7 (total)"``.
        path: The tasks from the one that failed first to the direct dependency;
            of a long path, its two ends.
        reason: The root's exception in one line.
    """

    def __init__(self, task: str, path: tuple[str, ...], reason: str) -> None:
        self.task: str = task
        self.path: tuple[str, ...] = path
        self.reason: str = reason
        super().__init__(task, path, reason)

    def __str__(self) -> str:
        """Tell the way from the first failure to this task."""
        way = " -> ".join(self.path)
        return (
            f"Task {self.task} was not run, because task {way} failed with "
            f"{self.reason}"
        )


class JoinError(DependencyError):
    """A join app's body returned futures, and one of them failed."""

    def __str__(self) -> str:
        """Tell which of the joined tasks failed."""
        way = " -> ".join(self.path)
        return f"Join {self.task} failed, because task {way} failed with {self.reason}"


class CircularWaitError(JackfieldError, ValueError):
    """A join app returned a future that waits for the join app itself."""


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
    """A task raised what would end a program: SystemExit, KeyboardInterrupt, ...

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
    """An executor did not do its part: it raised, or never answered.

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
    """A task asks for what no executor that it may use can give.

    Attributes:
        task: The app's name.
        reasons: One sentence an executor.
    """

    def __init__(self, task: str, reasons: Iterable[str]) -> None:
        self.task: str = task
        self.reasons: tuple[str, ...] = tuple(reasons)
        super().__init__(task, self.reasons)

    def __str__(self) -> str:
        """Say what is missing, executor by executor."""
        return f"No executor can run {self.task!r}: {' '.join(self.reasons)}"


class WorkerDiedError(ExecutorError):
    """The process that ran a task ended before the task did.

    Attributes:
        label: The executor's label.
        task: The task that it was running, as ``"7 (total)"``.
        exitcode: As ``multiprocessing`` has it: minus the signal's number, the
            exit status, or ``None`` where unknown.
        reason: What is known of the cause.
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
