"""How a kernel ends: however, whenever and by whomever it is told to."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf

if TYPE_CHECKING:
    from types import FrameType

LIMIT_S = 60.0


@jf.python_app
def identity(value: Any, *_: Any) -> Any:
    return value


@jf.python_app
def hold(gate: threading.Event) -> str:
    assert gate.wait(LIMIT_S)
    return "held"


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., jf.DataFlowKernel]:
    """Load a kernel with two threads and a short grace."""

    def load(**options: Any) -> jf.DataFlowKernel:
        options.setdefault(
            "executors", {"threads": {"plugin": "threads", "workers": 2}}
        )
        return jf.load(
            jf.Config(run_dir=tmp_path / "runs", **{"exit_grace": 0.2, **options})
        )

    return load


Load = Callable[..., jf.DataFlowKernel]


@contextmanager
def ends_by_error() -> Iterator[None]:
    """Expect that the block ends by a ZeroDivisionError."""
    with contextlib.suppress(ZeroDivisionError):
        yield
        pytest.fail("the error has not come through")


def in_thread(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def ended(thread: threading.Thread) -> bool:
    thread.join(LIMIT_S)
    return not thread.is_alive()


# -- Leaving `with` -------------------------------------------------------------------


def test_leaving_waits_for_tasks_and_for_those_that_they_submit(load: Load) -> None:
    gate = threading.Event()
    grandchildren: list[jf.AppFuture[Any]] = []

    @jf.python_app
    def parent() -> None:
        assert gate.wait(LIMIT_S)
        grandchildren.append(child())

    @jf.python_app
    def child() -> None:
        grandchildren.append(identity(3))

    with load():
        parent()
        opener = threading.Timer(0.05, gate.set)
        opener.start()

    opener.join()
    assert [future.exception(0) for future in grandchildren] == [None, None]


def test_leaving_waits_for_joins_and_for_their_tasks(load: Load) -> None:
    @jf.join_app
    def many(number: int) -> list[jf.AppFuture[int]]:
        return [identity(item) for item in range(number)]

    with load():
        joined = many(identity(20))

    assert joined.result(0) == list(range(20))


def test_leaving_waits_for_tasks_that_are_submitted_meanwhile(load: Load) -> None:
    gate, begun = threading.Event(), threading.Event()
    late: list[jf.AppFuture[str]] = []

    def submit_late() -> None:
        assert begun.wait(LIMIT_S)
        late.extend(identity("late") for _ in range(50))
        gate.set()

    submitter = in_thread(submit_late)
    with load():
        hold(gate)
        begun.set()

    assert ended(submitter)
    assert [future.result(0) for future in late] == ["late"] * 50


def test_leaving_waits_for_a_retry_that_is_due_later(load: Load) -> None:
    attempts: list[int] = []

    @jf.python_app(retries=1, retry_delay=0.1)
    def second_time() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("first")
        return "second"

    with load():
        future = second_time()

    assert future.result(0) == "second"


def test_an_exception_cancels_what_waits_and_gives_grace_to_what_runs(
    load: Load,
) -> None:
    gate, begun = threading.Event(), threading.Event()

    @jf.python_app
    def run() -> str:
        begun.set()
        assert gate.wait(LIMIT_S)
        return "ran"

    with ends_by_error(), load(exit_grace=LIMIT_S):
        running = run()
        waiting = identity(running)
        waiting.add_done_callback(lambda _: gate.set())
        assert begun.wait(LIMIT_S)
        raise ZeroDivisionError

    assert running.result(0) == "ran"
    assert waiting.cancelled()


def test_an_exception_cancels_what_is_queued_in_every_executor(load: Load) -> None:
    gate = threading.Event()
    begun = threading.Barrier(3)

    def occupy() -> None:
        begun.wait(LIMIT_S)
        gate.wait(LIMIT_S)

    queued: list[jf.AppFuture[None]] = []
    tables = {label: {"plugin": "threads", "workers": 1} for label in ("a", "b")}
    with ends_by_error(), load(executors=tables) as kernel:
        for label in tables:
            kernel.submit(occupy, executors=[label])
            queued.append(kernel.submit(gate.set, executors=[label]))
        begun.wait(LIMIT_S)
        raise ZeroDivisionError

    assert [future.cancelled() for future in queued] == [True, True]
    assert not gate.is_set()
    gate.set()


def test_an_exception_leaves_within_seconds_whatever_runs(load: Load) -> None:
    gate = threading.Event()
    begun = time.monotonic()

    with ends_by_error(), load():
        endless = [hold(gate) for _ in range(2)]
        queued = [hold(gate) for _ in range(20)]
        raise ZeroDivisionError

    assert time.monotonic() - begun < LIMIT_S
    assert all(future.done() for future in [*endless, *queued])
    gate.set()


@pytest.mark.parametrize(("mode", "waits"), [("wait", True), ("cancel", False)])
def test_exit_mode_says_whether_a_plain_end_waits(
    load: Load, mode: str, waits: bool
) -> None:
    gate = threading.Event()
    opener = threading.Timer(0.05, gate.set)
    with load(exit_mode=mode, exit_grace=0.0):
        running = hold(gate)
        waiting = identity(running)
        if waits:
            opener.start()
        else:
            waiting.add_done_callback(lambda _: gate.set())

    assert waiting.cancelled() is not waits
    gate.set()
    opener.cancel()


def test_exit_mode_skip_leaves_the_kernel_running(load: Load) -> None:
    with load(exit_mode="skip") as kernel:
        pass

    assert identity(3).result(LIMIT_S) == 3
    kernel.cleanup()


def test_exit_mode_skip_still_ends_the_kernel_after_an_exception(load: Load) -> None:
    with ends_by_error(), load(exit_mode="skip") as kernel:
        raise ZeroDivisionError

    assert kernel.closed


# -- cleanup, from anywhere -----------------------------------------------------------


def test_a_second_cleanup_does_nothing(load: Load) -> None:
    kernel = load()
    identity(1)

    kernel.cleanup()
    kernel.cleanup()
    kernel.cleanup(wait=False)

    assert kernel.closed


def test_cleanup_on_eight_threads_at_once_ends_on_all_of_them(load: Load) -> None:
    kernel, gate = load(), threading.Event()
    future = hold(gate)
    together = threading.Barrier(8)
    seen: list[bool] = []

    def clean() -> None:
        together.wait(LIMIT_S)
        kernel.cleanup()
        seen.append(future.done())

    threads = [in_thread(clean) for _ in range(8)]
    gate.set()

    assert all(ended(thread) for thread in threads)
    assert seen == [True] * 8


def test_cleanup_without_waiting_cuts_one_that_waits_short(load: Load) -> None:
    kernel, gate, begun = load(), threading.Event(), threading.Event()

    @jf.python_app
    def endless() -> None:
        begun.set()
        gate.wait(LIMIT_S)

    running = endless()
    waiting = in_thread(kernel.cleanup)
    assert begun.wait(LIMIT_S)

    kernel.cleanup(wait=False)

    assert ended(waiting)
    assert running.cancelled()
    gate.set()


def test_a_task_may_end_the_kernel_and_its_own_result_arrives(load: Load) -> None:
    kernel = load()

    @jf.python_app
    def end() -> str:
        kernel.cleanup()
        return "ended"

    first = end()
    after = identity(first)

    assert first.result(LIMIT_S) == "ended"
    assert after.result(LIMIT_S) == "ended"
    kernel.cleanup()


def test_a_task_may_cut_the_run_short(load: Load) -> None:
    kernel, gate = load(), threading.Event()

    @jf.python_app
    def end() -> None:
        kernel.cleanup(wait=False)

    endless = hold(gate)
    end()
    kernel.cleanup()

    assert endless.done()
    gate.set()


def test_a_done_callback_may_end_the_kernel(load: Load) -> None:
    kernel = load()
    future = identity(1)

    future.add_done_callback(lambda _: kernel.cleanup())
    kernel.cleanup()

    assert kernel.closed


class EndsKernel:
    """Ends its kernel in one hook, and remembers how often."""

    def __init__(self) -> None:
        self.kernel: jf.DataFlowKernel | None = None
        self.calls = 0

    def end(self) -> None:
        self.calls += 1
        assert self.kernel is not None
        self.kernel.cleanup()


class EndsInRetry(EndsKernel):
    @jf.hookimpl
    def jackfield_retry(self) -> None:
        self.end()


class EndsInSelect(EndsKernel):
    @jf.hookimpl
    def jackfield_select_executor(self) -> None:
        self.end()


class EndsInEvents(EndsKernel):
    @jf.hookimpl
    def jackfield_task_events(self, events: Sequence[jf.TaskEvent]) -> None:
        self.end()


class EndsInClosing(EndsKernel):
    @jf.hookimpl
    def jackfield_kernel_closing(self) -> None:
        self.end()


@pytest.mark.parametrize(
    "plugin",
    [EndsInRetry(), EndsInSelect(), EndsInEvents(), EndsInClosing()],
    ids=lambda plugin: type(plugin).__name__,
)
def test_a_hook_may_end_the_kernel(load: Load, plugin: EndsKernel) -> None:
    kernel = plugin.kernel = load(plugins=[plugin])

    @jf.python_app
    def fail() -> None:
        raise ValueError("failed")

    future = fail()
    kernel.cleanup()

    assert isinstance(future.exception(0), ValueError)
    assert plugin.calls >= 1


class EndsAtStart:
    @jf.hookimpl
    def jackfield_kernel_started(self, kernel: jf.DataFlowKernel) -> None:
        kernel.cleanup()


def test_a_kernel_that_is_ended_while_it_starts_is_not_the_loaded_one(
    load: Load,
) -> None:
    kernel = load(plugins=[EndsAtStart()])

    assert kernel.closed
    with pytest.raises(jf.NoDataFlowKernelError):
        jf.dfk()


class LoadsAnother:
    def __init__(self) -> None:
        self.error: Exception | None = None

    @jf.hookimpl
    def jackfield_kernel_started(self) -> None:
        try:
            jf.load()
        except jf.ConfigurationError as error:
            self.error = error


def test_a_plugin_cannot_load_a_kernel_while_one_is_being_loaded(load: Load) -> None:
    plugin = LoadsAnother()

    with load(plugins=[plugin]):
        pass

    assert "being loaded" in str(plugin.error)


def test_cleanup_during_submit_ends_every_future(load: Load) -> None:
    kernel = load()
    submitting = threading.Event()
    futures: list[jf.AppFuture[int]] = []
    refused: list[jf.KernelClosedError] = []

    def submit() -> None:
        try:
            for number in range(100_000):
                futures.append(kernel.submit(abs, number))
                if number == 100:
                    submitting.set()
        except jf.KernelClosedError as error:
            refused.append(error)

    threads = [in_thread(submit) for _ in range(3)]
    assert submitting.wait(LIMIT_S)
    kernel.cleanup(wait=False)

    assert all(ended(thread) for thread in threads)
    assert len(refused) == 3
    assert all(future.done() for future in futures)


# -- Afterwards -----------------------------------------------------------------------


def test_submit_after_the_end_names_the_app_and_the_reason(load: Load) -> None:
    kernel = load()
    kernel.cleanup()

    with pytest.raises(
        jf.KernelClosedError, match=r"cannot submit 'abs': it is closed"
    ):
        kernel.submit(abs, 1)


def test_add_executors_after_the_end_is_refused(load: Load) -> None:
    kernel = load()
    kernel.cleanup()

    with pytest.raises(jf.KernelClosedError, match="cannot add executors"):
        kernel.add_executors({"more": {"plugin": "threads"}})


def test_an_app_called_after_the_end_says_that_nothing_is_loaded(load: Load) -> None:
    load().cleanup()

    with pytest.raises(jf.NoDataFlowKernelError, match=r"jackfield\.load\(\)"):
        identity(1)


def test_loading_twice_names_the_run_that_is_loaded(load: Load) -> None:
    with load() as kernel, pytest.raises(jf.ConfigurationError) as caught:
        load()

    assert str(kernel.run_dir) in str(caught.value)
    assert "cleanup()" in str(caught.value)


def test_a_kernel_can_be_loaded_after_the_end_of_another(load: Load) -> None:
    load().cleanup()

    with load():
        assert identity(4).result(LIMIT_S) == 4


def test_a_kernel_that_failed_to_load_leaves_nothing_loaded(load: Load) -> None:
    with pytest.raises(jf.PluginError):
        load(executors={"a": {"plugin": "threads"}, "b": {"plugin": "no-such"}})

    with load():
        assert identity(5).result(LIMIT_S) == 5


def test_all_futures_of_an_ended_kernel_are_done(load: Load) -> None:
    gate = threading.Event()
    with ends_by_error(), load() as kernel:
        running = hold(gate)
        chain: list[jf.AppFuture[Any]] = [running]
        for _ in range(50):
            chain.append(identity(chain[-1]))
        fan_in: jf.AppFuture[Any] = kernel.submit(list, chain)
        raise ZeroDivisionError

    assert all(future.cancelled() for future in [*chain, fan_in])
    gate.set()


def test_threads_that_wait_for_results_are_woken_by_the_end(load: Load) -> None:
    gate = threading.Event()
    kernel = load()
    future = identity(hold(gate))
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            future.result()
        except CancelledError as error:
            caught.append(error)

    waiters = [in_thread(wait) for _ in range(3)]
    kernel.cleanup(wait=False)

    assert all(ended(waiter) for waiter in waiters)
    assert len(caught) == 3
    gate.set()


def test_callbacks_of_tasks_that_the_end_cancels_are_called(load: Load) -> None:
    gate = threading.Event()
    kernel = load()
    called: list[bool] = []

    future = identity(hold(gate))
    future.add_done_callback(lambda done: called.append(done.cancelled()))
    kernel.cleanup(wait=False)

    assert called == [True]
    gate.set()


def test_a_callback_that_blocks_delays_the_end_only_so_long(load: Load) -> None:
    gate = threading.Event()
    kernel = load()
    identity(1).add_done_callback(lambda _: gate.wait(LIMIT_S * 2))

    begun = time.monotonic()
    kernel.cleanup(wait=False)

    assert time.monotonic() - begun < LIMIT_S
    gate.set()


# -- wait_for_current_tasks -----------------------------------------------------------


def test_waiting_with_a_limit_tells_how_many_are_left(load: Load) -> None:
    gate = threading.Event()
    with load() as kernel:
        identity(hold(gate))

        with pytest.raises(TimeoutError, match=r"2 tasks did not end within 0\.05 s"):
            kernel.wait_for_current_tasks(timeout=0.05)
        gate.set()
        kernel.wait_for_current_tasks(timeout=LIMIT_S)


def test_waiting_in_vain_leaves_nothing_behind(load: Load) -> None:
    gate = threading.Event()
    with load() as kernel:
        hold(gate)
        for _ in range(5):
            with pytest.raises(TimeoutError):
                kernel.wait_for_current_tasks(timeout=0.001)
        kernel.submit(abs, 1).result(LIMIT_S)  # the dispatcher has done all before it

        assert kernel._parts.barriers.standing == []
        gate.set()


def test_a_task_cannot_wait_for_all_tasks(load: Load) -> None:
    @jf.python_app
    def wait() -> None:
        jf.wait_for_current_tasks()

    with load():
        error = wait().exception(LIMIT_S)

    assert isinstance(error, RuntimeError)


class WaitsInSelect:
    @jf.hookimpl
    def jackfield_select_executor(self) -> None:
        jf.wait_for_current_tasks()


def test_a_hook_cannot_wait_for_all_tasks(load: Load) -> None:
    with load(plugins=[WaitsInSelect()]):
        error = identity(1).exception(LIMIT_S)

    assert isinstance(error, RuntimeError)


def test_waiting_does_not_wait_for_what_is_submitted_later(load: Load) -> None:
    gate = threading.Event()
    with load() as kernel:
        first = identity(1)
        kernel.wait_for_current_tasks(timeout=LIMIT_S)
        hold(gate)

        assert first.done()
        waiter = in_thread(kernel.wait_for_current_tasks)
        stop = threading.Event()

        def submit() -> None:
            while not stop.is_set():
                identity(2).result(LIMIT_S)

        submitter = in_thread(submit)
        gate.set()
        assert ended(waiter)
        stop.set()
        assert ended(submitter)


def test_waiting_for_an_ended_kernel_waits_for_nothing(load: Load) -> None:
    kernel = load()
    kernel.cleanup()

    kernel.wait_for_current_tasks(timeout=0)


# -- Without an end -------------------------------------------------------------------


def test_a_kernel_that_is_dropped_goes_on(load: Load) -> None:
    gate = threading.Event()
    load()
    future = identity(hold(gate))
    jf.clear()

    gate.set()

    assert future.result(LIMIT_S) == "held"
    _end_dropped()


def _end_dropped() -> None:
    from jackfield.kernel import shutdown

    for end in list(shutdown._open):
        kernel = end.kernel
        assert isinstance(kernel, jf.DataFlowKernel)
        assert kernel.submit(int).result(LIMIT_S) == 0  # it takes tasks, too
        kernel.cleanup()


@pytest.mark.parametrize("function", ["_cleanup", "_cancel"])
def test_ctrl_c_as_the_end_begins_does_not_lose_it(
    tmp_path: Path, function: str
) -> None:
    kernel = jf.DataFlowKernel(jf.Config(run_dir=str(tmp_path)))
    dispatcher = next(
        thread
        for thread in threading.enumerate()
        if thread.name == "jackfield-dispatcher"
    )

    def strike(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if code.co_name == function and code.co_filename.endswith("shutdown.py"):
            sys.settrace(None)
            raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(strike)
    try:
        with pytest.raises(KeyboardInterrupt):
            kernel.cleanup(wait=False)
    finally:
        sys.settrace(before)
    kernel.cleanup(wait=False)

    assert kernel.closed
    assert not dispatcher.is_alive()
