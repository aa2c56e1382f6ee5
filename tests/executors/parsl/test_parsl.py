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
from jackfield_executors.parsl import jackfield_create_executor
from jackfield_testing import Harness
from jackfield_testing.engines import command_of, in_session, set_patience
from jackfield_testing.executors import tasks
from jackfield_testing.executors.end import within_limit
from jackfield_testing.footprint import WAIT_S, alive, descendants, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytest.importorskip("parsl", reason="pip install 'jackfield[parsl]'")

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
