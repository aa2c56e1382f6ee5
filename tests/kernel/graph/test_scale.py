"""Many tasks: depth, width, and a bound on what is pending."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0
MANY = 100_000


def plus(x: int) -> int:
    return x + 1


def test_a_chain_of_100_000(kernel: jf.DataFlowKernel) -> None:
    future: Any = 0
    for _ in range(MANY):
        future = kernel.submit(plus, future)

    assert future.result(LIMIT_S) == MANY


def test_a_failure_at_the_head_of_a_long_chain(kernel: jf.DataFlowKernel) -> None:
    gate = threading.Event()

    def boom() -> int:
        gate.wait(LIMIT_S)
        raise ValueError("head")

    future: Any = kernel.submit(boom)
    for _ in range(MANY):
        future = kernel.submit(plus, future)
    gate.set()

    with pytest.raises(jf.DependencyError, match="head") as info:
        future.result(LIMIT_S)
    assert len(str(info.value)) < 300
    assert isinstance(info.value.__cause__, ValueError)


def test_out_to_100_000_and_in_again(kernel: jf.DataFlowKernel) -> None:
    root = kernel.submit(plus, 0)
    middle = [kernel.submit(plus, root) for _ in range(MANY)]

    assert kernel.submit(sum, middle).result(LIMIT_S) == 2 * MANY


def test_a_submitter_waits_when_too_much_is_pending(tmp_path: Path) -> None:
    gate = threading.Event()
    submitted: list[jf.AppFuture[bool]] = []
    executors = {"threads": {"plugin": "threads", "workers": 2}}

    with jf.load(executors=executors, max_pending=10, run_dir=tmp_path) as kernel:

        def submit() -> None:
            for _ in range(50):
                submitted.append(kernel.submit(gate.wait, LIMIT_S))

        thread = threading.Thread(target=submit)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert len(submitted) <= 10
        gate.set()
        thread.join(LIMIT_S)

        assert [future.result(LIMIT_S) for future in submitted] == [True] * 50


def test_tasks_that_submit_are_not_held_up(tmp_path: Path) -> None:
    executors = {"threads": {"plugin": "threads", "workers": 2}}

    @jf.join_app
    def tree(depth: int) -> Any:
        return [tree(depth - 1), tree(depth - 1)] if depth else [leaf()]

    @jf.python_app
    def leaf() -> int:
        return 1

    with jf.load(executors=executors, max_pending=3, run_dir=tmp_path):
        result = tree(6).result(LIMIT_S)

    for _ in range(6):
        result = [item for pair in result for item in pair]
    assert sum(result) == 64


def test_a_submitter_that_a_task_waits_for_is_told_of_max_pending(
    tmp_path: Path,
) -> None:
    told = threading.Event()
    messages: list[str] = []
    threads: list[threading.Thread] = []

    class Tells(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "max_pending = 1" in record.getMessage():
                messages.append(record.getMessage())
                told.set()

    def waits_for_its_thread() -> None:
        """Its thread cannot submit before it ends, and it would wait for that."""

        def submit() -> None:
            jf.dfk().submit(abs, -2).result(LIMIT_S)

        thread = threading.Thread(target=submit, name="of-the-task")
        threads.append(thread)
        thread.start()
        assert told.wait(LIMIT_S)

    handler = Tells()
    logging.getLogger("jackfield").addHandler(handler)
    try:
        with jf.load(max_pending=1, run_dir=tmp_path) as kernel:
            kernel.submit(waits_for_its_thread).result(LIMIT_S)
            threads[0].join(LIMIT_S)
            assert kernel.task_state_counts[jf.TaskState.SUCCEEDED] >= 1
    finally:
        logging.getLogger("jackfield").removeHandler(handler)

    assert len(messages) == 1
    assert "'of-the-task'" in messages[0]
