"""The futures of apps, wherever a ``concurrent.futures.Future`` is welcome."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import gc
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.errors import FutureInTextWarning
from jackfield.futures.future import holding_ends
from jackfield.futures.locks import Latch
from jackfield.graph.task import AppSpec

if TYPE_CHECKING:
    from jackfield.futures import AppFuture

LIMIT_S = 60.0


class _Stop(StopIteration):
    """One of the same family, which ``await`` would take for a result as well."""


class Value:
    """A result that can be watched with a weak reference."""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that tasks wait for; set at the end, so that none is left."""
    event = threading.Event()
    yield event
    event.set()


def waits(gate: threading.Event, value: Any = None) -> Any:
    assert gate.wait(LIMIT_S)
    return value


def fails(error: BaseException) -> Any:
    raise error


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


# -- results


def test_a_result_is_what_the_function_returned(kernel: jf.DataFlowKernel) -> None:
    value = Value()

    assert kernel.submit(lambda: value).result(LIMIT_S) is value


def test_an_error_is_the_one_that_was_raised(kernel: jf.DataFlowKernel) -> None:
    error = ValueError("mine")
    future = kernel.submit(fails, error)

    with pytest.raises(ValueError, match="mine") as caught:
        future.result(LIMIT_S)

    assert caught.value is error
    assert future.exception(LIMIT_S) is error


def frames(error: BaseException) -> int:
    return sum(1 for _ in traceback.walk_tb(error.__traceback__))


def asked(future: AppFuture[Any]) -> BaseException:
    try:
        future.result(LIMIT_S)
    except BaseException as error:
        return error
    raise AssertionError(f"{future} has not failed")


def awaited(future: AppFuture[Any]) -> BaseException:
    async def ask() -> None:
        await future

    try:
        asyncio.run(ask())
    except BaseException as error:
        return error
    raise AssertionError(f"{future} has not failed")


@pytest.mark.parametrize(("ask", "often"), [(asked, 10_000), (awaited, 10)])
@pytest.mark.parametrize("depends", [False, True])
def test_a_traceback_does_not_grow_with_those_who_ask(
    kernel: jf.DataFlowKernel,
    ask: Callable[[AppFuture[Any]], BaseException],
    often: int,
    depends: bool,
) -> None:
    future = kernel.submit(fails, ValueError("no"))
    if depends:
        future = kernel.submit(abs, future)
    first = ask(future)
    before = frames(first)
    shown = "".join(traceback.format_exception(first))

    errors = [ask(future) for _ in range(often)]

    assert all(error is first for error in errors)
    assert frames(first) == before
    assert "in fails" in shown
    assert "in fails" in "".join(traceback.format_exception(first))


def test_one_that_is_kept_for_equal_calls_does_not_grow_either(
    kernel: jf.DataFlowKernel,
) -> None:
    @jf.python_app(cache=True, cache_failures=True)
    def no() -> None:
        raise ValueError("no")

    first = asked(no())
    before = frames(asked(no()))

    errors = [asked(no()) for _ in range(20)]

    assert all(error is first for error in errors)
    assert frames(first) <= before
    assert "in no" in "".join(traceback.format_exception(first))


def test_threads_that_ask_at_once_get_one_error_with_its_origin(
    kernel: jf.DataFlowKernel,
) -> None:
    future = kernel.submit(fails, ValueError("no"))
    both = threading.Barrier(4)

    def ask(_: int) -> tuple[BaseException, int]:
        both.wait(LIMIT_S)
        return [(one := asked(future), frames(one)) for _ in range(1_000)][-1]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))

    assert {id(error) for error, _ in answers} == {id(future.exception())}
    assert "in fails" in "".join(traceback.format_exception(asked(future)))
    answers[0][0].add_note("seen by all")
    assert "seen by all" in asked(future).__notes__


class NoTraceback(Exception):
    """Takes the name for something else."""

    __traceback__ = "mine"  # type: ignore[assignment]  # as users may

    def with_traceback(self, tb: Any) -> Any:
        raise AssertionError("a user's code is called")

    def __bool__(self) -> bool:
        return False


