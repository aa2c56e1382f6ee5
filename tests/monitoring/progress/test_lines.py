"""What the lines say, and that they fit, whatever the names are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from jackfield import TaskState
from jackfield.events import Batch, Load, Running, TaskChange
from jackfield_monitoring.progress.counts import Counts
from jackfield_monitoring.progress.lines import (
    Look,
    clipped,
    duration,
    lines,
    sentence,
    width_of,
)

HOSTILE = [
    "<script>",
    "\x1b[2J\x1b]0;title\x07",
    "two\nlines\r\tand more",
    "right \u202e left",
    "NUL \0",
    "\udc80 surrogate",
    "x" * 1_000_000,
    "",
    "日本語の名前はとても長いことがあるかもしれません",
    "e\u0301" * 40,
]


def run(**apps: tuple[int, int, int, int, int]) -> Counts:
    """Apps: how many tasks are in each of the states below."""
    counts, task = Counts(), 0
    counts.take(Batch(0, 0, loads=[Load("cpu", 8, 0)]))
    states = [
        TaskState.SUCCEEDED,
        TaskState.MEMOIZED,
        TaskState.FAILED,
        TaskState.CANCELLED,
        TaskState.SUBMITTED,
    ]
    for app, numbers in apps.items():
        for state, number in zip(states, numbers, strict=True):
            for _ in range(number):
                error = f"ValueError: in {app}" if state is TaskState.FAILED else None
                one = TaskChange(task, app, "python", state, "cpu", error)
                counts.take(Batch(0, 0, changes=[one]))
                task += 1
    return counts


def test_the_lines_of_a_run() -> None:
    counts = run(align=(80, 6, 3, 0, 1), call=(0, 0, 0, 2, 60), merge=(0, 0, 0, 0, 2))

    assert lines(counts, Look(100, 12), 65.0, 0.0) == [
        (
            "align  ━━━━━━━━━━━━━━━━━━━─  86/90  3 failed"
            "               1 running  6 memoized"
        ),
        "call   ────────────────────   0/62            2 cancelled  7 running",
        "merge  ────────────────────    0/2",
        (
            "1:05  86 of 154 done, 6 memoized, 3 failed, 2 cancelled, "
            "8 running, 55 waiting"
        ),
        "newest failure: task 88 (align): ValueError: in align",
    ]


def test_without_unicode() -> None:
    counts = run(align=(10, 0, 5, 0, 5))

    assert lines(counts, Look(60, 12, plain=True), 5.0, 0.0) == [
        "align  ##########xxxxx-----  10/20  5 failed  5 running",
        "0:05  10 of 20 done, 5 failed, 5 running",
        "newest failure: task 14 (align): ValueError: in align",
    ]


def test_in_colours() -> None:
    counts = run(align=(1, 0, 1, 0, 1))
    coloured = lines(counts, Look(60, 12, colours=True), 5.0, 0.0)

    assert "\x1b[31m1 failed\x1b[0m" in coloured[0]
    bare = [re.sub(r"\x1b\[\d+m", "", line) for line in coloured]
    assert bare == lines(counts, Look(60, 12), 5.0, 0.0)


def test_before_the_first_task() -> None:
    assert lines(Counts(), Look(), 3.0, 0.0) == ["0:03  no tasks yet"]
    assert sentence(Counts(), 3.0, 0.0) == "0:03  no tasks yet"


def test_lost_events_are_told() -> None:
    counts = run(align=(1, 0, 0, 0, 0))
    counts.take(Batch(0, 0, lost=1200))

    assert (
        sentence(counts, 1.0, 0.0) == "0:01  1 of 1 done (the apps lack 1,200 events)"
    )


def test_tasks_that_run_long_are_named() -> None:
    counts = run(align=(0, 0, 0, 0, 4))
    running = [
        Running(n, 1, "al\nign", f"cpu-{n}", "h", 1, began)
        for n, began in enumerate([0.0, 95.0, 30.0])
    ]
    counts.take(Batch(0, 0, loads=[Load("cpu", 8, 4, running=running)]))

    assert lines(counts, Look(60, 12), 100.0, 100.0)[-2:] == [
        "1:40  task 0 (al\\nign) on cpu-0",
        "1:10  task 2 (al\\nign) on cpu-2",
    ]
    assert len(lines(counts, Look(60, 2), 100.0, 100.0)) == 2


def test_an_executor_that_lacks_workers_says_why() -> None:
    counts = run(align=(1, 0, 0, 0, 4))
    why = "it has no worker yet:\njob 7 is pending (Priority)"
    idle = Load("idle", 0, 0, lacking="it has nothing to do either")
    counts.take(Batch(0, 0, loads=[Load("far", 0, 4, lacking=why), idle]))

    told = lines(counts, Look(80), 1.0, 0.0)

    assert told[-1].startswith("far: it has no worker yet:")
    assert "job 7 is pending (Priority)" in told[-1]
    assert "job 7 is pending (Priority)" in sentence(counts, 1.0, 0.0)
    assert "\n" not in told[-1] + sentence(counts, 1.0, 0.0)
    assert not any("nothing to do" in line for line in told)
    assert len(lines(counts, Look(80, 1), 1.0, 0.0)) == 1

    counts.take(Batch(0, 0, loads=[Load("far", 4, 4)]))
    assert not any("far:" in line for line in lines(counts, Look(80), 1.0, 0.0))


def test_columns_go_before_the_numbers_do() -> None:
    counts = run(align=(180, 16, 3, 0, 1))

    assert lines(counts, Look(41, 12), 1.0, 0.0)[0].split() == (
        ["align", "196/200", "3", "failed", "1", "running"]
    )
    assert lines(counts, Look(16, 12), 1.0, 0.0)[0].split() == ["align", "196/200"]


def test_the_run_needs_as_long_as_its_slowest_app() -> None:
    counts = Counts()

    def end(app: str, tasks: range, now: float) -> None:
        state = TaskState.SUCCEEDED if now else TaskState.WAITING
        changes = [TaskChange(n, app, "python", state, None, None) for n in tasks]
        counts.take(Batch(now, now, changes=changes))

    end("quick", range(1000), 0.0)
    end("slow", range(1000, 1100), 0.0)
    end("quick", range(1000), 10.0)
    end("slow", range(1000, 1010), 10.0)

    told = lines(counts, Look(100, 12), 10.0, 10.0)

    left = re.search(r"~(\d+:\d+) left", told[-1])
    assert left
    assert f"~{left[1]}" in told[1]
    assert left[1] in sentence(counts, 10.0, 10.0)
    assert "~0:00 left" in lines(counts, Look(100, 1), 10.0, 10.0)[0]  # no app is seen
    assert counts.whole.seconds_left(10.0) == pytest.approx(0.6, rel=0.2)


def test_rates_go_before_bars_do() -> None:
    counts = run(align=(80, 6, 3, 0, 9))
    now = 2.0  # and so there is a rate

    wide, narrow = (lines(counts, Look(n, 12), 1.0, now)[0] for n in (100, 56))

    assert "/s" in wide
    assert "/s" not in narrow
    assert "━" in wide
    assert "━" in narrow


def test_500_apps_have_the_lines_that_there_are() -> None:
    apps = {f"app{number}": (1, 0, 0, 0, number % 7) for number in range(500)}

    told = lines(run(**apps), Look(80, 10), 1.0, 0.0)

    assert len(told) == 10
    assert told[-2] == "and 492 more apps"
    assert told[-1].startswith("0:01  500 of")


def test_one_app_more_than_fits_is_shown_itself() -> None:
    apps = {f"app{number}": (1, 0, 0, 0, 1) for number in range(9)}

    told = lines(run(**apps), Look(80, 10), 1.0, 0.0)

    assert len(told) == 10
    assert told[8].startswith("app8")


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("plain", [False, True])
def test_hostile_names_only_look_odd(name: str, plain: bool) -> None:
    counts = run(**{name: (1, 0, 1, 0, 1), "other": (1, 0, 0, 0, 0)})

    for width in (80, 40, 12):
        told = lines(counts, Look(width, 12, plain=plain), 1.0, 0.0)
        for line in told:
            assert line.isprintable()
            assert line.isascii() or not plain
            assert 0 <= wcswidth(line) <= width
            line.encode()


@given(
    st.dictionaries(
        st.text(max_size=40), st.tuples(*[st.integers(0, 3)] * 5), max_size=6
    ),
    st.integers(1, 120),
    st.integers(0, 20),
)
def test_lines_fit(
    apps: dict[str, tuple[int, int, int, int, int]], width: int, height: int
) -> None:
    counts = run(**apps)

    for plain in (False, True):
        told = lines(counts, Look(width, height, plain=plain), 1.0, 0.0)
        assert len(told) <= max(1, height)
        assert all(line.isprintable() and width_of(line) <= width for line in told)


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("align", 5, "align"),
        ("align", 4, "ali…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
        ("align", 0, ""),
    ],
)
def test_texts_are_cut_by_columns(text: str, width: int, shown: str) -> None:
    assert clipped(text, width) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0:00"), (59.9, "0:59"), (60, "1:00"), (7207, "2:00:07")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
