"""The plugin ``ray``: its options, its own cluster, and what dies on the way."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors import engines
from tests.executors.engines import holding

import jackfield as jf
from jackfield.abc import READY
from jackfield.errors import (
    AppTimeout,
    ConfigurationError,
    ExecutorError,
    ExecutorLostError,
    WorkerDiedError,
    WorkerLostError,
)
from jackfield_executors.ray import jackfield_create_executor
from jackfield_executors.remote import stays
from jackfield_testing import Harness
from jackfield_testing.engines import (
    RayCluster,
    command_of,
    in_session,
    part,
    set_patience,
)
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import until_entered
from jackfield_testing.executors.end import within_limit
from jackfield_testing.footprint import WAIT_S, alive, descendants, settled
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from collections.abc import Iterator


skip_without("ray", extra="ray")

pytestmark = pytest.mark.xdist_group("engines")

PATIENCE_S = 3.0

TABLE = {"plugin": "ray", "cluster_options": {"num_cpus": 2}}

made = partial(engines.made, jackfield_create_executor, "ray")


# -- Options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"adress": "here:1"}, "did you mean 'address'"),
        ({"agents": 2, "most": 3}, "'agents' fixes it"),
        ({"least": 3, "most": 2}, "least <= init <= most must hold"),
        ({"agents": 0}, "'agents' must be a whole number from 1 on"),
        ({"agent_options": 4}, "'agent_options' must be a table"),
        ({"patience": "long"}, "'patience' must be a number of seconds"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        made(options)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'jackfield\[ray\]'"):
        made({})


# -- A cluster of its own


@jf.python_app
def place() -> tuple[str, int]:
    return str(Path.cwd()), os.getpid()


@jf.python_app(walltime=0.5)
def endless() -> None:
    while True:
        pass


@jf.python_app
def dying() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def directories() -> set[Path]:
    """Return those of clusters that no process holds: others may run at this time."""
    found = set()
    for path in Path("/tmp").glob("jackfield-ray-*.held"):
        with suppress(FileNotFoundError, BlockingIOError):
            number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.add(path)
            finally:
                os.close(number)
    return found


def host() -> int:
    """Return the process that holds the engine; one of a test before may just end."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [pid for pid in descendants() if "RayEngine" in command_of(pid)]
        return len(found) == 1

    assert settled(look, WAIT_S), found
    return found[0]


def test_a_whole_kernel_runs_on_a_cluster_of_its_own(tmp_path: Path) -> None:
    before, files = descendants(), directories()
    home = Path.home() / ".ray"
    had_one = home.exists()
    with jf.load(run_dir=tmp_path / "runs", executors={"far": TABLE}):
        late, dead = endless(), dying()
        places = [place() for _ in range(50)]

        assert {one.result(WAIT_S)[0] for one in places} == {str(Path.cwd())}
        assert isinstance(late.exception(WAIT_S), AppTimeout)
        assert isinstance(dead.exception(WAIT_S), WorkerDiedError)
        started = descendants() - before
        assert any("raylet" in command_of(pid) for pid in started)

    assert settled(lambda: not any(map(alive, started)), WAIT_S)
    assert settled(lambda: directories() <= files, WAIT_S)
    assert home.exists() == had_one
    assert list(tmp_path.glob("runs/*/far/ray/gcs_server.out"))


def test_agents_come_and_go_by_need(tmp_path: Path) -> None:
    executor = made({"cluster_options": {"num_cpus": 2}, "most": 2})
    quick = {"scaling": {"idle": 0.1}}
    config = jf.Config(
        executors={"far": executor},
        run_dir=tmp_path,
        use_plugins=quick,
        scale_period=0.2,
    )
    with jf.load(config):
        assert executor.workers == 0

        assert place().result(2 * WAIT_S)[0] == str(Path.cwd())
        assert settled(lambda: executor.workers == 0, WAIT_S)

        futures = [place() for _ in range(8)]
        found = {future.result(2 * WAIT_S)[0] for future in futures}
        assert found == {str(Path.cwd())}


def test_a_killed_driver_leaves_nothing(tmp_path: Path) -> None:
    files = directories()
    script, started = tmp_path / "script.py", tmp_path / "started"
    script.write_text(engines.driver(TABLE))
    with subprocess.Popen([sys.executable, str(script), str(started)]) as killed:
        try:
            assert settled(started.exists, WAIT_S)
            processes = {*in_session(host()), int(started.read_text())}
            assert any("raylet" in command_of(pid) for pid in processes)
        finally:
            killed.kill()

    assert settled(lambda: not any(map(alive, processes)), WAIT_S)
    assert settled(lambda: directories() <= files, WAIT_S)


# -- A cluster that is there


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    one = RayCluster()
    with one.head(20), pytest.MonkeyPatch.context() as patch:
        for name, value in one.environment.items():
            patch.setenv(name, value)
        yield one


