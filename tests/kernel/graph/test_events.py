"""What observers are told."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jackfield as jf
from jackfield.graph.events import CAPACITY, EventStream
from jackfield.staging.progress import Progress

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
    watcher = Watcher()
    with jf.load(plugins=[watcher], run_dir=tmp_path) as kernel:
        good = kernel.submit(len, "abc")
        bad = kernel.submit(len, 3)
        after = kernel.submit(abs, bad)

    assert watcher.of(good.tid) == ["submitted", "succeeded"]
    assert watcher.of(bad.tid) == ["submitted", "failed"]
    assert watcher.of(after.tid) == ["dependency-failed"]
    assert watcher.threads == {"jackfield-events"}


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
            assert gate.wait(LIMIT_S * 6)
            seen.append(len(events))

    with jf.load(plugins=[Slow()], run_dir=tmp_path) as kernel:
        futures = [kernel.submit(len, "a") for _ in range(CAPACITY)]  # two events each
        assert [future.result(LIMIT_S * 6) for future in futures] == [1] * CAPACITY
        gate.set()

    assert CAPACITY <= sum(seen) < 2 * CAPACITY
    assert "events lost" in (kernel.run_dir / "jackfield.log").read_text()


class Overtaken(deque[Any]):
    """A queue as a thread finds it that was overtaken: full at the look, now empty."""

    def __len__(self) -> int:
        return CAPACITY


def test_a_thread_that_drops_the_oldest_event_may_be_overtaken() -> None:
    told: list[jf.TransferEvent] = []
    stream = EventStream(lambda _, moved: told.extend(moved), logging.getLogger())
    stream._waiting = Overtaken()
    stream.note_transfer(1, "http://host/a", "in", Progress("started", 1))
    stream.start()
    stream.stop(LIMIT_S)

    assert [event.url for event in told] == ["http://host/a"]
    assert (stream.dropped, stream.thread.is_alive()) == (0, False)
