"""Generated graphs with joins and retries, changed move by move while they run.

Each task waits at a gate of its own. A move opens a gate or cancels a task, so that
each cancellation comes at a known moment of the task's life; a model says what must
follow from it. ``test_random_graphs`` has larger graphs and one gate for all.
"""

from __future__ import annotations

import concurrent.futures
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jackfield as jf
from jackfield.errors import JoinError, PropagatedError

LIMIT_S = 60.0
MOST = 12
"""Tasks in a generated graph; as many may run, and wait at their gates, at once."""

BAD = frozenset({"failed", "dependency-failed", "cancelled"})


class Loads:
    """Notes what the executors are said to have to do when a task is placed."""

    seen: dict[str, int]

    @jf.hookimpl
    def jackfield_select_executor(
        self, task: jf.TaskView, executors: dict[str, int]
    ) -> None:
        self.seen = dict(executors)


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def wide(tmp_path: Path, loads: Loads) -> Iterator[jf.DataFlowKernel]:
    """A kernel on which every task of a graph can run at once."""
    config = jf.Config(
        executors={"threads": {"plugin": "threads", "workers": MOST}},
        internal_threads=MOST,
        run_dir=tmp_path / "runs",
        exit_grace=1.0,
        plugins=[loads],
        log_level="OFF",
    )
    with jf.DataFlowKernel(config) as kernel:
        yield kernel


@contextmanager
def many_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


@dataclass
class Node:
    """One task of a plan: what it needs, and what it does when its gate is open.

    A join returns the futures of ``inner``.
    """

    needs: list[int]
    failures: int
    retries: int
    inner: list[int] | None

    @property
    def fails(self) -> bool:
        return self.failures > self.retries


@dataclass
class Plan:
    nodes: list[Node]
    moves: list[tuple[str, int]]
    """Each opens a gate or cancels a task."""


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    size = draw(st.integers(1, MOST))
    nodes = []
    for number in range(size):
        earlier = st.integers(0, max(0, number - 1))
        some = st.lists(earlier, unique=True, max_size=min(3, number))
        nodes.append(
            Node(
                needs=draw(some),
                failures=draw(st.sampled_from([0, 0, 0, 0, 1, 2])),
                retries=draw(st.sampled_from([0, 0, 1, 2])),
                inner=draw(st.none() | st.none() | some),
            )
        )
    opened = [("open", number) for number in range(size)]
    cancel = st.tuples(st.just("cancel"), st.integers(0, size - 1))
    cancels = draw(st.lists(cancel, max_size=size))
    return Plan(nodes, draw(st.permutations(opened + cancels)))


@dataclass
class Model:
    """What must be the state of each task after the moves so far."""

    nodes: list[Node]
    states: list[str] = field(default_factory=list)
    open: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.states = ["waiting"] * len(self.nodes)
        self.spread()

    def move(self, what: str, number: int) -> bool:
        """Make a move; return what ``cancel`` must return."""
        if what == "open":
            self.open.add(number)
        elif self.states[number] in ("waiting", "joining"):
            self.states[number] = "cancelled"
        self.spread()
        return self.states[number] == "cancelled"

    def spread(self) -> None:
        before = None
        while before != self.states:
            before = list(self.states)
            for number, node in enumerate(self.nodes):
                self.states[number] = self.after(number, node)

    def after(self, number: int, node: Node) -> str:
        state = self.states[number]
        if state == "waiting":
            return self.of(node.needs, "waiting", "running")
        if state == "running" and number in self.open:
            if node.fails:
                return "failed"
            return "succeeded" if node.inner is None else "joining"
        if state == "joining":
            ends = {self.states[inner] for inner in node.inner or []}
            if not ends <= {*BAD, "succeeded"}:  # it waits for all of them
                return "joining"
            return "dependency-failed" if ends & BAD else "succeeded"
        return state

    def of(self, numbers: list[int], pending: str, done: str) -> str:
        states = {self.states[number] for number in numbers}
        if states & BAD:
            return "dependency-failed"
        return done if states <= {"succeeded"} else pending

    def value(self, number: int) -> Any:
        node = self.nodes[number]
        if node.inner is not None:
            return [self.value(inner) for inner in node.inner]
        return [number, [self.value(other) for other in node.needs]]


