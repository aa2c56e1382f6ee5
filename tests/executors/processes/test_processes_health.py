"""What a pool of processes says of itself when its workers cannot be started."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.abc import READY, Executor
from jackfield.errors import AppTimeout, ExecutorLostError, WorkerDiedError
from jackfield.events import Place
from jackfield_executors.processes import (
    fitness,
    forkserver_client,
    jackfield_create_executor,
    supervisor,
)
from jackfield_executors.processes.requests import STARTED
from jackfield_testing import Harness
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import until_entered
from jackfield_testing.footprint import WAIT_S, alive, settled

if TYPE_CHECKING:
    from jackfield.events import Batch

SHORT_S = 0.3


def made(**options: Any) -> Executor:
    executor = jackfield_create_executor("processes", "cpu", options)
    assert isinstance(executor, Executor)
    return executor


def fail_if(there: str) -> None:
    if Path(there).exists():
        raise OSError("no licence")


def fail_once(there: str) -> None:
    """Fail in the second process that comes here, and in those after it."""
    try:
        os.mkdir(there)  # noqa: PTH102  (in one step)
    except FileExistsError:
        raise OSError("no licence for two") from None


def test_workers_that_die_at_each_start_make_it_lost_until_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fitness, "FIRST_DELAY_S", 0.1)
    caplog.set_level(logging.INFO, "jackfield.executors.processes")
    broken = tmp_path / "broken"
    broken.touch()
    pool = made(workers=2, initializer=fail_if, initargs=[str(broken)])
    with Harness(pool, tmp_path, "cpu").start() as harness:
        assert pool.health == READY

        error = harness.error(harness.submit(tasks.add, 1, 2))

        assert isinstance(error, ExecutorLostError)
        assert pool.health.state == "lost"
        assert "die while they start" in pool.health.reason
        assert "no licence" in pool.health.reason
        assert harness.workers_seen, "the kernel was not told"
        told = caplog.text.count("die while they start")
        assert told == 1
        # Those that come now fail, too, and nothing waits for ever.
        assert isinstance(
            harness.error(harness.submit(tasks.add, 1, 2)), ExecutorLostError
        )
        assert caplog.text.count("die while they start") == told

        broken.unlink()

        # Without any work: other executors have them all.
        assert settled(lambda: pool.health == READY, WAIT_S)
        assert harness.value(harness.submit(tasks.add, 40, 2)) == 42


def test_while_others_run_tasks_it_is_short_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RETRY_S", 0.1)
    there = tmp_path / "there"
    pool = made(workers=2, initializer=fail_once, initargs=[str(there)])
    with Harness(pool, tmp_path, "cpu").start() as harness:
        gate = tasks.Gate(tmp_path / "gate")
        harness.cleanups.append(gate.open)
        works = harness.submit_each(gate.hold, ["a", "b"])

        assert settled(lambda: pool.health.state == "short", WAIT_S)
        assert "no licence for two" in pool.health.reason
        there.rmdir()

        assert settled(lambda: pool.health == READY, WAIT_S)
        gate.open()
        assert harness.values(works) == ["a", "b"]


def test_a_worker_says_itself_which_process_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have run tasks before the fork server is heard."""
    hear = supervisor.Supervisor._on_notice

    def hear_no_starts(one: Any, worker: Any, notice: Any) -> None:
        if notice.what != STARTED:
            hear(one, worker, notice)

    monkeypatch.setattr(supervisor.Supervisor, "_on_notice", hear_no_starts)
    with Harness(made(workers=1), tmp_path, "cpu").start() as harness:
        work = harness.work(tasks.process_id, 0)
        work.measure = "times"
        harness.submit_batch([work])

        pid = harness.value(work)

        assert work.ran is not None
        assert Place._make(work.ran).pid == pid


