"""Records of a run say what has happened: to tasks, attempts and workers."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.graph.task import task_of
from jackfield.stream import Notes, StreamContext
from jackfield_executors.threads import ThreadsExecutor
from jackfield_stream.records import CALLS, MadeOnUse
from jackfield_stream.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackfield.abc import ExecutorContext, Outcome
    from jackfield.events import (
        AttemptRecord,
        Batch,
        Load,
        Place,
        TaskRecord,
        WorkerEvent,
    )

LIMIT_S = 120.0
EXECUTORS = {
    "io": {"plugin": "threads", "workers": 3},
    "cpu": {"plugin": "processes", "workers": 2},
}


class History:
    """Keeps the newest record of each task and attempt, and all else."""

    def __init__(self) -> None:
        self.tasks: dict[int, TaskRecord] = {}
        self.attempts: dict[tuple[int, int], AttemptRecord] = {}
        self.workers: list[WorkerEvent] = []
        self.transfers: list[jf.TransferEvent] = []
        self.loads: list[Load] = []
        self.edges: Counter[tuple[str, str]] = Counter()
        self.lost = 0
        self.told: list[TaskRecord] = []
        self.changed = threading.Condition()

    @jf.hookimpl
    def jackfield_create_monitor(self) -> History:
        return self

    @jf.hookimpl
    def jackfield_run_events(self, batch: Batch) -> None:
        numbers = [record.task for record in batch.tasks]
        assert len(set(numbers)) == len(numbers)
        with self.changed:
            for record in batch.tasks:
                self.tasks[record.task] = record
            for attempt in batch.attempts:
                self.attempts[attempt.task, attempt.attempt] = attempt
            self.told += batch.tasks
            self.workers += batch.workers
            self.transfers += batch.transfers
            self.loads += batch.loads
            self.edges.update(batch.app_edges)
            self.lost += batch.lost
            assert abs(batch.wall - batch.monotonic) > 0
            self.changed.notify_all()

    def until(self, task: int, state: jf.TaskState) -> TaskRecord:
        """Wait until a task has been told in a state."""

        def there() -> bool:
            return task in self.tasks and self.tasks[task].state is state

        with self.changed:
            assert self.changed.wait_for(there, LIMIT_S)
            return self.tasks[task]


# -- what is in a record


@jf.python_app
def held(path: str) -> str:
    with Path(path).open() as pipe:  # until somebody opens the other end
        return pipe.read()


@jf.python_app
def failing(word: str, password: str = "") -> None:
    del password
    raise ValueError(f"no {word}\nand no more")


@jf.bash_app
def shell(command: str, stdout: str | None = None) -> str:
    return command


@jf.python_app(cache=True)
def square(number: int) -> int:
    return number * number


@jf.join_app
def squares(count: int) -> list[Any]:
    return [square(number) for number in range(count)]


def test_a_task_is_told_while_it_waits_runs_and_when_it_has_ended(
    tmp_path: Path,
) -> None:
    history, pipe = History(), tmp_path / "pipe"
    os.mkfifo(pipe)
    with jf.load(plugins=[history], run_dir=tmp_path, executors=EXECUTORS):
        first = held.options(executors=["io"])(str(pipe), label="one")
        second = jf.dfk().submit(len, first)
        waiting = history.until(second.tid, jf.TaskState.WAITING)
        running = history.until(first.tid, jf.TaskState.SUBMITTED)
        with history.changed:
            assert history.changed.wait_for(lambda: bool(history.loads), LIMIT_S)
        with pipe.open("w") as end:
            end.write("abc")
        assert second.result(LIMIT_S) == 3

    assert (waiting.depends_on, waiting.attempts) == ((first.tid,), 0)
    assert (running.label, running.attempts, running.ended) == ("one", 1, None)
    assert running.call.startswith("held(")
    last = history.tasks[first.tid]
    assert last.state is jf.TaskState.SUCCEEDED
    assert last.executor == "io"
    assert last.ended is not None
    assert last.submitted <= history.attempts[first.tid, 1].launched <= last.ended
    assert history.edges == {("held", "len"): 1}
    assert {load.executor for load in history.loads} >= {"io", "cpu"}
    assert any(load.unfinished for load in history.loads)


def test_a_failure_is_told_with_its_traceback_and_without_secrets(
    tmp_path: Path,
) -> None:
    history = History()
    with jf.load(plugins=[history], run_dir=tmp_path, retries=1, retry_delay=0.01):
        bad = failing("luck", password="hunter2")
        after = square(bad)
        assert isinstance(after.exception(LIMIT_S), jf.DependencyError)

    record = history.tasks[bad.tid]
    assert record.failure is not None
    assert record.failure[:2] == ("ValueError", "no luck")
    assert 'raise ValueError(f"no {word}' in record.failure.traceback
    assert record.call == "failing('luck', password=***)"
    assert "hunter2" not in repr(history.tasks)
    doomed = history.tasks[after.tid]
    assert doomed.failure is not None
    assert (doomed.attempts, doomed.failure.origin) == (0, bad.tid)
    first, second = (history.attempts[bad.tid, n] for n in (1, 2))
    assert first.failure is not None
    assert first.failure.message == "no luck"
    assert first.retry_in is not None
    assert 0.01 <= first.retry_in <= 0.012
    assert second.retry_in is None


def test_streams_memo_and_parents_are_told(tmp_path: Path) -> None:
    history = History()
    with jf.load(plugins=[history], run_dir=tmp_path):
        said = shell("echo a; exit 3", stdout=str(tmp_path / "out"))
        assert said.exception(LIMIT_S) is not None
        joined = squares(3)
        assert joined.result(LIMIT_S) == [0, 1, 4]
        again = square(2)
        assert again.result(LIMIT_S) == 4

    bash = history.tasks[said.tid]
    assert (bash.kind, bash.stdout) == ("bash", str(tmp_path / "out"))
    assert bash.stderr is not None
    inner = [one for one in history.tasks.values() if one.parent == joined.tid]
    assert [one.memo for one in inner] == ["miss"] * 3
    hit = history.tasks[again.tid]
    assert (hit.memo, hit.state, hit.attempts) == ("hit", jf.TaskState.MEMOIZED, 0)
    assert hit.key is not None
    assert hit.key in {one.key for one in inner}
    assert history.tasks[joined.tid].kind == "join"
    attempt = history.attempts[joined.tid, 1]
    assert attempt.place is not None
    assert attempt.reported <= max(one.ended or 0 for one in inner)


def test_workers_are_told_when_they_come_and_go(tmp_path: Path) -> None:
    history = History()
    with jf.load(plugins=[history], run_dir=tmp_path, executors=EXECUTORS) as kernel:
        alive = [kernel.submit(os.getpid, executors=[one]) for one in EXECUTORS]
        pids = dict(zip(EXECUTORS, (one.result(LIMIT_S) for one in alive), strict=True))
        died = kernel.submit(os._exit, 3, executors=["cpu"])
        assert isinstance(died.exception(LIMIT_S), jf.WorkerDiedError)

    for executor in EXECUTORS:
        told = [one for one in history.workers if one.executor == executor]
        came = {one.worker: one for one in told if one.alive}
        gone = {one.worker: one for one in told if not one.alive}
        assert came.keys() == gone.keys()
        assert pids[executor] in {one.pid for one in came.values()}
        assert all(came[one].monotonic <= gone[one].monotonic for one in came)
    reasons = [one.reason for one in history.workers if one.reason]
    assert len(reasons) == 1
    assert "it exited with code 3" in reasons[0]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_resources_are_measured_where_a_monitor_asks(
    tmp_path: Path, executor: str
) -> None:
    history = History()
    eats = "import sys; x = b'a' * 60_000_000; sum(range(1_000_000))"
    with jf.load(
        plugins=[history],
        run_dir=tmp_path,
        executors=EXECUTORS,
        monitors={"all": {"plugin": "history", "resources": True}},
    ) as kernel:
        kernel.submit(sum, range(2_000_000), executors=[executor]).result(LIMIT_S)
        program = shell.options(executors=[executor])(f'python3 -c "{eats}"')
        assert program.result(LIMIT_S) == 0

    python, bash = (one.place for one in history.attempts.values())
    for place in (python, bash):
        assert place is not None
        assert place.cpu is not None
        assert place.cpu > 0.001
    assert python is not None
    assert python.memory is not None
    assert bash is not None
    # On threads this process may be the larger one: then the program's is not known.
    if executor == "cpu" or bash.memory is not None:
        assert 60_000_000 < (bash.memory or 0) < 200_000_000


def busy(seconds: float) -> float:
    """Take that much of this thread's processor time; return how much it was."""
    start = time.thread_time()
    while (took := time.thread_time() - start) < seconds:
        pass
    return took