class Run:
    """A plan's tasks, submitted: each waits at its gate before it does anything."""

    def __init__(self, kernel: jf.DataFlowKernel, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.gates = [threading.Event() for _ in nodes]
        self.began = [threading.Event() for _ in nodes]
        self.attempts: Counter[int] = Counter()
        self.ends: Counter[int] = Counter()
        self.all_told = threading.Semaphore(0)
        self.futures: list[jf.AppFuture[Any]] = []
        for number, node in enumerate(nodes):
            decorate: Any = jf.python_app if node.inner is None else jf.join_app
            app = decorate(retries=node.retries)(partial(self.body, number))
            needs = [self.futures[other] for other in node.needs]
            future = kernel.submit(app, needs=needs)
            future.add_done_callback(partial(self.told, number))
            self.futures.append(future)

    def body(self, number: int, needs: list[Any]) -> Any:
        node = self.nodes[number]
        self.began[number].set()
        assert self.gates[number].wait(LIMIT_S)
        self.attempts[number] += 1
        if self.attempts[number] <= node.failures:
            raise ValueError(f"{number}")
        if node.inner is not None:
            return [self.futures[inner] for inner in node.inner]
        return [number, needs]

    def told(self, number: int, future: Future[Any]) -> None:
        assert future.done()
        self.ends[number] += 1
        self.all_told.release()

    def wait_for(self, model: Model) -> None:
        """Wait until what the model says has happened has happened."""
        for number, state in enumerate(model.states):
            if state == "running":
                assert self.began[number].wait(LIMIT_S)
            elif state == "joining":
                while self.futures[number].task_status() != "joining":
                    assert not self.futures[number].done()
            elif state != "waiting":
                concurrent.futures.wait([self.futures[number]], LIMIT_S)
                assert self.futures[number].done()

    def wait_for_callbacks(self) -> None:
        for _ in self.futures:
            assert self.all_told.acquire(timeout=LIMIT_S)


def check_outcome(run: Run, model: Model, number: int) -> None:
    """Compare a future with what the model says of it."""
    future, node, state = run.futures[number], run.nodes[number], model.states[number]
    assert future.task_status() == state
    assert future.cancelled() == (state == "cancelled")
    if state == "cancelled":
        with pytest.raises(CancelledError):
            future.result(0)
    elif state == "succeeded":
        assert future.result(0) == model.value(number)
        assert run.attempts[number] == node.failures + 1
    elif state == "failed":
        assert str(future.exception(0)) == str(number)
        assert run.attempts[number] == node.retries + 1
    else:
        error = future.exception(0)
        joined = run.nodes[number].inner is not None and run.began[number].is_set()
        assert isinstance(error, JoinError if joined else jf.DependencyError)
        assert_blame(model, error)
        states = {
            run.futures[one].tid: model.states[one] for one in range(len(run.nodes))
        }
        assert all(states[one or 0] in BAD for one, _ in error.failures)
        if joined:
            inner = [run.futures[one].tid for one in node.inner or []]
            bad = [one for one in inner if states[one] in BAD]
            assert [one for one, _ in error.failures] == bad


def assert_blame(model: Model, error: PropagatedError) -> None:
    """The root that it names is a task that has failed or was cancelled."""
    root = error.__cause__
    if isinstance(root, CancelledError):
        assert "cancelled" in model.states
    else:
        assert model.states[int(str(root))] == "failed"


def test_every_task_ends_as_the_model_says(
    wide: jf.DataFlowKernel, loads: Loads
) -> None:
    """The consequences of each move are complete before the next one."""
    total: Counter[str] = Counter()

    @settings(max_examples=200)
    @given(plan=plans())
    def check(plan: Plan) -> None:
        run, model = Run(wide, plan.nodes), Model(plan.nodes)
        try:
            run.wait_for(model)
            for what, number in plan.moves:
                expected = model.move(what, number)
                if what == "open":
                    run.gates[number].set()
                else:
                    assert run.futures[number].cancel() is expected
                run.wait_for(model)
        finally:
            for gate in run.gates:
                gate.set()
        wide.wait_for_current_tasks(LIMIT_S)
        run.wait_for_callbacks()

        for number in range(len(plan.nodes)):
            check_outcome(run, model, number)
        assert run.ends == dict.fromkeys(range(len(plan.nodes)), 1)
        total.update(model.states)

    check()

    counts = {state.value: n for state, n in wide.task_state_counts.items() if n}
    assert counts == dict(total)
    wide.submit(int).result(LIMIT_S)
    assert loads.seen == {"threads": 0}


def test_whatever_the_moment_of_a_cancel_the_outcome_is_consistent(
    wide: jf.DataFlowKernel, loads: Loads
) -> None:
    """Nothing is awaited between the moves: they race with the tasks."""

    @settings(max_examples=200)
    @given(plan=plans())
    def check(plan: Plan) -> None:
        run = Run(wide, plan.nodes)
        cancelled: set[int] = set()
        for what, number in plan.moves:
            if what == "open":
                run.gates[number].set()
            elif run.futures[number].cancel():
                cancelled.add(number)
        wide.wait_for_current_tasks(LIMIT_S)
        run.wait_for_callbacks()

        assert run.ends == dict.fromkeys(range(len(plan.nodes)), 1)
        assert_consistent(run, plan.nodes, cancelled)

    with many_switches():
        check()

    wide.submit(int).result(LIMIT_S)
    assert loads.seen == {"threads": 0}


def assert_consistent(run: Run, nodes: list[Node], cancelled: set[int]) -> None:
    """Each task's end follows from the ends of those that it depends on."""
    model = Model(nodes)
    model.states = [future.task_status() for future in run.futures]
    for number, node in enumerate(nodes):
        state = model.states[number]
        needs = {model.states[other] for other in node.needs}
        inner = {model.states[other] for other in node.inner or []}
        assert (state == "cancelled") == (number in cancelled)
        if state == "succeeded":
            assert needs | inner <= {"succeeded"}
        elif state == "failed":
            assert needs <= {"succeeded"}
            assert node.fails
        elif state == "dependency-failed":
            assert (needs | inner) & BAD
        else:
            assert state == "cancelled"
        check_outcome(run, model, number)


# -- many submitting threads


def add(*numbers: int) -> int:
    return sum(numbers) + 1


def fail(*_: object) -> int:
    raise ValueError("planned")


class Submitter:
    """Submits, cancels and waits, at random, on tasks of all the submitters."""

    def __init__(self, kernel: jf.DataFlowKernel, shared: list[Any], seed: int) -> None:
        self.kernel = kernel
        self.shared = shared
        self.dice = random.Random(seed)
        self.fault: BaseException | None = None
        self.told: Counter[int] = Counter()

    def __call__(self) -> None:
        try:
            for _ in range(400):
                self.act()
        except BaseException as error:
            self.fault = error

    def act(self) -> None:
        dice, shared = self.dice, self.shared
        needs = [dice.choice(shared) for _ in range(dice.randint(0, 3)) if shared]
        function: Callable[..., int] = fail if dice.random() < 0.05 else add
        future = self.kernel.submit(function, *[future for future, _ in needs])
        future.add_done_callback(lambda ended: self.told.update([ended.tid]))
        shared.append((future, needs))
        if dice.random() < 0.1:
            dice.choice(shared)[0].cancel()
        if dice.random() < 0.05:
            concurrent.futures.wait([dice.choice(shared)[0]], LIMIT_S)
        if dice.random() < 0.05:
            self.kernel.wait_for_current_tasks(LIMIT_S)


@pytest.mark.parametrize("seed", range(3))
def test_eight_threads_that_submit_and_cancel_leave_every_future_ended_once(
    wide: jf.DataFlowKernel, loads: Loads, seed: int
) -> None:
    shared: list[Any] = []
    submitters = [Submitter(wide, shared, 8 * seed + n) for n in range(8)]
    threads = [threading.Thread(target=submitter) for submitter in submitters]
    with many_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        done, left = concurrent.futures.wait([f for f, _ in shared], LIMIT_S)
    wide.wait_for_current_tasks(LIMIT_S)
    last_told = threading.Event()
    final = wide.submit(int)
    final.add_done_callback(lambda _: last_told.set())
    assert last_told.wait(LIMIT_S)  # callbacks are called in order

    assert [submitter.fault for submitter in submitters] == [None] * 8
    assert len(done) == len(shared) == 8 * 400
    assert not left
    for future, needs in shared:
        check_end(future, [need for need, _ in needs])
    told = sum((submitter.told for submitter in submitters), Counter())
    assert told == {future.tid: 1 for future, _ in shared}
    counts = wide.task_state_counts
    statuses = Counter(future.task_status() for future, _ in shared)
    statuses["succeeded"] += 1
    assert {state.value: n for state, n in counts.items() if n} == dict(statuses)
    assert loads.seen == {"threads": 0}


def check_end(future: jf.AppFuture[int], needs: list[jf.AppFuture[int]]) -> None:
    """A task's end follows from the ends of what it needs."""
    state, states = future.task_status(), {need.task_status() for need in needs}
    if state == "succeeded":
        assert states <= {"succeeded"}
        assert future.result(0) == add(*[need.result(0) for need in needs])
    elif state == "failed":
        assert states <= {"succeeded"}
        assert str(future.exception(0)) == "planned"
    elif state == "dependency-failed":
        assert states & BAD
        assert isinstance(future.exception(0), jf.DependencyError)
    else:
        assert state == "cancelled"
        assert future.cancelled()
