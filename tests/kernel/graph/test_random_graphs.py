"""Random graphs with random failures and cancellations, against a simple model.

The model says in which state each task must end; the kernel must end every future,
exactly once, in that state.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jackfield as jf

LIMIT_S = 60.0
FINE, FAILS, CANCELLED = "fine", "fails", "cancelled"


@dataclass(frozen=True)
class Node:
    """A task: the earlier tasks that it depends on, and what it does."""

    inputs: tuple[int, ...]
    fate: str
    failures: int
    retries: int


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Give a graph in topological order, chains and diamonds among it."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 40))):
        inputs = draw(
            st.lists(st.integers(0, number - 1), max_size=4, unique=True)
            if number
            else st.just([])
        )
        fate = draw(st.sampled_from([FINE, FINE, FINE, FINE, FAILS, CANCELLED]))
        retries = draw(st.integers(0, 2))
        failures = draw(st.integers(0, 2)) if fate == FINE else 0
        nodes.append(Node(tuple(inputs), fate, failures, retries))
    return nodes


def expected(nodes: Sequence[Node]) -> list[str]:
    """Return the final state of each task: the reference model."""
    states: list[str] = []
    for node in nodes:
        if node.fate == CANCELLED:
            states.append("cancelled")
        elif any(states[i] != "succeeded" for i in node.inputs):
            states.append("dependency-failed")
        elif node.fate == FAILS or node.failures > node.retries:
            states.append("failed")
        else:
            states.append("succeeded")
    return states


class Attempts:
    """Runs a node's attempts: waits for the start, fails as often as it is told."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.made: Counter[int] = Counter()

    def run(self, number: int, node: Node, inputs: list[int]) -> int:
        assert self.gate.wait(LIMIT_S)
        self.made[number] += 1
        if node.fate == FAILS or self.made[number] <= node.failures:
            raise ValueError(f"node {number}, attempt {self.made[number]}")
        assert inputs == list(node.inputs)
        return number


def submit_all(
    kernel: jf.DataFlowKernel, nodes: Sequence[Node], attempts: Attempts
) -> list[jf.AppFuture[int]]:
    futures: list[jf.AppFuture[int]] = []
    for number, node in enumerate(nodes):
        app = jf.python_app(retries=node.retries)(attempts.run)
        futures.append(app(number, node, [futures[i] for i in node.inputs]))
    return futures


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(nodes=graphs())
def test_every_future_ends_once_in_the_state_of_the_model(
    kernel: jf.DataFlowKernel, nodes: list[Node]
) -> None:
    attempts = Attempts(threading.Event())
    ends: Counter[int] = Counter()
    futures = submit_all(kernel, nodes, attempts)
    for number, future in enumerate(futures):
        future.add_done_callback(partial(lambda n, _: ends.update([n]), number))
    # Nothing has begun but for those the four threads hold at the gate; a root there
    # cannot be cancelled any more, which the model is told.
    actual = [
        Node(node.inputs, FINE, 0, node.retries)
        if node.fate == CANCELLED and not futures[number].cancel()
        else node
        for number, node in enumerate(nodes)
    ]
    attempts.gate.set()
    done, pending = concurrent.futures.wait(futures, timeout=LIMIT_S)
    kernel.wait_for_current_tasks(LIMIT_S)

    assert pending == set()
    assert len(done) == len(nodes)
    assert [future.task_status() for future in futures] == expected(actual)
    assert_answers(futures, actual)
    last = kernel.submit(len, "x")
    seen = threading.Event()
    last.add_done_callback(lambda _: seen.set())
    assert seen.wait(LIMIT_S)  # callbacks come in order: the others have been called
    assert ends == Counter(range(len(nodes)))


def assert_answers(futures: Sequence[jf.AppFuture[int]], nodes: Sequence[Node]) -> None:
    for number, (future, state) in enumerate(
        zip(futures, expected(nodes), strict=True)
    ):
        if state == "cancelled":
            assert future.cancelled()
            continue
        error = future.exception(0)
        if state == "succeeded":
            assert future.result(0) == number
        elif state == "failed":
            assert type(error) is ValueError
        else:
            assert isinstance(error, jf.DependencyError)
            assert isinstance(
                error.__cause__, ValueError | concurrent.futures.CancelledError
            )


def test_eight_threads_lose_nothing(kernel: jf.DataFlowKernel) -> None:
    start = threading.Barrier(8)
    results: list[list[int]] = [[] for _ in range(8)]

    def submit(mine: list[int]) -> None:
        start.wait(LIMIT_S)
        future: Any = kernel.submit(len, "")
        futures = []
        for _ in range(500):
            future = kernel.submit(lambda x: x + 1, future)
            futures.append(future)
        mine.extend(f.result(LIMIT_S) for f in futures)

    threads = [threading.Thread(target=submit, args=(mine,)) for mine in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)

    assert results == [list(range(1, 501))] * 8
    assert kernel.summary().counts[jf.TaskState.SUCCEEDED] == 8 * 501


def test_cancelling_while_it_runs_has_one_outcome(kernel: jf.DataFlowKernel) -> None:
    """Cancel from another thread at whatever moment: done once, never both."""
    ran: list[int] = []
    futures = [kernel.submit(ran.append, i) for i in range(3000)]

    cancelled = [future.cancel() for future in reversed(futures)][::-1]
    kernel.wait_for_current_tasks(LIMIT_S)

    assert [future.cancelled() for future in futures] == cancelled
    assert sorted(ran) == [i for i, was in enumerate(cancelled) if not was]