@pytest.mark.parametrize("executor", EXECUTORS)
def test_short_tasks_and_waits_are_not_counted_as_the_work_of_others(
    tmp_path: Path, executor: str
) -> None:
    history = History()
    with jf.load(
        plugins=[history],
        run_dir=tmp_path,
        executors={"io": EXECUTORS["io"] | {"workers": 1}, "cpu": EXECUTORS["cpu"]},
        monitors={"all": {"plugin": "history", "resources": True}},
    ) as kernel:
        # Bursts of tasks that do nothing, with a long wait and some work in between: to
        # these the processor time of the many must not be added.
        waits, works, futures = [], [], []
        for _ in range(5):
            futures += [kernel.submit(int, executors=[executor]) for _ in range(400)]
            waits.append(kernel.submit(time.sleep, 0.02, executors=[executor]))
            futures += [kernel.submit(int, executors=[executor]) for _ in range(400)]
            works.append(kernel.submit(busy, 0.02, executors=[executor]))
        done = [one.result(LIMIT_S) for one in works]
        for future in waits + futures:
            future.result(LIMIT_S)

    def cpu(future: jf.AppFuture[Any]) -> float:
        place = history.attempts[future.tid, 1].place
        assert place is not None
        assert place.cpu is not None
        return place.cpu

    assert all(cpu(one) < 0.01 for one in waits)
    assert all(took <= cpu(one) + 0.0002 for one, took in zip(works, done, strict=True))
    assert min(map(cpu, works)) < 0.03  # and hardly more than that
    assert min(map(cpu, futures)) >= 0.0


