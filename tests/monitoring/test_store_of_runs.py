"""The histories of real runs agree with what their futures say."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield import TaskState
from jackfield_monitoring.store.bulk import read_bulk
from jackfield_monitoring.store.reader import Store, StoreError
from jackfield_monitoring.store.schema import FILE_NAME
from jackfield_testing.footprint import settled

LIMIT_S = 60.0
SECRET = "hunter2-canary"


@jf.python_app
def add(*numbers: int) -> int:
    return sum(numbers)


@jf.python_app(retries=1)
def fail(number: int) -> int:
    raise ValueError(f"{number} is no good in /data/{number}")


@jf.python_app(cache=True)
def cached(number: int) -> int:
    return number


@jf.join_app
def many(count: int) -> list[Any]:
    return [add(number) for number in range(count)]


@jf.bash_app
def echo(text: str) -> str:
    return f"echo {text}"


@jf.python_app
def wait_for(path: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@jf.python_app
def log_in(user: str, password: str = "") -> None:
    raise PermissionError(f"{user} may not, password={password!r}")


def config(tmp_path: Path, **more: Any) -> jf.Config:
    return jf.Config(
        run_dir=tmp_path / "runs", monitors={"db": {"plugin": "sqlite"}}, **more
    )


def random_tasks(seed: int, count: int) -> list[Any]:
    """Submit tasks of all sorts that depend on each other."""
    chance = random.Random(seed)
    futures: list[Any] = []
    numbers: list[Any] = []
    for number in range(count):
        kind = chance.random()
        some = chance.sample(numbers, min(len(numbers), chance.randrange(3)))
        future: Any
        if kind < 0.6:
            future = add(number, *some)
        elif kind < 0.7:
            future = fail(number)
        elif kind < 0.85:
            future = cached(number % 5)
        elif kind < 0.95:
            future = many(3)
        else:
            future = echo(f"{number}")
        if not 0.85 <= kind < 0.95:  # what a join gives is a list
            numbers.append(future)
        futures.append(future)
    for one in chance.sample(futures, count // 20):
        one.cancel()
    return futures


EXECUTORS = {
    "threads": {"threads": {"plugin": "threads", "workers": 4}},
    "processes": {"processes": {"plugin": "processes", "workers": 2}},
}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("seed", range(3))
def test_a_history_agrees_with_the_futures(
    executor: str, seed: int, tmp_path: Path
) -> None:
    chosen = config(tmp_path, executors=EXECUTORS[executor])
    with jf.load(chosen) as kernel:
        futures = random_tasks(seed, 150)
        for future in futures:
            if not future.cancelled():
                future.exception(LIMIT_S)
    summary = kernel.summary()

    with Store(kernel.run_dir) as store:
        counts, run = store.counts(), store.run()
        pages = {future.tid: store.task(future.tid) for future in futures}
        tasks = store.tasks(limit=100_000)
        bars = read_bulk(store).attempts
        gaps = store.gaps()
    assert gaps == []
    assert run.state == "failed"
    assert run.uuid == json.loads((kernel.run_dir / "run.json").read_text())["id"]
    for future in futures:
        page = pages[future.tid]
        assert page is not None
        error = None if future.cancelled() else future.exception(0)
        if future.cancelled():
            assert page.task.state is TaskState.CANCELLED
        elif error is None:
            assert page.task.state in (TaskState.SUCCEEDED, TaskState.MEMOIZED)
        elif isinstance(error, jf.DependencyError):
            assert page.task.state is TaskState.DEPENDENCY_FAILED
            assert page.task.origin is not None
        else:
            assert page.task.state is TaskState.FAILED
            assert page.failures[0].kind == type(error).__name__
            assert [one.retry_in is None for one in page.attempts] == [False, True]
    told: Counter[TaskState] = Counter(task.state for task in tasks)
    assert {state: n for state, n in summary.counts.items() if n} == {
        state: n for state, n in (told - _own(summary)).items() if n
    }
    assert counts == told
    rows = sorted(zip(bars["worker"], bars["began"], bars["ended"], strict=True))
    for before, after in pairwise(rows):
        assert after[0] < 0 or before[0] != after[0] or before[2] <= after[1]
    assert_totals_agree(kernel.run_dir / FILE_NAME)


@pytest.mark.parametrize("executor", list(EXECUTORS))
def test_what_runs_is_seen_from_outside_until_it_has_ended(
    executor: str, tmp_path: Path
) -> None:
    with jf.load(config(tmp_path, executors=EXECUTORS[executor])) as kernel:
        waiting = wait_for(str(tmp_path / "go"))
        history = kernel.run_dir / FILE_NAME
        # It has its name before there is anything in it.
        assert settled(lambda: history.exists() and history.stat().st_size > 0, LIMIT_S)
        with Store(history) as store:
            # A process may have the task, and be importing what its function needs.
            assert settled(lambda: any(one.began for one in store.running()), LIMIT_S)
            (told,) = store.running()
            (tmp_path / "go").touch()
            waiting.result(LIMIT_S)
            assert settled(lambda: not store.running(), LIMIT_S)
            page = store.task(waiting.tid)

    assert (told.task, told.n, told.app) == (waiting.tid, 1, "wait_for")
    assert page is not None
    (attempt,) = page.attempts
    assert told.name == attempt.worker
    assert told.began == attempt.began


def _own(summary: jf.Summary) -> Counter[TaskState]:
    return Counter({state: n for state, n in summary.own.items() if n})


def assert_totals_agree(path: Path) -> None:
    connection = sqlite3.connect(path)
    kept = "SELECT app, state, n FROM tally WHERE n > 0 ORDER BY 1, 2"
    counted = "SELECT app, state, count(*) FROM task GROUP BY 1, 2 ORDER BY 1, 2"
    busy = "SELECT app, state, busy FROM tally WHERE busy > 0 ORDER BY 1, 2"
    summed = (
        "SELECT app, state, sum(coalesce(ended - began, reported - launched)) AS us "
        # No time is made up for one that was cancelled while it waited for a worker.
        "FROM attempt WHERE app IS NOT NULL AND NOT (state = 9 AND began IS NULL) "
        "GROUP BY 1, 2 HAVING us > 0 ORDER BY 1, 2"
    )
    try:
        for one, other in ((kept, counted), (busy, summed)):
            assert (
                connection.execute(one).fetchall()
                == connection.execute(other).fetchall()
            )
    finally:
        connection.close()


def test_dependencies_and_the_children_of_a_join(tmp_path: Path) -> None:
    with jf.load(config(tmp_path)) as kernel:
        first = add(1)
        second = add(first, 2)
        join = many(3)
        second.result(LIMIT_S)
        join.result(LIMIT_S)

    with Store(kernel.run_dir) as store:
        page, joined = store.task(second.tid), store.task(join.tid)
        edges = {(one.parent, one.child): one.n for one in store.app_edges()}
        apps = {one.name: one.id for one in store.apps()}
    assert page is not None
    assert joined is not None
    assert [one.id for one in page.depends_on] == [first.tid]
    assert len(joined.children) == 3
    assert edges[apps["add"], apps["add"]] == 1


def test_a_history_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    gate = threading.Event()
    with jf.load(config(tmp_path)) as kernel:
        held = kernel.submit(gate.wait, LIMIT_S)
        add(1).result(LIMIT_S)
        deadline = threading.Event()
        counts: dict[TaskState, int] = {}
        for _ in range(600):
            # Until its first batch is written, a history has not begun.
            with suppress(StoreError), Store(kernel.run_dir) as store:
                counts, state = store.counts(), store.run().state
                if counts.get(TaskState.SUBMITTED) and counts.get(TaskState.SUCCEEDED):
                    break
            deadline.wait(0.1)
        gate.set()
        held.result(LIMIT_S)

    assert counts == {TaskState.SUBMITTED: 1, TaskState.SUCCEEDED: 1}
    assert state == "running"


def test_two_kernels_in_one_process_have_two_histories(tmp_path: Path) -> None:
    kernels = [jf.DataFlowKernel(config(tmp_path)) for _ in range(2)]
    for number, kernel in enumerate(kernels):
        for _ in range(number + 1):
            kernel.submit(int, 1)
    for kernel in kernels:
        kernel.cleanup()

    totals = []
    for kernel in kernels:
        with Store(kernel.run_dir) as store:
            totals.append(sum(store.counts().values()))
    assert totals == [1, 2]


def test_secrets_of_calls_and_errors_are_not_in_it(tmp_path: Path) -> None:
    with jf.load(config(tmp_path)) as kernel:
        log_in("ada", password=SECRET).exception(LIMIT_S)
        kernel.submit(str, f"https://ada:{SECRET}@host/x?token={SECRET}").result(
            LIMIT_S
        )
        echo(f"--token={SECRET}").result(LIMIT_S)

    content = (kernel.run_dir / FILE_NAME).read_bytes()
    assert b"log_in" in content
    assert SECRET.encode() not in content


KILLED = """
import sys, time
import jackfield as jf

@jf.python_app
def add(number):
    return number

with jf.load(jf.Config(run_dir=sys.argv[1], monitors={"db": {"plugin": "sqlite"}})):
    for number in range(1_000_000):
        add(number).result()
        if number % 50 == 0:
            print(number, time.monotonic(), flush=True)
"""


def test_a_killed_run_lacks_a_moment_at_most(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        seen: list[tuple[int, float]] = []
        while len(seen) < 40 or seen[-1][1] - seen[0][1] < 2.5:
            number, when = program.stdout.readline().split()
            seen.append((int(number), float(when)))
        program.send_signal(signal.SIGKILL)
        program.stdout.read()

    with Store(tmp_path / "000") as store:
        tasks = {task.id for task in store.tasks(limit=1_000_000)}
        assert store.run().ended is None
        beat = store.run().beat / 1e6
    # Batches come ten times a second. On a machine that is busy one may be late, but
    # what was told before the last one that came is there.
    old = {number for number, when in seen if when < beat - 1.0}
    assert old
    assert tasks >= old
    assert seen[-1][1] - beat < LIMIT_S / 2
