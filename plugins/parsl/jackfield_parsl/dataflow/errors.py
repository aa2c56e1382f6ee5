"""The errors of tasks that depend on others."""

from __future__ import annotations

from jackfield import CheckpointError as BadCheckpoint
from jackfield import DependencyError, JoinError, PropagatedError
from jackfield import JackfieldError as DataFlowException

__all__ = [
    "BadCheckpoint",
    "DataFlowException",
    "DependencyError",
    "JoinError",
    "PropagatedException",
]

PropagatedException = PropagatedError


def _dependent_exceptions_tids(
    error: PropagatedError,
) -> list[tuple[BaseException, str]]:
    return [
        (cause, error.path[-1] if number is None else f"task {number}")
        for number, cause in error.failures
    ]


# The kernel makes these errors, so Parsl's name for ``failures`` is put on its class.
PropagatedError.dependent_exceptions_tids = property(  # type: ignore[attr-defined]  # Parsl's name
    _dependent_exceptions_tids
)
