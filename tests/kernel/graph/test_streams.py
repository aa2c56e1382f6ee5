"""Whoever tells observers, the kernel gives it the same notes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.errors import PluginLoadError
from jackfield.events import Batch, TaskChange, WorkerEvent
from jackfield.stream import EventStream

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jackfield.events import News
    from jackfield.staging.mover import Progress
    from jackfield.stream import NotedTask, Notes, StreamContext


class AtTheEnd(EventStream):
    """Keeps the notes, and tells which tasks have ended when all have."""

    crowded = False

    def __init__(self, around: StreamContext) -> None:
        self.around = around
        self.calls = 10
        self.notes: list[Notes] = []
        self.workers: list[WorkerEvent] = []
        self.told: list[str] = []

    def note(
        self, tasks: Iterable[NotedTask], error: BaseException | None = None
    ) -> None:
        self.told += [task.state.value for task in tasks]

    def note_transfer(
        self, number: int, url: str, direction: str, progress: Progress
    ) -> None:
        raise AssertionError(url)

    def note_news(self, news: News) -> None:
        if isinstance(news, WorkerEvent):
            self.workers.append(news)

    def put(self, notes: Notes) -> None:
        self.notes.append(notes)

    def wait_for_room(self) -> None:
        raise AssertionError

    def start(self) -> None:
        self.told.append("started")

    def stop(self, timeout: float | None) -> None:
        changes = [
            TaskChange(
                task.id,
                task.spec.name,
                task.spec.told_kind,
                task.state,
                None if executor is None else executor.label,
                task.call_of(work) if work is not None else None,
            )
            for notes in self.notes
            for task, executor, work, place in notes.rows()
            if place is not None and place[3] <= place[4]
        ]
        self.around.deliver(
            [], [], Batch(time.time(), time.monotonic(), changes=changes)
        )


class Plugin:
    """Makes such a stream, and is told by it."""

    def __init__(self) -> None:
        self.made: list[AtTheEnd] = []
        self.changes: list[TaskChange] = []

    @jf.hookimpl
    def jackfield_create_stream(self, around: StreamContext) -> EventStream:
        self.made.append(AtTheEnd(around))
        return self.made[-1]


class Observer(Plugin):
    @jf.hookimpl
    def jackfield_run_events(self, batch: Batch) -> None:
        self.changes += batch.changes

    @jf.hookimpl
    def jackfield_task_events(self, events: list[Any]) -> None:
        raise AssertionError(events)


def config(tmp_path: Path, *plugins: object) -> jf.Config:
    return jf.Config(run_dir=tmp_path / "runs", plugins=plugins)


def test_another_stream_gets_the_notes_and_tells(tmp_path: Path) -> None:
    plugin = Observer()
    with jf.load(config(tmp_path, plugin)) as kernel:
        first = kernel.submit(len, "ab")
        second = kernel.submit(abs, first)
        assert second.result(60) == 2

    assert plugin.changes == [
        TaskChange(0, "len", "python", jf.TaskState.SUCCEEDED, "threads", "len('ab')"),
        TaskChange(1, "abs", "python", jf.TaskState.SUCCEEDED, "threads", "abs(2)"),
    ]
    [stream] = plugin.made
    assert stream.told[0] == "started"
    assert stream.told.count("succeeded") == 2
    assert stream.workers
    [(child, parents)] = [edge for notes in stream.notes for edge in notes.edges]
    assert (child.id, [parent.id for parent in parents]) == (1, [0])


def test_a_run_without_observers_asks_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Plugin()
    with jf.load(config(tmp_path, plugin)) as kernel:
        assert kernel.submit(len, "ab").result(60) == 2
    assert plugin.made == []

    monkeypatch.setenv("JACKFIELD_PLUGINS", "-records")
    with jf.load(config(tmp_path)) as kernel:
        assert kernel.submit(len, "ab").result(60) == 2


def test_without_any_stream_an_observer_is_refused_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACKFIELD_PLUGINS", "-records")
    observer = Observer()
    monkeypatch.setattr(Observer, "jackfield_create_stream", None)

    with pytest.raises(PluginLoadError, match=r"records.*Observer"):
        jf.load(config(tmp_path, observer))
    with jf.load(config(tmp_path)) as kernel:
        with pytest.raises(PluginLoadError, match=r"records.*Observer"):
            kernel.register(observer)
        assert kernel.submit(len, "ab").result(60) == 2
        kernel.register(Plugin(), "later")  # the other one is not registered any more
