"""A run's history says what observers were told, and its parts agree."""

from __future__ import annotations

import sqlite3
from collections import Counter
from itertools import pairwise
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from jackfield import TaskState, TransferEvent
from jackfield.events import (
    AttemptRecord,
    Batch,
    Failure,
    Load,
    Place,
    Running,
    TaskRecord,
    WorkerEvent,
)
from jackfield_monitoring.store.bulk import RUNNING, read_bulk
from jackfield_monitoring.store.made_up import MadeUp
from jackfield_monitoring.store.reader import Store
from jackfield_monitoring.store.schema import FILE_NAME, INDEX_OF_STATE
from jackfield_monitoring.store.writer import RunRow, Writer

RUN = RunRow(
    "a" * 32, "/runs/000", 1_000_000, 0, "host", "ada", 1, "3", "0", "[]", "/"
)  # fmt: skip

TASK = TaskRecord(
    0, "fit", "python", "", "fit(1)", TaskState.SUBMITTED, 1, 1.0, None, None, (),
    "cpu", "off", None, "", None, None, None,
)  # fmt: skip


def us(seconds: float) -> int:
    return int(seconds * 1e6)


def written(path: Path, *batches: Batch) -> Store:
    writer = Writer(path, RUN)
    for batch in batches:
        writer.write([batch])
    writer.close()
    return Store(path)


@pytest.fixture(params=[0.0, 0.05, 1.0], ids=["none fails", "some fail", "all fail"])
def made_up(request: pytest.FixtureRequest) -> MadeUp:
    return MadeUp(tasks=3_000, workers=7, apps=6, failed=request.param, unfinished=20)


def test_each_task_is_as_it_was_told_last(made_up: MadeUp, tmp_path: Path) -> None:
    made_up.write(tmp_path / FILE_NAME)
    told = {task.task: task for batch in made_up.batches() for task in batch.tasks}

    with Store(tmp_path) as store:
        tasks = store.tasks(limit=10_000)
        groups = {group.id: group for group in store.failures(10_000)}

    assert [task.id for task in tasks] == sorted(told)
    for task in tasks:
        record = told[task.id]
        assert task[1:9] == (
            record.app, record.kind, record.state, record.attempts, record.parent,
            record.label, record.call, us(record.submitted),
        )  # fmt: skip
        assert task.ended == (None if record.ended is None else us(record.ended))
        assert task[10:16] == (
            record.executor, record.memo, record.key, record.refusal, record.stdout,
            record.stderr,
        )  # fmt: skip
        assert (task.error is None) is (record.failure is None)
        if record.failure is not None and task.error is not None:
            assert groups[task.error].kind == record.failure.kind
            assert task.origin == record.failure.origin


def test_each_attempt_is_as_it_was_told(made_up: MadeUp, tmp_path: Path) -> None:
    made_up.write(tmp_path / FILE_NAME)
    told = [one for batch in made_up.batches() for one in batch.attempts]

    with Store(tmp_path) as store:
        pages = [store.task(number) for number in {one.task for one in told}]
    found = {(one.task, one.n): one for page in pages if page for one in page.attempts}

    assert len(found) == len(told)
    for record in told:
        attempt, place = found[record.task, record.attempt], record.place
        assert place is not None
        assert place.memory == attempt.memory
        assert (attempt.executor, attempt.worker) == (record.executor, place.worker)
        assert (attempt.host, attempt.pid) == (place.host, place.pid)
        assert attempt.launched == us(record.launched)
        assert attempt.reported == us(record.reported)
        assert (attempt.began, attempt.ended) == (us(place.began), us(place.ended))
        failed = record.failure is not None
        assert (attempt.state is TaskState.FAILED) is failed
        assert (attempt.error is not None) is failed


def test_the_tally_equals_a_count_of_all_tasks(made_up: MadeUp, tmp_path: Path) -> None:
    made_up.write(tmp_path / FILE_NAME)

    assert_totals_agree(tmp_path / FILE_NAME)


