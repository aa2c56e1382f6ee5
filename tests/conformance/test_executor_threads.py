"""The threads executor: the kit, then what is particular to it."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import random
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from jackfield.abc import ExecutorContext, Work
from jackfield.errors import ConfigurationError, ExecutorError
from jackfield_executors.threads import ThreadsExecutor, jackfield_create_executor
from jackfield_testing import ExecutorConformance, Harness
from jackfield_testing.executors import tasks
from jackfield_testing.footprint import settled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jackfield.abc import Outcome

WAIT_S = 60.0


class TestThreadsExecutor(ExecutorConformance):
    short_cycles = 200

    def make_executor(self, workers: int) -> ThreadsExecutor:
        return ThreadsExecutor(workers)


def harness(tmp_path: Path, workers: int) -> Harness:
    return Harness(ThreadsExecutor(workers), tmp_path, "io").start()


def of_label(label: str) -> list[threading.Thread]:
    return [
        t for t in threading.enumerate() if t.name.startswith(f"jackfield-{label}-")
    ]


# -- Options


def test_the_plugin_makes_its_own_kind_alone() -> None:
    assert jackfield_create_executor("processes", "cpu", {}) is None


def test_the_number_of_workers_is_what_is_asked_for() -> None:
    executor = jackfield_create_executor("threads", "io", {"workers": 7})

    assert executor is not None
    assert executor.workers == 7


def test_without_a_number_there_are_more_workers_than_cores_but_not_too_many() -> None:
    executor = jackfield_create_executor("threads", "io", {})

    assert executor is not None
    assert 5 <= executor.workers <= 32


@pytest.mark.parametrize("value", [0, -1, "4", 2.0, True])
def test_a_bad_number_of_workers_is_named(value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"'io': option 'workers'.*{value!r}"):
        jackfield_create_executor("threads", "io", {"workers": value})


def test_an_unknown_option_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigurationError, match="'worker'; did you mean 'workers'"):
        jackfield_create_executor("threads", "io", {"worker": 4})


# -- Threads


def test_threads_start_when_there_is_work_for_them(tmp_path: Path) -> None:
    with harness(tmp_path, 8) as io:
        assert of_label("io") == []

        all_three = threading.Barrier(3)
        io.wait([io.submit(all_three.wait, WAIT_S) for _ in range(3)])

        assert len(of_label("io")) == 3


def test_there_are_never_more_threads_than_workers(tmp_path: Path) -> None:
    with harness(tmp_path, 2) as io:
        both = threading.Barrier(2)
        io.wait([io.submit(both.wait, WAIT_S) for _ in range(100)])

        assert len(of_label("io")) == 2


def test_a_thread_that_is_idle_is_used_before_another_is_started(
    tmp_path: Path,
) -> None:
    executor = ThreadsExecutor(8)

    def is_idle() -> bool:  # it is so just after it has reported a work
        return bool(executor._idle)

    with Harness(executor, tmp_path, "io").start() as io:
        for number in range(20):
            assert io.value(io.submit(tasks.identity, number)) == number
            assert settled(is_idle, WAIT_S)

        assert len(of_label("io")) == 1


def test_no_work_waits_behind_a_long_one_while_a_thread_can_be_started(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)
    for _ in range(100):
        go_on = threading.Event()
        with harness(tmp_path, 3) as io:
            io.cleanups.append(go_on.set)
            for number in range(chance.randrange(6)):
                work = io.submit(tasks.identity, number)
                if chance.random() < 0.3:
                    io.executor.cancel(work)
                elif chance.random() < 0.5:
                    io.wait([work])
            for _ in range(2):
                io.submit(go_on.wait, WAIT_S)

            assert io.value(io.submit(tasks.identity, "last")) == "last"
            go_on.set()


def test_threads_carry_the_label_and_keep_no_program_alive(tmp_path: Path) -> None:
    with harness(tmp_path, 1) as io:
        thread = io.value(io.submit(threading.current_thread))

        assert thread.name == "jackfield-io-0"
        assert thread.daemon


def test_a_thread_that_is_left_is_logged_with_its_task(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running, release = threading.Event(), threading.Event()

    def obstinate() -> None:
        running.set()
        release.wait(WAIT_S)

    with harness(tmp_path, 1) as io:
        io.submit(obstinate)
        assert running.wait(WAIT_S)
        (thread,) = of_label("io")

        with caplog.at_level(logging.WARNING, "jackfield.executors.threads"):
            io.executor.shutdown(grace=0)

        assert "'io' leaves thread jackfield-io-0" in caplog.text
        assert "task 0 (obstinate)" in caplog.text
    release.set()
    thread.join(WAIT_S)
    assert io.count == 0


def test_a_report_that_raises_does_not_end_the_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(_: Sequence[Outcome]) -> None:
        io.on_report = None
        raise SystemExit("from a report")

    with harness(tmp_path, 1) as io:
        io.on_report = explode
        first = io.submit(tasks.add, 1)
        second = io.submit(tasks.add, 2)

        assert io.values([first, second]) == [1, 2]
        assert len(of_label("io")) == 1
    assert "from a report" in caplog.text


class Nameless(Work):
    """Raises where the executor does not expect it."""

    @property
    def name(self) -> str:
        raise RuntimeError("no name")

    @name.setter
    def name(self, _: str) -> None:
        """Accept what the constructor sets."""


@pytest.mark.parametrize("priority", [0, 3])
@pytest.mark.parametrize("asks", [{}, {"cores": 1.0}, {"gpus": 1.0}])
def test_a_work_that_is_lost_between_two_steps_is_reported_as_failed(
    tmp_path: Path, asks: dict[str, float], priority: int
) -> None:
    reports: SimpleQueue[Sequence[Outcome]] = SimpleQueue()
    executor = ThreadsExecutor(1, {"cores": 1.0, "gpus": 1.0})
    executor.start(ExecutorContext("io", tmp_path, reports.put))
    nameless = Nameless(0, 1, "", tasks.leave, (), {}, None, asks)
    other = Work(1, 1, "add", tasks.add, (1,), {}, None, asks)
    nameless.priority, other.priority = priority, -priority

    executor.submit([nameless, other])

    ((work, error, _),) = reports.get(timeout=WAIT_S)
    assert work is nameless
    assert isinstance(error, ExecutorError)
    assert reports.get(timeout=WAIT_S) == ((other, None, 1),)
    executor.shutdown()


def throw_into(thread: threading.Thread, error: type[BaseException]) -> None:
    assert thread.ident is not None
    set_error = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert set_error(ctypes.c_ulong(thread.ident), ctypes.py_object(error)) == 1


def test_a_thread_that_is_torn_while_it_waits_for_others_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Harness(ThreadsExecutor(2, {"cores": 2.0}), tmp_path, "io").start() as io:
        gate = tasks.Gate(tmp_path / "gate")
        io.cleanups.append(gate.open)
        one = io.submit(gate.hold, "one")
        assert settled(lambda: gate.entered() == {"one"}, WAIT_S)
        (busy,) = of_label("io")
        both = io.submit(tasks.add, 1, resources={"cores": 2.0})
        assert settled(lambda: len(of_label("io")) == 2, WAIT_S)
        (waiting,) = [thread for thread in of_label("io") if thread is not busy]
        ranked = [io.submit(tasks.add, n, priority=n) for n in range(10)]

        throw_into(waiting, KeyboardInterrupt)
        gate.open()

        assert io.value(one) == "one"
        assert io.value(both) == 1
        assert io.values(ranked) == list(range(10))
        assert settled(lambda: "was interrupted" in caplog.text, WAIT_S)
        assert len(of_label("io")) == 2


# -- Tasks that fork


def fork_and_return(read: int, write: int, *, raises: bool = False) -> int:
    """Fork, and come back in the parent and in the child, which holds ``write``."""
    pid = os.fork()
    if pid:
        os.close(write)
        return pid
    os.close(read)
    if raises:
        raise ValueError("the child's")
    return 0


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("asks", [{}, {"cores": 1}])
def test_the_child_of_a_task_that_forks_ends_when_it_returns(
    tmp_path: Path, asks: dict[str, float], raises: bool
) -> None:
    read, write = os.pipe()
    with harness(tmp_path, 1) as io:
        task = functools.partial(fork_and_return, read, write, raises=raises)
        pid = io.value(io.submit(task, resources=asks))

        _, status = os.waitpid(pid, 0)

        assert os.waitstatus_to_exitcode(status) == int(raises)
        assert os.read(read, 1) == b""
        assert io.value(io.submit(os.getpid)) == os.getpid()
    os.close(read)
