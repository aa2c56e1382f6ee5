from __future__ import annotations

import io
import logging
from threading import Thread
from typing import Any

import pytest

import jackfield as jf
from jackfield.plugins import PluginManager
from jackfield.plugins.observers import FAILURES_IN_A_ROW
from jackfield.states import TaskEvent, TaskState
from jackfield_cli._listing import listing

EVENT = TaskEvent(0, "app", TaskState.READY, 1, None, 0.0, 0.0, None)


class Watch:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.told: list[Any] = []

    @jf.hookimpl
    def jackfield_task_events(self, events: Any) -> None:
        self._hear(events)

    @jf.hookimpl
    def jackfield_kernel_closing(self, kernel: Any) -> None:
        self._hear(kernel)

    def _hear(self, what: Any) -> None:
        self.told.append(what)
        if self.error is not None:
            raise self.error


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records]


def on_another_thread(manager: PluginManager, batch: list[Any]) -> None:
    thread = Thread(target=manager.deliver_events, args=(batch,))
    thread.start()
    thread.join(60)


@pytest.mark.parametrize(
    "error", [ValueError("oh"), SystemExit(1), KeyboardInterrupt("theirs")]
)
def test_an_observers_exception_reaches_nobody(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    before, bad, after = Watch(), Watch(error), Watch()
    manager = PluginManager()
    manager.register(before)
    manager.register(bad, "bad")
    manager.register(after)

    on_another_thread(manager, [EVENT])

    assert before.told == bad.told == after.told == [[EVENT]]
    (line,) = errors(caplog)
    assert line.startswith("plugin 'bad' (registered by the program")
    assert f"hook jackfield_task_events raised {type(error).__name__}" in line


def test_an_observer_that_always_fails_is_disabled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, bad = Watch(), Watch(ValueError("oh"))
    manager = PluginManager([good])
    manager.register(bad, "bad")

    for number in range(FAILURES_IN_A_ROW + 5):
        manager.deliver_events([EVENT])

    assert len(good.told) == FAILURES_IN_A_ROW + 5
    assert len(bad.told) == FAILURES_IN_A_ROW
    assert len(manager.hooks.task_events) == 1
    assert errors(caplog)[-1].endswith(
        "failed 10 times in a row and is disabled for this run"
    )
    (problem,) = [one.problem for one in listing(manager) if one.name == "bad"]
    assert problem == "disabled after 10 failures in a row."


def test_with_the_last_observer_disabled_nobody_is_left() -> None:
    manager = PluginManager([Watch(ValueError())])

    for _ in range(FAILURES_IN_A_ROW):
        manager.deliver_events([EVENT])

    assert manager.hooks.task_events == ()


def test_an_observer_that_recovers_stays() -> None:
    watch = Watch()
    manager = PluginManager()
    manager.register(watch, "moody")

    for number in range(5 * FAILURES_IN_A_ROW):
        watch.error = None if number % FAILURES_IN_A_ROW == 0 else ValueError("oh")
        manager.deliver_events([EVENT])

    assert len(watch.told) == 5 * FAILURES_IN_A_ROW
    (problem,) = [one.problem for one in listing(manager) if one.name == "moody"]
    assert problem == "failed 45 times."


def test_a_moody_observer_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch()
    manager = PluginManager([watch])

    for number in range(2000):
        watch.error = ValueError("oh") if number % 2 else None
        manager.deliver_events([EVENT])

    assert len(watch.told) == 2000
    assert len(errors(caplog)) == 10 + len([16, 32, 64, 128, 256, 512])
    assert [bool(one.exc_info) for one in caplog.records].count(True) == 1


def test_failures_are_not_forgotten_when_plugins_come() -> None:
    manager = PluginManager([Watch(ValueError())])

    for _ in range(FAILURES_IN_A_ROW):
        manager.deliver_events([EVENT])
        another = Watch()
        manager.register(another)
        manager.unregister(another)

    assert manager.hooks.task_events == ()


def test_all_are_told_of_the_end_and_failures_go_to_the_log_of_the_kernel() -> None:
    lines = io.StringIO()
    log = logging.getLogger("of-one-kernel")
    log.addHandler(handler := logging.StreamHandler(lines))
    bad, good = Watch(SystemExit("oh")), Watch()
    manager = PluginManager([good, bad])
    manager.log = log

    manager.notify("jackfield_kernel_closing", kernel="kernel")

    assert good.told == bad.told == ["kernel"]
    log.removeHandler(handler)
    assert "hook jackfield_kernel_closing raised SystemExit" in lines.getvalue()


def test_ctrl_c_on_the_main_thread_waits_until_all_are_told() -> None:
    interrupted, other = Watch(KeyboardInterrupt()), Watch()
    manager = PluginManager([interrupted, other])

    with pytest.raises(KeyboardInterrupt):
        manager.notify("jackfield_kernel_closing", kernel="kernel")

    assert interrupted.told == other.told == ["kernel"]


def test_a_second_ctrl_c_leaves_at_once() -> None:
    plugins = [Watch(KeyboardInterrupt()), Watch(KeyboardInterrupt()), Watch()]
    manager = PluginManager(plugins)

    with pytest.raises(KeyboardInterrupt):
        manager.notify("jackfield_kernel_closing", kernel="kernel")

    assert [len(one.told) for one in plugins] == [1, 1, 0]


def test_an_observer_may_register_another() -> None:
    late = Watch()

    class Recruiter:
        @jf.hookimpl
        def jackfield_task_events(self, events: Any) -> None:
            manager.register(late)

    manager = PluginManager([Recruiter()])

    manager.deliver_events([EVENT])
    manager.deliver_events([EVENT])

    assert late.told == [[EVENT]]