def assert_totals_agree(path: Path) -> None:
    """Compare what is kept in sum with what a look at each row finds."""
    connection = sqlite3.connect(path)
    try:
        kept = {
            (app, state): n
            for app, state, n in connection.execute("SELECT app, state, n FROM tally")
            if n
        }
        counted = {
            (app, state): n
            for app, state, n in connection.execute(
                "SELECT app, state, count(*) FROM task GROUP BY 1, 2"
            )
        }
        busy = {
            (app, state): us
            for app, state, us in connection.execute(
                "SELECT app, state, busy FROM tally WHERE busy > 0"
            )
        }
        summed = {
            (app, state): us
            for app, state, us in connection.execute(
                "SELECT app, state, sum(coalesce(ended - began, reported - launched)) "
                "FROM attempt WHERE app IS NOT NULL GROUP BY 1, 2"
            )
            if us
        }
        errors = connection.execute("SELECT id, n, attempts FROM error ORDER BY 1")
        failed = [
            (
                error,
                *connection.execute(
                    "SELECT count(*) FROM task WHERE error = ?", (error,)
                ).fetchone(),
                *connection.execute(
                    "SELECT count(*) FROM attempt WHERE error = ?", (error,)
                ).fetchone(),
            )
            for (error,) in connection.execute("SELECT id FROM error ORDER BY 1")
        ]
        spread = connection.execute("SELECT coalesce(sum(n), 0) FROM spread").fetchone()
        attempts = connection.execute(
            "SELECT count(*) FROM attempt WHERE app IS NOT NULL"
        ).fetchone()
        assert kept == counted
        assert busy == summed
        assert errors.fetchall() == failed
        assert spread == attempts
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


def test_no_two_bars_of_a_worker_overlap(made_up: MadeUp, tmp_path: Path) -> None:
    made_up.write(tmp_path / FILE_NAME)

    with Store(tmp_path) as store:
        bars = read_bulk(store).attempts

    rows = sorted(zip(bars["worker"], bars["began"], bars["ended"], strict=True))
    for before, after in pairwise(rows):
        assert before[0] != after[0] or before[2] <= after[1]
    failed = [
        one for batch in made_up.batches() for one in batch.attempts if one.failure
    ]
    assert Counter(bars["state"])[INDEX_OF_STATE[TaskState.FAILED]] == len(failed)
    assert Counter(bars["state"])[RUNNING] == 7


def test_a_reader_sees_that_something_was_written(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    batches = list(MadeUp(tasks=6_000, workers=5).batches())
    writer = Writer(path, RUN)
    writer.write(batches[:2])
    with Store(path) as store:
        first, version = len(read_bulk(store).tasks["id"]), store.data_version()
        assert store.data_version() == version
        writer.write(batches[2:])
        assert store.data_version() != version
        assert len(read_bulk(store).tasks["id"]) > first
    writer.close()


def test_the_matrix_counts_tasks_and_tells_how_long_they_took(tmp_path: Path) -> None:
    made = MadeUp(tasks=4_000, workers=16, apps=3, failed=0.1)
    made.write(tmp_path / FILE_NAME)
    took: dict[tuple[str, bool], list[int]] = {}
    apps = {task.task: task.app for batch in made.batches() for task in batch.tasks}
    for batch in made.batches():
        for one in batch.attempts:
            assert one.place is not None
            key = apps[one.task], one.failure is not None
            took.setdefault(key, []).append(us(one.place.ended) - us(one.place.began))

    with Store(tmp_path) as store:
        names = {app.id: app.name for app in store.apps()}
        matrix, counts = store.matrix(), store.counts()

    per_state: Counter[TaskState] = Counter()
    for cell in matrix:
        per_state[cell.state] += cell.n
    assert per_state == counts
    for cell in matrix:
        if not cell.attempts:
            assert cell.p50 is None
            continue
        real = sorted(took[names[cell.app], cell.state is TaskState.FAILED])
        assert cell.attempts == len(real)
        assert cell.busy == sum(real)
        for told, share in ((cell.p50, 0.5), (cell.p90, 0.9), (cell.longest, 1.0)):
            at = max(0, round(share * len(real) + 0.499999) - 1)
            assert told == pytest.approx(real[at], rel=0.05)


def test_a_task_moves_through_its_states(tmp_path: Path) -> None:
    states = [
        TaskState.WAITING, TaskState.READY, TaskState.SUBMITTED, TaskState.FINISHING,
        TaskState.SUCCEEDED,
    ]  # fmt: skip
    path = tmp_path / "a.db"
    writer = Writer(path, RUN)
    for number, state in enumerate(states):
        record = TASK._replace(state=state, attempts=number)
        writer.write([Batch(0.0, float(number), tasks=[record])])
        with Store(path) as store:
            assert store.counts() == {state: 1}
            assert store.tasks()[0].state is state
    writer.close()

    assert_totals_agree(path)


def test_batches_that_are_written_together_count_each_task_once(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    writer = Writer(path, RUN)
    states = (TaskState.WAITING, TaskState.SUBMITTED, TaskState.SUCCEEDED)
    batches = [Batch(0.0, 1.0, tasks=[TASK._replace(state=one)]) for one in states]
    writer.write(batches)
    writer.close()

    with Store(path) as store:
        assert store.counts() == {TaskState.SUCCEEDED: 1}
    assert_totals_agree(path)


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 5),
                st.sampled_from(list(TaskState)),
                st.sampled_from(["", "no file /data/1", "no file /data/2", "other"]),
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=6,
    ),
    st.sets(st.integers(0, 5)),
)
def test_totals_agree_whatever_is_told_and_whatever_fails(
    tmp_path_factory: pytest.TempPathFactory,
    told: list[list[tuple[int, TaskState, str]]],
    fails: set[int],
) -> None:
    path = tmp_path_factory.mktemp("history") / "a.db"
    writer, now = Writer(path, RUN), 0.0
    waiting: list[Batch] = []
    ended: set[int] = set()
    said: dict[int, str] = {}
    for number, batch in enumerate(told):
        now += 1.0
        tasks, attempts = [], []
        for task, state, message in batch:
            if task in ended:  # a state that is final never changes
                continue
            failure = Failure("E", message) if message and state.final else None
            if failure is not None and state is not TaskState.DEPENDENCY_FAILED:
                said[task] = message
            if state.final:
                ended.add(task)
                attempts.append(
                    AttemptRecord(task, 1, "cpu", now, now + 0.5, None, failure, None)
                )
            tasks.append(
                TASK._replace(
                    task=task, app=f"app{task % 2}", state=state, failure=failure,
                    ended=now if state.final else None,
                )
            )  # fmt: skip
        waiting.append(Batch(0.0, now, tasks=tasks, attempts=attempts))
        if number in fails:
            other = sqlite3.connect(path)
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(sqlite3.OperationalError):
                writer.write(waiting)
            other.close()
        else:
            writer.write(waiting)
            waiting = []
    if waiting:
        writer.write(waiting)
    writer.close()

    assert_totals_agree(path)
    with Store(path) as store:
        pages = {task: store.task(task) for task in said}
    assert {
        t: None if page is None else page.said[0] for t, page in pages.items()
    } == said