def test_a_fork_server_that_cannot_be_started_again_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitness, "FIRST_DELAY_S", 0.1)
    pool = made(workers=1)
    with Harness(pool, tmp_path, "cpu").start() as harness:
        server = harness.value(harness.submit(os.getppid))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(tmp_path / "not there"))
            os.kill(server, signal.SIGKILL)
            assert settled(lambda: pool.health.state == "lost", WAIT_S)

            error = harness.error(harness.submit(tasks.add, 1, 2))

            assert isinstance(error, ExecutorLostError)
            assert "no worker can be started" in str(error)

        assert settled(lambda: pool.health == READY, WAIT_S)
        assert harness.value(harness.submit(tasks.add, 40, 2)) == 42


def test_a_fork_server_that_dies_at_each_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkserver_client, "_BOOT", "raise SystemExit(3)")
    pool = made(workers=1)
    with Harness(pool, tmp_path, "cpu").start() as harness:
        error = harness.error(harness.submit(tasks.add, 1, 2))

        assert isinstance(error, ExecutorLostError)
        assert pool.health.state == "lost"


def test_a_fork_server_that_is_stuck_is_an_error_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(forkserver_client, "_BOOT", "import time; time.sleep(600)")
    monkeypatch.setattr(forkserver_client, "END_S", SHORT_S)
    monkeypatch.setattr(supervisor, "ANSWER_S", SHORT_S)
    monkeypatch.setattr(supervisor, "PRELOAD_S", SHORT_S)
    pool = made(workers=1, preload=["json"])
    with Harness(pool, tmp_path, "cpu").start() as harness:
        error = harness.error(harness.submit(tasks.add, 1, 2))

        assert isinstance(error, ExecutorLostError)
        assert "is stuck" in str(error)
        assert "is stuck" in pool.health.reason
        assert "to preload json takes more than" in caplog.text


def test_a_fork_server_that_is_stopped_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkserver_client, "END_S", SHORT_S)
    pool = made(workers=1)
    with Harness(pool, tmp_path, "cpu").start() as harness:
        server, worker = harness.value(harness.submit(parents))
        harness.cleanups.append(lambda: kill_if_alive(server))
        replace = supervisor.Supervisor._replace_server

        def replace_with_patience(one: supervisor.Supervisor, why: str = "") -> None:
            """Give the next one the time that it takes to start."""
            monkeypatch.setattr(supervisor, "ANSWER_S", WAIT_S)
            replace(one, why)

        monkeypatch.setattr(
            supervisor.Supervisor, "_replace_server", replace_with_patience
        )
        monkeypatch.setattr(supervisor, "ANSWER_S", SHORT_S)
        os.kill(server, signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)  # which nobody tells

        assert harness.value(harness.submit(parents))[0] != server
        assert pool.health == READY