class Shelf:
    """Moves files of a scheme of its own."""

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        return transfer.receive([b"content"])

    @jf.hookimpl
    def jackfield_stage_out(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        with transfer.open() as file:
            file.read()
        return jf.RemoteInfo()


@jf.python_app
def copied(file: jf.File, outputs: Sequence[jf.File]) -> None:
    Path(outputs[0]).write_bytes(Path(file).read_bytes())


def test_transfers_are_told_with_their_tasks(tmp_path: Path) -> None:
    history = History()
    with jf.load(plugins=[history, Shelf()], run_dir=tmp_path):
        made = copied(jf.File("shelf://h/in"), outputs=[jf.File("shelf://h/out")])
        made.result(LIMIT_S)

    by_way = {one.direction: one.task for one in history.transfers}
    assert by_way["in"] in history.tasks[made.tid].depends_on
    out = by_way["out"]
    assert out is not None
    assert history.tasks[out].parent == made.tid
    assert history.tasks[out].kind == "transfer"


# -- the whole truth


@jf.python_app
def combine(number: int, *values: object) -> int:
    if number % 7 == 3:
        raise ValueError(f"{number} is a bad one")
    return number


@jf.python_app
def second_time(directory: str, number: int, *values: object) -> int:
    """Fail once; another process may come the second time."""
    try:
        Path(directory, str(number)).mkdir()
    except FileExistsError:
        return number
    raise RuntimeError(f"{number} is tried again")


def make(rng: random.Random, number: int, before: list[Any], scratch: str) -> Any:
    """Call an app by chance, with futures of earlier calls."""
    inputs = rng.sample(before, min(len(before), rng.randrange(3)))
    executors = [rng.choice([*EXECUTORS])]
    match rng.randrange(6):
        case 0:
            return second_time.options(executors=executors)(scratch, number, *inputs)
        case 1:
            return shell.options(executors=executors)(f"exit {number % 2}")
        case 2:
            return squares(number % 5)
        case 3:
            return square.options(executors=executors)(number % 4)
        case _:
            return combine.options(executors=executors)(number, *inputs)


def outcome(future: Any) -> set[jf.TaskState]:
    """Return the states that fit what a future says of its task."""
    if future.cancelled():
        return {jf.TaskState.CANCELLED}
    error = future.exception(LIMIT_S)
    if isinstance(error, jf.DependencyError):
        return {jf.TaskState.DEPENDENCY_FAILED}
    if error is not None:
        return {jf.TaskState.FAILED}
    return {jf.TaskState.SUCCEEDED, jf.TaskState.MEMOIZED}


def overlaps(places: list[Place]) -> list[tuple[Place, Place]]:
    places.sort(key=lambda one: one.began)
    pairs = pairwise(places)
    return [(one, other) for one, other in pairs if other.began < one.ended]


@pytest.mark.parametrize("seed", range(4))
def test_records_are_the_truth(tmp_path: Path, seed: int) -> None:
    rng, history = random.Random(seed), History()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    futures: list[Any] = []
    parents: dict[int, set[int]] = {}
    with jf.load(
        plugins=[history], run_dir=tmp_path / "runs", executors=EXECUTORS, retries=1
    ) as kernel:
        for number in range(150):
            future = make(rng, number, futures[-20:], str(scratch))
            futures.append(future)
            if rng.randrange(20) == 0:
                future.cancel()
        kernel.wait_for_current_tasks(LIMIT_S)
        counts = Counter(one.state for one in history.tasks.values())
        assert kernel.summary().counts.keys() >= counts.keys()

    assert history.lost == 0
    for future in futures:
        record = history.tasks[future.tid]
        assert record.state in outcome(future)
        assert record.ended is not None
        assert (record.failure is None) == (record.state.value in GOOD)
        parents[future.tid] = set(record.depends_on)
    summary = kernel.summary()
    for state in jf.TaskState:
        told = [one for one in history.tasks.values() if one.state is state]
        assert len(told) == summary.counts[state] + summary.own[state]
    check_attempts(history)


GOOD = {"succeeded", "memoized"}


def check_attempts(history: History) -> None:
    """Attempts are complete and in order, and share no worker."""
    workers: dict[tuple[str, str], list[Place]] = {}
    for record in history.tasks.values():
        ours = [one for one in history.attempts.values() if one.task == record.task]
        assert sorted(one.attempt for one in ours) == [*range(1, record.attempts + 1)]
        for one in ours:
            assert record.submitted <= one.launched <= one.reported
            assert record.ended is not None
            assert one.reported <= record.ended
            last = one.attempt == record.attempts
            assert (one.retry_in is None) == last
            if one.place is not None:
                assert one.launched <= one.place.began <= one.place.ended
                workers.setdefault((one.place.host, one.place.worker), []).append(
                    one.place
                )
    for places in workers.values():
        assert overlaps(places) == []


@pytest.mark.parametrize("seed", range(3))
def test_what_tasks_depend_on_is_the_graph(tmp_path: Path, seed: int) -> None:
    rng, history = random.Random(seed), History()
    wanted: dict[int, set[int]] = {}
    edges: Counter[tuple[str, str]] = Counter()
    with jf.load(plugins=[history], run_dir=tmp_path) as kernel:
        futures: list[Any] = [kernel.submit(int)]
        for _ in range(400):
            given = rng.sample(futures, min(len(futures), rng.randrange(4)))
            nested = rng.choice([given, [given], [{"a": given}], [*given, *given]])
            future = kernel.submit(lambda *_: 0, *nested)
            wanted[future.tid] = {one.tid for one in given}
            edges.update((task_of(one).spec.name, "<lambda>") for one in given)
            futures.append(future)

    assert {t: set(history.tasks[t].depends_on) for t in wanted} == wanted
    assert history.edges == edges


# -- many tasks, slow observers


@pytest.fixture
def small_queue(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("jackfield_stream.stream.CAPACITY", 5_000)
    return 5_000


def test_what_a_slow_observer_loses_is_counted_exactly(
    tmp_path: Path, small_queue: int
) -> None:
    gate, history = threading.Event(), History()

    class Slow:
        @jf.hookimpl
        def jackfield_run_events(self, batch: Batch) -> None:
            assert gate.wait(LIMIT_S * 3)

    number = 2 * small_queue
    with jf.load(plugins=[Slow(), history], run_dir=tmp_path) as kernel:
        futures = [kernel.submit(len, "a") for _ in range(number)]
        assert sum(future.result(LIMIT_S * 3) for future in futures) == number
        gate.set()

    ended = [one for one in history.told if one.ended is not None]
    assert history.lost > 0
    assert len(ended) < number
    # Of each task two records were noted: that it has come, and that it has ended.
    assert number - len(ended) <= history.lost <= 2 * number
    log = (kernel.run_dir / "jackfield.log").read_text()
    assert f"{history.lost} events lost" in log
    called = [one for one in ended if one.call]
    assert len(called) <= 3 * CALLS + 512


def test_a_complete_history_holds_submitters_up(
    tmp_path: Path, small_queue: int
) -> None:
    gate, history = threading.Event(), History()

    class Slow:
        @jf.hookimpl
        def jackfield_run_events(self, batch: Batch) -> None:
            assert gate.wait(LIMIT_S * 3)

    number = 20 * small_queue  # more than are submitted while the queue fills up
    submitted: list[Any] = []

    def submit(kernel: jf.DataFlowKernel) -> None:
        for _ in range(number):
            submitted.append(kernel.submit(len, "a"))

    with jf.load(
        plugins=[Slow(), history],
        run_dir=tmp_path,
        monitors={"all": {"plugin": "history", "complete": True}},
    ) as kernel:
        thread = threading.Thread(target=submit, args=(kernel,))
        thread.start()
        stream = kernel._parts.observation.runs
        assert stream is not None
        try:
            while not stream.crowded:
                thread.join(0.01)
            assert len(submitted) < number
        finally:
            gate.set()
        thread.join(LIMIT_S * 3)

    assert history.lost == 0
    assert len(history.tasks) == number
    assert all(one.ended is not None for one in history.tasks.values())


def test_a_task_whose_end_was_dropped_is_told_to_have_ended(
    tmp_path: Path, small_queue: int
) -> None:
    gate, history, pipe = threading.Event(), History(), tmp_path / "pipe"
    began = threading.Event()
    os.mkfifo(pipe)

    class Slow:
        @jf.hookimpl
        def jackfield_run_events(self, batch: Batch) -> None:
            if any(one.app == "held" for one in batch.tasks):
                began.set()
                assert gate.wait(LIMIT_S)

    with jf.load(plugins=[history, Slow()], run_dir=tmp_path) as kernel:
        long = held(str(pipe))
        history.until(long.tid, jf.TaskState.SUBMITTED)
        assert began.wait(LIMIT_S)
        with pipe.open("w") as end:
            end.write("abc")
        assert long.result(LIMIT_S) == "abc"
        for future in [kernel.submit(len, "a") for _ in range(2 * small_queue)]:
            assert future.result(LIMIT_S) == 1
        gate.set()
        record = history.until(long.tid, jf.TaskState.SUCCEEDED)

    assert record.ended is not None
    assert history.lost > 0
    assert (long.tid, 1) not in history.attempts


def test_nothing_is_told_where_nothing_happens() -> None:
    told: list[Any] = []
    around = StreamContext(lambda *all_: told.append(all_), list, logging.getLogger())
    stream = Stream(around)
    stream.start()
    stream.put(Notes(calls=True))
    stream.stop(LIMIT_S)

    assert told == []


class Liar(ThreadsExecutor):
    """Says of every second work that it ran where no work can."""

    def start(self, context: ExecutorContext) -> None:
        def report(outcomes: Sequence[Outcome]) -> None:
            for work, _, _ in outcomes:
                if work.args[0] % 2:
                    work.ran = ("here", "and there")  # type: ignore[assignment]  # nonsense
            context.report(outcomes)

        super().start(context._replace(report=report))


class LiarPlugin:
    JACKFIELD_API = ">=1,<2"

    @jf.hookimpl
    def jackfield_create_executor(self, kind: str) -> Liar | None:
        return Liar(1) if kind == "liar" else None


def test_a_place_that_is_none_costs_no_other_record(tmp_path: Path) -> None:
    histories = [History(), History()]
    liar = {"liar": {"plugin": "liar"}}
    plugins = [*histories, LiarPlugin()]
    with jf.load(plugins=plugins, run_dir=tmp_path, executors=liar) as kernel:
        futures = [kernel.submit(abs, n) for n in range(20)]
        assert sum(future.result(LIMIT_S) for future in futures) == 190

    for history in histories:
        places = [history.attempts[future.tid, 1].place for future in futures]
        assert [place is None for place in places] == [False, True] * 10


def test_who_asks_second_is_told_too_that_records_cannot_be_made() -> None:
    def made() -> list[int]:
        raise ValueError("no")

    records = MadeOnUse(made)

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            len(records)
