"""Plugins that open arguments, name streams, and look at what has failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0


class Grid:
    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows


class Opens:
    @jf.hookimpl
    def jackfield_find_futures(self, value: object) -> Any:
        if isinstance(value, Grid):
            return value.rows, lambda rows: Grid(list(rows))
        return None


@jf.python_app
def rows_of(*grids: Any, **named: Any) -> Any:
    return [one.rows if isinstance(one, Grid) else one for one in grids]


@contextmanager
def kernel_with(tmp_path: Path, plugin: object, **more: Any) -> Iterator[Any]:
    threads = {"threads": {"plugin": "threads"}}
    config = jf.Config(executors=threads, run_dir=tmp_path, plugins=[plugin], **more)
    with jf.DataFlowKernel(config) as kernel:
        yield kernel


@pytest.mark.parametrize("dependencies", ["deep", "shallow"])
def test_a_class_that_a_plugin_knows_may_hold_futures(
    tmp_path: Path, dependencies: str
) -> None:
    with kernel_with(tmp_path, Opens(), dependencies=dependencies) as kernel:
        later: Future[int] = Future()
        inner, plain = kernel.submit(int, "2"), Grid([5])
        grid = Grid([later, inner, 3])

        future = kernel.submit(rows_of, grid, plain, 4)
        assert not future.done()
        later.set_result(1)

        assert future.result(LIMIT_S) == [[1, 2, 3], [5], 4]
        assert grid.rows[0] is later


def test_such_a_class_may_hold_another_and_be_held(tmp_path: Path) -> None:
    with kernel_with(tmp_path, Opens()) as kernel:
        two = kernel.submit(int, "2")
        grid = Grid([[Grid([two])], two])

        (opened, other) = kernel.submit(
            lambda held: held["g"].rows, {"g": grid}
        ).result(LIMIT_S)

        assert [opened[0].rows, other] == [[2], 2]


def test_what_such_a_class_holds_is_left_where_nobody_knows_it(
    kernel: jf.DataFlowKernel,
) -> None:
    future: Future[int] = Future()

    assert kernel.submit(rows_of, Grid([future])).result(LIMIT_S) == [[future]]


@pytest.mark.parametrize("answer", [7, ([1], None), (5, list)], ids=repr)
def test_an_answer_that_cannot_be_names_its_plugin(tmp_path: Path, answer: Any) -> None:
    class Wrong:
        @jf.hookimpl
        def jackfield_find_futures(self, value: object) -> Any:
            return answer

    with (
        kernel_with(tmp_path, Wrong()) as kernel,
        pytest.raises(TypeError, match="jackfield_find_futures") as info,
    ):
        kernel.submit(rows_of, Grid([]))
    assert "Wrong" in info.value.__notes__[0]


@pytest.mark.parametrize(
    "named",
    [str, lambda path: (path, "w"), jf.File],
    ids=["path", "mode", "file"],
)
def test_a_plugin_names_streams(tmp_path: Path, named: Callable[[Any], Any]) -> None:
    asked: list[tuple[int, str, str, str]] = []

    class Names:
        @jf.hookimpl
        def jackfield_stream_path(self, task: jf.TaskView, stream: str) -> Any:
            asked.append((task.id, task.app, task.label, stream))
            return named(tmp_path / f"out {task.id}") if stream == "stdout" else None

    @jf.bash_app
    def hello(stdout: Any = jf.AUTO_LOGNAME, stderr: Any = jf.AUTO_LOGNAME) -> str:
        return "echo hello; echo no >&2"

    with kernel_with(tmp_path, Names()) as kernel:
        future = hello.submit_to(kernel, (), {"label": "x"})
        assert future.result(LIMIT_S) == 0
        assert "task_logs" in future.stderr

    assert sorted(asked) == [(0, "hello", "x", name) for name in ("stderr", "stdout")]
    assert (tmp_path / "out 0").read_text() == "hello\n"


def test_a_name_that_cannot_be_comes_out_of_the_call(tmp_path: Path) -> None:
    class Names:
        @jf.hookimpl
        def jackfield_stream_path(self) -> Any:
            return 7

    @jf.bash_app
    def hello(stdout: Any = jf.AUTO_LOGNAME) -> str:
        return "echo hello"

    with (
        kernel_with(tmp_path, Names()) as kernel,
        pytest.raises(jf.BadStdStreamFile, match="7"),
    ):
        hello.submit_to(kernel, (), {})


def test_who_is_asked_about_a_failure_sees_the_earlier_ones(tmp_path: Path) -> None:
    seen: list[tuple[float, tuple[str, ...], str]] = []
    attempts = iter(["one", "two", "three"])
    lock = threading.Lock()

    class Handler:
        @jf.hookimpl
        def jackfield_retry(self, task: jf.TaskView) -> jf.Retry:
            seen.append((task.cost, task.errors, task.call))
            return jf.Retry(cost=0.5)

    @jf.python_app(retries=1)
    def fail(x: int) -> None:
        with lock:
            raise ValueError(next(attempts))

    with kernel_with(tmp_path, Handler()) as kernel:
        assert str(fail.submit_to(kernel, (3,), {}).exception(LIMIT_S)) == "three"

    one, two = "ValueError: one", "ValueError: two"
    assert seen == [
        (0.0, (), "fail(3)"),
        (0.5, (one,), "fail(3)"),
        (1.0, (one, two), "fail(3)"),
    ]
