"""The plugin ``dask``: our own pools inside the workers of a Dask cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield_executors.dask import jackfield_create_executor
from jackfield_testing import ExecutorConformance
from jackfield_testing.engines import DaskClusters, set_patience
from jackfield_testing.footprint import WAIT_S
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.abc import Executor

skip_without("distributed", extra="dask")

pytestmark = [
    pytest.mark.xdist_group("engines"),
    # Its sockets and loops end when they are collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("default:A cluster is broken"),
]

clusters = DaskClusters(
    lambda tasks: {"n_workers": 1, "threads_per_worker": tasks},
)


@pytest.fixture(scope="module", autouse=True)
def _clusters() -> Iterator[None]:
    """Start the clusters before a test takes their threads for its own."""
    with clusters:
        clusters.client(1)
        clusters.client(2)
        yield


def executor_on(client: Any, patience: float = WAIT_S) -> Executor:
    options = {"address": client.scheduler.address, "patience": patience}
    executor = jackfield_create_executor("dask", "far", options)
    assert executor is not None
    return executor


class TestDask(ExecutorConformance):
    keeps_order = False  # it promises none
    spare_descriptors = 8
    short_cycles = 6
    cycles = 20

    patience = WAIT_S

    def make_executor(self, workers: int) -> Executor:
        return executor_on(clusters.client_that_works(workers), self.patience)

    def test_more_than_there_is_is_an_error_and_does_not_wait(
        self, tmp_path: Path
    ) -> None:
        self.patience = 20.0  # as long it waits for an agent that has so much
        super().test_more_than_there_is_is_an_error_and_does_not_wait(tmp_path)

    def make_losing_executor(self) -> Executor:
        self.losing = executor_on(clusters.client_that_works(2, "losses"))
        return self.losing

    def make_elastic_executor(self) -> Executor:
        within = {"host": "127.0.0.1", "silence_logs": "CRITICAL"}
        options = {"least": 0, "most": 3, "cluster_options": within}
        executor = jackfield_create_executor("dask", "elastic", options)
        assert executor is not None
        return executor

    def lose_patience(self) -> None:
        set_patience(self.losing)

    def remove_workers(self) -> None:
        clusters.scale(0, 2, "losses")

    def restore_workers(self) -> None:
        clusters.scale(1, 2, "losses")
