"""What becomes of failures: dependents, retries, the run."""

from __future__ import annotations

import concurrent.futures
import hashlib
import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import ExecutorError, TaskExitError

LIMIT_S = 60.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that tasks wait for; set at the end, so that none is left."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., jf.DataFlowKernel]:
    """``load(**options)``: a kernel with four threads, to be used with ``with``."""

    def loaded(**options: Any) -> jf.DataFlowKernel:
        base: dict[str, Any] = {
            "executors": {"threads": {"plugin": "threads", "workers": 4}},
            "run_dir": tmp_path / "runs",
            "exit_grace": 1.0,
        }
        return jf.load({**base, **options})

    return loaded


def fails(*_: object) -> Any:
    raise ValueError("root cause")


def ignore(*_: object) -> str:
    return "ran"


def caught(future: Future[Any]) -> BaseException:
    error = future.exception(LIMIT_S)
    assert error is not None
    return error


def waits(gate: threading.Event, value: Any = None) -> Any:
    assert gate.wait(LIMIT_S)
    return value


def assert_cancels(future: jf.AppFuture[Any]) -> None:
    """Cancel a task as soon as its first attempt is over."""
    deadline = time.monotonic() + LIMIT_S
    while not future.cancel():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Tries:
    """Fails a number of times, then succeeds; remembers when it was called."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.times: list[float] = []

    def __call__(self) -> int:
        self.times.append(time.monotonic())
        if len(self.times) <= self.failures:
            raise ValueError(f"try {len(self.times)}")
        return len(self.times)

    @property
    def __name__(self) -> str:
        return "tries"

    @property
    def delays(self) -> list[float]:
        pairs = zip(self.times, self.times[1:], strict=False)
        return [after - before for before, after in pairs]


# -- dependents


def test_a_failed_dependency_fails_the_task_without_running_it(
    kernel: jf.DataFlowKernel,
) -> None:
    ran: list[int] = []
    root = kernel.submit(fails)
    error = caught(kernel.submit(lambda _: ran.append(1), root))

    assert isinstance(error, jf.DependencyError)
    assert error.__cause__ is caught(root)
    assert str(error) == (
        "Task 1 (<lambda>) was not run, because task 0 (fails) failed with "
        "ValueError: root cause"
    )
    assert ran == []


def test_a_chain_of_failures_tells_the_way(kernel: jf.DataFlowKernel) -> None:
    root = future = kernel.submit(fails)
    for _ in range(3):
        future = kernel.submit(ignore, future)

    error = caught(future)

    assert isinstance(error, jf.DependencyError)
    assert error.__cause__ is caught(root)
    assert error.path == ("0 (fails)", "1 (ignore)", "2 (ignore)")
    assert "task 0 (fails) -> 1 (ignore) -> 2 (ignore) failed with" in str(error)


@pytest.mark.parametrize("length", [10, 5_000])
def test_a_long_chain_of_failures_shows_both_ends(
    kernel: jf.DataFlowKernel, gate: threading.Event, length: int
) -> None:
    root = future = kernel.submit(lambda: fails(waits(gate)))
    middle = None
    for number in range(length):
        future = kernel.submit(ignore, future)
        if number == length // 2:
            middle = future
    gate.set()

    error = caught(future)

    assert isinstance(error, jf.DependencyError)
    assert error.__cause__ is caught(root)
    assert len(str(error)) < 300
    assert len("".join(traceback.format_exception(error))) < 3000
    assert error.path[0] == "0 (<lambda>)"
    assert error.path[-1] == f"{length - 1} (ignore)"
    assert middle is not None
    assert caught(middle).__cause__ is caught(root)
    kernel.wait_for_current_tasks(LIMIT_S)  # the count comes after the result
    assert kernel.task_state_counts[jf.TaskState.DEPENDENCY_FAILED] == length


def test_two_dependencies_that_fail_fire_once(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    both = threading.Barrier(2)

    def fail_together() -> None:
        waits(gate)
        both.wait(LIMIT_S)
        raise ValueError("one of two")

    for _ in range(50):
        calls: list[Any] = []
        dependent = kernel.submit(
            ignore, kernel.submit(fail_together), kernel.submit(fail_together)
        )
        dependent.add_done_callback(calls.append)
        gate.set()
        assert isinstance(caught(dependent), jf.DependencyError)
        kernel.wait_for_current_tasks(LIMIT_S)

    counts = kernel.task_state_counts
    assert counts[jf.TaskState.DEPENDENCY_FAILED] == 50
    assert counts[jf.TaskState.FAILED] == 100
    assert sum(counts.values()) == 150


def test_a_dependent_of_a_cancelled_task_says_so(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    cancelled = kernel.submit(ignore, kernel.submit(waits, gate))
    dependent = kernel.submit(ignore, cancelled)
    cancelled.cancel()

    error = caught(dependent)

    assert isinstance(error, jf.DependencyError)
    assert isinstance(error.__cause__, CancelledError)
    assert "1 (ignore)" in str(error)
    assert "cancelled" in str(error)
    assert not dependent.cancelled()


def test_a_task_submitted_after_the_failure_fails_too(
    kernel: jf.DataFlowKernel,
) -> None:
    root = kernel.submit(fails)
    caught(root)

    assert isinstance(caught(kernel.submit(ignore, root)), jf.DependencyError)


def test_a_dependency_failure_is_not_retried(
    load: Callable[..., jf.DataFlowKernel],
) -> None:
    asked: list[str] = []

    class Plugin:
        @jf.hookimpl
        def jackfield_retry(self, task: jf.TaskView) -> None:
            asked.append(task.app)

    with load(retries=2, plugins=[Plugin()]) as kernel:
        caught(kernel.submit(ignore, kernel.submit(fails)))

    assert asked == ["fails"] * 3


# -- futures of others


def test_a_future_of_another_pool_is_waited_for(kernel: jf.DataFlowKernel) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert kernel.submit(lambda x: x + 1, pool.submit(int, 4)).result(LIMIT_S) == 5


def test_a_future_of_another_kernel_is_waited_for(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    with jf.DataFlowKernel(jf.Config(run_dir="others")) as other:
        slow, failed = other.submit(waits, gate, 4), other.submit(fails)
        both = kernel.submit(lambda x: x + 1, slow)
        bad = kernel.submit(ignore, failed)
        gate.set()

        assert both.result(LIMIT_S) == 5
        assert isinstance(caught(bad), jf.DependencyError)
        assert caught(bad).__cause__ is caught(failed)


def test_a_foreign_future_that_fails_fails_the_task(kernel: jf.DataFlowKernel) -> None:
    foreign: Future[int] = Future()
    future = kernel.submit(ignore, foreign)
    root = ValueError("theirs")
    foreign.set_exception(root)

    error = caught(future)

    assert isinstance(error, jf.DependencyError)
    assert error.__cause__ is root
    assert "theirs" in str(error)


def test_a_foreign_future_that_is_cancelled_fails_the_task(
    kernel: jf.DataFlowKernel,
) -> None:
    foreign: Future[int] = Future()
    future = kernel.submit(ignore, foreign)
    foreign.cancel()

    error = caught(future)

    assert isinstance(error, jf.DependencyError)
    assert isinstance(error.__cause__, CancelledError)


class Strange(Future[Any]):
    """A future of a library with ideas of its own."""

    def exception(self, timeout: float | None = None) -> BaseException | None:
        raise OSError("connection lost")


def test_a_foreign_future_that_cannot_be_read_fails_the_task(
    kernel: jf.DataFlowKernel,
) -> None:
    foreign = Strange()
    future = kernel.submit(ignore, foreign)
    foreign.set_result(1)

    error = caught(future)

    assert isinstance(error, jf.DependencyError)
    assert "connection lost" in str(error)
    assert kernel.submit(int).result(LIMIT_S) == 0


def test_a_foreign_future_that_takes_no_callback_is_told_to_the_caller(
    kernel: jf.DataFlowKernel,
) -> None:
    class Deaf(Future[Any]):
        def add_done_callback(self, fn: object) -> None:
            raise OSError("deaf")

    with pytest.raises(OSError, match="deaf"):
        kernel.submit(ignore, Deaf())

    kernel.wait_for_current_tasks(LIMIT_S)


# -- retries


def test_without_retries_a_task_runs_once(kernel: jf.DataFlowKernel) -> None:
    tries = Tries(1)

    assert str(caught(kernel.submit(tries))) == "try 1"
    assert len(tries.times) == 1


def test_a_task_is_retried_as_often_as_configured(
    load: Callable[..., jf.DataFlowKernel],
) -> None:
    with load(retries=2) as kernel:
        enough, too_many = Tries(2), Tries(3)

        assert kernel.submit(enough).result(LIMIT_S) == 3
        assert str(caught(kernel.submit(too_many))) == "try 3"
        assert len(too_many.times) == 3


def test_an_app_has_its_own_retries(load: Callable[..., jf.DataFlowKernel]) -> None:
    with load(retries=2):
        more, none = Tries(4), Tries(1)

        assert jf.python_app(retries=4)(more)().result(LIMIT_S) == 5
        caught(jf.python_app(retries=0)(none)())
        assert len(none.times) == 1


def test_dependents_wait_for_the_retries(kernel: jf.DataFlowKernel) -> None:
    flaky = jf.python_app(retries=1, retry_delay=0.05)(Tries(1))

    assert kernel.submit(lambda x: x * 10, flaky()).result(LIMIT_S) == 20


def test_a_retry_waits_for_its_delay_and_longer_each_time(
    kernel: jf.DataFlowKernel,
) -> None:
    tries = Tries(3)
    app = jf.python_app(retries=3, retry_delay=0.05, retry_backoff=2)(tries)

    app().result(LIMIT_S)

    for delay, least in zip(tries.delays, [0.05, 0.1, 0.2], strict=True):
        assert delay >= least


def test_delays_of_the_configuration_grow_to_their_maximum(
    load: Callable[..., jf.DataFlowKernel],
) -> None:
    with load(retries=3, retry_delay=0.02, retry_backoff=1e9, retry_max_delay=0.04):
        tries = Tries(3)

        jf.python_app(tries)().result(LIMIT_S)

        assert all(delay < 1 for delay in tries.delays)


def test_other_tasks_run_while_a_retry_waits(kernel: jf.DataFlowKernel) -> None:
    slow = jf.python_app(retries=1, retry_delay=1000)(Tries(1))()

    assert kernel.submit(int).result(LIMIT_S) == 0
    assert_cancels(slow)


@pytest.mark.parametrize("delay", [math.inf, 1e300])
def test_an_endless_delay_hurts_no_other_task(
    kernel: jf.DataFlowKernel, delay: float
) -> None:
    endless = jf.python_app(retries=1, retry_delay=delay)(Tries(1))()
    soon = jf.python_app(retries=1, retry_delay=0.01)(Tries(1))()

    assert soon.result(LIMIT_S) == 2
    assert kernel.submit(int).result(LIMIT_S) == 0
    assert_cancels(endless)


def test_a_retried_join_runs_its_body_again(kernel: jf.DataFlowKernel) -> None:
    tries = Tries(2)

    @jf.join_app(retries=2)
    def body() -> Any:
        return kernel.submit(int, tries())

    assert body().result(LIMIT_S) == 3


# -- the retry hook


class Policy:
    """Answers with what it was made with."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int, str]] = []

    @jf.hookimpl
    def jackfield_retry(
        self, task: jf.TaskView, error: BaseException, attempt: int
    ) -> Any:
        self.asked.append((task.app, attempt, str(error)))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def test_a_hook_sees_each_failed_attempt(
    load: Callable[..., jf.DataFlowKernel],
) -> None:
    policy = Policy(None)
    with load(retries=1, plugins=[policy]) as kernel:
        caught(kernel.submit(Tries(5)))

    assert policy.asked == [("tries", 1, "try 1"), ("tries", 2, "try 2")]


