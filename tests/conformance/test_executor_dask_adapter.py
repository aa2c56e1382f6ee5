"""Dask's own executor behind the adapter, on clusters whose workers are processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.errors import ExecutorError
from jackfield_executors.adapter import AdaptedExecutor
from jackfield_executors.foreign.options import Options
from jackfield_testing import ExecutorConformance, Harness
from jackfield_testing.engines import (
    BrokenClusterWarning,
    DaskClusters,
    address_in_log,
    have_lose_track,
    set_patience,
)
from jackfield_testing.executors import tasks
from jackfield_testing.executors.end import within_limit
from jackfield_testing.footprint import WAIT_S, descendants, settled
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jackfield.abc import Executor

skip_without("distributed", extra="dask")

pytestmark = [
    pytest.mark.xdist_group("engines"),
    # Its sockets and loops end when they are collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # One test sends 32 MB, of which Dask warns.
    pytest.mark.filterwarnings("ignore:Sending large graph"),
    pytest.mark.filterwarnings("default:A cluster is broken"),
]

clusters = DaskClusters(
    lambda tasks: {"n_workers": tasks, "threads_per_worker": 1},
)
client = clusters.client


@pytest.fixture(scope="module", autouse=True)
def _clusters() -> Iterator[None]:
    """Start the clusters before a test takes their threads for its own."""
    with clusters:
        client(1)
        client(2)
        yield


def adapted(workers: int, use: str = "all tests") -> AdaptedExecutor:
    """Adapt an executor of a cluster, once it has its workers: one may be new."""
    engine = clusters.client_that_works(workers, use).get_executor()
    return AdaptedExecutor(Options("far", engine, patience=WAIT_S))


class TestDaskExecutor(ExecutorConformance):
    owns_processes = False
    keeps_order = False  # Dask promises none
    spare_descriptors = 8
    short_cycles = 6
    cycles = 20

    def make_executor(self, workers: int) -> Executor:
        return adapted(workers)

    def make_losing_executor(self) -> Executor:
        self.losing = adapted(2, "losses")
        return self.losing

    def lose_patience(self) -> None:
        set_patience(self.losing)

    def remove_workers(self) -> None:
        clusters.scale(0, 2, "losses")

    def restore_workers(self) -> None:
        clusters.scale(2, 2, "losses")


def test_a_cluster_whose_worker_does_not_answer_is_replaced() -> None:
    with DaskClusters(
        lambda tasks: {"n_workers": tasks, "threads_per_worker": 1}
    ) as own:
        broken = own.client(1)
        (stopped,) = broken.run(os.getpid).values()
        os.kill(stopped, signal.SIGSTOP)
        try:
            with pytest.warns(BrokenClusterWarning, match="is replaced: TimeoutError"):
                client = own.client_that_works(1, limit=1.0)

            assert client is not broken
            assert client is own.client_that_works(1)
            assert client.submit(abs, -1).result(WAIT_S) == 1
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_a_cluster_that_has_lost_track_of_its_workers_is_replaced() -> None:
    before = descendants()
    with DaskClusters(
        lambda tasks: {"n_workers": tasks, "threads_per_worker": 1}
    ) as own:
        broken = own.client(1)
        cluster, _ = own._clusters[1, "all tests"]
        have_lose_track(cluster)

        with pytest.warns(BrokenClusterWarning, match="is replaced: RuntimeError"):
            client = own.client_that_works(1)

        assert client is not broken
        assert client.submit(abs, -1).result(WAIT_S) == 1
    assert cluster.status.name == "closed"
    assert settled(lambda: descendants() <= before, WAIT_S)


# -- A whole kernel on Dask


@jf.python_app
def random_number(_: int) -> float:
    import random

    return random.random()


@jf.python_app(retries=3)
def third_time_lucky(path: Path) -> int:
    with path.open("a") as file:
        file.write("x")
    if path.stat().st_size < 3:
        raise ValueError("not yet")
    return path.stat().st_size


def test_equal_calls_and_attempts_are_each_run(tmp_path: Path) -> None:
    engine = client(2).get_executor()  # by itself, it takes equal calls for one
    with jf.load(run_dir=tmp_path / "runs", executors={"far": engine}):
        numbers = [random_number(1) for _ in range(10)]
        lucky = third_time_lucky(tmp_path / "tries")

        assert len({number.result(WAIT_S) for number in numbers}) == 10
        assert lucky.result(WAIT_S) == 3


def test_a_scheduler_that_is_killed_is_an_error_in_time(tmp_path: Path) -> None:
    with (
        dask_programs() as (scheduler, one),
        Harness(
            AdaptedExecutor(Options("far", one.get_executor(), patience=WAIT_S)),
            tmp_path,
            "far",
        ).start() as harness,
    ):
        gate = tasks.Gate(tmp_path / "gate")
        harness.cleanups.append(gate.open)
        works = harness.submit_each(gate.hold, map(str, range(20)))
        assert settled(lambda: bool(gate.entered()), WAIT_S)

        set_patience(harness.executor)
        scheduler.kill()

        for work in works:
            assert isinstance(harness.error(work), ExecutorError)
        within_limit(harness, None)


@contextmanager
def dask_programs() -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """Start a scheduler and a worker as programs, and a client."""
    from distributed import Client

    options = ["--host", "127.0.0.1", "--dashboard-address", ":0"]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    with program([*command, *options, "--port", "0"]) as scheduler:
        address = address_in_log(scheduler)
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address]
        with (
            program([*command, *options, "--nthreads", "1", "--no-nanny"]),
            Client(address, set_as_default=False) as one,  # type: ignore[no-untyped-call]  # as above
        ):
            one.wait_for_workers(1, timeout=WAIT_S)
            yield scheduler, one


@contextmanager
def program(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()
