"""Executors by Parsl's names."""

from __future__ import annotations

from typing import Any

from jackfield_parsl.errors import OptionalModuleMissing
from jackfield_parsl.executors.high_throughput.executor import HighThroughputExecutor
from jackfield_parsl.executors.threads import ThreadPoolExecutor

__all__ = [
    "FluxExecutor",
    "GlobusComputeExecutor",
    "HighThroughputExecutor",
    "MPIExecutor",
    "RadicalPilotExecutor",
    "TaskVineExecutor",
    "ThreadPoolExecutor",
    "WorkQueueExecutor",
]


def _missing(name: str, module: str, instead: str) -> Any:
    def refuse(self: object, *args: object, **options: object) -> None:
        del self, args, options
        raise OptionalModuleMissing(
            [module], f"Jackfield has no {name}: {instead}; see docs/executors-dask.md."
        )

    return type(name, (), {"__init__": refuse, "__module__": __name__})


_WRAP = "any concurrent.futures.Executor can be an executor in jackfield.Config"
_CLUSTER = "HighThroughputExecutor with a provider starts jobs on a cluster"

FluxExecutor: Any = _missing(
    "FluxExecutor", "flux", f"flux.job.FluxExecutor fits as {_WRAP}"
)
GlobusComputeExecutor: Any = _missing(
    "GlobusComputeExecutor",
    "globus_compute_sdk",
    f"globus_compute_sdk.Executor: {_WRAP}",
)
MPIExecutor: Any = _missing(
    "MPIExecutor", "mpi", f"call mpiexec in a bash_app, and {_CLUSTER}"
)
RadicalPilotExecutor: Any = _missing("RadicalPilotExecutor", "radical.pilot", _CLUSTER)
TaskVineExecutor: Any = _missing("TaskVineExecutor", "ndcctools", _CLUSTER)
WorkQueueExecutor: Any = _missing("WorkQueueExecutor", "work_queue", _CLUSTER)