@pytest.fixture
def driven(cluster: RayCluster, tmp_path: Path) -> Iterator[Harness]:
    options = {"address": cluster.address, "agents": 1, "patience": WAIT_S}
    far = made({**options, "agent_options": {"num_cpus": 2}})
    with Harness(far, tmp_path, "far").start() as harness:
        assert settled(lambda: harness.executor.workers == 2, WAIT_S)
        yield harness


def actor(harness: Harness) -> int:
    """Return the process of the agent: the parent's parent of a task's."""
    pid = int(harness.value(harness.submit(os.getpid)))
    while "ray::" not in command_of(pid):
        text = Path(f"/proc/{pid}/stat").read_text()
        pid = int(text.rpartition(")")[2].split()[1])
    return pid


def test_a_killed_agent_fails_what_it_had_and_is_replaced(
    driven: Harness, tmp_path: Path
) -> None:
    killed = actor(driven)
    gate, held = holding(driven, tmp_path, ["a", "b"])
    queued = driven.submit_each(tasks.add, range(20))
    pids = [gate.process_of(name) for name in ("a", "b")]

    os.kill(killed, signal.SIGKILL)

    for work in held:
        assert isinstance(driven.error(work), WorkerLostError)
    for work in queued:  # some may have been in the agent's store
        error = driven.error(work)
        assert error is None or isinstance(error, WorkerLostError)
    assert settled(lambda: not any(map(alive, pids)), WAIT_S)
    assert settled(lambda: driven.executor.workers == 2, WAIT_S)
    assert driven.values(driven.submit_each(tasks.add, range(20))) == [*range(20)]
    within_limit(driven, None)


def test_what_a_killed_agent_takes_with_it_is_made_again(
    driven: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stays, "HOME_S", 1_000.0)
    notes = tmp_path / "notes"
    killed = actor(driven)
    first = driven.outcome(driven.submit(made_noted, notes))
    following = driven.work(longer, first)
    following.kept = (first,)
    driven.submit_batch([following])
    kept = driven.outcome(following)
    assert isinstance(kept, stays.Stayed)
    assert kept.away
    driven.forget()
    del first, following

    os.kill(killed, signal.SIGKILL)

    assert kept.fetch() == tasks.payload(LARGE) + b"!"
    assert notes.read_text() == "made made "


LARGE = 3_000_000


def made_noted(notes: Path) -> bytes:
    with notes.open("a") as file:
        file.write("made ")
    return tasks.payload(LARGE)


def longer(data: bytes) -> bytes:
    return data + b"!"


def test_a_killed_host_is_an_error_in_time(driven: Harness, tmp_path: Path) -> None:
    gate, works = holding(driven, tmp_path, map(str, range(20)))
    pids = [gate.process_of(name) for name in ("0", "1")]

    set_patience(driven.executor)
    os.kill(host(), signal.SIGKILL)

    for work in works:
        assert isinstance(driven.error(work), WorkerLostError | ExecutorLostError)
    assert settled(lambda: driven.executor.workers == 0, WAIT_S)
    assert settled(lambda: not any(map(alive, pids)), WAIT_S)
    within_limit(driven, None)


