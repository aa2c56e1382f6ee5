"""Foreign executors behind the adapter: the kit, then what is particular to it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.abc import Capabilities
from jackfield.errors import ConfigurationError, ExecutorError
from jackfield_executors.adapter import adapt
from jackfield_testing import ExecutorConformance, Harness
from jackfield_testing.executors import tasks

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 60.0


class TestThreadPoolExecutor(ExecutorConformance):
    waits_at_exit = True
    short_cycles = 200

    def make_executor(self, workers: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(workers)


class TestProcessPoolExecutor(ExecutorConformance):
    short_cycles = 2

    def make_executor(self, workers: int) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        return ProcessPoolExecutor(workers, mp_context=context)


class TestLoky(ExecutorConformance):
    cycles = 50
    short_cycles = 2

    def make_executor(self, workers: int) -> Executor:
        loky = pytest.importorskip("loky", reason="pip install loky")
        executor: Executor = loky.ProcessPoolExecutor(workers)
        return executor


# -- Executors that misbehave


class Held(Executor):
    """Gives futures that the test completes; counts the calls of ``shutdown``."""

    def __init__(self, capabilities: Capabilities | None = None) -> None:
        self.jackfield_capabilities = capabilities or Capabilities()
        self.futures: list[Future[Any]] = []
        self.calls: list[tuple[Any, ...]] = []
        self.shutdowns: list[bool] = []

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        self.calls.append((function, args, kwargs))
        return future

    def run(self, index: int) -> None:
        """Do one call and complete its future, on this thread."""
        function, args, kwargs = self.calls[index]
        self.futures[index].set_result(function(*args, **kwargs))

    def shutdown(self, wait: bool = True) -> None:  # type: ignore[override]  # some lack cancel_futures
        self.shutdowns.append(wait)


class Inline(Executor):
    """Runs at once, in ``submit``, and refuses what is odd."""

    jackfield_capabilities = Capabilities()

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        _, error, value = outcome = function(*args, **kwargs)
        if error is None and value % 2:
            raise RuntimeError("odd")
        future: Future[Any] = Future()
        future.set_result(outcome)
        return future


def held(
    tmp_path: Path, capabilities: Capabilities | None = None
) -> tuple[Held, Harness]:
    executor = Held(capabilities)
    return executor, Harness(executor, tmp_path, "far").start()


def test_a_future_that_is_done_already_is_reported(tmp_path: Path) -> None:
    with Harness(Inline(), tmp_path).start() as harness:
        work = harness.submit(tasks.add, 1, 1)

        assert harness.reported(work)
        assert harness.value(work) == 2


def test_a_work_that_is_refused_fails_alone(tmp_path: Path) -> None:
    with Harness(Inline(), tmp_path, "far").start() as harness:
        works = harness.submit_each(tasks.add, [0, 1, 2])

        assert harness.values(works[::2]) == [0, 2]
        error = harness.error(works[1])
        assert isinstance(error, ExecutorError)
        assert "'far': it did not take the task: RuntimeError('odd')" in str(error)
        assert isinstance(error.__cause__, RuntimeError)


def test_a_future_cancelled_by_somebody_else_is_reported(tmp_path: Path) -> None:
    executor, harness = held(tmp_path)
    with harness:
        work = harness.submit(tasks.add, 1)

        executor.futures[0].cancel()

        with pytest.raises(ExecutorError, match=r"'far': somebody else .* 0 \(add\)"):
            harness.value(work)


def test_an_executor_that_breaks_fails_every_work_and_says_so(tmp_path: Path) -> None:
    executor, harness = held(tmp_path)
    with harness:
        works = harness.submit_each(tasks.add, range(3))

        for future in executor.futures:
            future.set_exception(BrokenExecutor("a process was terminated"))

        for work in works:
            error = harness.error(work)
            assert isinstance(error, ExecutorError)
            assert "its Held broke as a whole" in str(error)
            assert "a process was terminated" in str(error)
            assert isinstance(error.__cause__, BrokenExecutor)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), OSError("net")])
def test_an_executor_that_fails_to_run_a_work_is_named(
    tmp_path: Path, error: BaseException
) -> None:
    executor, harness = held(tmp_path)
    with harness:
        work = harness.submit(tasks.add, 1)

        executor.futures[0].set_exception(error)

        with pytest.raises(ExecutorError, match="'far': it failed to run the task 0"):
            harness.value(work)


@pytest.mark.parametrize("isolated", [True, False])
def test_an_answer_that_makes_no_sense_is_an_error(
    tmp_path: Path, isolated: bool
) -> None:
    executor, harness = held(tmp_path, Capabilities(isolated=isolated))
    with harness:
        work = harness.submit(tasks.add, 1)

        executor.futures[0].set_result(object())

        with pytest.raises(ExecutorError, match="'far': its future cannot be read"):
            harness.value(work)


def test_a_report_that_raises_does_not_reach_the_foreign_executor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(_: object) -> None:
        raise SystemExit("from a report")

    executor, harness = held(tmp_path)
    with harness:
        harness.on_report = explode
        work = harness.submit(tasks.add, 1)

        executor.run(0)

        assert harness.value(work) == 1
    assert "from a report" in caplog.text


def test_a_pool_that_breaks_after_a_cancellation_still_reports_the_others(
    tmp_path: Path,
) -> None:
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(1, mp_context=context)
    with Harness(pool, tmp_path).start() as harness:
        gate = tasks.Gate(tmp_path / "gate")
        held = harness.submit(gate.hold, "held")
        death = harness.submit(tasks.die_by_exit_1)
        rest = harness.submit_each(tasks.identity, range(10))

        assert harness.executor.cancel(rest[5])
        gate.open()

        harness.wait([held, death, *rest[:5], *rest[6:]])
        assert not harness.reported(rest[5])


# -- Functions


class Counted:
    """Counts how often it is pickled."""

    count = 0

    def __reduce__(self) -> tuple[Any, ...]:
        Counted.count += 1
        return int, ()


def test_a_function_is_pickled_once(tmp_path: Path) -> None:
    def with_default(value: int, counted: object = Counted()) -> object:
        return value, counted

    executor, harness = held(tmp_path, Capabilities(isolated=True))
    with harness:
        Counted.count = 0
        works = harness.submit_each(with_default, range(5))
        for index in range(5):
            executor.run(index)

        assert harness.values(works) == [(n, 0) for n in range(5)]
        assert Counted.count == 1


def test_a_closure_is_sent_as_it_is_when_it_is_submitted(tmp_path: Path) -> None:
    executor, harness = held(tmp_path, Capabilities(isolated=True))
    with harness:
        factor = 0

        def scaled(value: int) -> int:
            return value * factor

        works = []
        for factor in (1, 2, 3):
            works.append(harness.submit(scaled, 10))
        for index in range(3):
            executor.run(index)

        assert harness.values(works) == [10, 20, 30]


# -- What it is taken for


class Plain(Executor):
    """Tells nothing about itself."""


class InterpreterPoolExecutor(ThreadPoolExecutor):
    """Named and derived as the one of Python 3.14, which does pickle."""


def test_a_thread_pool_is_known_to_share_objects() -> None:
    assert not adapt(ThreadPoolExecutor(1), "far").capabilities.isolated


@pytest.mark.parametrize("kind", [Plain, InterpreterPoolExecutor, ProcessPoolExecutor])
def test_anything_else_is_taken_to_pickle(kind: type[Executor]) -> None:
    assert adapt(kind(), "far").capabilities.isolated


def test_what_it_declares_is_believed() -> None:
    declared = Capabilities(isolated=True, resources=frozenset({"gpu"}))

    assert adapt(Held(declared), "far").capabilities is declared


def test_a_declaration_of_another_type_is_an_error() -> None:
    foreign = Held()
    foreign.jackfield_capabilities = {"isolated": True}  # type: ignore[assignment]  # the mistake

    with pytest.raises(ConfigurationError, match=r"'far'.*'jackfield_capabilities'"):
        adapt(foreign, "far")


def test_the_number_of_workers_is_the_pools_own() -> None:
    assert adapt(ThreadPoolExecutor(3), "far").workers == 3


def test_a_pool_that_tells_no_number_has_one_worker_per_core() -> None:
    assert adapt(Plain(), "far").workers == os.cpu_count()


# -- The end


def test_without_grace_it_waits_for_the_reports(tmp_path: Path) -> None:
    order: list[str] = []
    executor, harness = held(tmp_path)
    with harness:
        harness.on_report = lambda _: order.append("reported")
        work = harness.submit(tasks.add, 1)

        def shut_down() -> None:
            harness.executor.shutdown()
            order.append("ended")

        ending = threading.Thread(target=shut_down)
        ending.start()
        executor.run(0)
        ending.join(WAIT_S)

        assert order == ["reported", "ended"]
        assert harness.value(work) == 1


def test_the_foreign_executor_is_shut_down_once(tmp_path: Path) -> None:
    executor, harness = held(tmp_path)
    with harness:
        harness.executor.shutdown()
        harness.executor.shutdown(grace=0)
        harness.executor.shutdown(grace=1.0)

    assert executor.shutdowns == [True]


def test_with_a_grace_what_has_not_begun_is_cancelled(tmp_path: Path) -> None:
    executor, harness = held(tmp_path)
    with harness:
        harness.submit_each(tasks.add, range(3))

        harness.executor.shutdown(grace=0)

        assert all(future.cancelled() for future in executor.futures)
        assert harness.count == 0


def test_what_ends_after_the_grace_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executor, harness = held(tmp_path)
    with harness:
        harness.submit(tasks.add, 1)
        executor.futures[0].set_running_or_notify_cancel()

        harness.executor.shutdown(grace=0)
        executor.run(0)

        assert harness.count == 0
        assert executor.shutdowns == [False]
    assert "'far' leaves threads that run [<Work 0 (add)" in caplog.text


def test_an_executor_that_raises_in_its_shutdown_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Obstinate(Held):
        def shutdown(self, wait: bool = True) -> None:  # type: ignore[override]  # as above
            raise OSError("no")

    harness = Harness(Obstinate(), tmp_path).start()

    harness.executor.shutdown(grace=0)

    assert "raised in its shutdown" in caplog.text
