"""The errors of apps."""

from __future__ import annotations

from jackfield import (
    AppTimeout,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
    RemoteError,
)
from jackfield import JackfieldError as AppException
from jackfield import JackfieldError as ParslError

__all__ = [
    "AppException",
    "AppTimeout",
    "BadStdStreamFile",
    "BashAppNoReturn",
    "BashExitFailure",
    "MissingOutputs",
    "ParslError",
    "RemoteExceptionWrapper",
]

RemoteExceptionWrapper = RemoteError
