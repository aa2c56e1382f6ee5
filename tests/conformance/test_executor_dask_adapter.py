"""Dask's own executor behind the adapter, on clusters whose workers are processes."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.errors import ExecutorError
from jackfield_executors.adapter import AdaptedExecutor
from jackfield_executors.foreign.options import Options
from jackfield_testing import ExecutorConformance, Harness
from jackfield_testing.executors import tasks
from jackfield_testing.executors.end import within_limit
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jackfield.abc import Executor

pytest.importorskip("distributed", reason="pip install 'jackfield[dask]'")

pytestmark = [
    pytest.mark.xdist_group("engines"),
    # Its sockets and loops end when they are collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # One test sends 32 MB, of which Dask warns.
    pytest.mark.filterwarnings("ignore:Sending large graph"),
]

PATIENCE_S = 3.0
"""Of executors that lose their workers. Others wait as long as a test may last: a
scheduler that does not answer for seconds, on a busy machine, is not lost."""


_started = ExitStack()


@functools.cache
def client(workers: int, use: str = "all tests") -> Any:
    """Start a cluster of one-threaded processes, and connect to it.

    Both end with the tests of this file, or with the process.
    """
    from distributed import Client, LocalCluster

    cluster = LocalCluster(  # type: ignore[no-untyped-call]  # it has no annotations
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=":0",
        silence_logs="CRITICAL",
    )
    _started.enter_context(cluster)
    connected = Client(cluster, set_as_default=False)  # type: ignore[no-untyped-call]  # as above
    return _started.enter_context(connected)


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
        client(1)
        client(2)
        yield
    client.cache_clear()


def adapted(workers: int, use: str = "all tests", patience: float = WAIT_S) -> Executor:
    """Adapt an executor of a cluster, once it has its workers: one may be new."""
    client(workers, use).wait_for_workers(workers, timeout=WAIT_S)
    engine = client(workers, use).get_executor()
    return AdaptedExecutor(Options("far", engine, patience=patience))


class TestDaskExecutor(ExecutorConformance):
    owns_processes = False
    keeps_order = False  # Dask promises none
    spare_descriptors = 8
    short_cycles = 6
    cycles = 20

    def make_executor(self, workers: int) -> Executor:
        return adapted(workers)

    def make_losing_executor(self) -> Executor:
        return adapted(2, "losses", PATIENCE_S)

    def remove_workers(self) -> None:
        client(2, "losses").cluster.scale(0)

    def restore_workers(self) -> None:
        client(2, "losses").cluster.scale(2)
        client(2, "losses").wait_for_workers(2, timeout=WAIT_S)


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
            AdaptedExecutor(Options("far", one.get_executor(), patience=PATIENCE_S)),
            tmp_path,
            "far",
        ).start() as harness,
    ):
        gate = tasks.Gate(tmp_path / "gate")
        harness.cleanups.append(gate.open)
        works = harness.submit_each(gate.hold, map(str, range(20)))
        assert settled(lambda: bool(gate.entered()), WAIT_S)

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
        assert scheduler.stderr is not None
        address = next(
            found[0]
            for line in scheduler.stderr
            if (found := re.search(r"tcp://127\.0\.0\.1:\d+", line))
        )
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
