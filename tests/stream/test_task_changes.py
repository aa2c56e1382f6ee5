"""``Batch.changes`` says what ``Batch.tasks`` says, and tells each end once."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import jackfield as jf

if TYPE_CHECKING:
    from jackfield.events import Batch, TaskChange, TaskRecord

TASKS = 3_000


class Both:
    """Keeps what it is told in both forms."""

    def __init__(self) -> None:
        self.changes: list[TaskChange] = []
        self.records: list[TaskRecord] = []

    @jf.hookimpl
    def jackfield_run_events(self, batch: Batch) -> None:
        self.changes += batch.changes
        self.records += batch.tasks


@jf.python_app
def work(number: int) -> int:
    if number % 7 == 3:
        raise ValueError(f"no {number}")
    if number % 50 == 0:
        time.sleep(0.002)
    return number


@jf.python_app(cache=True)
def cached(number: int) -> int:
    return number


@jf.join_app
def both(number: int) -> list[jf.AppFuture[int]]:
    return [work(number), cached(number % 3)]


def test_changes_are_records_in_brief(tmp_path: Path) -> None:
    told = Both()
    with jf.load(run_dir=tmp_path / "runs", plugins=[told]) as kernel:
        for number in range(TASKS // 4):
            both(number)
            cached(work(number))
        late = work(1)
        late.cancel()
        kernel.wait_for_current_tasks()
        counts = kernel.summary().counts

    ends = [one for one in told.changes if one.state.final]
    assert max(Counter(one.task for one in ends).values()) == 1
    own = {"transfer", "internal"}
    states = Counter(one.state for one in ends if one.kind not in own)
    assert states == {state: number for state, number in counts.items() if number}
    last = {one.task: one for one in told.changes}
    records = {one.task: one for one in told.records}
    assert last.keys() == records.keys()
    for task, one in last.items():
        record = records[task]
        assert (one.app, one.kind, one.state, one.executor) == (
            record.app,
            record.kind,
            record.state,
            record.executor,
        )
        if one.state is jf.TaskState.FAILED:
            assert record.failure is not None
            assert one.error == f"{record.failure.kind}: {record.failure.message}"
        if one.state is jf.TaskState.SUCCEEDED:
            assert one.error is None


def test_tasks_that_go_on_are_told(tmp_path: Path) -> None:
    told = Both()
    with jf.load(run_dir=tmp_path / "runs", plugins=[told]) as kernel:
        end = time.monotonic() + 60.0
        future = kernel.submit(wait_for, tmp_path / "go")
        while not any(one.state is jf.TaskState.SUBMITTED for one in told.changes):
            assert time.monotonic() < end
            time.sleep(0.01)
        (tmp_path / "go").touch()
        future.result()

    assert told.changes[-1].state is jf.TaskState.SUCCEEDED
    assert {one.executor for one in told.changes[-2:]} == {"threads"}


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)
