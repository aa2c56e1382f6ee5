"""An executor that fails draws no tasks away from one that works."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import Executor, ExecutorContext, Work
from jackfield.errors import ExecutorBrokenError, ExecutorError
from jackfield_system.works import run_work

LIMIT_S = 60.0
HEALTHY = {"plugin": "threads", "workers": 2}

Run = Callable[[str], Any]


class Sick(Executor):
    """Fails every work, in one of several ways, until it is ``cured``."""

    def __init__(self, way: str) -> None:
        self.way: str = way
        self.cured: bool = False
        self.given: int = 0
        self.context: ExecutorContext | None = None

    @property
    def workers(self) -> int:
        return 8  # so that it has the least load for each

    def start(self, context: ExecutorContext) -> None:
        self.context = context

    def submit(self, batch: Sequence[Work]) -> None:
        assert self.context is not None
        self.given += len(batch)
        if self.cured:
            self.context.report([run_work(work) for work in batch])
        elif self.way == "raises":
            raise OSError("no such queue")
        elif self.way == "reports":
            error = ExecutorError(self.context.label, "no such partition")
            self.context.report([(work, error, None) for work in batch])
        elif self.way == "broken":
            error = ExecutorBrokenError(self.context.label, "the account is closed")
            self.context.report([(work, error, None) for work in batch])
        else:
            self.context.report([(work, "nonsense", None) for work in batch])  # type: ignore[misc]  # it is sick

    def shutdown(self, *, grace: float | None = None) -> None: ...


class BrokenPool(concurrent.futures.ThreadPoolExecutor):
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        raise concurrent.futures.BrokenExecutor("a worker has died")


WAYS = ["raises", "reports", "broken", "nonsense"]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., jf.DataFlowKernel]]:
    kernels: list[jf.DataFlowKernel] = []

    def loaded(executors: Any, **options: Any) -> jf.DataFlowKernel:
        config = {"executors": executors, "run_dir": tmp_path / "runs", **options}
        kernels.append(jf.load(config))
        return kernels[-1]

    yield loaded
    for kernel in kernels:
        kernel.cleanup()


def failures(futures: Sequence[Any]) -> list[BaseException]:
    return list(filter(None, (future.exception(LIMIT_S) for future in futures)))


def log_of(kernel: jf.DataFlowKernel) -> str:
    return (kernel.run_dir / "jackfield.log").read_text()


@pytest.mark.parametrize("way", WAYS)
def test_a_retry_goes_to_another_executor(load: Any, way: str) -> None:
    kernel = load({"sick": Sick(way), "ok": HEALTHY}, retries=1)

    assert failures([kernel.submit(abs, n) for n in range(300)]) == []


def test_a_pool_whose_workers_cannot_start_loses_no_task(load: Any) -> None:
    sick = {"plugin": "processes", "workers": 2, "initializer": "os:_exit"}
    kernel = load({"sick": sick, "ok": HEALTHY}, retries=1)

    assert failures([kernel.submit(abs, n) for n in range(100)]) == []


@pytest.mark.parametrize("way", WAYS)
def test_one_after_another_at_most_the_first_is_lost(load: Any, way: str) -> None:
    sick = Sick(way)
    kernel = load({"sick": sick, "ok": HEALTHY})

    lost = [failures([kernel.submit(abs, n)]) for n in range(30)]

    assert sum(map(len, lost)) <= 3
    assert lost[-1] == []
    assert sick.given <= 3


@pytest.mark.parametrize("way", WAYS)
def test_the_run_says_so_once(load: Any, way: str) -> None:
    kernel = load({"sick": Sick(way), "ok": HEALTHY}, retries=1)

    for n in range(5):
        failures([kernel.submit(abs, n) for _ in range(20)])

    said = [
        line for line in log_of(kernel).splitlines() if "what others can run" in line
    ]
    assert len(said) == 1
    assert "WARNING" in said[0]
    assert "Executor 'sick' " in said[0]


def test_one_that_is_broken_for_good_gets_nothing_any_more(load: Any) -> None:
    sick = Sick("broken")
    kernel = load({"sick": sick, "ok": HEALTHY})
    failures([kernel.submit(abs, n) for n in range(10)])
    given, sick.cured = sick.given, True

    assert failures([kernel.submit(abs, n) for n in range(100)]) == []
    assert sick.given == given
    assert "'sick' is broken for good" in log_of(kernel)


def test_a_pool_that_broke_is_broken_for_good(load: Any) -> None:
    kernel = load({"sick": BrokenPool(8), "ok": HEALTHY}, retries=1)

    assert failures([kernel.submit(abs, n) for n in range(50)]) == []
    assert "'sick' is broken for good" in log_of(kernel)


def test_one_that_has_recovered_gets_tasks_again(load: Any) -> None:
    sick = Sick("reports")
    kernel = load({"sick": sick, "ok": HEALTHY}, retries=1)
    failures([kernel.submit(abs, n) for n in range(10)])
    given, sick.cured = sick.given, True

    deadline = time.monotonic() + LIMIT_S
    while sick.given == given:
        assert time.monotonic() < deadline, "it gets no task any more"
        assert failures([kernel.submit(abs, 1)]) == []

    assert failures([kernel.submit(abs, n) for n in range(100)]) == []
    assert sick.given > given + 10


@pytest.mark.parametrize("way", WAYS)
def test_where_there_is_no_other_the_error_is_the_executors_own(
    load: Any, way: str
) -> None:
    kernel = load({"sick": Sick(way)}, retries=2)

    for _ in range(3):
        [error] = failures([kernel.submit(abs, 1)])
        assert isinstance(error, ExecutorError)
        assert error.label == "sick"


def test_the_only_one_is_told_without_talk_of_others(load: Any) -> None:
    kernel = load({"sick": Sick("reports")})
    failures([kernel.submit(abs, n) for n in range(20)])

    assert log_of(kernel).count("Executor 'sick' fails: no such partition") == 1


def test_an_app_of_that_executor_alone_is_tried_there(load: Any) -> None:
    sick = Sick("reports")
    kernel = load({"sick": sick, "ok": HEALTHY}, retries=1)
    failures([kernel.submit(abs, n) for n in range(10)])
    sick.cured = True

    assert failures([kernel.submit(abs, 1, executors=["sick"])]) == []


def test_if_all_are_sick_each_is_tried(load: Any) -> None:
    first, second = Sick("reports"), Sick("raises")
    kernel = load({"first": first, "second": second}, retries=3)

    assert len(failures([kernel.submit(abs, n) for n in range(5)])) == 5
    assert first.given > 0
    assert second.given > 0


def kill_own_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_after_the_death_of_its_worker_a_task_goes_elsewhere(tmp_path: Path) -> None:
    labels: list[str | None] = []

    class Notes:
        @jf.hookimpl
        def jackfield_retry(self, task: jf.TaskView, error: BaseException) -> None:
            labels.append(task.executor)

    pool = {"plugin": "processes", "workers": 1}
    config = {"executors": {"a": pool, "b": pool}, "run_dir": tmp_path, "retries": 1}
    with jf.load(config, plugins=[Notes()]) as kernel:
        [error] = failures([kernel.submit(kill_own_process)])

    assert isinstance(error, jf.WorkerDiedError)
    assert sorted(map(str, labels)) == ["a", "b"]


def test_a_policy_is_not_offered_what_rests(tmp_path: Path) -> None:
    offered: list[list[str]] = []

    class Policy:
        @jf.hookimpl
        def jackfield_select_executor(self, executors: Any) -> None:
            offered.append(sorted(executors))

    executors = {"sick": Sick("broken"), "ok": HEALTHY}
    config = {"executors": executors, "run_dir": tmp_path, "retries": 1}
    with jf.load(config, plugins=[Policy()]) as kernel:
        failures([kernel.submit(abs, n) for n in range(10)])
        offered.clear()
        failures([kernel.submit(abs, n) for n in range(10)])

    assert offered == [["ok"]] * 10


def test_it_is_said_on_the_terminal_too(run: Run) -> None:
    end = run(
        """
executors = {
    "sick": {"plugin": "processes", "workers": 1, "initializer": "os:_exit"},
    "ok": {"plugin": "threads", "workers": 1},
}
with jf.load({"executors": executors, "run_dir": "runs", "retries": 1}) as kernel:
    futures = [kernel.submit(abs, n) for n in range(50)]
    say(sum(future.result() for future in futures))
"""
    )

    assert end.out == ["1225"]
    assert (
        end.err.count("jackfield: Executor 'sick' fails, and what others can run") == 1
    )
