"""Apps that return futures."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import CircularWaitError, JoinError

LIMIT_S = 60.0


@jf.python_app
def double(x: int) -> int:
    return 2 * x


@jf.python_app
def boom() -> None:
    raise ValueError("boom")


@dataclass
class Pair:
    left: Any
    right: Any


def as_join(body: Any) -> Any:
    return jf.join_app(body)()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda: double(1), 2),
        (lambda: [double(1), double(2)], [2, 4]),
        (lambda: (double(1), 7), (2, 7)),
        (lambda: {"a": double(1), "b": [double(2)]}, {"a": 2, "b": [4]}),
        (lambda: Pair(double(1), Pair(double(2), None)), Pair(2, Pair(4, None))),
        (list, []),
        (lambda: as_join(lambda: [double(4)]), [8]),
    ],
    ids=["one", "list", "tuple", "dict", "dataclass", "nothing", "join"],
)
def test_a_join_ends_with_the_results(
    kernel: jf.DataFlowKernel, body: Any, expected: Any
) -> None:
    assert as_join(body).result(LIMIT_S) == expected


def test_joins_may_be_recursive(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app
    def add(a: int, b: int) -> int:
        return a + b

    @jf.join_app
    def fib(n: int) -> Any:
        return one() if n < 2 else add(fib(n - 1), fib(n - 2))

    @jf.python_app
    def one() -> int:
        return 1

    assert fib(10).result(LIMIT_S) == 89


def test_what_is_no_future_is_an_error(kernel: jf.DataFlowKernel) -> None:
    with pytest.raises(TypeError, match="returned NoneType; expected a future"):
        as_join(lambda: None).result(LIMIT_S)


def test_a_failure_inside_fails_the_join(kernel: jf.DataFlowKernel) -> None:
    with pytest.raises(JoinError, match="boom") as info:
        as_join(lambda: [double(1), boom()]).result(LIMIT_S)

    assert isinstance(info.value.__cause__, ValueError)


def test_a_failure_of_the_body_is_the_joins(kernel: jf.DataFlowKernel) -> None:
    def body() -> None:
        raise KeyError("body")

    with pytest.raises(KeyError, match="body"):
        as_join(body).result(LIMIT_S)


def test_a_body_is_retried(kernel: jf.DataFlowKernel) -> None:
    tries: list[int] = []

    @jf.join_app(retries=2)
    def flaky() -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")
        return double(1)

    assert flaky().result(LIMIT_S) == 2


@pytest.mark.parametrize(
    "value",
    [
        lambda: double(1),
        lambda: [double(1), double(2)],
        lambda: (0, double(1)),
        lambda: {"n": 0, "one": double(1)},
    ],
    ids=["one", "a list", "a tuple", "a dict"],
)
def test_a_python_app_that_returns_futures_is_told_of_join_app(
    kernel: jf.DataFlowKernel, value: Any
) -> None:
    app = jf.python_app(value)

    with pytest.raises(TypeError, match="make it a join_app"):
        app().result(LIMIT_S)
    with pytest.raises(TypeError, match="make it a join_app"):
        app.options(cache=True, version="1")().result(LIMIT_S)


def test_a_future_that_an_app_was_given_may_be_returned(
    kernel: jf.DataFlowKernel,
) -> None:
    future = double(1)

    assert kernel.submit(lambda one: one, jf.quote(future)).result(LIMIT_S) is future


def seconds_a_step(part: Any, steps: int, end: Any) -> float:
    """Have much hang on joins that return; the processor's time for each."""
    began = time.process_time()
    total = double(0)
    for number in range(steps):
        total = end(total, part(number))
    total.result(LIMIT_S)
    return (time.process_time() - began) / steps


@jf.python_app
def plus(a: int, b: int) -> int:
    return a + b


@jf.join_app
def plain_part(number: int) -> Any:
    return double(number)


@jf.join_app
def waiting_part(number: int) -> Any:
    return plus(double(number), double(1))


@jf.join_app
def nested_part(number: int) -> Any:
    return plain_part(number)


@jf.join_app(cache=True, version="1")
def cached_part(number: int) -> Any:
    return plus(double(number % 7), double(1))


@pytest.mark.parametrize("part", [plain_part, waiting_part, nested_part, cached_part])
def test_a_join_costs_the_same_however_much_hangs_on_it(
    kernel: jf.DataFlowKernel, part: Any
) -> None:
    seconds_a_step(part, 200, plus)
    few = seconds_a_step(part, 400, plus)
    many = seconds_a_step(part, 4_000, plus)

    assert many < 4 * few  # ten times as much, if all of it were walked through