def test_an_error_of_an_odd_class_is_raised_like_any(kernel: jf.DataFlowKernel) -> None:
    error = NoTraceback("no")
    future = kernel.submit(fails, error)

    assert asked(future) is error
    assert asked(future) is error
    assert future.exception() is error


def test_a_task_may_return_an_exception(kernel: jf.DataFlowKernel) -> None:
    error = ValueError("a value")
    future = kernel.submit(lambda: error)

    assert future.result(LIMIT_S) is error
    assert future.exception(LIMIT_S) is None


def test_a_tasks_own_cancelled_error_is_a_failure(kernel: jf.DataFlowKernel) -> None:
    error = concurrent.futures.CancelledError("inside")
    future = kernel.submit(fails, error)

    assert future.exception(LIMIT_S) is error
    assert not future.cancelled()
    assert future.task_status() == "failed"


@pytest.mark.parametrize("ask", ["result", "exception"])
def test_waiting_ends_at_the_timeout(
    kernel: jf.DataFlowKernel, gate: threading.Event, ask: str
) -> None:
    future = kernel.submit(waits, gate, 1)

    with pytest.raises(TimeoutError, match="waits"):
        getattr(future, ask)(0.01)
    with pytest.raises(TimeoutError):
        getattr(future, ask)(0)
    gate.set()

    assert future.result(LIMIT_S) == 1


@pytest.mark.parametrize("ask", ["result", "exception"])
def test_a_cancelled_future_raises_what_futures_raise(
    kernel: jf.DataFlowKernel, gate: threading.Event, ask: str
) -> None:
    future = kernel.submit(waits, kernel.submit(waits, gate, gate))

    assert future.cancel()
    assert future.cancel()

    assert future.cancelled()
    assert future.done()
    with pytest.raises(concurrent.futures.CancelledError, match="waits"):
        getattr(future, ask)()


