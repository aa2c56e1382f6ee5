"""Parsl's names over Jackfield: ``import jackfield_parsl as parsl``.

It translates names, arguments and configurations, and does nothing itself: tasks,
retries, results and files are Jackfield's. What Jackfield has no counterpart for is
refused, with a sentence that says what to do; docs/coming-from-parsl.md has the list.
Its modules are named like Parsl's.
"""

from __future__ import annotations

import logging

from jackfield import AUTO_LOGNAME, File
from jackfield_parsl.app.app import bash_app, join_app, python_app
from jackfield_parsl.config import Config
from jackfield_parsl.dataflow.dflow import DataFlowKernel, DataFlowKernelLoader
from jackfield_parsl.executors import (
    HighThroughputExecutor,
    MPIExecutor,
    ThreadPoolExecutor,
    WorkQueueExecutor,
)
from jackfield_parsl.log_utils import set_file_logger, set_stream_logger
from jackfield_parsl.monitoring import MonitoringHub
from jackfield_parsl.version import VERSION

__version__ = VERSION
__all__ = [
    "AUTO_LOGNAME",
    "Config",
    "DataFlowKernel",
    "DataFlowKernelLoader",
    "File",
    "HighThroughputExecutor",
    "MPIExecutor",
    "MonitoringHub",
    "ThreadPoolExecutor",
    "WorkQueueExecutor",
    "bash_app",
    "clear",
    "dfk",
    "join_app",
    "load",
    "python_app",
    "set_file_logger",
    "set_stream_logger",
    "wait_for_current_tasks",
]

logging.getLogger("parsl").addHandler(logging.NullHandler())


def load(config: Config | None = None) -> DataFlowKernel:
    """Start the kernel that apps use from now on."""
    return DataFlowKernelLoader.load(config)


def dfk() -> DataFlowKernel:
    """Return the kernel that apps use."""
    return DataFlowKernelLoader.dfk()


def clear() -> None:
    """Forget the kernel, without ending it."""
    DataFlowKernelLoader.clear()


def wait_for_current_tasks() -> None:
    """Wait for all tasks that have been submitted by now."""
    DataFlowKernelLoader.wait_for_current_tasks()
