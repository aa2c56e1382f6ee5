"""Executors that break their contract: the kernel ends every future all the same."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import Executor, ExecutorContext, Outcome, Work
from jackfield.errors import ExecutorError, TaskExitError, UnsupportedByExecutorError
from jackfield_system.works import run_work

LIMIT_S = 60.0

RAISES = pytest.mark.parametrize(
    "error",
    [RuntimeError("broken"), SystemExit("broken")],
    ids=lambda error: type(error).__name__,
)


class Inline(Executor):
    """Runs works inside ``submit``: correct, and what the others are made of."""

    def __init__(self) -> None:
        self.shutdowns: list[float | None] = []
        self.context: ExecutorContext | None = None

    @property
    def workers(self) -> int:
        return 1

    def start(self, context: ExecutorContext) -> None:
        self.context = context

    def report(self, outcomes: Any) -> None:
        assert self.context is not None
        self.context.report(outcomes)

    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            self.report([run_work(work)])

    def shutdown(self, *, grace: float | None = None) -> None:
        self.shutdowns.append(grace)


class Keeps(Inline):
    """Keeps works, for the test to report."""

    def __init__(self) -> None:
        super().__init__()
        self.works: list[Work] = []
        self.came = threading.Semaphore(0)

    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            self.works.append(work)
            self.came.release()

    def take(self, number: int = 1) -> list[Work]:
        for _ in range(number):
            assert self.came.acquire(timeout=LIMIT_S)
        return self.works[-number:]


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., jf.DataFlowKernel]:
    """Load a kernel with these executors."""

    def load(**executors: Any) -> jf.DataFlowKernel:
        return jf.load(
            jf.Config(run_dir=tmp_path / "runs", executors=executors, exit_grace=0.2)
        )

    return load


Load = Callable[..., jf.DataFlowKernel]


def log_of(kernel: jf.DataFlowKernel) -> str:
    return (kernel.run_dir / "jackfield.log").read_text()


# -- start, submit, shutdown, cancel that raise ---------------------------------------


@RAISES
def test_an_executor_that_does_not_start_stops_those_before_it(
    load: Load, error: BaseException
) -> None:
    class Fails(Inline):
        def start(self, context: ExecutorContext) -> None:
            raise error

    first, fails, never = Inline(), Fails(), Inline()

    with pytest.raises(ExecutorError, match=r"'second': cannot start: .*broken"):
        load(first=first, second=fails, third=never)

    assert first.shutdowns == [0.0]
    assert fails.shutdowns == [0.0]
    assert never.context is None


def test_executors_that_are_added_and_do_not_start_leave_the_others_be(
    load: Load,
) -> None:
    class Fails(Inline):
        def start(self, context: ExecutorContext) -> None:
            raise RuntimeError("broken")

    added = Inline()
    with load(first=Inline()) as kernel:
        with pytest.raises(ExecutorError, match="'b': cannot start"):
            kernel.add_executors({"a": added, "b": Fails()})

        assert kernel.executors == ("first",)
        assert added.shutdowns == [0.0]
        assert kernel.submit(abs, -1).result(LIMIT_S) == 1


def test_an_executor_may_add_others_and_may_end_the_kernel_while_it_starts(
    load: Load,
) -> None:
    class AddsAndEnds(Inline):
        def start(self, context: ExecutorContext) -> None:
            kernel.add_executors({"more": Inline()})
            kernel.cleanup()

    late = AddsAndEnds()
    kernel = load(first=Inline())

    with pytest.raises(jf.KernelClosedError, match="the kernel has been closed"):
        kernel.add_executors({"late": late})

    assert kernel.executors == ("first", "more")
    assert late.shutdowns == [0.0]


@RAISES
def test_an_error_in_submit_fails_the_batch_and_the_rest_goes_on(
    load: Load, error: BaseException
) -> None:
    class Fails(Inline):
        def submit(self, batch: Sequence[Work]) -> None:
            raise error

    with load(good=Inline(), bad=Fails()) as kernel:
        failed = kernel.submit(abs, -1, executors=["bad"])
        after = kernel.submit(abs, failed)
        good = kernel.submit(abs, -1, executors=["good"])

    assert isinstance(failed.exception(0), ExecutorError)
    assert "'bad': submit raised" in str(failed.exception(0))
    assert "broken" in str(failed.exception(0))
    assert isinstance(after.exception(0), jf.DependencyError)
    assert good.result(0) == 1


def test_works_that_are_reported_before_submit_raises_are_as_reported(
    load: Load,
) -> None:
    class FailsInTheMiddle(Inline):
        def submit(self, batch: Sequence[Work]) -> None:
            self.report([run_work(batch[0])])
            raise RuntimeError("broken")

    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    with load(bad=FailsInTheMiddle()) as kernel:
        future = kernel.submit(abs, gate)
        gate.set_result(-1)

        assert future.result(LIMIT_S) == 1


@RAISES
def test_an_error_in_shutdown_leaves_no_other_executor_running(
    load: Load, error: BaseException
) -> None:
    class Fails(Inline):
        def shutdown(self, *, grace: float | None = None) -> None:
            raise error

    first, last = Inline(), Inline()
    with load(first=first, bad=Fails(), last=last) as kernel:
        future = kernel.submit(abs, -1)

    assert future.result(0) == 1
    assert (len(first.shutdowns), len(last.shutdowns)) == (1, 1)
    assert "'bad' raised in shutdown" in log_of(kernel)
    load(again=Inline()).cleanup()


def test_a_shutdown_that_never_returns_does_not_keep_the_others(load: Load) -> None:
    gate = threading.Event()

    class Hangs(Inline):
        def shutdown(self, *, grace: float | None = None) -> None:
            gate.wait(LIMIT_S * 3)

    last = Inline()
    kernel = load(bad=Hangs(), last=last)
    kernel._parts.pool.margin = 0.2
    begun = time.monotonic()
    kernel.cleanup(wait=False)

    assert time.monotonic() - begun < LIMIT_S
    assert last.shutdowns == [0.2]
    assert "'bad' does not end" in log_of(kernel)
    gate.set()


def test_an_error_in_cancel_means_not_cancelled(load: Load) -> None:
    class Fails(Keeps):
        def cancel(self, work: Work) -> bool:
            raise RuntimeError("broken")

    bad = Fails()
    with load(bad=bad) as kernel:
        future = kernel.submit(abs, -1)
        (work,) = bad.take()

        assert not future.cancel()
        bad.report([run_work(work)])
        assert future.result(LIMIT_S) == 1


# -- Reports --------------------------------------------------------------------------


def test_the_first_of_two_reports_counts(load: Load) -> None:
    class Twice(Inline):
        def submit(self, batch: Sequence[Work]) -> None:
            for work in batch:
                self.report([(work, None, "first"), (work, None, "second")])
                self.report([(work, ValueError("third"), None)])

    with load(bad=Twice()) as kernel:
        futures = [kernel.submit(abs, -1) for _ in range(10)]

    assert [future.result(0) for future in futures] == ["first"] * 10
    assert kernel._parts.tally.strays == 20


def test_a_report_of_an_earlier_attempt_is_dropped(load: Load) -> None:
    bad = Keeps()
    with load(bad=bad) as kernel:
        future: Any = jf.python_app(retries=1)(abs)(-1)
        (first,) = bad.take()
        bad.report([(first, ValueError("first attempt"), None)])
        (second,) = bad.take()
        bad.report([(first, None, "late")])
        bad.report([(second, None, "second attempt")])

        assert future.result(LIMIT_S) == "second attempt"
        assert kernel._parts.tally.strays == 1


def test_reports_of_unknown_works_are_dropped(load: Load) -> None:
    bad = Keeps()
    with load(bad=bad) as kernel:
        future = kernel.submit(abs, -1)
        (work,) = bad.take()
        twin = Work(work.id, work.attempt, work.name, abs, (-2,), {})
        unknown = Work(999, 1, "unknown", abs, (-3,), {})
        bad.report([(twin, None, "twin"), (unknown, None, "unknown")])
        assert not future.done()
        bad.report([run_work(work)])

        assert future.result(LIMIT_S) == 1
        assert kernel._parts.tally.strays == 2


@pytest.mark.parametrize(
    "report",
    [
        lambda work: [(work, None)],
        lambda work: [[work, None, 1]],
        lambda work: [(work, None, 1, 2)],
        lambda work: [(work, "an error", None)],
        lambda work: [(work, ValueError, None)],
    ],
    ids=["pair", "list", "quadruple", "text-as-error", "class-as-error"],
)
def test_a_malformed_report_fails_the_work_it_is_about(
    load: Load, report: Callable[[Work], Any]
) -> None:
    bad = Keeps()
    with load(bad=bad) as kernel:
        future = kernel.submit(abs, -1)
        (work,) = bad.take()
        bad.report(report(work))

        assert isinstance(future.exception(LIMIT_S), ExecutorError)
        assert "task 0 (abs)" in str(future.exception(0))


@pytest.mark.parametrize(
    "report",
    [None, 3, [3], ["text"], [(1, 2, 3)], [()], [None], [("a", "b")]],
    ids=repr,
)
def test_nonsense_instead_of_a_report_harms_nobody(load: Load, report: Any) -> None:
    class Babbles(Inline):
        def submit(self, batch: Sequence[Work]) -> None:
            self.report(report)
            super().submit(batch)

    with load(bad=Babbles()) as kernel:
        futures = [kernel.submit(abs, -number) for number in range(10)]

    assert [future.result(0) for future in futures] == list(range(10))


def test_a_report_after_cancel_is_dropped(load: Load) -> None:
    class Cancels(Keeps):
        def cancel(self, work: Work) -> bool:
            return True  # which is a lie: it is reported all the same

    bad = Cancels()
    with load(bad=bad) as kernel:
        future = kernel.submit(abs, -1)
        (work,) = bad.take()
        assert future.cancel()
        bad.report([run_work(work)])
        kernel.wait_for_current_tasks(LIMIT_S)

        assert future.cancelled()
        assert kernel._parts.tally.strays == 1


def test_what_is_never_reported_ends_with_the_kernel(load: Load) -> None:
    bad = Keeps()
    kernel = load(bad=bad)
    lost = [kernel.submit(abs, -1) for _ in range(3)]
    after = kernel.submit(abs, lost[0])
    bad.take(3)
    begun = time.monotonic()

    kernel.cleanup(wait=False)

    assert time.monotonic() - begun < LIMIT_S
    assert all(future.cancelled() for future in [*lost, after])
    assert "Ended with 3 unfinished tasks: 0 (abs), 1 (abs), 2 (abs)" in log_of(kernel)


def test_what_is_reported_after_the_end_is_dropped(load: Load) -> None:
    bad = Keeps()
    kernel = load(bad=bad)
    future = kernel.submit(abs, -1)
    (work,) = bad.take()
    kernel.cleanup(wait=False)

    bad.report([run_work(work)])

    assert future.cancelled()


def test_an_error_that_would_end_the_program_is_wrapped(load: Load) -> None:
    bad = Keeps()
    with load(bad=bad) as kernel:
        future = kernel.submit(abs, -1)
        (work,) = bad.take()
        bad.report([(work, SystemExit("raw"), None)])

        assert isinstance(future.exception(LIMIT_S), TaskExitError)
        assert "SystemExit: raw" in str(future.exception(0))


def test_a_chain_of_ten_thousand_in_line_is_no_chain_of_calls(load: Load) -> None:
    with load(inline=Inline()) as kernel:
        future = kernel.submit(int, 0)
        for _ in range(10_000):
            future = kernel.submit(lambda number: number + 1, future)

        assert future.result(LIMIT_S * 3) == 10_000


def test_a_chain_that_fails_at_its_head_in_line_is_no_chain_of_calls(
    load: Load,
) -> None:
    gate: concurrent.futures.Future[str] = concurrent.futures.Future()
    with load(inline=Inline()) as kernel:
        future = kernel.submit(int, gate)
        for _ in range(5_000):
            future = kernel.submit(abs, future)
        gate.set_result("no number")

        assert isinstance(future.exception(LIMIT_S * 3), jf.DependencyError)


def test_retries_in_line_are_no_chain_of_calls(load: Load) -> None:
    attempts: list[int] = []

    @jf.python_app(retries=3_000)
    def fail() -> None:
        attempts.append(1)
        raise ValueError

    with load(inline=Inline()):
        error = fail().exception(LIMIT_S * 3)

    assert isinstance(error, ValueError)
    assert len(attempts) == 3_001


def test_reports_on_many_threads_at_once_are_all_heard(load: Load) -> None:
    class Scatters(Inline):
        """Reports each work on one of eight threads, half of them twice."""

        def start(self, context: ExecutorContext) -> None:
            super().start(context)
            self.pool = concurrent.futures.ThreadPoolExecutor(8)

        def submit(self, batch: Sequence[Work]) -> None:
            for work in batch:
                for _ in range(1 + work.id % 2):
                    self.pool.submit(self.run, work)

        def run(self, work: Work) -> None:
            self.report([run_work(work)])

        def shutdown(self, *, grace: float | None = None) -> None:
            self.pool.shutdown()

    with load(bad=Scatters()) as kernel:
        futures = [kernel.submit(abs, -number) for number in range(1000)]
        sums = [kernel.submit(sum, futures[n : n + 10]) for n in range(0, 1000, 10)]

        assert sum(future.result(LIMIT_S) for future in sums) == sum(range(1000))
    assert kernel.task_state_counts[jf.TaskState.SUCCEEDED] == 1100


def test_a_report_from_the_main_thread_leaves_it_the_users(load: Load) -> None:
    manual = Keeps()
    with load(manual=manual, inline=Inline()) as kernel:
        future = kernel.submit(abs, -1, executors=["manual"])
        (work,) = manual.take()
        manual.report([(work, None, 1)])

        assert future.result(LIMIT_S) == 1
        kernel.wait_for_current_tasks(LIMIT_S)


# -- What it says of itself -----------------------------------------------------------


def test_capabilities_that_are_none_end_the_start(load: Load) -> None:
    class Odd(Inline):
        capabilities = {"isolated": True}  # type: ignore[assignment]  # the fault

    odd = Odd()
    with pytest.raises(ExecutorError, match=r"'odd': its capabilities are a dict"):
        load(odd=odd)

    assert odd.shutdowns == [0.0]


@pytest.mark.parametrize("number", [0, -3])
def test_no_workers_count_as_one(load: Load, number: int) -> None:
    class Odd(Inline):
        @property
        def workers(self) -> int:
            return number

    with load(odd=Odd(), other=Inline()) as kernel:
        assert [kernel.submit(abs, -1).result(LIMIT_S) for _ in range(4)] == [1] * 4


def test_a_number_of_workers_that_is_none_ends_the_start(load: Load) -> None:
    class Odd(Inline):
        @property
        def workers(self) -> int:
            return "many"  # type: ignore[return-value]  # the fault

    with pytest.raises(ExecutorError, match=r"'odd': cannot start: ValueError"):
        load(odd=Odd())


def test_what_no_executor_can_do_is_refused_at_submit(load: Load) -> None:
    class NoWalltime(Inline):
        capabilities = jf.Capabilities(walltime="none")

    with load(bad=NoWalltime()):
        with pytest.raises(UnsupportedByExecutorError, match="'bad' cannot enforce"):
            jf.python_app(walltime=1.0)(abs)(-1)
        with pytest.raises(UnsupportedByExecutorError, match="resource 'gpu'"):
            jf.python_app(resources={"gpu": 1})(abs)(-1)


def test_a_walltime_that_is_not_kept_ends_with_the_kernel(load: Load) -> None:
    class Lies(Keeps):
        capabilities = jf.Capabilities(walltime="kill", cancels_running=True)

    bad = Lies()
    kernel = load(bad=bad)
    future = jf.python_app(walltime=0.01)(abs)(-1)
    (work,) = bad.take()
    assert work.walltime == 0.01

    kernel.cleanup(wait=False)

    assert future.cancelled()


# -- Executors of others, given alive -------------------------------------------------


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield pool


def test_a_pool_that_its_owner_shuts_down_fails_later_tasks_by_name(
    load: Load, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    with load(pool=pool) as kernel:
        assert kernel.submit(abs, -1).result(LIMIT_S) == 1
        pool.shutdown()
        late = kernel.submit(abs, -1)
        after = kernel.submit(abs, late)

        assert isinstance(late.exception(LIMIT_S), ExecutorError)
        assert "'pool'" in str(late.exception(0))
        assert "shutdown" in str(late.exception(0))
        assert isinstance(after.exception(LIMIT_S), jf.DependencyError)


def test_a_pool_whose_futures_its_owner_cancels_fails_the_tasks(
    load: Load, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    gate, begun = threading.Event(), threading.Barrier(3)

    def hold() -> None:
        begun.wait(LIMIT_S)
        gate.wait(LIMIT_S)

    with load(pool=pool) as kernel:
        running = [kernel.submit(hold) for _ in range(2)]
        begun.wait(LIMIT_S)
        queued = kernel.submit(abs, -1)
        while queued.task_status() != "submitted":
            time.sleep(0.001)
        settled = threading.Event()
        queued.add_done_callback(lambda _: settled.set())
        stop = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True})
        stop.start()

        assert settled.wait(LIMIT_S)
        gate.set()
        stop.join(LIMIT_S)
        assert [future.exception(LIMIT_S) for future in running] == [None, None]
        assert isinstance(queued.exception(LIMIT_S), ExecutorError)


class Refuses(concurrent.futures.Executor):
    """A foreign executor that raises, or gives futures that nobody ends."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.futures: list[concurrent.futures.Future[Any]] = []
        self.jackfield_capabilities = jf.Capabilities()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.futures.append(concurrent.futures.Future())
        return self.futures[-1]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        raise RuntimeError("broken in shutdown")


