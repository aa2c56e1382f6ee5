"""Foreign executors behind the adapter: the kit, then what is particular to it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
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
from jackfield.clock import monotonic
from jackfield.errors import (
    ConfigurationError,
    EnvironmentMismatchError,
    ExecutorError,
    ExecutorLostError,
)
from jackfield.events import Place
from jackfield_executors.adapter import AdaptedExecutor, adapt
from jackfield_executors.foreign.options import Options, parse_options
from jackfield_executors.remote import bundles
from jackfield_executors.remote.fingerprint import fingerprint
from jackfield_testing import ExecutorConformance, Harness
from jackfield_testing.executors import tasks
from jackfield_testing.footprint import settled

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 60.0


class TestThreadPoolExecutor(ExecutorConformance):
    waits_at_exit = True
    short_cycles = 200

    def make_executor(self, workers: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(workers)


class TestProcessPoolExecutor(ExecutorConformance):
    keeps_order = False  # what a bundle had no time for goes behind the next bundle
    short_cycles = 2

    def make_executor(self, workers: int) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        return ProcessPoolExecutor(workers, mp_context=context)


class TestLoky(ExecutorConformance):
    keeps_order = False
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

    def has(self, number: int) -> None:
        """Wait until so many calls are here: they come from the adapter's thread."""
        assert settled(lambda: len(self.calls) >= number, WAIT_S), self.calls

    def run(self, index: int) -> None:
        """Wait for a call, do it and complete its future, on this thread."""
        self.has(index + 1)
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

        executor.has(1)
        executor.futures[0].cancel()

        with pytest.raises(ExecutorError, match=r"'far': somebody else .* 0 \(add\)"):
            harness.value(work)


def test_an_executor_that_breaks_fails_every_work_and_says_so(tmp_path: Path) -> None:
    executor, harness = held(tmp_path)
    with harness:
        works = harness.submit_each(tasks.add, range(3))

        executor.has(3)
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

        executor.has(1)
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

        executor.has(1)
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


def test_a_closure_is_pickled_anew_each_time(tmp_path: Path) -> None:
    executor, harness = held(tmp_path, Capabilities(isolated=True))
    with harness:
        factor = 0

        def scaled(value: int) -> int:
            return value * factor

        works = []
        for index in range(3):
            factor = index + 1
            works.append(harness.submit(scaled, 10))
            executor.run(index)
            harness.wait(works)

        assert harness.values(works) == [10, 20, 30]


# -- Bundles


def bundled(tmp_path: Path, **options: Any) -> tuple[Held, Harness]:
    executor = Held(Capabilities(isolated=True))
    made = AdaptedExecutor(Options("far", executor, **options))
    return executor, Harness(made, tmp_path, "far").start()


def sizes(executor: Held) -> list[int]:
    """How many works there are in each bundle that has come so far."""
    return [len(pickle.loads(args[-1])[-1]) for _, args, _ in executor.calls]


def test_the_engine_gets_what_it_can_run_and_a_little_more(tmp_path: Path) -> None:
    executor, harness = bundled(tmp_path, workers=2, ahead=1)
    with harness:
        works = harness.submit_each(tasks.add, range(100))

        executor.has(4)
        assert harness.executor.cancel(works[-1])
        assert not harness.executor.cancel(works[0])

        executor.run(0)
        executor.has(5)
        assert harness.value(works[0]) == 0
        assert len(executor.calls) == 5


def test_short_works_travel_together_once_that_is_known(tmp_path: Path) -> None:
    executor, harness = bundled(tmp_path, workers=1, ahead=0, bundle=WAIT_S)
    with harness:
        works = harness.submit_each(tasks.add, range(100))
        for index in range(20):
            if not all(map(harness.reported, works)):
                executor.run(index)
                harness.wait(works[: sum(sizes(executor)[: index + 1])])

        assert harness.values(works) == list(range(100))
        assert sizes(executor)[:4] == [1, 1, 2, 4]
        assert sum(sizes(executor)) == 100


def test_with_a_bundle_of_no_seconds_each_work_goes_alone(tmp_path: Path) -> None:
    executor, harness = bundled(tmp_path, workers=1, bundle=0)
    with harness:
        works = harness.submit_each(tasks.add, range(20))
        for index in range(20):
            executor.run(index)

        assert harness.values(works) == list(range(20))
        assert sizes(executor) == [1] * 20


def test_a_call_that_takes_unexpectedly_long_sends_back_what_is_behind_it(
    tmp_path: Path,
) -> None:
    executor, harness = bundled(tmp_path, workers=1, ahead=0, bundle=0.5)
    with harness:
        harness.submit_each(time.sleep, [0.0] * 15)
        for index in range(4):
            executor.run(index)
        assert sizes(executor) == [1, 1, 2, 4]
        executor.has(5)  # seven, and they run
        works = harness.submit_each(time.sleep, [0.0, 1.2, 0.0, 0.0])
        executor.run(4)
        executor.run(5)

        harness.wait(works[:2])
        assert sizes(executor)[5] == 4
        assert not harness.reported(works[2])
        executor.run(6)
        executor.run(7)
        harness.wait(works)
        assert sizes(executor)[6:] == [1, 1]