def test_a_join_that_waits_for_itself_is_an_error(kernel: jf.DataFlowKernel) -> None:
    handed: list[Any] = []
    ready = threading.Event()

    @jf.join_app
    def loop() -> Any:
        assert ready.wait(LIMIT_S)
        return handed[0]

    join = loop()
    handed.append(double(join))
    ready.set()

    with pytest.raises(CircularWaitError, match="waits for the join itself"):
        join.result(LIMIT_S)
    with pytest.raises(jf.DependencyError):
        handed[0].result(LIMIT_S)


def test_two_joins_that_wait_for_each_other_are_an_error(
    kernel: jf.DataFlowKernel,
) -> None:
    handed: dict[str, Any] = {}
    ready = threading.Event()

    @jf.join_app
    def other(name: str) -> Any:
        assert ready.wait(LIMIT_S)
        return [handed[name]]

    handed["a"] = other("b")
    handed["b"] = other("a")
    ready.set()
    errors = [handed[name].exception(LIMIT_S) for name in "ab"]

    assert sorted(type(error).__name__ for error in errors) == [
        "CircularWaitError",
        "JoinError",
    ]


def test_a_join_can_be_cancelled_while_it_waits(kernel: jf.DataFlowKernel) -> None:
    gate = threading.Event()
    inner = kernel.submit(gate.wait, LIMIT_S)
    returned = threading.Event()

    @jf.join_app
    def join() -> Any:
        returned.set()
        return inner

    future = join()
    assert returned.wait(LIMIT_S)
    while future.task_status() != "joining":
        threading.Event().wait(0.001)

    assert future.cancel()
    gate.set()
    assert inner.result(LIMIT_S) is True
    assert future.cancelled()


def test_futures_of_others_may_be_joined(kernel: jf.DataFlowKernel) -> None:
    nothing: Any = 3
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert as_join(lambda: [pool.submit(len, "abc")]).result(LIMIT_S) == [3]

        with pytest.raises(JoinError, match="TypeError"):
            as_join(lambda: [pool.submit(len, nothing)]).result(LIMIT_S)


def test_a_future_of_others_that_cannot_be_watched_fails_the_join(
    kernel: jf.DataFlowKernel,
) -> None:
    class Deaf(concurrent.futures.Future[Any]):
        def add_done_callback(self, fn: object) -> None:
            raise OSError("deaf")

    with pytest.raises(OSError, match="deaf"):
        as_join(lambda: [double(1), Deaf()]).result(LIMIT_S)
    assert double(1).result(LIMIT_S) == 2


def test_a_future_of_others_that_is_cancelled_fails_the_join(
    kernel: jf.DataFlowKernel,
) -> None:
    foreign: concurrent.futures.Future[int] = concurrent.futures.Future()
    join = as_join(lambda: {"a": foreign})
    foreign.cancel()

    with pytest.raises(JoinError) as info:
        join.result(LIMIT_S)
    assert isinstance(info.value.__cause__, concurrent.futures.CancelledError)


def test_a_cancellation_inside_fails_the_join(kernel: jf.DataFlowKernel) -> None:
    gate = threading.Event()
    inner = kernel.submit(double, kernel.submit(gate.wait, LIMIT_S))
    join = as_join(lambda: inner)

    inner.cancel()

    with pytest.raises(JoinError, match="cancelled"):
        join.result(LIMIT_S)
    gate.set()


def test_a_join_of_what_has_ended_ends(kernel: jf.DataFlowKernel) -> None:
    good, bad = double(1), boom()
    good.result(LIMIT_S)
    bad.exception(LIMIT_S)

    assert as_join(lambda: [good, good]).result(LIMIT_S) == [2, 2]
    with pytest.raises(JoinError, match="boom"):
        as_join(lambda: [good, bad]).result(LIMIT_S)


def test_a_body_that_has_returned_is_not_run_again(kernel: jf.DataFlowKernel) -> None:
    runs: list[int] = []

    @jf.join_app(retries=3)
    def once() -> Any:
        runs.append(1)
        return boom()

    with pytest.raises(JoinError, match="boom"):
        once().result(LIMIT_S)
    assert runs == [1]


def test_a_dependent_gets_the_results_of_a_join(kernel: jf.DataFlowKernel) -> None:
    assert kernel.submit(sum, as_join(lambda: [double(1), double(2)])).result(60) == 6


def test_a_join_deeper_than_the_interpreters_stack_ends(
    kernel: jf.DataFlowKernel,
) -> None:
    @jf.join_app
    def down(n: int) -> Any:
        return down(n - 1) if n else double(1)

    assert down(1200).result(LIMIT_S) == 2


