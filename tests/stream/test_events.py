"""What observers are told."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.staging.mover import Progress
from jackfield.stream import StreamContext
from jackfield_stream.stream import CAPACITY, SLICE, Stream

if TYPE_CHECKING:
    from jackfield.events import Batch

LIMIT_S = 60.0


class Watcher:
    """Keeps all events, and the threads on which they came."""

    def __init__(self) -> None:
        self.events: list[jf.TaskEvent] = []
        self.threads: set[str] = set()
        self.told: list[str] = []

    @jf.hookimpl
    def jackfield_task_events(self, events: Sequence[jf.TaskEvent]) -> None:
        self.events.extend(events)
        self.threads.add(threading.current_thread().name)

    @jf.hookimpl
    def jackfield_kernel_started(self, kernel: jf.DataFlowKernel) -> None:
        self.told.append(f"started {not kernel.closed}")

    @jf.hookimpl
    def jackfield_kernel_closing(self, kernel: jf.DataFlowKernel) -> None:
        self.told.append(f"closing {kernel.closed}, {len(self.events)} events")

    def of(self, task: int) -> list[str]:
        return [event.state.value for event in self.events if event.task == task]


def test_the_states_of_a_task_come_in_order(tmp_path: Path) -> None:
    watcher, gate = Watcher(), threading.Event()
    with jf.load(plugins=[watcher], run_dir=tmp_path, retries=1) as kernel:
        good = kernel.submit(len, "abc")
        first = kernel.submit(gate.wait, LIMIT_S)
        second = kernel.submit(bool, first)
        bad = kernel.submit(len, second)
        after = kernel.submit(abs, bad)
        gate.set()

    assert watcher.of(good.tid) == ["submitted", "succeeded"]
    assert watcher.of(second.tid) == ["waiting", "ready", "submitted", "succeeded"]
    tried = ["waiting", "ready", "submitted"]
    assert watcher.of(bad.tid) == [*tried, *tried, "failed"]
    assert watcher.of(after.tid) == ["waiting", "dependency-failed"]
    assert watcher.threads == {"jackfield-events"}


def test_a_failure_that_is_tried_again_is_told(tmp_path: Path) -> None:
    watcher = Watcher()
    with jf.load(plugins=[watcher], run_dir=tmp_path, retries=1) as kernel:
        bad = kernel.submit(len, 3)

    again = [e for e in watcher.events if e.state is jf.TaskState.WAITING]
    assert [(e.task, e.attempt, e.executor) for e in again] == [(bad.tid, 1, "threads")]
    assert again[0].error == "TypeError: object of type 'int' has no len()"


@jf.python_app
def shout(word: str) -> str:
    return word.upper()


@jf.join_app
def shouted(words: Sequence[str]) -> list[Any]:
    return [shout(word) for word in words]


@jf.python_app(cache=True)
def kept(word: str, outputs: Sequence[jf.File] = ()) -> str:
    Path(outputs[0]).write_text(word)
    return word


def test_states_after_the_function_are_told(tmp_path: Path) -> None:
    watcher = Watcher()
    with jf.load(plugins=[watcher], run_dir=tmp_path):
        joined = shouted(["a", "b"])
        made = kept("a", outputs=[jf.File(str(tmp_path / "made"))])
        assert joined.result(LIMIT_S) == ["A", "B"]
        assert made.result(LIMIT_S) == "a"

    assert watcher.of(joined.tid)[:2] == ["submitted", "finishing"]
    assert watcher.of(joined.tid)[-2:] == ["joining", "succeeded"]
    assert watcher.of(made.tid) == ["ready", "submitted", "finishing", "succeeded"]


def test_an_event_has_its_facts(tmp_path: Path) -> None:
    watcher = Watcher()
    before = time.time()
    with jf.load(plugins=[watcher], run_dir=tmp_path, retries=1) as kernel:
        error = kernel.submit(len, 3).exception(LIMIT_S)
    assert isinstance(error, TypeError)
    submitted = [e for e in watcher.events if e.state is jf.TaskState.SUBMITTED]
    last = watcher.events[-1]

    assert [event.attempt for event in submitted] == [1, 2]
    assert {event.executor for event in watcher.events} == {"threads"}
    assert last.app == "len"
    assert last.error is not None
    assert last.error.startswith("TypeError: object of type 'int'")
    assert before <= last.wall <= time.time()
    assert submitted[0].monotonic <= last.monotonic <= time.monotonic()


def test_observers_hear_of_start_and_end(tmp_path: Path) -> None:
    watcher = Watcher()
    with jf.load(plugins=[watcher], run_dir=tmp_path) as kernel:
        kernel.submit(len, "a")

    assert watcher.told == ["started True", "closing True, 2 events"]


def test_an_observer_may_come_later(kernel: jf.DataFlowKernel) -> None:
    watcher = Watcher()
    kernel.submit(len, "a").result(LIMIT_S)
    kernel.register(watcher)
    late = kernel.submit(len, "a")
    late.result(LIMIT_S)
    kernel.cleanup()

    assert {event.task for event in watcher.events} == {late.tid}


def test_a_slow_observer_loses_events_and_nothing_else(tmp_path: Path) -> None:
    gate = threading.Event()
    seen: list[int] = []

    class Slow:
        @jf.hookimpl
        def jackfield_task_events(self, events: Sequence[jf.TaskEvent]) -> None:
            seen.append(len(events))
            assert gate.wait(LIMIT_S * 6)

    with jf.load(plugins=[Slow()], run_dir=tmp_path) as kernel:
        futures = [kernel.submit(len, "a") for _ in range(CAPACITY)]  # two events each
        assert [future.result(LIMIT_S * 6) for future in futures] == [1] * CAPACITY
        gate.set()

    log = (kernel.run_dir / "jackfield.log").read_text()
    lost = re.search(r"(\d+) events lost", log)
    assert lost is not None
    assert sum(seen) + int(lost[1]) == 2 * CAPACITY


class Stuck:
    """An observer that does not return before somebody opens the gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.seen: list[int] = []

    def told(self, events: int) -> None:
        self.seen.append(events)
        assert self.gate.wait(LIMIT_S * 6)


