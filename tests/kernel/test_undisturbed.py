"""Single calls to an idle kernel, which skip the hand-over to its thread."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import Capabilities, Executor, ExecutorContext, Work, run_work

LIMIT_S = 60.0


class Here(Executor):
    """Runs works inside ``submit``, and notes on which thread."""

    workers = 1

    def __init__(self, *, prompt: bool = True) -> None:
        self.capabilities = Capabilities(prompt=prompt)
        self.threads: list[threading.Thread] = []
        self.first: Callable[[], object] = lambda: None

    def start(self, context: ExecutorContext) -> None:
        self.report = context.report

    def submit(self, batch: Sequence[Work]) -> None:
        self.threads.append(threading.current_thread())
        self.first()
        for work in batch:
            self.report([run_work(work)])

    def shutdown(self, *, grace: float | None = None) -> None:
        pass


@pytest.fixture
def here() -> Here:
    return Here()


@pytest.fixture
def kernel(here: Here, tmp_path: Path) -> Iterator[jf.DataFlowKernel]:
    with jf.load(executors={"here": here}, run_dir=tmp_path) as kernel:
        assert kernel.submit(abs, -1).result(LIMIT_S) == 1  # it knows its way now
        kernel.wait_for_current_tasks()
        here.threads.clear()
        yield kernel


def on_main(here: Here) -> bool:
    return here.threads == [threading.main_thread()]


def test_a_single_call_is_handed_over_on_the_callers_thread(
    here: Here, kernel: jf.DataFlowKernel
) -> None:
    assert kernel.submit(abs, -2).result(LIMIT_S) == 2
    assert on_main(here)


def test_a_call_on_another_thread_is_not(here: Here, kernel: jf.DataFlowKernel) -> None:
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.append(kernel.submit(abs, -2).result(LIMIT_S))
    )
    thread.start()
    thread.join(LIMIT_S)
    assert results == [2]
    assert here.threads == [kernel._engine.scheduler.thread]


def test_an_executor_that_does_not_offer_it_is_not_called_there(
    tmp_path: Path,
) -> None:
    slow = Here(prompt=False)
    with jf.load(executors={"slow": slow}, run_dir=tmp_path) as kernel:
        for _ in range(3):
            kernel.submit(abs, -2).result(LIMIT_S)
    assert threading.main_thread() not in slow.threads


def test_a_handler_that_may_raise_keeps_the_kernel_off_the_users_thread(
    here: Here, kernel: jf.DataFlowKernel
) -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        assert kernel.submit(abs, -2).result(LIMIT_S) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    assert here.threads == [kernel._engine.scheduler.thread]


def test_so_does_a_handler_for_ctrl_c(here: Here, kernel: jf.DataFlowKernel) -> None:
    def handler(*_: Any) -> None: ...

    before = signal.signal(signal.SIGINT, handler)
    try:
        assert kernel.submit(abs, -2).result(LIMIT_S) == 2
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert here.threads == [kernel._engine.scheduler.thread]


def test_a_ctrl_c_meanwhile_is_heard_afterwards_and_tears_nothing(
    here: Here, kernel: jf.DataFlowKernel
) -> None:
    ran: list[int] = []
    here.first = lambda: signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        kernel.submit(ran.append, 1)
    assert ran == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    here.first = lambda: None
    assert kernel.submit(abs, -3).result(LIMIT_S) == 3
    kernel.wait_for_current_tasks()
    assert kernel.task_state_counts[jf.TaskState.SUCCEEDED] == 3


def test_a_second_ctrl_c_breaks_an_executor_that_takes_its_time(
    here: Here, kernel: jf.DataFlowKernel
) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one was held back too")

    here.first = twice
    with pytest.raises(KeyboardInterrupt):
        kernel.submit(abs, -1)
    here.first = lambda: None
    assert kernel.submit(abs, -3).result(LIMIT_S) == 3
    assert kernel.task_state_counts[jf.TaskState.FAILED] == 1


def test_a_call_from_the_depth_of_a_recursion_ends_well(
    here: Here, kernel: jf.DataFlowKernel
) -> None:
    futures: list[jf.AppFuture[int]] = []

    def descend() -> None:
        futures.append(kernel.submit(abs, -1))
        descend()

    with pytest.raises(RecursionError):
        descend()
    assert len(futures) > 100
    assert all(future.result(LIMIT_S) == 1 for future in futures)
    assert kernel._engine.scheduler.thread in here.threads


def test_a_call_from_within_such_a_call_goes_the_usual_way(
    here: Here, kernel: jf.DataFlowKernel
) -> None:
    inner: list[jf.AppFuture[int]] = []

    def once() -> None:
        here.first = lambda: None
        inner.append(kernel.submit(abs, -5))

    here.first = once
    assert kernel.submit(abs, -2).result(LIMIT_S) == 2
    assert inner[0].result(LIMIT_S) == 5
    assert here.threads == [threading.main_thread(), kernel._engine.scheduler.thread]