@pytest.mark.parametrize("how", ["cancel", "walltime", "death"])
def test_beside_a_fork_server_that_is_stopped_another_one_is_started(
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = made(workers=2)
    aside = supervisor.Supervisor._set_aside

    def set_aside(one: supervisor.Supervisor, server: Any) -> None:
        """Give the next one the time that it takes to start."""
        monkeypatch.setattr(supervisor, "ANSWER_S", WAIT_S)
        aside(one, server)

    monkeypatch.setattr(supervisor.Supervisor, "_set_aside", set_aside)
    with Harness(pool, tmp_path, "cpu").start() as harness:
        server = harness.value(harness.submit(parents))[0]
        harness.cleanups.append(lambda: kill_if_alive(server))
        gate = tasks.Gate(tmp_path / "gate")
        harness.cleanups.append(gate.open)
        staying, going = harness.work(gate.hold, "a"), harness.work(gate.hold, "b")
        if how == "walltime":
            going.walltime = 3 * SHORT_S
        harness.submit_batch([staying])
        until_entered(gate, "a")
        harness.submit_batch([going])
        if how != "walltime":
            until_entered(gate, "b")

        monkeypatch.setattr(supervisor, "ANSWER_S", SHORT_S)
        os.kill(server, signal.SIGSTOP)
        if how == "cancel":
            victim = gate.process_of("b")
            assert pool.cancel(going)
            assert settled(lambda: not alive(victim), WAIT_S)
        elif how == "death":
            os.kill(gate.process_of("b"), signal.SIGSEGV)
            error = harness.error(going)
            assert isinstance(error, WorkerDiedError)
            assert error.exitcode == -signal.SIGSEGV
        else:
            assert isinstance(harness.error(going), AppTimeout)

        assert harness.value(harness.submit(parents))[0] != server
        assert not harness.reported(staying)
        assert "is stuck. Another one is started; 1 of its workers go on" in caplog.text
        assert pool.health == READY

        gate.open()
        assert harness.value(staying) == "a"
        assert harness.values(harness.submit_each(tasks.add, range(20))) == [*range(20)]
    assert settled(lambda: not alive(server), WAIT_S)


def test_a_worker_whose_fork_server_is_frozen_is_killed_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = made(workers=2)
    with Harness(pool, tmp_path, "cpu").start() as harness:
        server, first = harness.value(harness.submit(parents))
        harness.cleanups.append(lambda: kill_if_alive(server))
        gate = tasks.Gate(tmp_path / "gate")
        harness.cleanups.append(gate.open)
        works = harness.submit_each(gate.hold, ["a", "b"])
        until_entered(gate, "a", "b")
        pids = [gate.process_of(name) for name in ("a", "b")]
        assert first in pids

        monkeypatch.setattr(supervisor, "ANSWER_S", SHORT_S)
        os.kill(server, signal.SIGSTOP)
        os.kill(pids[0], signal.SIGKILL)
        assert isinstance(harness.error(works[0]), WorkerDiedError)
        monkeypatch.setattr(supervisor, "ANSWER_S", WAIT_S)

        assert pool.cancel(works[1])
        assert settled(lambda: not any(map(alive, [*pids, server])), WAIT_S)
        assert harness.value(harness.submit(parents))[0] != server


def kill_if_alive(pid: int) -> None:
    if alive(pid):
        os.kill(pid, signal.SIGKILL)


def parents() -> tuple[int, int]:
    return os.getppid(), os.getpid()


@jf.python_app
def process() -> int:
    return os.getpid()


def test_what_others_can_run_goes_to_them(tmp_path: Path) -> None:
    pool = made(workers=1, initializer=fail_if, initargs=[str(tmp_path)])
    threads = {"plugin": "threads", "workers": 1}
    executors: dict[str, Any] = {"cpu": pool, "threads": threads}
    with jf.load(run_dir=tmp_path / "runs", executors=executors, retries=1):
        found = [process() for _ in range(4)]
        assert {one.result(WAIT_S) for one in found} == {os.getpid()}
        assert settled(lambda: pool.health.state == "lost", WAIT_S)
        found = [process() for _ in range(100)]
        assert {one.result(WAIT_S) for one in found} == {os.getpid()}


class Observer:
    """Notes why executors lack workers."""

    def __init__(self) -> None:
        self.lacking: set[str] = set()

    @jf.hookimpl
    def jackfield_run_events(self, batch: Batch) -> None:
        self.lacking.update(load.lacking for load in batch.loads)


def test_observers_are_told_why_it_has_no_workers(tmp_path: Path) -> None:
    observer = Observer()
    pool = made(workers=1, initializer=fail_if, initargs=[str(tmp_path)])
    config = jf.Config(
        run_dir=tmp_path / "runs", executors={"cpu": pool}, plugins=[observer]
    )
    with jf.load(config):

        def told() -> bool:
            """Have it told, as it is about once a second while there are tasks."""
            assert isinstance(process().exception(WAIT_S), ExecutorLostError)
            return any("no licence" in one for one in observer.lacking)

        assert settled(told, WAIT_S)


def test_a_pool_that_is_lost_ends_at_once(tmp_path: Path) -> None:
    pool = made(workers=1, initializer=fail_if, initargs=[str(tmp_path)])
    harness = Harness(pool, tmp_path, "cpu").start()
    assert isinstance(harness.error(harness.submit(tasks.add, 1, 2)), ExecutorLostError)
    begin = time.monotonic()
    pool.shutdown()
    assert time.monotonic() - begin < WAIT_S / 2