def test_many_threads_may_wait_for_one_future(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    future = kernel.submit(waits, gate, 7)
    got: list[int] = []
    waiting = threading.Barrier(21)

    def wait() -> None:
        waiting.wait(LIMIT_S)
        got.append(future.result(LIMIT_S))

    threads = [threading.Thread(target=wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    waiting.wait(LIMIT_S)
    gate.set()
    for thread in threads:
        thread.join(LIMIT_S)

    assert got == [7] * 20


# -- concurrent.futures


def test_wait_returns_what_is_done_and_what_is_not(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    quick, slow = kernel.submit(int), kernel.submit(waits, gate)

    first = concurrent.futures.wait([quick, slow], LIMIT_S, "FIRST_COMPLETED")
    assert first == ({quick}, {slow})
    gate.set()

    assert concurrent.futures.wait([quick, slow], LIMIT_S) == ({quick, slow}, set())


def test_wait_returns_at_the_first_exception(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    slow = kernel.submit(waits, gate)
    failed = kernel.submit(lambda _: fails(ValueError()), kernel.submit(int))

    done, left = concurrent.futures.wait([slow, failed], LIMIT_S, "FIRST_EXCEPTION")

    assert (done, left) == ({failed}, {slow})


def test_wait_takes_futures_of_others_too(kernel: jf.DataFlowKernel) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        ours, theirs = kernel.submit(int), pool.submit(int)

        done, left = concurrent.futures.wait([ours, theirs], LIMIT_S)

    assert (done, left) == ({ours, theirs}, set())


def test_wait_does_not_return_before_the_last_has_ended(
    kernel: jf.DataFlowKernel,
) -> None:
    """The waiter is told of each future once, whatever moment it arrives at."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(150):
            gate = threading.Event()
            slow = kernel.submit(waits, gate)
            quick = [kernel.submit(int) for _ in range(3)]
            begin = time.monotonic()
            _, left = concurrent.futures.wait([*quick, slow], timeout=0.01)
            elapsed = time.monotonic() - begin
            gate.set()

            assert slow in left
            assert elapsed >= 0.01
    finally:
        sys.setswitchinterval(interval)


def test_a_cancel_tells_a_waiter_once(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    first = kernel.submit(waits, gate)
    dependents = [kernel.submit(lambda _: None, first) for _ in range(50)]
    done: list[set[Any]] = []

    def wait(cancelled: Any) -> None:
        both = [cancelled, dependents[-1]]
        done.append(set(concurrent.futures.wait(both, LIMIT_S).done))

    for cancelled in dependents[:25]:
        waiter = threading.Thread(target=wait, args=(cancelled,))
        waiter.start()
        cancelled.cancel()
        kernel.submit(int).result(LIMIT_S)
        assert waiter.is_alive()
    gate.set()

    assert eventually(lambda: len(done) == 25)
    assert all(dependents[-1] in each for each in done)


def test_as_completed_gives_each_future_once(kernel: jf.DataFlowKernel) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(30):
            futures = [kernel.submit(int, i) for i in range(20)]
            futures[3].cancel()

            given = list(concurrent.futures.as_completed(futures, LIMIT_S))

            assert len(given) == 20
            assert set(given) == set(futures)
    finally:
        sys.setswitchinterval(interval)


def test_as_completed_gives_them_as_they_end(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    slow = kernel.submit(waits, gate)
    order = concurrent.futures.as_completed([slow, kernel.submit(int)], LIMIT_S)

    assert next(order) is not slow
    gate.set()
    assert next(order) is slow


# -- asyncio


def test_a_future_can_be_awaited(kernel: jf.DataFlowKernel) -> None:
    async def main() -> int:
        return await kernel.submit(int, "5") + await kernel.submit(int, "6")

    assert asyncio.run(main()) == 11


def test_awaiting_raises_the_tasks_error(kernel: jf.DataFlowKernel) -> None:
    async def main() -> None:
        await kernel.submit(fails, ValueError("mine"))

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(main())


def test_cancelling_what_awaits_cancels_the_task(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    future = kernel.submit(waits, kernel.submit(waits, gate, gate))

    async def main() -> None:
        waiting = asyncio.wrap_future(future)
        waiting.cancel()
        await asyncio.sleep(0)

    asyncio.run(main())

    assert future.cancelled()


@pytest.mark.parametrize("stop", [StopIteration(3), StopAsyncIteration(), _Stop()])
def test_a_task_that_raises_stop_iteration_ends_awaits_and_loops(
    kernel: jf.DataFlowKernel, stop: Exception
) -> None:
    future = kernel.submit(fails, stop)

    async def awaits() -> Any:
        return await future

    async def wraps() -> Any:
        return await asyncio.wait_for(asyncio.wrap_future(future), LIMIT_S)

    def loops() -> Any:
        yield future.result(LIMIT_S)

    kinds = RuntimeError, StopAsyncIteration
    for use in (awaits, wraps):
        with pytest.raises(kinds):
            asyncio.run(use())
    with pytest.raises(kinds):
        list(loops())
    error = future.exception(LIMIT_S)
    assert type(stop) in {type(error), type(getattr(error, "__cause__", None))}


@pytest.mark.parametrize("number", [1, 5])
def test_asyncio_waits_for_futures_as_for_its_own(
    kernel: jf.DataFlowKernel, gate: threading.Event, number: int
) -> None:
    async def main() -> None:
        futures: Any = {kernel.submit(waits, gate, n) for n in range(number)}
        none, all_of_them = await asyncio.wait(futures, timeout=0.01)
        assert not none
        assert all_of_them == futures
        gate.set()
        done, pending = await asyncio.wait(futures)
        assert done == futures
        assert not pending
        assert all(not future._callbacks for future in futures)

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


def test_removing_a_callback_tells_how_often_it_was_there(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    future = kernel.submit(waits, gate)
    calls: list[Any] = []
    others = threading.Event()
    future.add_done_callback(calls.append)
    future.add_done_callback(calls.append)
    future.add_done_callback(lambda _: others.set())

    assert future.remove_done_callback(calls.append) == 2
    assert future.remove_done_callback(calls.append) == 0

    gate.set()
    assert others.wait(LIMIT_S)
    assert calls == []


def test_awaiting_a_cancelled_task_raises_asyncios_error(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    future = kernel.submit(waits, kernel.submit(waits, gate, gate))

    async def main() -> None:
        waiting = asyncio.wrap_future(future)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_a_loop_that_closed_meanwhile_hurts_nobody(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    future = kernel.submit(waits, gate, 1)

    async def main() -> None:
        asyncio.wrap_future(future)

    asyncio.run(main())
    gate.set()

    assert future.result(LIMIT_S) == 1
    assert kernel.submit(int).result(LIMIT_S) == 0


# -- done-callbacks


def test_callbacks_are_called_in_order_with_the_future(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    future = kernel.submit(waits, gate)
    calls: list[tuple[int, Any]] = []
    last = threading.Event()
    for number in range(5):
        future.add_done_callback(partial(lambda n, f: calls.append((n, f)), number))
    future.add_done_callback(lambda _: last.set())

    gate.set()

    assert last.wait(LIMIT_S)
    assert calls == [(number, future) for number in range(5)]


def test_a_callback_added_after_the_end_is_called_at_once(
    kernel: jf.DataFlowKernel,
) -> None:
    future = kernel.submit(int)
    future.result(LIMIT_S)
    calls: list[Any] = []

    future.add_done_callback(calls.append)

    assert calls == [future]


@pytest.mark.parametrize(
    "error", [ValueError(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]
)
def test_a_callback_that_raises_hurts_nobody(
    kernel: jf.DataFlowKernel, gate: threading.Event, error: BaseException
) -> None:
    future = kernel.submit(waits, gate)
    others = threading.Event()
    future.add_done_callback(lambda _: fails(error))
    future.add_done_callback(lambda _: others.set())

    gate.set()

    assert others.wait(LIMIT_S)
    if not isinstance(error, KeyboardInterrupt):  # see the test below
        future.add_done_callback(lambda _: fails(error))
    assert kernel.submit(int).result(LIMIT_S) == 0


def test_a_ctrl_c_in_a_callback_on_the_main_thread_is_the_users(
    kernel: jf.DataFlowKernel,
) -> None:
    future = kernel.submit(int)
    future.result(LIMIT_S)

    # Shells have programs ignore it that they start in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            future.add_done_callback(lambda _: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)

    assert kernel.submit(int).result(LIMIT_S) == 0


def test_a_ctrl_c_in_a_callback_on_another_thread_is_logged(
    kernel: jf.DataFlowKernel,
) -> None:
    future = kernel.submit(int)
    future.result(LIMIT_S)
    raised: list[BaseException] = []

    def add() -> None:
        try:
            future.add_done_callback(lambda _: fails(KeyboardInterrupt()))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=add)
    thread.start()
    thread.join(LIMIT_S)

    assert raised == []


def test_a_callback_may_submit_and_add_callbacks(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    future = kernel.submit(waits, gate, 20)
    final = threading.Event()
    results: list[int] = []

    def then(ended: AppFuture[int]) -> None:
        further = kernel.submit(lambda x: x + 1, ended)
        further.add_done_callback(lambda f: results.append(f.result()))
        further.add_done_callback(lambda _: final.set())

    future.add_done_callback(then)
    gate.set()

    assert final.wait(LIMIT_S)
    assert results == [21]


def test_a_callback_that_blocks_does_not_hold_up_the_kernel(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    started = threading.Event()
    future = kernel.submit(int)

    def block(_: object) -> None:
        started.set()
        gate.wait(LIMIT_S)

    first = threading.Event()
    blocked = kernel.submit(waits, first)
    blocked.add_done_callback(block)
    first.set()
    assert started.wait(LIMIT_S)

    assert future.result(LIMIT_S) == 0
    assert kernel.submit(lambda x: x + 1, kernel.submit(int)).result(LIMIT_S) == 1


def test_callbacks_of_a_cancelled_task_are_called_once(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    first = kernel.submit(waits, gate)
    calls: list[Any] = []
    for _ in range(100):
        dependent = kernel.submit(lambda _: None, first)
        dependent.add_done_callback(calls.append)
        dependent.cancel()

    gate.set()
    kernel.wait_for_current_tasks(LIMIT_S)

    assert eventually(lambda: len(calls) == 100)
    assert len(set(calls)) == 100


def test_every_callback_is_called_whenever_it_is_added(
    kernel: jf.DataFlowKernel,
) -> None:
    calls: list[Any] = []
    for _ in range(2000):
        kernel.submit(int).add_done_callback(calls.append)

    assert eventually(lambda: len(calls) == 2000)


# -- what is refused


def test_only_the_kernel_sets_a_result(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    future = kernel.submit(waits, gate, 1)

    with pytest.raises(RuntimeError, match="kernel"):
        future.set_result(2)
    with pytest.raises(RuntimeError, match="kernel"):
        future.set_exception(ValueError())
    with pytest.raises(RuntimeError, match="kernel"):
        future.set_running_or_notify_cancel()
    gate.set()

    assert future.result(LIMIT_S) == 1


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_future_cannot_be_pickled_and_says_what_to_do(
    kernel: jf.DataFlowKernel, act: Callable[[Any], Any]
) -> None:
    future = kernel.submit(int)

    with pytest.raises(TypeError, match="pass it to an app"):
        act(future)


def in_an_f_string(future: Any) -> str:
    return f"sort {future}"


def in_str_format(future: Any) -> str:
    return "sort {}".format(future)  # noqa: UP032  (this is what is tested)


def in_format(future: Any) -> str:
    return "sort " + format(future)


@pytest.mark.parametrize("put", [in_an_f_string, in_str_format, in_format])
def test_a_future_in_a_text_warns_once_and_tells_the_line(
    kernel: jf.DataFlowKernel, put: Callable[[Any], str]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for number in range(3):
            assert put(kernel.submit(abs, number)).startswith("sort <AppFuture")

    [warning] = caught
    assert warning.filename == __file__
    assert warning.lineno == put.__code__.co_firstlineno + 1
    assert "does not wait for its result: pass the future to an app" in str(
        warning.message
    )


def test_a_file_that_is_not_made_yet_warns_in_a_text_too(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    def makes(outputs: Any = ()) -> None:
        Path(outputs[0]).touch()

    future = kernel.submit(makes, outputs=[jf.File(str(tmp_path / "x"))])

    with pytest.warns(FutureInTextWarning):
        in_an_f_string(future.outputs[0])


def test_a_future_that_is_meant_itself_does_not_warn(kernel: jf.DataFlowKernel) -> None:
    future = kernel.submit(int)
    future.result(LIMIT_S)

    assert f"{future!r}" == repr(future)
    assert str(future).startswith("<AppFuture")


def test_nothing_is_kept_for_each_name_of_a_function(
    kernel: jf.DataFlowKernel,
) -> None:
    def named(number: int) -> Callable[[], int]:
        def function() -> int:
            return number

        function.__name__ = f"step_{number}"
        return function

    executor = jf.KernelExecutor(kernel)
    for number in range(3_000):
        kernel.submit(named(number))
        executor.submit(named(number))
    kernel.wait_for_current_tasks()

    gc.collect()
    kept = [one for one in gc.get_objects() if type(one) is AppSpec]
    assert sum(one.name.startswith("step_") for one in kept) <= 2_100


def test_iterating_over_a_future_is_refused(kernel: jf.DataFlowKernel) -> None:
    future: Any = kernel.submit(lambda: [1])

    with pytest.raises(TypeError):
        iter(future)
    with pytest.raises(TypeError):
        assert 1 in future


def test_asking_for_an_attribute_launches_nothing(kernel: jf.DataFlowKernel) -> None:
    future = kernel.submit(int)
    future.result(LIMIT_S)
    before = sum(kernel.task_state_counts.values())

    assert not hasattr(future, "real")
    assert not hasattr(future, "__array__")

    assert sum(kernel.task_state_counts.values()) == before


# -- what a future tells


def test_tasks_are_numbered_from_0(kernel: jf.DataFlowKernel) -> None:
    assert [kernel.submit(int).tid for _ in range(3)] == [0, 1, 2]


def test_task_status_names_the_state(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    started = threading.Event()

    def run() -> None:
        started.set()
        gate.wait(LIMIT_S)

    running = kernel.submit(run)
    waiting = kernel.submit(lambda _: None, running)
    failed = kernel.submit(fails, ValueError())
    dependent = kernel.submit(lambda _: None, failed)
    cancelled = kernel.submit(lambda _: None, running)
    cancelled.cancel()
    assert started.wait(LIMIT_S)
    dependent.exception(LIMIT_S)

    assert running.task_status() == "submitted"
    assert waiting.task_status() == "waiting"
    assert failed.task_status() == "failed"
    assert dependent.task_status() == "dependency-failed"
    assert eventually(lambda: cancelled.task_status() == "cancelled")
    gate.set()
    waiting.result(LIMIT_S)
    assert eventually(lambda: waiting.task_status() == "succeeded")


def test_a_future_is_not_done_before_its_end(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    future = kernel.submit(waits, gate)

    assert not future.done()
    assert not future.running()
    assert not future.cancelled()


class Hostile(Exception):
    """Everything about it raises."""

    def __str__(self) -> str:
        raise SystemExit("str")

    __repr__ = __str__


def test_a_repr_never_raises(kernel: jf.DataFlowKernel, gate: threading.Event) -> None:
    pending = kernel.submit(waits, gate)
    cancelled = kernel.submit(lambda _: None, pending)
    cancelled.cancel()
    failed = kernel.submit(fails, Hostile())
    value = kernel.submit(Hostile)
    dependent = kernel.submit(lambda _: None, failed)
    concurrent.futures.wait([failed, value, dependent], LIMIT_S)

    assert "waits" in repr(pending)
    assert "cancelled" in repr(cancelled)
    assert "raised Hostile" in repr(failed)
    assert "returned Hostile" in repr(value)
    assert "raised DependencyError" in repr(dependent)


# -- items


def test_an_item_of_a_future_is_a_future(kernel: jf.DataFlowKernel) -> None:
    future = kernel.submit(lambda: {"a": [1, 2]})

    assert future["a"][1].result(LIMIT_S) == 2


def test_a_missing_item_is_that_futures_error(kernel: jf.DataFlowKernel) -> None:
    item = kernel.submit(dict)["missing"]

    with pytest.raises(KeyError, match="missing"):
        item.result(LIMIT_S)


def test_an_item_of_a_failed_future_fails_with_it(kernel: jf.DataFlowKernel) -> None:
    item = kernel.submit(fails, ValueError("root"))["k"]

    with pytest.raises(jf.DependencyError, match="root"):
        item.result(LIMIT_S)


def test_a_future_may_be_the_key(kernel: jf.DataFlowKernel) -> None:
    values = kernel.submit(lambda: {"k": 1})

    assert values[kernel.submit(lambda: "k")].result(LIMIT_S) == 1


# -- data futures


def test_a_data_future_ends_with_its_file(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    @jf.python_app
    def write(outputs: Any = ()) -> None:
        gate.wait(LIMIT_S)
        Path(outputs[0]).write_text("text")

    file = jf.File("made.txt")
    future = write(outputs=[file])
    (data,) = future.outputs

    assert isinstance(data, jf.DataFuture)
    assert (data.tid, data.parent, data.file_obj) == (future.tid, future, file)
    assert data.filename == data.filepath == str(Path("made.txt").absolute())
    assert not data.done()
    assert "made.txt" in repr(data)
    gate.set()
    assert data.result(LIMIT_S) == file


def test_a_data_future_fails_and_is_cancelled_with_its_app(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    @jf.python_app
    def write(error: BaseException, outputs: Any = ()) -> None:
        raise error

    failed = write(ValueError("no"), outputs=["a"]).outputs[0]
    cancelled = write(kernel.submit(waits, gate), outputs=["b"])

    with pytest.raises(ValueError, match="no"):
        failed.result(LIMIT_S)
    assert cancelled.outputs[0].cancel()
    assert cancelled.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        cancelled.outputs[0].result(LIMIT_S)


def test_a_task_waits_for_the_file_of_a_data_future(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app
    def write(text: str, outputs: Any = ()) -> None:
        Path(outputs[0]).write_text(text)

    @jf.python_app
    def read(inputs: Any = ()) -> str:
        return Path(inputs[0]).read_text()

    made = write("text", outputs=[jf.File("between.txt")])

    assert read(inputs=[made.outputs[0]]).result(LIMIT_S) == "text"


# -- what is held and what is let go


def test_dropping_the_last_future_of_a_chain_frees_its_results(
    kernel: jf.DataFlowKernel,
) -> None:
    refs: list[weakref.ref[Value]] = []

    def make(_: object) -> Value:
        value = Value()
        refs.append(weakref.ref(value))
        return value

    future = kernel.submit(make, None)
    for _ in range(20):
        future = kernel.submit(make, future)
    future.result(LIMIT_S)
    kernel.wait_for_current_tasks(LIMIT_S)
    del future

    assert eventually(lambda: all(ref() is None for ref in refs))


def test_the_last_future_of_a_chain_does_not_hold_the_chain(
    kernel: jf.DataFlowKernel,
) -> None:
    refs: list[weakref.ref[Value]] = []

    def make(_: object) -> Value:
        value = Value()
        refs.append(weakref.ref(value))
        return value

    future = kernel.submit(make, None)
    futures = [weakref.ref(future)]
    for _ in range(500):
        future = kernel.submit(make, future)
        futures.append(weakref.ref(future))
    future.result(LIMIT_S)
    kernel.wait_for_current_tasks(LIMIT_S)

    assert eventually(lambda: all(ref() is None for ref in refs[:-1]))
    assert eventually(lambda: all(ref() is None for ref in futures[:-1]))
    assert refs[-1]() is not None


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("way", ["succeeds", "fails", "is cancelled"])
def test_a_plain_task_leaves_no_garbage_cycle(
    kernel: jf.DataFlowKernel, gate: threading.Event, way: str
) -> None:
    argument = Value()

    def run(value: Value, _: object) -> Value:
        if way == "fails":
            raise ValueError
        return value

    before = kernel.submit(waits, gate)
    future = kernel.submit(run, argument, before)
    if way == "is cancelled":
        future.cancel()
    gate.set()
    concurrent.futures.wait([future, before], LIMIT_S)
    kernel.wait_for_current_tasks(LIMIT_S)
    task, held = weakref.ref(future._task), weakref.ref(argument)
    del future, before, argument

    assert eventually(lambda: task() is None)
    assert eventually(lambda: held() is None)


@pytest.mark.usefixtures("_no_collector")
def test_arguments_are_let_go_when_the_task_ends(kernel: jf.DataFlowKernel) -> None:
    argument = Value()
    ref = weakref.ref(argument)
    future = kernel.submit(lambda value: None, argument)
    del argument

    future.result(LIMIT_S)

    assert eventually(lambda: ref() is None)


def test_a_cancel_by_the_collector_waits_for_no_condition(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    future = kernel.submit(fails, kernel.submit(waits, gate))
    taken, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with future._condition:
            taken.set()
            let_go.wait(LIMIT_S)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(LIMIT_S)

    with holding_ends():  # as within a step, where the collector may run
        cancelled = future.cancel()
    let_go.set()
    holder.join(LIMIT_S)

    assert not cancelled
    assert future.cancel()
    gate.set()


def test_a_sleeper_wakes_though_ctrl_c_struck_before_its_latch_was_opened(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    class Struck(Latch):
        """A latch that the Ctrl-C strikes at."""

        def open(self) -> None:
            raise KeyboardInterrupt

    blocker = kernel.submit(waits, gate)
    future = kernel.submit(fails, blocker)
    woken = threading.Event()

    def sleep() -> None:
        with contextlib.suppress(jf.DependencyError, concurrent.futures.CancelledError):
            future.result(LIMIT_S)
        woken.set()

    future._sleepers = [Struck()]  # before that of the thread
    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    assert eventually(lambda: len(future._sleepers or ()) == 2)

    with pytest.raises(KeyboardInterrupt):
        future.cancel()

    assert woken.wait(LIMIT_S / 2), "it slept to the end of its timeout"
    sleeper.join(LIMIT_S)
    gate.set()


def test_a_collector_that_cancels_futures_blocks_nothing(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    """A ``__del__`` may run inside any of the kernel's own steps."""
    first = kernel.submit(waits, gate)
    deleted: list[bool] = []

    class Owner:
        def __init__(self) -> None:
            self.itself = self  # only the collector finds it
            self.future = kernel.submit(lambda _: None, first)

        def __del__(self) -> None:
            self.future.add_done_callback(lambda _: None)
            deleted.append(self.future.cancel())

    threshold = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(300):
            pending = kernel.submit(lambda _: None, first)
            Owner()
            pending.add_done_callback(lambda _: None)
            kernel.submit(lambda: [[] for _ in range(5)]).result(LIMIT_S)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    gate.set()
    kernel.wait_for_current_tasks(LIMIT_S)

    assert deleted == [True] * 300


@pytest.mark.parametrize("copies", [copy.copy, copy.deepcopy])
def test_a_future_says_that_it_cannot_be_copied(
    kernel: jf.DataFlowKernel, copies: Callable[[Any], Any]
) -> None:
    future = kernel.submit(int)

    with pytest.raises(TypeError, match=r"AppFuture 0 .* cannot be copied .*it stands"):
        copies(future)


# -- A future where its result is meant


@jf.python_app
def size_of(path: str, outputs: tuple[jf.File, ...] = ()) -> int:
    for file in outputs:
        Path(file.filepath).write_text(path)
    return len(path)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda future: future + 1,
        lambda future: 1 + future,
        lambda future: sum([future]),
        lambda future: future * 1.5,
        lambda future: [1, 2] * future,
        lambda future: future < 3,
        lambda future: max([future, future]),
        lambda future: sorted([future, future]),
        lambda future: -future,
        lambda future: future | {},
        lambda future: [*future],
        dict,
        lambda future: 1 in future,
        len,
        range,
        float,
        lambda future: [1, 2][future],
    ],
)
def test_a_future_in_the_place_of_its_result_says_which_and_what_to_do(
    kernel: jf.DataFlowKernel, misuse: Callable[[Any], object], tmp_path: Path
) -> None:
    future = size_of("a.txt", outputs=[jf.File(str(tmp_path / "out"))])
    for one, item in ((future, True), (future.outputs[0], False)):
        one.result(LIMIT_S)

        with pytest.raises(TypeError) as raised:
            misuse(one)

        told = str(raised.value)
        assert told.startswith(repr(one))
        assert "pass it to an app as an argument, or ask for its .result()" in told
        assert ("future[key]" in told) is item
    assert len(kernel.tasks) <= 1


def test_what_asks_for_the_future_itself_is_as_for_any_object(
    kernel: jf.DataFlowKernel,
) -> None:
    future, other = size_of("a"), size_of("a")

    assert future
    assert bool(future) is True
    assert future in [other, future]
    assert future != other
    assert [future].index(future) == 0
    assert {future: 1}[future] == 1
    assert [one for one in (None, future) if one] == [future]
    assert future.result(LIMIT_S) == 1


@pytest.mark.parametrize("name", ["result", "exception", "done", "cancel", "outputs"])
def test_an_app_taken_for_its_future_says_so(name: str) -> None:
    with pytest.raises(AttributeError, match="size_of> is an app, and no future"):
        getattr(size_of, name)
    assert not hasattr(size_of, name)


def test_an_attribute_of_a_function_is_the_apps_too() -> None:
    def measured() -> None: ...

    measured.result = "kept"  # type: ignore[attr-defined]  # as anybody may

    assert jf.python_app(measured).result == "kept"  # type: ignore[attr-defined]  # as above