def test_a_work_is_cancelled_out_of_its_bundle(tmp_path: Path) -> None:
    """Python's own pools can be believed, so the rest is sent once more."""
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(1, mp_context=context)
    made = AdaptedExecutor(Options("far", pool, ahead=8, bundle=10.0))
    with Harness(made, tmp_path, "far").start() as harness:
        gate = tasks.Gate(tmp_path / "gate")
        harness.cleanups.append(gate.open)
        harness.values(harness.submit_each(tasks.add, range(500)))  # they are short
        held = harness.submit(gate.hold, "held")
        assert settled(lambda: gate.entered() == {"held"}, WAIT_S)
        works = harness.submit_each(tasks.add, range(16))
        # Those go in twos, to leave something for all bundles that the pool may have.
        assert settled(lambda: works[8] not in made._queue, WAIT_S)

        assert harness.executor.cancel(works[6])
        gate.open()

        rest = [*works[:6], *works[7:]]
        assert harness.values([held, *rest]) == ["held", *range(6), *range(7, 16)]
        assert not harness.reported(works[6])


def test_it_is_told_when_and_where_a_call_of_a_bundle_ran(tmp_path: Path) -> None:
    executor, harness = bundled(tmp_path)
    with harness:
        work = harness.work(tasks.add, 1)
        work.measure = "times"
        before = monotonic()
        harness.submit_batch([work])
        executor.run(0)

        assert harness.value(work) == 1
        assert work.ran is not None
        place = Place._make(work.ran)
        assert place.pid == os.getpid()
        assert place.worker == f"far-{os.getpid()}"
        assert before < place.began <= place.ended < monotonic()


def test_each_bundle_is_unlike_all_others(tmp_path: Path) -> None:
    executor, harness = bundled(tmp_path, workers=2)
    with harness:
        harness.submit_each(tasks.add, [1, 1, 1])
        executor.has(3)

        assert len({args for _, args, _ in executor.calls}) == 3


def test_a_worker_of_another_kind_unpickles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, harness = bundled(tmp_path)
    with harness:
        work = harness.submit(tasks.identity, tasks.Trap())
        executor.has(1)
        other = "CPython 3.99, wire 1, cloudpickle 9.9"
        with monkeypatch.context() as patch:
            patch.setattr(bundles, "fingerprint", lambda: other)
            executor.run(0)

        error = harness.error(work)
        assert isinstance(error, EnvironmentMismatchError)
        assert f"this process is {fingerprint()}; a worker is {other}" in str(error)


@pytest.mark.parametrize(
    "options",
    [{"workers": 0}, {"ahead": -1}, {"bundle": "1 s"}, {"patience": -1}, {"cores": 2}],
    ids=lambda options: next(iter(options)),
)
def test_a_wrong_option_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"'{next(iter(options))}'"):
        parse_options("far", {"executor": Held(), **options})


# -- Workers that come and go


def test_a_function_tells_how_many_workers_there_are(tmp_path: Path) -> None:
    number = 3
    _, harness = bundled(tmp_path, workers=lambda: number)
    with harness:
        assert harness.executor.workers == 3

        number = 5

        assert settled(lambda: 5 in harness.workers_seen, WAIT_S)


def executor_health(harness: Harness) -> str:
    return harness.executor.health.state


def test_without_workers_all_is_given_up_when_patience_ends(tmp_path: Path) -> None:
    number = 1
    executor, harness = bundled(tmp_path, workers=lambda: number, patience=1.5)
    with harness:
        works = harness.submit_each(tasks.add, range(10))
        executor.has(2)

        number = 0

        for work in works:
            error = harness.error(work)
            assert isinstance(error, ExecutorLostError)
            assert "no worker for 1.5 s" in str(error)
        assert executor_health(harness) == "lost"
        number = 1
        assert settled(lambda: executor_health(harness) == "ready", WAIT_S)
        assert settled(executor.futures[0].cancelled, WAIT_S)
        harness.executor.shutdown()


def test_an_engine_that_does_not_answer_has_no_workers(tmp_path: Path) -> None:
    lost = False

    def count() -> int:
        if lost:
            raise OSError("connection refused")
        return 1

    _, harness = bundled(tmp_path, workers=count, patience=1.0)
    with harness:
        work = harness.submit(tasks.add, 1)
        lost = True

        assert isinstance(harness.error(work), ExecutorLostError)


def test_whoever_never_had_a_worker_is_waited_for(tmp_path: Path) -> None:
    number = 0
    executor, harness = bundled(tmp_path, workers=lambda: number, patience=0)
    with harness:
        work = harness.submit(tasks.add, 1)
        executor.has(1)
        assert executor_health(harness) == "starting"

        number = 1
        assert settled(lambda: 1 in harness.workers_seen, WAIT_S)
        executor.run(0)

        assert harness.value(work) == 1


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
    declared = Capabilities(isolated=True, resources={"gpu": 1.0})

    believed = declared._replace(priorities=True)  # which are those of our own queue
    assert adapt(Held(declared), "far").capabilities == believed


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
        executor.has(3)

        harness.executor.shutdown(grace=0)

        assert settled(lambda: all(f.cancelled() for f in executor.futures), WAIT_S)
        assert harness.count == 0


def test_what_ends_after_the_grace_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executor, harness = held(tmp_path)
    with harness:
        harness.submit(tasks.add, 1)
        executor.has(1)
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
