"""The exceptions that the kernel raises itself.

An exception that a task's function raises is not one of these and is never wrapped: it
comes out of ``future.result()`` as it was raised.

Every class here can be pickled, because it may have to come from another process. So
the facts are attributes, the message is made of them in ``__str__``, and ``args`` holds
the arguments of the constructor.
"""

from __future__ import annotations

from jackfield.errors.base import (
    JackfieldError,
    one_line,
    suggest,
)
from jackfield.errors.data import (
    BadStdStreamFile,
    BashAppError,
    BashAppNoReturn,
    BashExitFailure,
    CheckpointError,
    CheckpointWarning,
    CorruptCheckpointError,
    MemoKeyError,
    MissingOutputs,
    NoProviderError,
    RemoteChangedError,
    RemoteError,
    RemoteForbiddenError,
    RemoteNotFoundError,
    SerializationError,
    StagingError,
    TransferCancelledError,
    TransferError,
)
from jackfield.errors.kernel import (
    ConfigurationError,
    DuplicatePluginError,
    KernelClosedError,
    NoDataFlowKernelError,
    PluginError,
    PluginLoadError,
    PluginNotFoundError,
    PluginWarning,
)
from jackfield.errors.tasks import (
    AppTimeout,
    CircularWaitError,
    DependencyError,
    ExecutorError,
    JoinError,
    TaskExitError,
    UnsupportedByExecutorError,
    WorkerDiedError,
)

__all__ = [
    "AppTimeout",
    "BadStdStreamFile",
    "BashAppError",
    "BashAppNoReturn",
    "BashExitFailure",
    "CheckpointError",
    "CheckpointWarning",
    "CircularWaitError",
    "ConfigurationError",
    "CorruptCheckpointError",
    "DependencyError",
    "DuplicatePluginError",
    "ExecutorError",
    "JackfieldError",
    "JoinError",
    "KernelClosedError",
    "MemoKeyError",
    "MissingOutputs",
    "NoDataFlowKernelError",
    "NoProviderError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "PluginWarning",
    "RemoteChangedError",
    "RemoteError",
    "RemoteForbiddenError",
    "RemoteNotFoundError",
    "SerializationError",
    "StagingError",
    "TaskExitError",
    "TransferCancelledError",
    "TransferError",
    "UnsupportedByExecutorError",
    "WorkerDiedError",
    "one_line",
    "suggest",
]