def test_a_hook_sees_where_a_task_could_run(
    load: Callable[..., jf.DataFlowKernel],
) -> None:
    seen: list[tuple[tuple[str, ...], str | None]] = []

    class Plugin:
        @jf.hookimpl
        def jackfield_retry(self, task: jf.TaskView) -> None:
            seen.append((task.executors, task.executor))

    executors = {label: {"plugin": "threads"} for label in ("a", "b", "c")}
    with load(executors=executors, plugins=[Plugin()]) as kernel:
        caught(kernel.submit(fails, executors=["c", "b"]))

    ((labels, label),) = seen
    assert labels == ("c", "b")
    assert label in labels


def test_a_hook_that_is_taken_out_is_not_asked_any_more(
    load: Callable[..., jf.DataFlowKernel],
) -> None:
    with load(retries=1) as kernel:
        policy = Policy(jf.Retry(cost=math.inf))
        kernel.register(policy)
        caught(kernel.submit(Tries(1)))
        kernel.unregister(policy)

        assert kernel.submit(Tries(1)).result(LIMIT_S) == 2
        with pytest.raises(jf.PluginError, match="No registered plugin"):
            kernel.unregister(policy)
    assert len(policy.asked) == 1


def test_a_hook_says_what_a_failure_costs(
    load: Callable[..., jf.DataFlowKernel],
) -> None:
    with load(retries=1, plugins=[Policy(jf.Retry(cost=0.25))]) as kernel:
        enough, too_many = Tries(4), Tries(5)

        assert kernel.submit(enough).result(LIMIT_S) == 5
        caught(kernel.submit(too_many))
        assert len(too_many.times) == 5


