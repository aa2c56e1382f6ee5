"""The errors of executors."""

from __future__ import annotations

from jackfield import ExecutorError
from jackfield import UnsupportedByExecutorError as InvalidResourceSpecification

__all__ = [
    "BadStateException",
    "ExecutorError",
    "InvalidResourceSpecification",
    "UnsupportedFeatureError",
]

BadStateException = ExecutorError
UnsupportedFeatureError = InvalidResourceSpecification
