"""Where the workers of a ``HighThroughputExecutor`` come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

from jackfield.errors import suggest
from jackfield_parsl.errors import refused
from jackfield_parsl.utils import RepresentationMixin

__all__ = [
    "AWSProvider",
    "AzureProvider",
    "CondorProvider",
    "GoogleCloudProvider",
    "GridEngineProvider",
    "KubernetesProvider",
    "LSFProvider",
    "LocalProvider",
    "PBSProProvider",
    "SlurmProvider",
    "TorqueProvider",
]

Workers = Callable[[int | None], int]
"""Gives the number of workers of a machine from that of its cores.

Of ``None`` cores, which is of a machine that is not known yet, 0 is one for each core.
"""

_NO_LIMIT = "0"
"""What Dask calls a worker whose memory it does not watch."""

_COMMON: dict[str, Any] = {
    "nodes_per_block": 1,
    "init_blocks": 1,
    "min_blocks": 0,
    "max_blocks": 1,
    "parallelism": 1,
    "worker_init": "",
    "cmd_timeout": 30,
    "launcher": None,
}


class Provider(RepresentationMixin):
    """Keeps what a provider is told, by the names of ``defaults``, in that order."""

    defaults: ClassVar[dict[str, Any]] = _COMMON

    def __init__(self, *values: Any, **options: Any) -> None:
        named = dict(zip(self.defaults, values, strict=False))
        for name, value in (self.defaults | named | options).items():
            if name not in self.defaults:
                raise TypeError(
                    f"{type(self).__name__} has no option {name!r}"
                    f"{suggest(name, self.defaults)}"
                )
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def executor(self, workers: Workers) -> dict[str, Any]:
        """Return the executor's table, refused unless a class says otherwise."""
        del workers
        raise refused(
            type(self).__name__,
            "start a Dask cluster there, and give its address to the executor 'dask'",
        )


class LocalProvider(Provider):
    """This machine."""

    defaults: ClassVar[dict[str, Any]] = {**_COMMON, "move_files": None}

    def executor(self, workers: Workers) -> dict[str, Any]:
        """Return a table of processes; blocks are meaningless on one machine."""
        if self.worker_init.strip():
            raise refused(
                "LocalProvider(worker_init=...)",
                "run it before the script, or give the executor 'processes' an "
                "initializer",
            )
        cores = len(os.sched_getaffinity(0))
        return {"plugin": "processes", "workers": workers(cores)}


class ClusterProvider(Provider):
    """Jobs of a batch system, started by dask-jobqueue.

    Each node of a block is a job.
    """

    cluster: ClassVar[str]
    renamed: ClassVar[dict[str, str]] = {}
    """Options that have another name in dask-jobqueue."""
    cores: ClassVar[str] = "cores_per_node"
    memory: ClassVar[str] = "mem_per_node"
    prefix: ClassVar[str] = "#"
    """How a line begins that is an option of the batch system."""

    def executor(self, workers: Workers) -> dict[str, Any]:
        """Return a table of the executor ``dask``."""
        cores, memory = getattr(self, self.cores), getattr(self, self.memory)
        options: dict[str, Any] = {
            "cores": workers(cores),
            "processes": 1,
            "memory": _NO_LIMIT if memory is None else f"{memory} GiB",
            "walltime": self.walltime,
            **self.demand(cores or workers(None) or None, memory),
        }
        for name, other in self.renamed.items():
            if getattr(self, name):
                options[other] = getattr(self, name)
        lines = [line.strip() for line in self.scheduler_options.splitlines()]
        extra = [line.removeprefix(self.prefix).strip() for line in lines if line]
        extra += self.directives()
        if extra:
            options["job_extra_directives"] = extra
        if self.worker_init.strip():
            options["job_script_prologue"] = self.worker_init.splitlines()
        least, most = self.min_blocks, max(self.max_blocks, self.init_blocks)
        blocks = {"least": least, "most": most, "init": max(self.init_blocks, least)}
        if least == most:
            blocks = {"jobs": most}
        return {
            "plugin": "dask",
            "cluster": self.cluster,
            "cluster_options": options,
            **{name: one * self.nodes_per_block for name, one in blocks.items()},
        }

    def demand(self, cores: int | None, memory: float | None) -> dict[str, Any]:
        """Return the options with which a job asks for cores and gigabytes.

        What is ``None`` is not asked for, and so what the batch system gives.
        """
        raise NotImplementedError

    def directives(self) -> list[str]:
        """Return more options of the batch system."""
        return []


_JOBS: dict[str, Any] = {
    **_COMMON,
    "walltime": "00:10:00",
    "scheduler_options": "",
    "cores_per_node": None,
    "mem_per_node": None,
}


class SlurmProvider(ClusterProvider):
    """Jobs of Slurm."""

    cluster: ClassVar[str] = "slurm"
    prefix: ClassVar[str] = "#SBATCH"
    renamed: ClassVar[dict[str, str]] = {"partition": "queue", "account": "account"}
    defaults: ClassVar[dict[str, Any]] = {
        "partition": None,
        "account": None,
        "qos": None,
        "constraint": None,
        "clusters": None,
        **_JOBS,
        "gpus_per_node": None,
        "gres": None,
        "regex_job_id": "",
        "status_batch_size": 50,
        "exclusive": True,
    }

    def demand(self, cores: int | None, memory: float | None) -> dict[str, Any]:
        """Ask for all cores of the node; one that is had alone needs no number."""
        asked: dict[str, Any] = {} if cores is None else {"job_cpu": cores}
        skipped = []
        if self.cores_per_node is None and (self.exclusive or cores is None):
            asked, skipped = {}, ["--cpus-per-task="]
        if memory is None:
            # The line is left out, but without it dask-jobqueue computes one.
            asked["job_mem"] = "0"
            skipped.append("--mem=")
        return {**asked, "job_directives_skip": skipped} if skipped else asked

    def directives(self) -> list[str]:
        """Return what has an option of ``sbatch`` and none of dask-jobqueue."""
        named = {
            "qos": self.qos,
            "constraint": self.constraint,
            "clusters": self.clusters,
            "gpus-per-node": self.gpus_per_node,
            "gres": self.gres,
        }
        lines = [f"--{name}={value}" for name, value in named.items() if value]
        return [*lines, "--exclusive"] if self.exclusive else lines