def test_a_hook_may_give_up(load: Callable[..., jf.DataFlowKernel]) -> None:
    with load(retries=100, plugins=[Policy(jf.Retry(cost=math.inf))]) as kernel:
        tries = Tries(3)

        assert str(caught(kernel.submit(tries))) == "try 1"
        assert len(tries.times) == 1


def test_a_hook_may_ask_for_a_delay(load: Callable[..., jf.DataFlowKernel]) -> None:
    with load(retries=1, plugins=[Policy(jf.Retry(delay=0.1))]) as kernel:
        tries = Tries(1)
        kernel.submit(tries).result(LIMIT_S)

        assert tries.delays[0] >= 0.1


def test_a_hook_may_choose_another_executor(
    load: Callable[..., jf.DataFlowKernel],
) -> None:
    executors = {
        "first": {"plugin": "threads", "workers": 1},
        "second": {"plugin": "threads", "workers": 1},
    }
    names: list[str] = []

    def where() -> None:
        names.append(threading.current_thread().name)
        if len(names) == 1:
            raise ValueError

    policy = Policy(jf.Retry(executor="second"))
    with load(executors=executors, retries=1, plugins=[policy]) as kernel:
        kernel.submit(where).result(LIMIT_S)

    assert "first" in names[0]
    assert "second" in names[1]