# -- One thing at a time


def test_failures_that_look_alike_are_one_group(tmp_path: Path) -> None:
    tasks = [
        TASK._replace(
            task=number, state=TaskState.FAILED, ended=float(number),
            failure=Failure("OSError", f"no /data/{number}.csv at 0x{number}f", "tb"),
        )
        for number in range(1, 6)
    ]  # fmt: skip
    other = TASK._replace(
        task=9, state=TaskState.FAILED, ended=9.0, failure=Failure("KeyError", "'a'")
    )

    with written(tmp_path / "a.db", Batch(0.0, 9.0, tasks=[*tasks, other])) as store:
        groups = store.failures()
        in_group = store.tasks(error=groups[0].id)

    assert [group.tasks for group in groups] == [5, 1]
    first = groups[0]
    assert (first.kind, first.message) == ("OSError", "no /data/1.csv at 0x1f")
    assert first.shape == "no /… at 0x…"
    assert first.traceback == "tb"
    assert (first.first, first.newest) == (us(1), us(5))
    assert first.example is not None
    assert first.example.id == 1
    assert first.apps == ((1, 5),)
    assert [task.id for task in in_group] == [1, 2, 3, 4, 5]


def test_there_is_an_end_to_groups_of_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield_monitoring.store.rows.GROUPS_MOST", 3)
    words = ["one", "two", "three", "four", "five"]
    tasks = [
        TASK._replace(
            task=number, state=TaskState.FAILED, ended=1.0, failure=Failure("E", word)
        )
        for number, word in enumerate(words)
    ]

    with written(tmp_path / "a.db", Batch(0.0, 1.0, tasks=tasks)) as store:
        groups = store.failures()
        pages = [store.task(number) for number in range(5)]

    assert [page.said[0] if page else "" for page in pages] == words
    assert sorted(group.tasks for group in groups) == [1, 1, 1, 2]
    assert "more kinds" in groups[0].message
    assert_totals_agree(tmp_path / "a.db")


def test_pages_of_tasks(tmp_path: Path) -> None:
    tasks = [
        TASK._replace(task=number, depends_on=tuple(range(max(0, number - 1), number)))
        for number in range(1_000)
    ]
    inner = TASK._replace(task=1_000, app="other", parent=7)

    with written(tmp_path / "a.db", Batch(0.0, 1.0, tasks=[*tasks, inner])) as store:
        page = store.task(7)
        second = store.tasks(after=99, limit=50)
        of_app = store.tasks(app=2)
        nobody = store.task(5_000)

    assert page is not None
    assert [one.id for one in page.depends_on] == [6]
    assert [one.id for one in page.dependents] == [8]
    assert [one.id for one in page.children] == [1_000]
    assert [task.id for task in second] == list(range(100, 150))
    assert [task.id for task in of_app] == [1_000]
    assert nobody is None


