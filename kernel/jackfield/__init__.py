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

from jackfield.abc import Capabilities, Retry
from jackfield.apps.decorators import App, bash_app, join_app, python_app
from jackfield.errors import (
    AppTimeout,
    BashExitFailure,
    ConfigurationError,
    DependencyError,
    JackfieldError,
    KernelClosedError,
    MissingOutputs,
    NoDataFlowKernelError,
    PluginError,
    TransferError,
    WorkerDiedError,
)
from jackfield.files import File
from jackfield.futures import AppFuture, DataFuture, MemoInfo
from jackfield.graph.arguments import quote
from jackfield.hookspecs import hookimpl
from jackfield.kernel.load import clear, dfk, load, wait_for_current_tasks
from jackfield.states import Summary, TaskEvent, TaskState, TaskView, TransferEvent
from jackfield.steps.call import AUTO_LOGNAME

if TYPE_CHECKING:
    from jackfield.config import Config
    from jackfield.facade import KernelExecutor
    from jackfield.kernel.dfk import DataFlowKernel
    from jackfield.results.explaining import explain
    from jackfield.results.explanation import Explanation
    from jackfield.staging.remote import Remote, RemoteInfo, Timeouts
    from jackfield.staging.transfer import Transfer

__all__ = [
    "AUTO_LOGNAME",
    "App",
    "AppFuture",
    "AppTimeout",
    "BashExitFailure",
    "Capabilities",
    "Config",
    "ConfigurationError",
    "DataFlowKernel",
    "DataFuture",
    "DependencyError",
    "Explanation",
    "File",
    "JackfieldError",
    "KernelClosedError",
    "KernelExecutor",
    "MemoInfo",
    "MissingOutputs",
    "NoDataFlowKernelError",
    "PluginError",
    "Remote",
    "RemoteInfo",
    "Retry",
    "Summary",
    "TaskEvent",
    "TaskState",
    "TaskView",
    "Timeouts",
    "Transfer",
    "TransferError",
    "TransferEvent",
    "WorkerDiedError",
    "bash_app",
    "clear",
    "dfk",
    "explain",
    "hookimpl",
    "join_app",
    "load",
    "python_app",
    "quote",
    "wait_for_current_tasks",
]

_LAZY = {
    "Config": "jackfield.config",
    "DataFlowKernel": "jackfield.kernel.dfk",
    "Explanation": "jackfield.results.explanation",
    "KernelExecutor": "jackfield.facade",
    "Remote": "jackfield.staging.remote",
    "RemoteInfo": "jackfield.staging.remote",
    "Timeouts": "jackfield.staging.remote",
    "Transfer": "jackfield.staging.transfer",
    "explain": "jackfield.results.explaining",
}


def __getattr__(name: str) -> Any:
    """Import on use what a script that only decorates functions does not need."""
    if name == "__version__":
        from jackfield.version import installed_version

        return installed_version()
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'jackfield' has no attribute {name!r}")