def test_a_hook_that_chooses_an_executor_that_does_not_fit_fails_the_task(
    load: Callable[..., jf.DataFlowKernel],
) -> None:
    policy = Policy(jf.Retry(executor="elsewhere"))
    with load(retries=1, plugins=[policy]) as kernel:
        error = caught(kernel.submit(Tries(1)))

    assert isinstance(error, ExecutorError)
    assert "elsewhere" in str(error)
    assert "threads" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        "again",
        jf.Retry(delay="soon"),  # type: ignore[arg-type]  # that is the point
        jf.Retry(cost="much"),  # type: ignore[arg-type]  # that is the point
        jf.Retry(delay=math.nan),
    ],
    ids=["no Retry", "delay", "cost", "nan"],
)
def test_a_hook_with_a_wrong_answer_fails_the_task_with_both_errors(
    load: Callable[..., jf.DataFlowKernel], answer: Any
) -> None:
    with load(retries=3, plugins=[Policy(answer)]) as kernel:
        error = caught(kernel.submit(Tries(1)))

        assert isinstance(error, TypeError | ValueError)
        assert str(error.__cause__) == "try 1"
        assert kernel.submit(int).result(LIMIT_S) == 0


@pytest.mark.parametrize("raised", [OSError("hook"), SystemExit("hook")])
def test_a_hook_that_raises_ends_the_retries(
    load: Callable[..., jf.DataFlowKernel], raised: BaseException
) -> None:
    with load(retries=3, plugins=[Policy(raised)]) as kernel:
        tries = Tries(1)

        error = caught(kernel.submit(tries))

        assert "hook" in str(error)
        assert len(tries.times) == 1
        assert kernel.submit(int).result(LIMIT_S) == 0


# -- eager errors