def test_a_cached_join_that_calls_itself_alike_is_an_error(
    kernel: jf.DataFlowKernel,
) -> None:
    """The inner call would wait for the result of the outer one, its equal."""

    @jf.join_app(cache=True)
    def loop(x: int) -> Any:
        return [double(x), loop(x)]

    futures = [loop(x) for x in (1, 1, 2)]

    for future in futures:
        with pytest.raises(JoinError, match="is the same call") as info:
            future.result(LIMIT_S)
        assert isinstance(info.value.__cause__, CircularWaitError)


def test_two_cached_joins_that_call_each_other_are_an_error(
    kernel: jf.DataFlowKernel,
) -> None:
    @jf.join_app(cache=True)
    def ping() -> Any:
        return pong()

    @jf.join_app(cache=True)
    def pong() -> Any:
        return ping()

    for future in [ping(), pong(), ping()]:
        with pytest.raises(JoinError, match="is the same call"):
            future.result(LIMIT_S)


def test_cached_joins_may_be_recursive(kernel: jf.DataFlowKernel) -> None:
    calls: list[int] = []

    @jf.python_app
    def add(a: int, b: int) -> int:
        return a + b

    @jf.join_app(cache=True)
    def fib(n: int) -> Any:
        calls.append(n)
        return add(n, 0) if n < 2 else add(fib(n - 1), fib(n - 2))

    assert fib(30).result(LIMIT_S) == 832_040
    assert sorted(calls) == list(range(31))


@jf.python_app
def write(path: str, text: str = "x") -> None:
    Path(path).write_text(text)


def test_outputs_are_looked_for_when_the_inner_tasks_have_ended(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    gate = threading.Event()

    @jf.python_app
    def late(path: str) -> None:
        assert gate.wait(LIMIT_S)
        Path(path).write_text("late")

    @jf.join_app
    def make(outputs: Any = ()) -> Any:
        return [late(outputs[0].filepath)]

    future = make(outputs=[jf.File(tmp_path / "made")])
    gate.set()

    assert future.result(LIMIT_S) == [None]
    assert Path(future.outputs[0].result(LIMIT_S)).read_text() == "late"


def test_outputs_that_inner_tasks_have_not_made_are_named_and_tried_again(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    bodies: list[int] = []

    @jf.join_app(retries=2)
    def make(outputs: Any = ()) -> Any:
        bodies.append(1)
        return write(outputs[0].filepath if len(bodies) == 3 else tmp_path / "no")

    @jf.join_app
    def make_none(outputs: Any = ()) -> Any:
        return double(1)

    assert make(outputs=[tmp_path / "third"]).result(LIMIT_S) is None
    assert len(bodies) == 3
    with pytest.raises(jf.MissingOutputs, match="never"):
        make_none(outputs=[tmp_path / "never"]).result(LIMIT_S)


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("plugin", ["threads", "adapter"])
def test_inner_apps_go_to_the_kernel_whose_task_calls_them(
    tmp_path: Path, loaded: bool, plugin: str
) -> None:
    numbers: list[int] = []

    @jf.join_app
    def body() -> Any:
        future = double(4)
        numbers.append(future.tid)
        return [future]

    def submits() -> Any:
        return jf.dfk().run_dir

    if loaded:
        jf.load(run_dir=tmp_path / "loaded")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        table: dict[str, Any] = {"plugin": plugin}
        if plugin == "adapter":
            table["executor"] = pool
        config = jf.Config(run_dir=tmp_path / "own", executors={"x": table})
        kernel = jf.DataFlowKernel(config)
        try:
            assert kernel.submit(body).result(LIMIT_S) == [8]
            assert kernel.submit(submits).result(LIMIT_S) == kernel.run_dir
            total = sum(kernel.task_state_counts.values())
            assert total == 3
        finally:
            kernel.cleanup()
            if loaded:
                assert jf.dfk().run_dir.parent == tmp_path / "loaded"
                jf.dfk().cleanup()
    assert numbers == [1]


def test_a_body_that_runs_while_the_run_closes_ends_as_the_run_does(
    tmp_path: Path,
) -> None:
    begun, closing = threading.Event(), threading.Event()

    @jf.join_app(retries=3)
    def body() -> Any:
        begun.set()
        assert closing.wait(LIMIT_S)
        return double(1)

    kernel = jf.load(run_dir=tmp_path / "r", exit_grace=LIMIT_S)
    future = body()
    waits = double(future)
    waits.add_done_callback(lambda _: closing.set())  # cancelled when the run closes
    assert begun.wait(LIMIT_S)

    kernel.cleanup(wait=False)

    assert future.cancelled()
    assert waits.cancelled()