class StuckInEvents(Stuck):
    @jf.hookimpl
    def jackfield_task_events(self, events: Sequence[jf.TaskEvent]) -> None:
        self.told(len(events))


class StuckInRecords(Stuck):
    @jf.hookimpl
    def jackfield_run_events(self, batch: Batch) -> None:
        self.told(sum(change.state.final for change in batch.changes))


@pytest.mark.parametrize("kind", [StuckInEvents, StuckInRecords])
def test_what_an_observer_that_does_not_return_is_not_told_is_counted(
    tmp_path: Path, kind: type[Stuck]
) -> None:
    observer = kind()
    kernel = jf.load(plugins=[observer], run_dir=tmp_path)
    kernel.submit(len, "a").result(LIMIT_S)
    limit = time.monotonic() + LIMIT_S
    while not observer.seen and time.monotonic() < limit:
        kernel.submit(len, "a").result(LIMIT_S)
    futures = [kernel.submit(len, "a") for _ in range(100)]
    assert [future.result(LIMIT_S) for future in futures] == [1] * 100
    tasks = 1 + max(future.tid for future in futures)
    stream = kernel._parts.observation.stream
    assert isinstance(stream, Stream)
    kernel.cleanup()
    before = list(observer.seen)
    observer.gate.set()
    stream.thread.join(LIMIT_S)

    log = (kernel.run_dir / "jackfield.log").read_text()
    assert "An observer does not return" in log
    lost = re.search(r"(\d+) events lost", log)
    assert lost is not None
    assert observer.seen == before
    if kind is StuckInEvents:
        assert sum(before) + int(lost[1]) == 2 * tasks
    else:  # workers that go, and tasks that come, are counted too
        assert sum(before) + int(lost[1]) >= tasks
    assert not stream.thread.is_alive()


@pytest.mark.parametrize("timeout", [0.0, 0.001, LIMIT_S])
def test_each_event_is_told_or_counted_whenever_the_stream_is_stopped(
    caplog: pytest.LogCaptureFixture, timeout: float
) -> None:
    told: list[int] = []

    def deliver(_: object, moved: Sequence[jf.TransferEvent], batch: object) -> None:
        told.append(len(moved))

    stream = Stream(StreamContext(deliver, list, logging.getLogger()))
    count = 3 * SLICE
    for number in range(count):
        stream.note_transfer(number, "http://host/a", "in", Progress("started", 1))
    stream.start()
    stream.stop(timeout)
    stream.thread.join(LIMIT_S)

    lost = re.search(r"(\d+) events lost", caplog.text)
    assert sum(told) + (int(lost[1]) if lost else 0) == count
    if timeout == LIMIT_S:
        assert lost is None


class Overtaken(deque[Any]):
    """A queue as a thread finds it that was overtaken: full at the look, now empty."""

    def __len__(self) -> int:
        return CAPACITY


def test_a_thread_that_drops_the_oldest_event_may_be_overtaken() -> None:
    told: list[jf.TransferEvent] = []
    stream = Stream(
        StreamContext(
            lambda _, moved, batch: told.extend(moved), list, logging.getLogger()
        )
    )
    stream._events = Overtaken()
    stream.note_transfer(1, "http://host/a", "in", Progress("started", 1))
    stream.start()
    stream.stop(LIMIT_S)

    assert [event.url for event in told] == ["http://host/a"]
    assert (stream.dropped, stream.thread.is_alive()) == (0, False)
