"""``HighThroughputExecutor``: processes here, or jobs of a batch system."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jackfield.errors import suggest
from jackfield_parsl.errors import refused
from jackfield_parsl.executors.base import ParslExecutor
from jackfield_parsl.providers import LocalProvider, Provider

if TYPE_CHECKING:
    from jackfield_parsl.data_provider.staging import Staging

_WITHOUT_EFFECT = frozenset(
    {
        "address",
        "address_probe_timeout",
        "block_error_handler",
        "drain_period",
        "encrypted",
        "heartbeat_period",
        "heartbeat_threshold",
        "interchange_launch_cmd",
        "interchange_port_range",
        "launch_cmd",
        "loopback_address",
        "manager_selector",
        "poll_period",
        "prefetch_capacity",
        "remote_monitoring_radio",
        "worker_debug",
        "worker_logdir_root",
        "worker_port",
        "worker_port_range",
    }
)

_SAY = "docs/executors-processes.md tells what the workers can be told instead"


class HighThroughputExecutor(ParslExecutor):
    """Jackfield's ``processes`` on this machine, or its ``dask`` with jobs.

    What is said of addresses, ports, heartbeats, encryption and prefetching has no
    effect: Jackfield's own channels need none of it.
    """

    def __init__(
        self,
        label: str = "HighThroughputExecutor",
        provider: Provider | None = None,
        cores_per_worker: float = 1.0,
        mem_per_worker: float | None = None,
        max_workers_per_node: int | None = None,
        cpu_affinity: str = "none",
        available_accelerators: Sequence[str] | int = (),
        storage_access: Sequence[Staging] | None = None,
        working_dir: str | None = None,
        **others: Any,
    ) -> None:
        for name in others:
            if name not in _WITHOUT_EFFECT:
                known = [*inspect.signature(HighThroughputExecutor).parameters]
                raise TypeError(
                    f"HighThroughputExecutor has no option {name!r}"
                    f"{suggest(name, [*known[:-1], *_WITHOUT_EFFECT])}"
                )
        self.label = label
        self.provider: Provider = provider or LocalProvider()
        self.cores_per_worker = cores_per_worker
        self.mem_per_worker = mem_per_worker
        self.max_workers_per_node = max_workers_per_node
        self.cpu_affinity = cpu_affinity
        self.available_accelerators = available_accelerators
        self.storage_access = storage_access
        self.working_dir = working_dir
        self.others = others

    def as_jackfield(self) -> dict[str, Any]:
        """Return the executor's table.

        Raises:
            ConfigurationError: It says something that cannot be translated.
        """
        if self.cpu_affinity != "none":
            raise refused("cpu_affinity", f"leave it out; {_SAY}")
        if self.available_accelerators:
            raise refused(
                "available_accelerators",
                f"set CUDA_VISIBLE_DEVICES in an initializer; {_SAY}",
            )
        if self.mem_per_worker is not None:
            raise refused("mem_per_worker", "say max_workers_per_node instead")
        return self.provider.executor(self._workers)

    def _workers(self, cores: int | None) -> int:
        """Return how many workers a machine gets that has so many cores.

        0, of a machine whose cores are not known, stands for one for each of them.
        """
        if cores is None:
            if self.max_workers_per_node is None and self.cores_per_worker != 1:
                raise refused(
                    "cores_per_worker for nodes whose cores it is not told",
                    "say cores_per_node in the provider, or max_workers_per_node",
                )
            return self.max_workers_per_node or 0
        fitting = max(1, int(cores / self.cores_per_worker))
        return min(fitting, self.max_workers_per_node or fitting)
