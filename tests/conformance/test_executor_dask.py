"""The plugin ``dask``: our own pools inside the workers of a Dask cluster."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield_executors.dask import jackfield_create_executor
from jackfield_testing import ExecutorConformance
from jackfield_testing.footprint import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.abc import Executor

pytest.importorskip("distributed", reason="pip install 'jackfield[dask]'")

pytestmark = [
    pytest.mark.xdist_group("engines"),
    # Its sockets and loops end when they are collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PATIENCE_S = 3.0
"""Of executors that lose their workers. Others wait as long as a test may last: a
scheduler that does not answer for seconds, on a busy machine, is not lost."""


_started = ExitStack()


@functools.cache
def cluster(workers: int, use: str = "all tests") -> Any:
    """Start a cluster of one worker, a process with so many threads.

    It ends with the tests of this file, or with the process.
    """
    from distributed import LocalCluster

    return _started.enter_context(
        LocalCluster(  # type: ignore[no-untyped-call]  # it has no annotations
            n_workers=1,
            threads_per_worker=workers,
            host="127.0.0.1",
            dashboard_address=":0",
            silence_logs="CRITICAL",
        )
    )


@pytest.fixture(scope="module", autouse=True)
def _clusters() -> Iterator[None]:
    """Start the clusters before a test takes their threads for its own."""
    from dask import config

    with _started:
        # Or they would set variables of this process, for all tests that come later.
        _started.enter_context(config.set({"distributed.nanny.pre-spawn-environ": {}}))
        # A worker that has died comes again, however long a busy machine takes: by
        # default the cluster gives it up for ever after 15 seconds.
        again = {"distributed.deploy.lost-worker-timeout": f"{WAIT_S:g}s"}
        _started.enter_context(config.set(again))
        cluster(1)
        cluster(2)
        yield
    cluster.cache_clear()


def executor_on(started: Any, patience: float = WAIT_S) -> Executor:
    address = started.scheduler_address
    options = {"address": address, "patience": patience, "keep": True}
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
        return executor_on(cluster(workers), self.patience)

    def test_more_than_there_is_is_an_error_and_does_not_wait(
        self, tmp_path: Path
    ) -> None:
        self.patience = 20.0  # as long it waits for an agent that has so much
        super().test_more_than_there_is_is_an_error_and_does_not_wait(tmp_path)

    def make_losing_executor(self) -> Executor:
        return executor_on(cluster(2, "losses"), PATIENCE_S)

    def make_elastic_executor(self) -> Executor:
        within = {"host": "127.0.0.1", "silence_logs": "CRITICAL"}
        options = {"least": 0, "most": 3, "cluster_options": within}
        executor = jackfield_create_executor("dask", "elastic", options)
        assert executor is not None
        return executor

    def remove_workers(self) -> None:
        cluster(2, "losses").scale(0)

    def restore_workers(self) -> None:
        cluster(2, "losses").scale(1)
        cluster(2, "losses").wait_for_workers(1, timeout=WAIT_S)