def test_a_foreign_executor_that_raises_everywhere_fails_its_tasks_alone(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "jackfield")
    with load(bad=Refuses(RuntimeError("broken")), good=Inline()) as kernel:
        failed = kernel.submit(abs, -1, executors=["bad"])
        good = kernel.submit(abs, -1, executors=["good"])

    assert "broken" in str(failed.exception(0))
    assert good.result(0) == 1


def test_foreign_futures_that_nobody_ends_end_with_the_kernel(load: Load) -> None:
    kernel = load(bad=Refuses(None))
    future = kernel.submit(abs, -1)
    while future.task_status() != "submitted":
        time.sleep(0.001)
    begun = time.monotonic()

    kernel.cleanup(wait=False)

    assert time.monotonic() - begun < LIMIT_S
    assert future.cancelled()


def test_an_outcome_may_be_of_any_tuple(load: Load) -> None:
    """A task or a control is told from an outcome by its type alone."""

    class Named(tuple[Work, None, int]):
        __slots__ = ()

    outcomes: list[Outcome] = []

    class Odd(Inline):
        def submit(self, batch: Sequence[Work]) -> None:
            outcomes.extend(Named((work, None, 7)) for work in batch)
            self.report(outcomes)

    with load(odd=Odd()) as kernel:
        assert kernel.submit(abs, -1).result(LIMIT_S) == 7