def test_workers_transfers_loads_and_gaps(tmp_path: Path) -> None:
    transfer = TransferEvent(
        3, "https://host/a", "in", "started", 1, 0, None, 0.0, None, 0.0, 1.0, None, 5
    )  # fmt: skip
    done = transfer._replace(
        stage="done", attempt=2, moved=7, size=7, verified="etag", monotonic=2.5
    )
    first = Batch(
        0.0, 2.0,
        tasks=[TASK._replace(task=6, depends_on=(5,))],
        workers=[WorkerEvent("cpu", "cpu-0", "h", 9, True, "", 1.0)],
        transfers=[transfer],
        loads=[Load("cpu", 4, 2), Load("_internal", 1, 0)],
        app_edges={("a", "b"): 2},
    )  # fmt: skip
    second = first._replace(
        monotonic=3.0,
        workers=[WorkerEvent("cpu", "cpu-0", "h", 9, False, "It was killed.", 2.75)],
        transfers=[done], lost=12,
    )  # fmt: skip

    with written(tmp_path / "a.db", first, second) as store:
        workers, transfers = store.workers(), store.transfers()
        executors = {one.id: one for one in store.executors()}
        samples, gaps, edges = store.samples(), store.gaps(), store.app_edges()
        page = store.task(6)
        apps = {app.id: app.name for app in store.apps()}

    assert [one[2:] for one in workers] == [
        ("cpu-0", "h", 9, us(1), us(2.75), "It was killed.")
    ]
    assert executors[workers[0].executor].label == "cpu"
    assert [tuple(one) for one in transfers] == [
        (3, 5, "https://host/a", "in", "done", 2, 7, 7, us(1), us(2.5), "etag", None)
    ]
    assert page is not None
    assert page.transfers == tuple(transfers)
    told = {(one.t, executors[one.executor].label): one[2:] for one in samples}
    assert told == {
        (us(2), "cpu"): (4, 2), (us(3), "cpu"): (4, 2),
        (us(2), "_internal"): (1, 0), (us(3), "_internal"): (1, 0),
    }  # fmt: skip
    assert [(gap.t, gap.lost) for gap in gaps] == [(us(3), 12)]
    assert [(apps[edge.parent], apps[edge.child], edge.n) for edge in edges] == [
        ("a", "b", 4)
    ]


def test_one_name_in_two_processes_is_two_workers(tmp_path: Path) -> None:
    attempts = [
        AttemptRecord(n, 1, "cpu", 0.0, n + 1.0, Place("cpu-0", "h", pid, n, n + 1.0),
                      None, None)
        for n, pid in enumerate([100, 100, 200])
    ]  # fmt: skip

    with written(tmp_path / "a.db", Batch(0.0, 3.0, attempts=attempts)) as store:
        workers, bars = store.workers(), read_bulk(store).attempts

    assert [(one.pid, one.began) for one in workers] == [(100, 0), (200, us(2))]
    assert list(bars["worker"]) == [1, 1, 2]


def test_what_runs_is_told_until_it_has_ended(tmp_path: Path) -> None:
    started = [TASK._replace(task=number) for number in range(4)]
    runs = [
        Running(2, 1, "fit", "cpu-1", "h", 9, 3.0),
        Running(0, 1, "fit", "cpu-0", "h", 8, 2.0),
        Running(3, 1, "fit", "", "", 0, None),
    ]
    first = Batch(0.0, 4.0, tasks=started, loads=[Load("cpu", 4, 4, running=runs)])
    ended = AttemptRecord(
        0, 1, "cpu", 1.0, 4.5, Place("cpu-0", "h", 8, 2.0, 4.5), None, None
    )
    second = Batch(0.0, 5.0, attempts=[ended])
    path = tmp_path / "a.db"
    writer = Writer(path, RUN)
    writer.write([first])
    with Store(path) as store:
        told = store.running()
        writer.write([second])
        later, bars = store.running(), read_bulk(store).attempts
        writer.write([Batch(0.0, 6.0, loads=[Load("cpu", 4, 0)])])
        none = store.running()
        writer.write([first])
        writer.end("done", us(7), [])
        over = store.running()

    assert [one[:4] for one in told] == [
        (0, 1, "fit", 1), (2, 1, "fit", 1), (3, 1, "fit", 1)
    ]  # fmt: skip
    assert [one[5:] for one in told] == [
        ("cpu-0", us(2), us(4)), ("cpu-1", us(3), us(4)), (None, None, us(4))
    ]  # fmt: skip
    assert [one.task for one in later] == [2, 3]
    assert list(bars["task"]) == [0, 2, 3]
    assert list(bars["state"]) == [
        INDEX_OF_STATE[TaskState.SUCCEEDED],
        RUNNING,
        RUNNING,
    ]
    assert list(bars["began"]) == [us(2), us(3), us(4)]
    assert list(bars["ended"]) == [us(4.5), us(4), us(4)]
    assert none == []
    assert over == []
