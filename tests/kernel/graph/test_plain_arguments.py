"""Futures as arguments themselves: the usual shape, which takes a road of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[jf.DataFlowKernel]:
    with jf.load(executors={"t": {"plugin": "threads"}}, run_dir=tmp_path) as kernel:
        yield kernel


class Gate:
    """A task that waits, and what it waits for."""

    def __init__(self, kernel: jf.DataFlowKernel, value: Any = 1) -> None:
        self.event = threading.Event()
        self.future = kernel.submit(self.wait, jf.quote(value))

    def wait(self, value: Any) -> Any:
        self.event.wait(LIMIT_S)
        if isinstance(value, Exception):
            raise value
        return value


def listed(*args: Any, **kwargs: Any) -> Any:
    return [*args, kwargs]


def test_a_future_given_twice_is_waited_for_once(kernel: jf.DataFlowKernel) -> None:
    gate = Gate(kernel)
    both = kernel.submit(listed, gate.future, 2, gate.future, named=gate.future)
    after = kernel.submit(listed, both)
    assert not both.done()
    gate.event.set()
    assert both.result(LIMIT_S) == [1, 2, 1, {"named": 1}]
    assert after.result(LIMIT_S) == [[1, 2, 1, {"named": 1}], {}]


def test_results_arrive_as_the_very_objects(kernel: jf.DataFlowKernel) -> None:
    value = {"a": [object()]}
    gate = Gate(kernel, value)
    gate.event.set()
    args = kernel.submit(listed, gate.future, named=gate.future).result(LIMIT_S)
    assert args[0] is value
    assert args[1]["named"] is value


class Opaque:
    """Holds a future where nobody looks."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner


@dataclass
class Open:
    inner: Any


def test_objects_beside_a_future_arrive_as_they_are(kernel: jf.DataFlowKernel) -> None:
    gate = Gate(kernel)
    opaque = Opaque(gate.future)
    both = kernel.submit(listed, opaque, gate.future, named=opaque)
    alone = kernel.submit(listed, opaque)
    assert alone.result(LIMIT_S)[0] is opaque
    assert not both.done()
    gate.event.set()
    first, second, rest = both.result(LIMIT_S)
    assert (first, second, rest) == (opaque, 1, {"named": opaque})
    assert opaque.inner is gate.future


def test_what_may_hold_a_future_is_looked_into_beside_an_object(
    kernel: jf.DataFlowKernel,
) -> None:
    gate = Gate(kernel)
    opaque = Opaque(0)
    task = kernel.submit(listed, opaque, Open(gate.future), [gate.future], opaque)
    assert not task.done()
    gate.event.set()
    assert task.result(LIMIT_S) == [opaque, Open(1), [1], opaque, {}]


def test_a_future_that_failed_fails_a_task_that_has_it_twice_once(
    kernel: jf.DataFlowKernel,
) -> None:
    gate = Gate(kernel, ValueError("no"))
    early = kernel.submit(listed, gate.future, gate.future)
    below = kernel.submit(listed, early, gate.future)
    gate.event.set()
    for future in (early, below):
        with pytest.raises(jf.DependencyError):
            future.result(LIMIT_S)
    late = kernel.submit(listed, gate.future, gate.future)
    with pytest.raises(jf.DependencyError):
        late.result(LIMIT_S)
    kernel.wait_for_current_tasks()
    assert kernel.task_state_counts[jf.TaskState.DEPENDENCY_FAILED] == 3


def test_a_task_that_waits_can_be_cancelled(kernel: jf.DataFlowKernel) -> None:
    gate = Gate(kernel)
    waits = kernel.submit(listed, gate.future, gate.future)
    below = kernel.submit(listed, waits)
    assert waits.cancel()
    with pytest.raises(jf.DependencyError):
        below.result(LIMIT_S)
    gate.event.set()
    assert gate.future.result(LIMIT_S) == 1


@pytest.mark.parametrize("own_first", [True, False])
def test_a_future_of_another_kernel_beside_an_own_one_is_waited_for(
    kernel: jf.DataFlowKernel, tmp_path: Path, own_first: bool
) -> None:
    config = jf.Config(executors={"t": {"plugin": "threads"}}, run_dir=tmp_path / "o")
    with jf.DataFlowKernel(config) as other:
        own, strange = Gate(kernel, "own"), Gate(other, "other")
        pair = (own, strange) if own_first else (strange, own)
        waits = kernel.submit(listed, *[gate.future for gate in pair])
        own.event.set()
        assert own.future.result(LIMIT_S) == "own"
        assert not waits.done()
        strange.event.set()
        expected = [gate.future.result(LIMIT_S) for gate in pair]
        assert waits.result(LIMIT_S) == [*expected, {}]


def test_a_foreign_future_beside_an_own_one_is_waited_for(
    kernel: jf.DataFlowKernel,
) -> None:
    gate, foreign = Gate(kernel), Future[int]()
    waits = kernel.submit(listed, gate.future, foreign, [gate.future])
    gate.event.set()
    foreign.set_result(5)
    assert waits.result(LIMIT_S) == [1, 5, [1], {}]


def test_an_attempt_after_a_failure_gets_the_same_values(
    kernel: jf.DataFlowKernel,
) -> None:
    seen: list[Any] = []

    @jf.python_app(retries=1)
    def second_time(value: int) -> int:
        seen.append(value)
        if len(seen) == 1:
            raise ValueError
        return value

    gate = Gate(kernel, 7)
    future = second_time(gate.future)
    gate.event.set()
    assert future.result(LIMIT_S) == 7
    assert seen == [7, 7]
