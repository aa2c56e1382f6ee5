"""What a call may say of itself, and what a kernel and its futures tell of tasks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0


@jf.python_app
def fail(text: str) -> None:
    raise ValueError(text)


@jf.python_app
def same(*values: Any) -> Any:
    return values


def with_cores(run_dir: Path) -> jf.Config:
    """Configure threads that are said to know a resource."""

    class Knowing:
        @jf.hookimpl
        def jackfield_create_executor(self, kind: str, label: str) -> Any:
            import concurrent.futures

            if kind != "knowing":
                return None
            pool: Any = concurrent.futures.ThreadPoolExecutor(1)
            pool.jackfield_capabilities = jf.Capabilities(resources={"reels": 3.0})
            return pool

    tables = {"plain": {"plugin": "threads"}, "cpu": {"plugin": "knowing"}}
    return jf.Config(executors=tables, plugins=[Knowing()], run_dir=run_dir)


def test_a_call_may_ask_for_resources(tmp_path: Path) -> None:
    placed: list[tuple[dict[str, float], tuple[str, ...]]] = []

    class Watch:
        @jf.hookimpl
        def jackfield_select_executor(self, task: jf.TaskView) -> None:
            placed.append((dict(task.resources), task.executors))

    with jf.DataFlowKernel(with_cores(tmp_path)) as kernel:
        kernel.register(Watch())

        assert kernel.submit(same, 1, resources={"reels": 2}).result(LIMIT_S) == (1,)
        assert same.submit_to(kernel, (2,), {"resources": {"reels": 1}}).result(LIMIT_S)
        assert kernel.submit(abs, -3, resources={"reels": 3}).result(LIMIT_S) == 3
        with pytest.raises(jf.UnsupportedByExecutorError, match="gpus"):
            same.submit_to(kernel, (), {"resources": {"gpus": 1}})
        with pytest.raises(jf.ConfigurationError, match="expected a dict"):
            same.submit_to(kernel, (), {"resources": 4})

    assert placed == [({"reels": number}, ("cpu",)) for number in (2, 1, 3)]


def test_a_parameter_named_resources_is_the_functions_own(
    kernel: jf.DataFlowKernel,
) -> None:
    app = jf.python_app(lambda resources: resources)

    assert app.submit_to(kernel, (), {"resources": {"gpus": 9}}).result(LIMIT_S) == {
        "gpus": 9
    }


def test_unended_tasks_are_listed_with_their_apps(kernel: jf.DataFlowKernel) -> None:
    gate = threading.Event()

    first = kernel.submit(gate.wait, LIMIT_S)
    second = kernel.submit(same, first)

    assert kernel.tasks == {first.tid: first, second.tid: second}
    assert [future.app for future in kernel.tasks.values()] == ["wait", "same"]
    gate.set()
    kernel.wait_for_current_tasks(LIMIT_S)
    assert kernel.tasks == {}


def test_a_join_tells_all_its_failures_and_waits_for_them(
    kernel: jf.DataFlowKernel,
) -> None:
    gate = threading.Event()
    inner: list[Any] = []

    @jf.python_app
    def late(text: str) -> None:
        assert gate.wait(LIMIT_S)
        raise ValueError(text)

    @jf.join_app
    def join() -> Any:
        inner.extend([fail("a"), same(1), late("b")])
        return inner

    with kernel:
        future = join.submit_to(kernel, (), {})
        inner_of(future, inner, 3)
        assert str(inner[0].exception(LIMIT_S)) == "a"
        assert not future.done()
        gate.set()
        error = future.exception(LIMIT_S)

    assert isinstance(error, jf.JoinError)
    assert not isinstance(error, jf.DependencyError)
    told = [(number, str(cause)) for number, cause in error.failures]
    assert told == [(inner[0].tid, "a"), (inner[2].tid, "b")]


def inner_of(future: Any, inner: list[Any], number: int) -> None:
    """Wait until a join has submitted its tasks and waits for them."""
    while future.task_status() != "joining":
        assert not future.done()
    assert len(inner) == number


def test_a_dependent_tells_those_that_had_failed(kernel: jf.DataFlowKernel) -> None:
    bad = [kernel.submit(fail, text) for text in "ab"]
    for one in bad:
        one.exception(LIMIT_S)
    foreign: Any = __import__("concurrent.futures").futures.Future()

    error = kernel.submit(same, bad, 3).exception(LIMIT_S)
    other = kernel.submit(same, foreign)
    foreign.set_exception(KeyError("k"))

    assert isinstance(error, jf.DependencyError)
    assert [(n, str(e)) for n, e in error.failures] == [
        (bad[0].tid, "a"),
        (bad[1].tid, "b"),
    ]
    told = other.exception(LIMIT_S)
    assert isinstance(told, jf.DependencyError)
    assert [number for number, _ in told.failures] == [None]
    assert repr(foreign) in str(told)


def test_a_store_may_lie_in_the_directory_of_its_run(tmp_path: Path) -> None:
    @jf.python_app(cache=True, ignore_for_cache=["notes"])
    def once(x: int, notes: str) -> int:
        with Path(notes).open("a") as file:
            file.write("called ")
        return x

    notes = str(tmp_path / "notes")
    threads = {"threads": {"plugin": "threads"}}
    own = {"store": "sqlite:///{run_dir}/results.db"}
    config = jf.Config(executors=threads, run_dir=tmp_path, checkpoint=own)
    with jf.DataFlowKernel(config) as kernel:
        assert once.submit_to(kernel, (1, notes), {}).result(LIMIT_S) == 1
        store = kernel.run_dir / "results.db"
    assert store.exists()

    read = {"read": [f"sqlite:///{store}"]}
    config = jf.Config(executors=threads, run_dir=tmp_path, checkpoint=read)
    with jf.DataFlowKernel(config) as kernel:
        assert once.submit_to(kernel, (1, notes), {}).result(LIMIT_S) == 1
        assert not list(kernel.run_dir.glob("*.db"))
    assert Path(notes).read_text() == "called "


def test_a_part_of_a_task_may_have_a_limit() -> None:
    assert jf.timeout(lambda: 3, LIMIT_S)() == 3

    def forever() -> None:
        while True:
            pass

    with pytest.raises(jf.AppTimeout, match="forever"):
        jf.timeout(forever, 0.05)()


@pytest.mark.parametrize("seconds", ["1", -1, 0, float("nan"), None, True, 10**400])
def test_a_limit_that_is_none_is_refused_at_once(seconds: Any) -> None:
    with pytest.raises(jf.ConfigurationError, match="seconds= of 'len' is"):
        jf.timeout(len, seconds)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("ThreadPoolExecutor", "jackfield_parsl"), ("task", "python_app")],
)
def test_names_of_others_are_answered(name: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=hint):
        getattr(jf, name)


def test_options_of_others_are_answered() -> None:
    threads = {"t": {"plugin": "threads", "max_threads": 2}}
    with pytest.raises(jf.ConfigurationError, match="write workers"):
        jf.DataFlowKernel(jf.Config(executors=threads))
    with pytest.raises(jf.ConfigurationError, match="write 'cancel'"):
        jf.Config(exit_mode="cleanup")  # type: ignore[arg-type]  # what Parsl calls it