def test_the_first_failure_stops_new_work(
    load: Callable[..., jf.DataFlowKernel], gate: threading.Event
) -> None:
    with load(lazy_errors=False) as kernel:
        began = threading.Semaphore(0)

        def run() -> str:
            began.release()
            return str(waits(gate, "ran to its end"))

        running = [kernel.submit(run) for _ in range(3)]
        for _ in running:
            assert began.acquire(timeout=LIMIT_S)
        waiting = kernel.submit(ignore, running[0])
        failed = kernel.submit(fails)

        assert str(caught(failed)) == "root cause"
        with pytest.raises(CancelledError):
            waiting.result(LIMIT_S)
        with pytest.raises(jf.KernelClosedError, match=r"first failure.*root cause"):
            kernel.submit(ignore)
        gate.set()

        assert [future.result(LIMIT_S) for future in running] == ["ran to its end"] * 3


def test_every_future_ends_after_the_first_failure(
    load: Callable[..., jf.DataFlowKernel], gate: threading.Event
) -> None:
    with load(lazy_errors=False) as kernel:
        first = kernel.submit(waits, gate)
        futures = [kernel.submit(ignore, first) for _ in range(50)]
        futures += [kernel.submit(fails, first) for _ in range(5)]
        futures += [kernel.submit(ignore, future) for future in futures]
        gate.set()

        assert not concurrent.futures.wait(futures, LIMIT_S).not_done
    assert sum(kernel.task_state_counts.values()) == 1 + len(futures)


def test_a_failure_that_is_retried_does_not_stop_the_run(
    load: Callable[..., jf.DataFlowKernel],
) -> None:
    with load(lazy_errors=False, retries=1) as kernel:
        assert kernel.submit(Tries(1)).result(LIMIT_S) == 2
        assert kernel.submit(int).result(LIMIT_S) == 0


def test_nothing_is_tried_again_after_the_first_failure(
    load: Callable[..., jf.DataFlowKernel], gate: threading.Event
) -> None:
    with load(lazy_errors=False) as kernel:
        tries = Tries(1)
        began = threading.Event()

        def run() -> int:
            began.set()
            waits(gate)
            return tries()

        running = jf.python_app(retries=5)(run)()
        assert began.wait(LIMIT_S)
        caught(kernel.submit(fails))
        gate.set()

        assert str(caught(running)) == "try 1"


# -- exceptions of every kind


@pytest.mark.parametrize(
    "raised", [SystemExit(3), KeyboardInterrupt("key"), GeneratorExit("gen")]
)
@pytest.mark.parametrize("kind", [jf.python_app, jf.join_app, jf.bash_app])
def test_what_would_end_a_program_ends_the_task_only(
    kernel: jf.DataFlowKernel, kind: Any, raised: BaseException
) -> None:
    def exits() -> Any:
        raise raised

    error = caught(kind(exits)())

    assert isinstance(error, TaskExitError)
    assert error.__cause__ is raised
    assert type(raised).__name__ in str(error)
    assert [kernel.submit(int).result(LIMIT_S) for _ in range(8)] == [0] * 8


class Unprintable(Exception):
    """Its text cannot be had."""

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised

    def __str__(self) -> str:
        raise self.raised

    __repr__ = __str__


class UnprintableExit(SystemExit):
    """Its text cannot be had either."""

    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


@pytest.mark.parametrize(
    "error",
    [
        Unprintable(ValueError()),
        Unprintable(SystemExit()),
        Unprintable(KeyboardInterrupt()),
        UnprintableExit(),
    ],
    ids=["ValueError", "SystemExit", "KeyboardInterrupt", "itself an exit"],
)
def test_an_exception_without_a_text_fails_its_task_only(
    load: Callable[..., jf.DataFlowKernel], error: BaseException
) -> None:
    def raises() -> None:
        raise error

    with load(retries=1) as kernel:
        failed = kernel.submit(raises)
        dependent = kernel.submit(ignore, failed)

        assert caught(failed) in (error, caught(failed))
        assert isinstance(caught(dependent), jf.DependencyError)
        assert type(error).__name__ in str(caught(dependent))
        assert kernel.submit(int).result(LIMIT_S) == 0


