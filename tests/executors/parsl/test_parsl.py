"""The plugin ``parsl``: its options, a whole kernel, and what dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors import engines
from tests.executors.engines import holding

import jackfield as jf
from jackfield.abc import READY
from jackfield.errors import (
    ConfigurationError,
    ExecutorError,
    ExecutorLostError,
)
from jackfield_executors.parsl import blocks, jackfield_create_executor
from jackfield_testing import Harness
from jackfield_testing.engines import command_of, in_session, set_patience
from jackfield_testing.executors import tasks
from jackfield_testing.executors.end import within_limit
from jackfield_testing.footprint import WAIT_S, alive, descendants, settled
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


skip_without("parsl", extra="parsl")

pytestmark = pytest.mark.xdist_group("engines")

SITE = "jackfield_testing.engines:htex"

TABLE = {"plugin": "parsl", "executor": SITE}

made = partial(engines.made, jackfield_create_executor, "parsl")


# -- Options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"excutor": SITE}, "did you mean 'executor'"),
        ({}, "needs the option executor"),
        ({"executor": "site"}, "'executor' must be a text such as 'module:object'"),
        ({"executor": SITE, "blocks": 0}, "'blocks' must be a whole number from 1"),
        ({"executor": SITE, "blocks": 2, "most": 3}, "'blocks' fixes it"),
        ({"executor": SITE, "least": 3, "most": 2}, "least <= init <= most must hold"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        made(options)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "parsl", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'jackfield\[parsl\]'"):
        made({"executor": SITE})


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("no_such_module:htex", "No module named 'no_such_module'"),
        ("jackfield:File", "jackfield:File is no HighThroughputExecutor"),
    ],
)
def test_what_is_no_executor_of_parsls_ends_the_start(
    named: str, told: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(ExecutorError, match=f"cannot be started: .*{told}"),
        Harness(made({"executor": named}), tmp_path) as harness,
    ):
        harness.start()


# -- A whole kernel


@jf.python_app
def process() -> int:
    return os.getpid()


@jf.python_app
def failing(number: int) -> None:
    raise ValueError(f"number {number}")


def test_a_whole_kernel_runs_on_a_sites_executor(tmp_path: Path) -> None:
    before = descendants()
    with jf.load(run_dir=tmp_path / "runs", executors={"far": TABLE}):
        ran = [process() for _ in range(200)]
        error = failing(7).exception(WAIT_S)

        assert repr(error) == "ValueError('number 7')"
        assert os.getpid() not in {one.result(WAIT_S) for one in ran}
        started = descendants() - before
        assert any("interchange" in command_of(pid) for pid in started)

    assert settled(lambda: not any(map(alive, started)), WAIT_S)
    assert list(tmp_path.glob("runs/*/far/site/interchange.log"))


def test_blocks_come_and_go_by_need(tmp_path: Path) -> None:
    executor = made({"executor": SITE, "most": 2})
    config = jf.Config(
        executors={"far": executor},
        run_dir=tmp_path / "runs",
        use_plugins={"scaling": {"idle": 0.1}},
        scale_period=0.2,
    )
    with jf.load(config):
        assert executor.workers == 0
        assert executor.health == READY  # none is wanted

        assert process().result(2 * WAIT_S) != os.getpid()
        assert settled(lambda: executor.workers == 0, WAIT_S)

        assert len([process().result(2 * WAIT_S) for _ in range(4)]) == 4


class Job:
    def __init__(self, state: str, message: str = "") -> None:
        self.state = type("State", (), {"name": state})
        self.message = message
        self.terminal = state == "FAILED"


class Queue:
    """A batch system that begins nothing by itself, behind what an executor has."""

    def __init__(self) -> None:
        self.provider = self
        self.command_client = self
        self.nodes_per_block = 1
        self.workers_per_node = 2
        self.status_polling_interval = 0
        self.blocks_to_job_id: dict[str, str] = {}
        self.status_facade: dict[str, Job] = {}
        self.cancelled: list[str] = []
        self.held: list[str] = []
        self.refuses = False

    def scale_out_facade(self, count: int) -> list[str]:
        begun = []
        for _ in range(count):
            block = str(len(self.status_facade))
            self.status_facade[block] = Job("FAILED" if self.refuses else "PENDING")
            if not self.refuses:
                self.blocks_to_job_id[block] = f"1{block}"
                begun.append(block)
        return begun

    def status(self) -> dict[str, Job]:
        return self.status_facade

    def cancel(self, jobs: list[str]) -> None:
        self.cancelled += jobs

    def _hold_manager(self, manager: str) -> None:
        self.held.append(manager)


def manager(block: str, tasks: int = 0, *, active: bool = True) -> dict[str, Any]:
    told = {"manager": f"m{block}", "block_id": block, "worker_count": 2}
    return {**told, "tasks": tasks, "active": active}


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setattr(blocks, "LOOK_S", 0.0)
    monkeypatch.setattr(blocks, "WHY_S", 0.0)
    return Queue()


def test_a_block_that_is_to_go_is_held_until_it_has_no_task(queue: Queue) -> None:
    some = blocks.Blocks(queue, 2)
    some.begin(2)
    told = some.step([manager("0", 1), manager("1", 3)])
    assert (told.workers, told.size, told.pending) == (4, 2, 0)

    some.wanted = 1
    some.step([manager("0", 1), manager("1", 3)])
    some.step([manager("0", 1), manager("1", 3)])
    assert queue.held == ["m0"]  # it has the least to do
    some.step([manager("0", 1, active=False), manager("1", 3)])
    assert not queue.cancelled
    told = some.step([manager("0", 0, active=False), manager("1", 3)])

    assert queue.cancelled == ["10"]
    assert told.workers == 2
    assert some.jobs() == ["11"]


def test_blocks_that_wait_go_first_and_say_why_they_wait(queue: Queue) -> None:
    some = blocks.Blocks(queue, 3)
    some.begin(3)
    queue.status_facade["2"] = Job("HELD", "by the user")
    told = some.step([manager("0", 5)])
    assert told.pending == 2
    assert told.why == "2 blocks are on the way: job 11 is pending"
    some.wanted = 2
    told = some.step([manager("0", 5)])
    assert queue.cancelled == ["11"]
    assert some.step([manager("0", 5)]).why == (
        "one block is on the way: job 12 is held (by the user)"
    )
    some.wanted = 1
    told = some.step([manager("0", 5)])
    assert queue.cancelled == ["11", "12"]
    assert (told.workers, told.pending, told.why) == (2, 0, "")


def test_blocks_that_are_refused_are_tried_a_few_times(queue: Queue) -> None:
    queue.refuses = True
    some = blocks.Blocks(queue, 2)
    for _ in range(10):
        some.step([])

    assert some.failed >= blocks.MOST_FAILED
    assert len(queue.status_facade) <= blocks.MOST_FAILED + 1
    assert not some.living


# -- Deaths


def host() -> int:
    """Return the process that holds the engine; one of a test before may just end."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [pid for pid in descendants() if "HtexEngine" in command_of(pid)]
        return len(found) == 1

    assert settled(look, WAIT_S), found
    return found[0]


