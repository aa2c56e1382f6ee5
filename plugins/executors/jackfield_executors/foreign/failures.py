"""The errors with which works fail by the fault of an engine."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING

from jackfield.errors import ExecutorBrokenError, ExecutorError, JackfieldError

if TYPE_CHECKING:
    import concurrent.futures


class Failures:
    """Makes errors that name one executor and its engine."""

    def __init__(self, label: str, engine: concurrent.futures.Executor) -> None:
        self._label = label
        self._kind = type(engine).__name__

    def refusal(self, error: BaseException) -> BaseException:
        """Return the error of works that could not be handed over."""
        if isinstance(error, JackfieldError):
            return error
        if isinstance(error, BrokenExecutor):
            return self.broken(error)
        return self.failure(f"it did not take the task: {error!r}", error)

    def failure(self, reason: str, cause: BaseException) -> ExecutorError:
        """Return an error with a cause."""
        failure = ExecutorError(self._label, reason)
        failure.__cause__ = cause
        return failure

    def broken(self, cause: BaseException) -> ExecutorError:
        """Return the error of all works of a pool that is broken."""
        failure = ExecutorBrokenError(
            self._label,
            f"its {self._kind} broke as a whole, so that every task in it fails, "
            f"whichever was the cause (the plugin 'processes' loses that one alone): "
            f"{cause}",
        )
        failure.__cause__ = cause
        return failure