class PBSProProvider(ClusterProvider):
    """Jobs of PBS."""

    cluster: ClassVar[str] = "pbs"
    prefix: ClassVar[str] = "#PBS"
    cores: ClassVar[str] = "cpus_per_node"
    renamed: ClassVar[dict[str, str]] = {"queue": "queue", "account": "account"}
    defaults: ClassVar[dict[str, Any]] = {
        "account": None,
        "queue": None,
        **_JOBS,
        "walltime": "00:20:00",
        "select_options": "",
        "cpus_per_node": 1,
    }

    def demand(self, cores: int | None, memory: float | None) -> dict[str, Any]:
        """Ask for a chunk, of what ``select_options`` adds."""
        parts = [f"select=1:ncpus={cores}"]
        if memory is not None:
            parts.append(f"mem={memory}gb")
        if self.select_options:
            parts.append(self.select_options.removeprefix(":"))
        return {"resource_spec": ":".join(parts)}


class TorqueProvider(ClusterProvider):
    """Jobs of Torque, which dask-jobqueue submits as those of PBS."""

    cluster: ClassVar[str] = "pbs"
    prefix: ClassVar[str] = "#PBS"
    renamed: ClassVar[dict[str, str]] = {"queue": "queue", "account": "account"}
    defaults: ClassVar[dict[str, Any]] = {
        "account": None,
        "queue": None,
        **_JOBS,
        "walltime": "00:20:00",
    }

    def demand(self, cores: int | None, memory: float | None) -> dict[str, Any]:
        """Ask for a node in Torque's words, which are not those of PBS Pro."""
        spec = f"nodes=1:ppn={cores or 1}"
        return {"resource_spec": spec if memory is None else f"{spec},mem={memory}gb"}


class LSFProvider(ClusterProvider):
    """Jobs of LSF."""

    cluster: ClassVar[str] = "lsf"
    prefix: ClassVar[str] = "#BSUB"
    renamed: ClassVar[dict[str, str]] = {"queue": "queue", "project": "project"}
    defaults: ClassVar[dict[str, Any]] = {
        **_JOBS,
        "cores_per_block": None,
        "project": None,
        "queue": None,
        "bsub_redirection": False,
        "request_by_nodes": True,
    }

    def demand(self, cores: int | None, memory: float | None) -> dict[str, Any]:
        """Ask for slots on one host."""
        asked: dict[str, Any] = {"ncpus": cores or 1}
        return {**asked, "job_directives_skip": ["-M "]} if memory is None else asked


class GridEngineProvider(ClusterProvider):
    """Jobs of SGE."""

    cluster: ClassVar[str] = "sge"
    prefix: ClassVar[str] = "#$"
    renamed: ClassVar[dict[str, str]] = {"queue": "queue"}
    defaults: ClassVar[dict[str, Any]] = {**_JOBS, "queue": None}

    def demand(self, cores: int | None, memory: float | None) -> dict[str, Any]:
        """Ask for nothing: what sites call cores and memory is in scheduler_options."""
        del cores, memory
        return {}


class CondorProvider(ClusterProvider):
    """Jobs of HTCondor."""

    cluster: ClassVar[str] = "htcondor"
    cores: ClassVar[str] = "cores_per_slot"
    memory: ClassVar[str] = "mem_per_slot"
    defaults: ClassVar[dict[str, Any]] = {
        **_JOBS,
        "cores_per_slot": None,
        "mem_per_slot": None,
        "environment": None,
        "project": "",
        "transfer_input_files": (),
        "requirements": "",
        "cmd_chunk_size": 100,
    }

    def executor(self, workers: Workers) -> dict[str, Any]:
        """Return the table; dask-jobqueue has a dict for further options."""
        if self.scheduler_options.strip() or self.requirements:
            raise refused(
                "scheduler_options and requirements of CondorProvider",
                "write the executor 'dask' with job_extra_directives, a dict, in "
                "cluster_options",
            )
        if self.cores_per_slot is None or self.mem_per_slot is None:
            raise refused(
                "CondorProvider without cores_per_slot and mem_per_slot",
                "say both, as these jobs ask for cores and gigabytes",
            )
        table = super().executor(workers)
        options = table["cluster_options"]
        options["disk"] = options["memory"]
        options.pop("walltime")
        return table

    def demand(self, cores: int | None, memory: float | None) -> dict[str, Any]:
        """Ask for nothing more: dask-jobqueue asks for what its workers have."""
        del cores, memory
        return {}


class _Elsewhere(Provider):
    def __init__(self, *values: Any, **options: Any) -> None:
        del values, options


class AWSProvider(_Elsewhere):
    """Refused."""


class AzureProvider(_Elsewhere):
    """Refused."""


class GoogleCloudProvider(_Elsewhere):
    """Refused."""


class KubernetesProvider(_Elsewhere):
    """Refused."""
