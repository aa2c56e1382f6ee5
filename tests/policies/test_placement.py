"""``[plugins.placement]``: where tasks run, by the configuration's table."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import PluginWarning
from jackfield_testing.footprint import WAIT_S, settled

LIMIT_S = 40.0

Load = Callable[..., AbstractContextManager[jf.DataFlowKernel]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a kernel with three executors on threads that uses the policy."""

    def load(**options: Any) -> Any:
        threads = {"plugin": "threads", "workers": 8}
        return jf.load(
            {
                "run_dir": str(tmp_path / "runs"),
                "executors": dict.fromkeys(("a", "b", "c"), threads),
                "plugins": {"placement": options},
                "exit_grace": 1.0,
            }
        )

    return load


class Chosen:
    """Hears of the executor of each task that ran."""

    def __init__(self) -> None:
        self.labels: dict[int, str | None] = {}

    @jf.hookimpl
    def jackfield_task_events(self, events: list[jf.TaskEvent]) -> None:
        for event in events:
            if event.state is jf.TaskState.SUBMITTED:
                self.labels[event.task] = event.executor

    def in_order(self) -> list[str | None]:
        return [self.labels[task] for task in sorted(self.labels)]


@jf.python_app
def train_small() -> None: ...


@jf.python_app
def align() -> None: ...


@pytest.mark.filterwarnings("ignore:plugins.placement")  # of the label that is missing
def test_an_app_runs_where_the_table_says(load: Load) -> None:
    chosen = Chosen()
    with load(apps={"align": "b", "train_*": ["gpu", "c"]}) as kernel:
        kernel.register(chosen)
        for app in (align, train_small, align):
            app().result(LIMIT_S)

    assert chosen.in_order() == ["b", "c", "b"]


def test_an_executor_that_the_app_does_not_allow_is_not_chosen(load: Load) -> None:
    chosen = Chosen()
    with load(apps={"align": ["b", "c"]}) as kernel:
        kernel.register(chosen)
        align.options(executors=["a", "c"])().result(LIMIT_S)
        align.options(executors=["a"])().result(LIMIT_S)

    assert chosen.in_order() == ["c", "a"]


def test_work_flows_over_when_an_executor_is_full(load: Load) -> None:
    chosen, gate = Chosen(), threading.Event()

    @jf.python_app
    def wait() -> bool:
        return gate.wait(LIMIT_S)

    with load(fill={"c": 2, "a": 1}) as kernel:
        kernel.register(chosen)
        futures = [wait() for _ in range(5)]
        assert settled(lambda: len(chosen.in_order()) == 5, WAIT_S)
        gate.set()
        assert all(future.result(LIMIT_S) for future in futures)

    assert chosen.in_order() == ["c", "c", "a", "b", "b"]


def test_if_all_are_full_the_last_one_takes_the_rest(load: Load) -> None:
    chosen, gate = Chosen(), threading.Event()

    @jf.python_app(executors=["a", "b"])
    def wait() -> bool:
        return gate.wait(LIMIT_S)

    with load(apps={"wait": ["a", "b"]}, fill={"a": 1, "b": 1}) as kernel:
        kernel.register(chosen)
        futures = [wait() for _ in range(4)]
        assert settled(lambda: len(chosen.in_order()) == 4, WAIT_S)
        gate.set()
        assert all(future.result(LIMIT_S) for future in futures)

    assert chosen.in_order() == ["a", "b", "b", "b"]


@jf.join_app
def join(n: int) -> list[jf.AppFuture[None]]:
    return [align() for _ in range(n)]


@pytest.mark.parametrize(
    "options", [{"fill": {"a": 1}}, {"apps": {"*": "b"}}, {}], ids=str
)
def test_the_kernels_own_tasks_run_where_they_have_to(
    load: Load, options: dict[str, Any]
) -> None:
    with load(**options):
        assert join(3).result(LIMIT_S) == [None] * 3


@jf.python_app
def place() -> str:
    return os.environ["PLACE"]


def test_it_chooses_among_processes_too(tmp_path: Path) -> None:
    processes = {"plugin": "processes", "workers": 1}
    table = {
        "run_dir": str(tmp_path / "runs"),
        "executors": {
            label: {**processes, "env": {"PLACE": label}} for label in ("a", "b")
        },
        "plugins": {"placement": {"apps": {"place": "b"}}},
    }

    with jf.load(table):
        assert {place().result(LIMIT_S) for _ in range(3)} == {"b"}


def test_a_label_that_nothing_has_is_warned_of(load: Load) -> None:
    with (
        pytest.warns(PluginWarning, match=r"no executor has the label 'bb'; did you"),
        load(fill={"bb": 1}),
    ):
        align().result(LIMIT_S)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"apps": "align"}, "placement.apps must be a table, not str"),
        ({"apps": {"align": 3}}, "apps.align must be a label or a list of labels"),
        ({"apps": {"align": ["a", 3]}}, "apps.align must be a label or a list"),
        ({"fill": ["a"]}, "placement.fill must be a table, not list"),
        ({"fill": {"a": 0}}, "fill.a must be a number of tasks from 1 up, not 0"),
        ({"fill": {"a": True}}, "fill.a must be a number of tasks"),
        ({"app": {}}, r"no option 'app'; did you mean 'apps'\?"),
    ],
    ids=str,
)
def test_a_bad_option_ends_the_start(
    load: Load, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(jf.ConfigurationError, match=words), load(**options):
        pass
