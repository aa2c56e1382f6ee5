"""A dataflow kernel made of plugs: tasks, futures, dependencies, and hooks.

import jackfield as jf

@jf.python_app
def double(x):
    return 2 * x

with jf.load():
    print(double(double(1)).result())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jackfield.abc import Capabilities, Retry
    from jackfield.apps.decorators import App, bash_app, join_app, python_app
    from jackfield.config import Config
    from jackfield.errors import *
    from jackfield.facade import KernelExecutor
    from jackfield.files import File
    from jackfield.futures import AppFuture, DataFuture, MemoInfo
    from jackfield.graph.arguments import quote
    from jackfield.hookspecs import hookimpl
    from jackfield.keeping import Explanation
    from jackfield.kernel.dfk import DataFlowKernel
    from jackfield.kernel.load import clear, dfk, load, timeout, wait_for_current_tasks
    from jackfield.results.explaining import explain
    from jackfield.staging.remote import Remote, RemoteInfo, Timeouts
    from jackfield.staging.transfer import Transfer
    from jackfield.states import Summary, TaskEvent, TaskState, TaskView, TransferEvent
    from jackfield.steps.call import AUTO_LOGNAME

__all__ = [
    "AUTO_LOGNAME",
    "App",
    "AppFuture",
    "AppTimeout",
    "BadStdStreamFile",
    "BashAppError",
    "BashAppNoReturn",
    "BashExitFailure",
    "Capabilities",
    "CheckpointError",
    "CheckpointWarning",
    "CircularWaitError",
    "Config",
    "ConfigurationError",
    "CorruptCheckpointError",
    "DataFlowKernel",
    "DataFuture",
    "DependencyError",
    "DuplicatePluginError",
    "EnvironmentMismatchError",
    "ExecutorBrokenError",
    "ExecutorError",
    "Explanation",
    "File",
    "FutureInTextWarning",
    "JackfieldError",
    "JoinError",
    "KernelClosedError",
    "KernelExecutor",
    "MemoInfo",
    "MemoKeyError",
    "MissingOutputs",
    "NoDataFlowKernelError",
    "NoProviderError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "PluginWarning",
    "PropagatedError",
    "Remote",
    "RemoteChangedError",
    "RemoteError",
    "RemoteForbiddenError",
    "RemoteInfo",
    "RemoteNotFoundError",
    "ResultLostError",
    "Retry",
    "SerializationError",
    "StagingError",
    "StaleCodeError",
    "Summary",
    "TaskEvent",
    "TaskExitError",
    "TaskState",
    "TaskView",
    "Timeouts",
    "Transfer",
    "TransferCancelledError",
    "TransferError",
    "TransferEvent",
    "UnsupportedByExecutorError",
    "WorkerDiedError",
    "WorkerLostError",
    "bash_app",
    "clear",
    "dfk",
    "explain",
    "hookimpl",
    "join_app",
    "load",
    "python_app",
    "quote",
    "timeout",
    "wait_for_current_tasks",
]

_HOMES = (
    "errors",
    "files",
    "states",
    "hookspecs",
    "abc",
    "apps.decorators",
    "futures",
    "graph.arguments",
    "steps.call",
    "kernel.load",
    "config",
    "kernel.dfk",
    "keeping",
    "facade",
    "staging.remote",
    "staging.transfer",
    "results.explaining",
)
"""Where the names are, in the order in which they are looked for."""


def __getattr__(name: str) -> Any:
    """Import on use what is asked for.

    Workers, and the process that forks them, need some small rooms alone.
    """
    if name == "__version__":
        from jackfield.version import installed_version

        return installed_version()
    if name in __all__:
        from importlib import import_module

        for home in _HOMES:
            module = import_module(f"jackfield.{home}")
            if name in vars(module):
                return globals().setdefault(name, vars(module)[name])
    from importlib.util import find_spec

    hint, path = "", f"jackfield.{name}"
    # A special name is asked for by tools; else it may be a module being imported.
    if not (name[:2] == "__" or (name.isidentifier() and find_spec(path))):
        from jackfield.errors import suggest

        hint = suggest(path, ()).removesuffix(".")
    raise AttributeError(f"module 'jackfield' has no attribute {name!r}{hint}")