@pytest.mark.slow
def test_agents_that_wait_for_cpus_are_told_and_waited_for(
    cluster: RayCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from jackfield_executors.ray import site

    monkeypatch.setattr(site, "FIRST_S", 0.1)
    options = {"address": cluster.address, "agents": 1, "patience": 0.0}
    far = made({**options, "agent_options": {"num_cpus": 30}})
    with Harness(far, tmp_path, "far").start() as harness:
        work = harness.submit(tasks.add, 40, 2)

        assert settled(lambda: "wait for 30 CPUs" in caplog.text, WAIT_S)
        assert "Ray has 20 of 20 free; its tasks wait, however long" in caplog.text
        assert far.health.state == "starting"
        assert "wait for 30 CPUs" in far.health.reason
        with cluster.node(30):
            assert harness.value(work) == 42
            assert settled(lambda: far.health == READY, WAIT_S)


def test_a_killed_host_is_the_loss_of_its_executor_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    files = directories()
    far = made({"cluster_options": {"num_cpus": 1}, "patience": 0.5})
    with Harness(far, tmp_path, "far").start() as harness:
        assert harness.value(harness.submit(tasks.add, 40, 2)) == 42
        assert far.health == READY
        os.kill(host(), signal.SIGKILL)

        assert settled(lambda: far.health.state == "lost", WAIT_S)
        assert "it has had no worker for 0.5 s" in far.health.reason
        assert settled(lambda: harness.workers_seen[-1] == 0, WAIT_S)
        error = harness.error(harness.submit(tasks.add, 1, 2))
        assert isinstance(error, ExecutorLostError)
        within_limit(harness, None)
    assert settled(lambda: directories() <= files, WAIT_S)


@pytest.mark.slow
def test_an_executor_is_well_again_when_an_agent_has_come(
    cluster: RayCluster, tmp_path: Path
) -> None:
    options = {"address": cluster.address, "agents": 1, "patience": 1.0}
    needs = {"num_cpus": 1, "resources": {"special": 1}}
    far = made({**options, "agent_options": needs})
    with cluster.node(1, special=1) as node:
        harness = Harness(far, tmp_path, "far").start()
        with ExitStack() as stack:
            stack.enter_context(harness)
            assert settled(lambda: far.health == READY, WAIT_S)

            os.kill(part(node, "raylet"), signal.SIGKILL)

            assert settled(lambda: far.health.state == "lost", WAIT_S)
            assert "1 specials; Ray has" in far.health.reason
            error = harness.error(harness.submit(tasks.add, 1, 2))
            assert isinstance(error, ExecutorLostError)
            stack.enter_context(cluster.node(1, special=1))
            assert settled(lambda: far.health == READY, WAIT_S)
            assert harness.value(harness.submit(tasks.add, 40, 2)) == 42
            harness.executor.shutdown()


# -- Deaths that take long to be found


@pytest.mark.slow
def test_a_killed_node_fails_what_it_had(cluster: RayCluster, tmp_path: Path) -> None:
    options = {"address": cluster.address, "agents": 1, "patience": PATIENCE_S}
    needs = {"num_cpus": 2, "resources": {"doomed": 1}}
    with cluster.node(2, doomed=1) as node:
        far = made({**options, "agent_options": needs})
        with Harness(far, tmp_path, "far").start() as harness:
            assert settled(lambda: harness.executor.workers == 2, WAIT_S)
            gate, held = holding(harness, tmp_path, ["a", "b", "c"])
            pids = [gate.process_of(name) for name in ("a", "b")]

            os.kill(part(node, "raylet"), signal.SIGKILL)

            for work in held:
                error = harness.error(work)
                assert isinstance(error, WorkerLostError | ExecutorLostError)
            assert settled(lambda: not any(map(alive, pids)), WAIT_S)
            within_limit(harness, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_killed_head_ends_the_run_with_errors_or_results(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = RayCluster()
    for variable, value in one.environment.items():
        monkeypatch.setenv(variable, value)
    with one.head(2) as head:
        far = made({"address": one.address, "patience": PATIENCE_S})
        with Harness(far, tmp_path, "far").start() as harness:
            assert settled(lambda: harness.executor.workers == 2, WAIT_S)
            _, held = holding(harness, tmp_path, ["a", "b", "c"])

            os.kill(part(head, name), signal.SIGKILL)

            # Without the control store, agents go on until the client gives up, which
            # takes a minute.
            harness.wait(held, 3 * WAIT_S)
            for work in held:
                assert isinstance(harness.error(work), ExecutorError)
            within_limit(harness, None)


HURRY = """\
from jackfield_executors.remote import agent

agent.LEASE_S = {lease}
"""


@pytest.mark.slow
def test_a_driver_that_stands_still_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that holds Ray's client shows its agents that the driver lives."""
    lease = 4.0
    (tmp_path / "sitecustomize.py").write_text(HURRY.format(lease=lease))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    one = RayCluster()
    with one.head(4):
        for name, value in one.environment.items():
            monkeypatch.setenv(name, value)
        far = made({"address": one.address, "agents": 1, "patience": WAIT_S})
        with Harness(far, tmp_path, "far").start() as harness:
            assert settled(lambda: harness.executor.workers == 1, WAIT_S)
            gate = tasks.Gate(tmp_path / "gate")
            harness.cleanups.append(gate.open)
            (held,) = harness.submit_each(gate.hold, ["a"])
            until_entered(gate, "a")

            ctypes.PyDLL(None).sleep(int(3 * lease))

            gate.open()
            assert harness.value(held) == "a"


@pytest.mark.slow
def test_results_of_an_agent_that_was_stopped_count_once(
    driven: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jackfield_executors.ray import site
    from jackfield_executors.remote import post

    monkeypatch.setattr(post, "POLL_S", 0.5)
    monkeypatch.setattr(site, "LATE_S", 0.5)
    stopped = actor(driven)
    gate, held = holding(driven, tmp_path, ["a", "b"])

    os.kill(stopped, signal.SIGSTOP)
    gate.open()
    assert not settled(lambda: any(map(driven.reported, held)), 8.0)
    os.kill(stopped, signal.SIGCONT)

    assert driven.values(held) == ["a", "b"]
    assert driven.values(driven.submit_each(tasks.add, range(20))) == [*range(20)]