def test_a_killed_driver_leaves_no_process(tmp_path: Path) -> None:
    script, started = tmp_path / "script.py", tmp_path / "started"
    script.write_text(engines.driver(TABLE))
    with subprocess.Popen([sys.executable, str(script), str(started)]) as killed:
        try:
            assert settled(started.exists, WAIT_S)
            processes = {*in_session(host()), int(started.read_text())}
            names = " ".join(map(command_of, processes))
            assert "interchange" in names
            assert "process_worker_pool" in names
        finally:
            killed.kill()

    assert settled(lambda: not any(map(alive, processes)), WAIT_S)


@pytest.fixture
def driven(tmp_path: Path) -> Iterator[Harness]:
    far = made({"executor": SITE, "patience": WAIT_S})
    with Harness(far, tmp_path, "far").start() as harness:
        assert settled(lambda: harness.executor.workers == 2, WAIT_S)
        yield harness


def named(text: str) -> list[int]:
    return [pid for pid in in_session(host()) if text in command_of(pid)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_interchange_is_an_error_in_time(
    driven: Harness, tmp_path: Path, number: signal.Signals
) -> None:
    _, works = holding(driven, tmp_path, ["a", "b"])
    works += driven.submit_each(tasks.add, range(20))
    (interchange,) = named("HTEX interchange")
    assert settled(lambda: driven.executor.health == READY, WAIT_S)

    set_patience(driven.executor)
    os.kill(interchange, number)

    for work in works:
        assert isinstance(driven.error(work), ExecutorLostError)
    assert settled(lambda: driven.executor.health.state == "lost", WAIT_S)
    assert driven.executor.health.reason
    within_limit(driven, None)


@pytest.mark.slow
def test_a_killed_host_is_an_error_in_time(driven: Harness, tmp_path: Path) -> None:
    _, works = holding(driven, tmp_path, ["a", "b"])
    works += driven.submit_each(tasks.add, range(20))
    processes = in_session(host())

    set_patience(driven.executor)
    os.kill(host(), signal.SIGKILL)

    for work in works:
        assert isinstance(driven.error(work), ExecutorError)
    assert settled(lambda: not any(map(alive, processes)), WAIT_S)
    within_limit(driven, None)


@pytest.mark.slow
def test_a_killed_worker_fails_its_bundle_alone(
    driven: Harness, tmp_path: Path
) -> None:
    gate, held = holding(driven, tmp_path, ["a", "b"])

    os.kill(gate.process_of("a"), signal.SIGKILL)

    assert isinstance(driven.error(held[0]), ExecutorError)
    gate.open()
    assert driven.value(held[1]) == "b"
    assert driven.values(driven.submit_each(tasks.add, range(20))) == [*range(20)]


@pytest.mark.slow
def test_a_block_that_ends_is_replaced(driven: Harness, tmp_path: Path) -> None:
    (manager,) = named("process_worker_pool.py")
    _, held = holding(driven, tmp_path, ["a", "b"])

    set_patience(driven.executor)
    os.kill(manager, signal.SIGKILL)

    for work in held:
        assert isinstance(driven.error(work), ExecutorError)
    # Whether it was lost meanwhile depends on how soon the other one is there.
    assert settled(lambda: driven.executor.workers == 2, WAIT_S)
    assert settled(lambda: driven.executor.health == READY, WAIT_S)
    assert driven.values(driven.submit_each(tasks.add, range(20))) == [*range(20)]
    assert named("process_worker_pool.py") != [manager]


FAILING = """\
from jackfield_testing import engines

def htex():
    one = engines.htex()
    one.provider.worker_init = "exit 3"
    return one
"""


@pytest.mark.slow
def test_blocks_that_never_have_a_worker_are_an_error_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_site.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    far = made({"executor": "failing_site:htex", "patience": 600.0})
    with Harness(far, tmp_path, "far").start() as harness:
        before = far.health
        assert before.state == "starting"

        error = harness.error(harness.submit(tasks.add, 1, 2))

        assert isinstance(error, ExecutorLostError)
        assert "3 blocks in a row have ended without a worker" in str(error)
        assert far.health.state == "lost"
        within_limit(harness, None)
