"""What was cancelled before it ran has failed at nothing, and has taken no time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from tests.monitoring.conftest import history
from tests.monitoring.test_dashboard import task

import jackfield as jf
from jackfield import TaskState
from jackfield.events import AttemptRecord, Batch, Failure, Place
from jackfield_monitoring.one_task import shown
from jackfield_monitoring.pages.overview import overview_of
from jackfield_monitoring.runs import read
from jackfield_monitoring.store.bulk import read_bulk
from jackfield_monitoring.store.reader import Store

LIMIT_S = 60.0
QUEUED = 5


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose tasks were cancelled while they waited for its one worker."""
    began, end = threading.Event(), threading.Event()

    @jf.python_app(executors=["one"])
    def hold() -> None:
        began.set()
        assert end.wait(LIMIT_S)

    @jf.python_app(executors=["one"])
    def queued() -> None: ...

    @jf.python_app(executors=["other"])
    def mark() -> None: ...

    one: dict[str, Any] = {"plugin": "threads", "workers": 1}
    config: dict[str, Any] = {
        "run_dir": str(tmp_path / "runs"),
        "executors": {"one": one, "other": one},
        "monitors": {"db": {"plugin": "sqlite"}},
    }
    with jf.load(config) as kernel:
        held = hold()
        assert began.wait(LIMIT_S)
        waiting = [queued() for _ in range(QUEUED)]
        mark().result(LIMIT_S)  # what was called before is with its executor by now
        assert all(future.cancel() for future in waiting)
        end.set()
        held.result(LIMIT_S)
    return kernel.run_dir


def test_no_time_is_counted_of_what_nobody_has_begun(run: Path) -> None:
    with Store(run) as store:
        (app,) = [one.id for one in store.apps() if one.name == "queued"]
        cells = {one.state: one for one in store.matrix() if one.app == app and one.n}
        bars = read_bulk(store).attempts["task"]
        pages = [store.task(number) for number in range(1, QUEUED + 1)]
        attempts = [one for page in pages if page for one in page.attempts]

    assert {state: (one.n, one.busy) for state, one in cells.items()} == {
        TaskState.CANCELLED: (QUEUED, 0)
    }
    assert list(bars) == [0, QUEUED + 1]
    assert [(one.state, one.began) for one in attempts] == [
        (TaskState.CANCELLED, None)
    ] * QUEUED
    told = "\n".join(shown(read(run), 1))
    assert "cancelled; no worker is known to have begun it" in told


def test_what_was_cancelled_is_no_failure_of_a_page(run: Path) -> None:
    with Store(run) as store:
        overview = overview_of(read(run), store)

    assert [(one["noNews"], one["tasks"]) for one in overview["failures"]] == [
        ("cancelled", QUEUED)
    ]


def test_a_function_that_cancels_itself_has_failed_and_has_run(runs: Path) -> None:
    trace = "Traceback (most recent call last):\nconcurrent.futures.CancelledError"
    own = Failure("CancelledError", "by hand", trace)
    other = Failure("CancelledError", "it was cancelled")
    place = Place("cpu-0", "lovelace", 1, 1.0, 2.0)
    attempts = [
        AttemptRecord(0, 1, "cpu", 1.0, 2.0, None, own, None),
        AttemptRecord(1, 1, "cpu", 1.0, 2.0, place, other, None),
    ]
    tasks = [
        task(0, TaskState.FAILED, attempts=1, failure=own),
        task(1, TaskState.CANCELLED, attempts=1, failure=other),
    ]
    history(runs / "000", [Batch(0.0, 3.0, tasks=tasks, attempts=attempts)])

    with Store(runs / "000") as store:
        bulk = read_bulk(store).attempts
        busy = {one.state: one.busy for one in store.matrix()}

    assert list(bulk["task"]) == [0, 1]
    assert busy == {TaskState.FAILED: 1_000_000, TaskState.CANCELLED: 1_000_000}