def test_a_text_that_waits_for_another_task_does_not_block_the_kernel(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    """No code of a user runs while the kernel changes the graph."""

    class Slow(Exception):
        def __str__(self) -> str:
            return f"slow {other.result(LIMIT_S)}"

    def raises() -> None:
        waits(gate)
        raise Slow

    failed = kernel.submit(raises)
    dependent = kernel.submit(ignore, failed)
    released = kernel.submit(waits, gate)
    other = kernel.submit(lambda _: "text", released)
    gate.set()

    assert str(caught(failed)) == "slow text"
    assert "slow text" in str(caught(dependent))


def test_a_log_handler_that_raises_hurts_nobody(kernel: jf.DataFlowKernel) -> None:
    import logging

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no space left")

    handler = Broken()
    logging.getLogger("jackfield").addHandler(handler)
    try:
        failed = [kernel.submit(fails) for _ in range(20)]
        failed += [jf.python_app(retries=2)(fails)() for _ in range(20)]
        dependent = [kernel.submit(ignore, future) for future in failed]
        both = failed + dependent
        assert not concurrent.futures.wait(both, LIMIT_S).not_done
    finally:
        logging.getLogger("jackfield").removeHandler(handler)

    assert {str(caught(future)) for future in failed} == {"root cause"}


def test_an_error_without_a_file_for_the_summary_is_told_in_one_line(
    kernel: jf.DataFlowKernel,
) -> None:
    caught(kernel.submit(fails))

    summary = kernel.summary()

    assert summary.failed == 1
    assert summary.failures == ("Task 0 (fails) failed: ValueError: root cause",)


# -- Counts ---------------------------------------------------------------------------


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_counts_have_every_task_whose_end_was_seen(tmp_path: Path, plugin: str) -> None:
    table = {"plugin": plugin, "workers": 2}
    with jf.load(executors={"x": table}, run_dir=tmp_path / "r") as kernel:
        for number in range(1, 201):
            kernel.submit(abs, -number).result(LIMIT_S)
            assert kernel.summary().counts[jf.TaskState.SUCCEEDED] == number
            assert sum(kernel.task_state_counts.values()) == number


def test_counts_have_every_task_that_was_submitted_or_cancelled(
    kernel: jf.DataFlowKernel,
) -> None:
    gate = threading.Event()
    try:
        running = [kernel.submit(gate.wait, LIMIT_S) for _ in range(4)]
        for number in range(1, 101):
            waiting = kernel.submit(ignore, running)
            assert sum(kernel.task_state_counts.values()) == 4 + 2 * number - 1
            kernel.submit(ignore, running)
            waiting.cancel()
            assert kernel.task_state_counts[jf.TaskState.CANCELLED] == number
    finally:
        gate.set()


def test_counts_have_a_failure_that_was_seen_with_its_line(
    kernel: jf.DataFlowKernel,
) -> None:
    for number in range(1, 51):
        caught(kernel.submit(fails))
        summary = kernel.summary()
        assert summary.failed == len(summary.failures) == number


def test_counts_may_be_asked_for_anywhere(tmp_path: Path) -> None:
    asked: list[int] = []

    class Asks:
        @jf.hookimpl
        def jackfield_retry(self) -> None:
            asked.append(sum(jf.dfk().task_state_counts.values()))

    with jf.load(run_dir=tmp_path / "r", plugins=[Asks()], retries=1) as kernel:
        future = kernel.submit(lambda: sum(jf.dfk().task_state_counts.values()))
        assert future.result(LIMIT_S) == 1
        future.add_done_callback(lambda _: asked.append(len(kernel.summary().failures)))
        caught(kernel.submit(fails))
    assert len(asked) == 3
    assert kernel.summary().counts[jf.TaskState.FAILED] == 1


def test_tasks_of_the_kernels_own_are_counted_apart(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("good")
    bad.write_text("bad")
    digest = hashlib.sha256(b"good").hexdigest()

    kernel.submit(ignore, jf.File(good, sha256=digest)).result(LIMIT_S)
    caught(kernel.submit(ignore, jf.File(bad, sha256=digest)))

    summary = kernel.summary()
    assert sum(summary.counts.values()) == 2
    assert summary.failed == len(summary.failures) == 1
    assert "(ignore)" in summary.failures[0]
    assert summary.own[jf.TaskState.SUCCEEDED] == summary.own[jf.TaskState.FAILED] == 1
