"""The numbers are those of the tasks, whatever was told, and in whatever batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import Summary, TaskState
from jackfield.events import Batch, Load, Running, TaskChange
from jackfield.states import FINAL
from jackfield_monitoring.progress.counts import RATE_S, Counts

APPS = ["align", "merge", "sort"]
LIVE = [state for state in TaskState if state not in FINAL]


def change(
    task: int, state: TaskState, app: str = "align", executor: str | None = None
) -> TaskChange:
    error = "ValueError: bad" if state is TaskState.FAILED else None
    return TaskChange(task, app, "python", state, executor, error)


def take(counts: Counts, *changes: TaskChange, now: float = 0.0, lost: int = 0) -> None:
    counts.take(Batch(now, now, changes=changes, lost=lost))


@st.composite
def histories(draw: st.DrawFn) -> list[list[TaskChange]]:
    """Tasks in any state, told any number of times, in batches of any size."""
    told: list[TaskChange] = []
    for task in range(draw(st.integers(0, 30))):
        app = draw(st.sampled_from(APPS))
        states = draw(st.lists(st.sampled_from(LIVE), max_size=4))
        states += draw(st.lists(st.sampled_from(sorted(FINAL, key=str)), max_size=1))
        for state in states:
            label = draw(st.sampled_from([None, "cpu", "gpu"]))
            told.append(change(task, state, app, label))
    order = draw(st.permutations(range(len(told))))
    # The changes of one task stay in their order; those of others come in between.
    queues: dict[int, list[TaskChange]] = {}
    for one in told:
        queues.setdefault(one.task, []).append(one)
    mixed = [queues[told[at].task].pop(0) for at in order]
    size = draw(st.integers(1, 10))
    return [mixed[at : at + size] for at in range(0, len(mixed), size)]


@given(histories(), st.integers(0, 8))
def test_numbers_are_those_of_the_tasks(
    batches: list[list[TaskChange]], workers: int
) -> None:
    counts = Counts()
    counts.take(Batch(0, 0, loads=[Load("cpu", workers, 0), Load("gpu", workers, 0)]))
    for batch in batches:
        take(counts, *batch)

    last = {one.task: one for batch in batches for one in batch}
    for app in counts.busiest(len(APPS), now=1.0):
        states = Counter(one.state for one in last.values() if one.app == app.name)
        assert app.total == states.total()
        assert app.memoized == states[TaskState.MEMOIZED]
        assert app.done == states[TaskState.SUCCEEDED] + app.memoized
        assert app.failed == states[TaskState.FAILED]
        assert app.dependency_failed == states[TaskState.DEPENDENCY_FAILED]
        assert app.cancelled == states[TaskState.CANCELLED]
    whole = Counter(one.state for one in last.values())
    assert counts.whole.total == len(last)
    assert counts.whole.left == sum(whole[state] for state in LIVE)
    handed = Counter(
        one.executor for one in last.values() if one.state is TaskState.SUBMITTED
    )
    runs = sum(min(workers, handed[label]) for label in ("cpu", "gpu"))
    assert counts.running().total() == runs
    assert len(counts) == len({one.app for one in last.values()})


def test_apps_stand_in_the_order_of_their_first_tasks() -> None:
    counts = Counts()
    take(
        counts,
        change(1, TaskState.WAITING, "merge"),  # the one that goes on is told first
        change(2, TaskState.SUCCEEDED, "align"),
        change(0, TaskState.SUCCEEDED, "align"),
    )
    take(counts, change(3, TaskState.WAITING, "sort"))

    names = [app.name for app in counts.busiest(3, now=1.0)]
    assert names == ["align", "merge", "sort"]


def test_the_first_tasks_of_an_executor_run() -> None:
    counts = Counts()
    counts.take(Batch(0, 0, loads=[Load("cpu", 2, 4)]))
    for task, app in enumerate(["align", "align", "merge", "merge"]):
        take(counts, change(task, TaskState.SUBMITTED, app, "cpu"))

    assert counts.running() == {"align": 2}
    take(counts, change(0, TaskState.SUCCEEDED))
    assert counts.running() == {"align": 1, "merge": 1}


def test_what_runs_longest_is_told_until_it_ends() -> None:
    counts = Counts()
    for task in range(4):
        take(counts, change(task, TaskState.SUBMITTED, executor="cpu"))
    running = [
        Running(task, 1, "align", f"cpu-{task}", "h", 1, began)
        for task, began in enumerate([50.0, 20.0, None, 99.0])
    ]
    counts.take(
        Batch(0, 0, loads=[Load("cpu", 4, 4, running=running), Load("gpu", 1, 0)])
    )

    assert [one.task for one in counts.longest(100.0, 10.0)] == [1, 0]
    take(counts, change(1, TaskState.SUCCEEDED))
    assert [one.task for one in counts.longest(100.0, 10.0)] == [0]
    counts.take(Batch(0, 0, loads=[Load("cpu", 4, 0), Load("gpu", 1, 0)]))
    assert counts.longest(100.0, 10.0) == []


def test_totals_are_right_although_records_were_lost() -> None:
    counts = Counts()
    told = {TaskState.SUCCEEDED: 7, TaskState.MEMOIZED: 2, TaskState.SUBMITTED: 1}
    counts.know(lambda: Summary(told, (), 0, 1.0, Path(), {}))
    take(counts, change(0, TaskState.SUCCEEDED))
    before = counts.totals()
    take(counts, lost=9)
    after = counts.totals()

    assert (before.done, before.total) == (1, 1)
    assert (after.done, after.memoized, after.total, after.left) == (9, 2, 10, 1)


def test_until_it_is_known_how_many_workers_there_are_none_runs() -> None:
    counts = Counts()
    take(counts, change(0, TaskState.SUBMITTED, executor="cpu"))

    assert counts.running().total() == 0


@pytest.mark.parametrize("kind", ["transfer", "internal"])
def test_the_kernels_own_tasks_are_not_counted(kind: str) -> None:
    counts = Counts()
    take(counts, change(0, TaskState.FAILED)._replace(kind=kind))

    assert (len(counts), counts.whole.total, counts.newest) == (0, 0, None)


def test_the_newest_failure_is_kept() -> None:
    counts = Counts()
    take(counts, change(1, TaskState.FAILED), change(2, TaskState.FAILED, "merge"))
    take(counts, change(3, TaskState.CANCELLED), change(4, TaskState.SUCCEEDED))

    assert counts.newest == (2, "merge", "ValueError: bad")


def test_what_was_lost_is_summed() -> None:
    counts = Counts()
    take(counts, lost=3)
    take(counts, lost=4)

    assert counts.lost == 7


def test_a_steady_rate_is_measured_from_the_beginning() -> None:
    counts = Counts()
    take(counts, *(change(task, TaskState.WAITING) for task in range(1000)))
    for second in range(1, 61):
        ended = range(10 * second, 10 * second + 10)
        take(counts, *(change(one, TaskState.SUCCEEDED) for one in ended), now=second)
        assert counts.whole.rate(second) == pytest.approx(10.0, rel=0.06)

    left = counts.whole.seconds_left(60.0)
    assert left == pytest.approx(40.0, rel=0.06)
    assert counts.whole.rate(60.0 + 5 * RATE_S) < 0.1  # nothing ends any more


def test_what_is_left_is_told_only_when_it_is_known() -> None:
    counts = Counts()
    take(counts, *(change(task, TaskState.WAITING) for task in range(100)))
    align = counts.whole
    assert align.seconds_left(10.0) is None  # nothing has ended
    take(counts, *(change(task, TaskState.SUCCEEDED) for task in range(50)), now=10.0)
    assert align.seconds_left(10.0) is not None
    take(counts, change(1000, TaskState.WAITING), now=11.0)
    assert align.seconds_left(12.0) is None  # more may come
    assert align.seconds_left(14.5) is not None
    rest = [*range(50, 100), 1000]
    take(counts, *(change(task, TaskState.SUCCEEDED) for task in rest), now=15.0)
    assert align.seconds_left(30.0) is None  # nothing is left


def test_the_busiest_apps_are_chosen_and_stay_for_a_second() -> None:
    counts = Counts()
    for number in range(500):
        tasks = range(number * 1000, number * 1000 + 1 + number % 250)
        changes = (change(task, TaskState.WAITING, f"app{number}") for task in tasks)
        take(counts, *changes)

    def names(now: float) -> list[str]:
        return [app.name for app in counts.busiest(3, now)]

    first = names(1.0)
    assert set(first) <= {"app249", "app499", "app248", "app498"}
    assert {"app249", "app499"} <= set(first)
    new = (change(10**9 + task, TaskState.WAITING, "late") for task in range(900))
    take(counts, *new)
    assert names(1.9) == first
    assert "late" in names(2.1)


def test_what_has_failed_comes_before_what_has_ended_well() -> None:
    counts = Counts()
    for number in range(20):
        take(counts, change(number, TaskState.SUCCEEDED, f"app{number}"))
    take(counts, change(100, TaskState.FAILED, "bad"))

    assert "bad" in [app.name for app in counts.busiest(2, now=0.0)]
