"""The plugin ``dask``: its options, its own clusters, and what dies on the way."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from tests.executors import engines
from tests.executors.engines import holding

import jackfield as jf
from jackfield.clock import monotonic
from jackfield.errors import (
    AppTimeout,
    ConfigurationError,
    EnvironmentMismatchError,
    ExecutorError,
    ExecutorLostError,
    ResultLostError,
    WorkerDiedError,
    WorkerLostError,
)
from jackfield.events import Place
from jackfield_executors import dask
from jackfield_executors.dask import jackfield_check_options, jackfield_create_executor
from jackfield_executors.remote import driver, post, stays
from jackfield_executors.remote.fingerprint import fingerprint
from jackfield_monitoring.commands import runs
from jackfield_monitoring.pages.details import details_of
from jackfield_monitoring.runs import read
from jackfield_monitoring.store.reader import Store
from jackfield_system.dask_clusters import has_lost_track
from jackfield_testing import Harness
from jackfield_testing.engines import address_in_log, command_of, have_lose_track
from jackfield_testing.executors import tasks
from jackfield_testing.executors.end import within_limit
from jackfield_testing.footprint import WAIT_S, alive, descendants, settled
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.abc import Work

skip_without("distributed", extra="dask")

pytestmark = [
    pytest.mark.xdist_group("engines"),
    # Its sockets and loops end when they are collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

LOCAL: dict[str, Any] = {
    "plugin": "dask",
    "cluster_options": {
        "n_workers": 1,
        "threads_per_worker": 2,
        "silence_logs": "CRITICAL",
    },
}


made = partial(engines.made, jackfield_create_executor, "dask")


# -- Options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"adress": "tcp://here:1"}, "did you mean 'address'"),
        ({"cluster": "kubernetes"}, "must be one of local, htcondor"),
        ({"jobs": 0}, "'jobs' must be a whole number from 1 on"),
        ({"keep": 3}, "'keep' must be true or false"),
        ({"patience": "long"}, "'patience' must be a number of seconds"),
        ({"address": "tcp://here:1", "jobs": 2}, "does not go with"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        made(options)


def test_the_package_for_keys_is_asked_for_where_a_cluster_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    install = r"needs the package cryptography: pip install 'jackfield\[dask\]'"

    with pytest.raises(ConfigurationError, match=install):
        jackfield_check_options("far", {})
    with pytest.raises(ConfigurationError, match=install):
        jackfield_create_executor("dask", "far", {})
    assert jackfield_check_options("far", {"address": "tcp://127.0.0.1:1"})
    assert jackfield_check_options("far", {"cluster_options": {"security": False}})


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'jackfield\[dask\]'"):
        made({})


@pytest.mark.parametrize(
    ("module", "options", "extra"),
    [
        ("distributed", {}, "dask"),
        ("dask_jobqueue", {"cluster": "slurm"}, "jobqueue"),
    ],
)
def test_a_check_names_a_missing_extra_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, module: str, options: dict[str, Any], extra: str
) -> None:
    assert jackfield_check_options("tested", options)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigurationError, match=rf"install 'jackfield\[{extra}\]'"):
        jackfield_check_options("tested", options)


def test_a_scheduler_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    from dask import config

    far = made({"address": "tcp://127.0.0.1:1"})
    with (
        config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ExecutorError, match=r"'tested': its cluster cannot be used"),
        Harness(far, tmp_path) as harness,
    ):
        harness.start()


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


def test_a_cluster_of_its_own_limits_no_threads_of_the_driver(tmp_path: Path) -> None:
    before = dict(os.environ)
    with jf.load(run_dir=tmp_path / "runs", executors={"far": LOCAL}) as kernel:
        assert kernel.submit(len, "abc").result(WAIT_S) == 3

        # Two variables Dask sets in any case: they are for its own processes.
        added = os.environ.keys() - {"PYTHONHASHSEED", "__DASK_PARENT_PID"}
        assert added <= before.keys()
        assert {name: os.environ[name] for name in added} == {
            name: before[name] for name in added
        }


def test_a_whole_kernel_runs_on_a_cluster_of_its_own(tmp_path: Path) -> None:
    with jf.load(run_dir=tmp_path / "runs", executors={"far": LOCAL}):
        late, dead = endless(), dying()
        places = [place() for _ in range(50)]

        assert {one.result(WAIT_S)[0] for one in places} == {str(Path.cwd())}
        assert os.getpid() not in {one.result()[1] for one in places}
        assert isinstance(late.exception(WAIT_S), AppTimeout)
        assert isinstance(dead.exception(WAIT_S), WorkerDiedError)
    pids = {one.result()[1] for one in places}
    assert settled(lambda: not any(map(alive, pids)), WAIT_S)


def test_it_is_told_when_and_where_a_task_ran(tmp_path: Path) -> None:
    with cluster(tmp_path) as (_, _, address), harness(address, tmp_path) as driven:
        work = driven.work(tasks.process_id)
        work.measure = "resources"
        before = monotonic()
        driven.submit_batch([work])

        pid = driven.value(work)
        assert work.ran is not None
        place = Place._make(work.ran)
        assert place.pid == pid
        assert re.match(r"far-\d@tcp://127\.0\.0\.1:", place.worker)
        assert before < place.began <= place.ended < monotonic()
        assert place.memory


@pytest.mark.parametrize("bounds", [{}, {"least": 0, "init": 1, "most": 1}])
def test_one_that_has_lost_track_of_its_workers_goes_on_and_ends(
    bounds: dict[str, int], tmp_path: Path
) -> None:
    """Workers that it loses come again, and its end leaves nothing."""
    options = {**LOCAL["cluster_options"], "threads_per_worker": 1}
    if bounds:
        del options["n_workers"]
    resource_tracker.ensure_running()  # that one stays
    before, loops = descendants(), _loops()
    far: Any = made({"cluster_options": options, "patience": WAIT_S, **bounds})
    with Harness(far, tmp_path, "far").start() as driven:
        assert driven.value(driven.submit(tasks.add, 40, 2)) == 42
        own = far._site._cluster
        for _ in range(2):  # while it knows of nothing any more, too
            gone = {post.link.name for post in far._book.posts}
            if has_lost_track(own):
                for worker in list(own.scheduler.workers.values()):
                    os.kill(worker.pid, signal.SIGKILL)
            else:
                have_lose_track(own)
            # A new worker may be there by then: Dask is as fast as we look.
            assert settled(partial(_has_lost, far, gone), WAIT_S)
            assert driven.value(driven.submit(tasks.add, 40, 2)) == 42
    assert own.status.name == "closed"
    assert settled(lambda: descendants() <= before, WAIT_S)
    assert settled(lambda: _loops() <= loops, WAIT_S)


def _has_lost(far: Any, addresses: set[str]) -> bool:
    return addresses.isdisjoint(post.link.name for post in far._book.posts)


def _loops() -> set[threading.Thread]:
    """Return the threads of Dask's that its clients and clusters end."""
    return {one for one in threading.enumerate() if one.name == "IO loop"}


def test_a_stranger_gets_no_connection(tmp_path: Path) -> None:
    from distributed import Client, Security

    options = {key: value for key, value in LOCAL.items() if key != "plugin"}
    far = made(options)
    with Harness(far, tmp_path).start() as harness:
        assert harness.value(harness.submit(tasks.add, 40, 2)) == 42
        address = far._site._cluster.scheduler_address  # type: ignore[attr-defined]  # no user needs it
        assert address.startswith("tls://")

        with pytest.raises(TypeError, match="TLS"):  # it has no key
            Client(address, timeout=5, set_as_default=False)  # type: ignore[no-untyped-call]  # it has no annotations
        stranger = Security.temporary()  # type: ignore[no-untyped-call]  # as above
        with pytest.raises(OSError, match=r"timed out|SSL|certificate|connect"):
            Client(  # type: ignore[no-untyped-call]  # as above
                address, security=stranger, timeout=3, set_as_default=False
            )


# -- Deaths


@contextmanager
def cluster(tmp_path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """Start a scheduler and a worker as programs; give both, and the address."""
    with scheduler() as (started, address), worker(address) as one:
        yield started, one, address


@contextmanager
def scheduler() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a scheduler as a program; give it, and its address."""
    options = ["--host", "127.0.0.1", "--dashboard-address", ":0"]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *options]
    with program([*command, "--port", "0"]) as started:
        yield started, address_in_log(started)


@contextmanager
def worker(
    address: str, python: str = sys.executable, *, lease: float | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a worker as a program; ``lease`` is ``LEASE_S`` of its agents."""
    start = ["-m", "distributed.cli.dask_worker"]
    if lease is not None:
        main = "from distributed.cli.dask_worker import main; main()"
        module = "from jackfield_executors.remote import agent"
        start = ["-c", f"{module}; agent.LEASE_S = {lease}; {main}"]
    command = [python, *start, address]
    options = ["--host", "127.0.0.1", "--dashboard-address", ":0", "--no-nanny"]
    with program([*command, *options, "--nthreads", "2"]) as started:
        yield started


@contextmanager
def program(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def harness(address: str, tmp_path: Path) -> Iterator[Harness]:
    far = made({"address": address, "patience": 2.0})
    with Harness(far, tmp_path, "far").start() as one:
        assert settled(lambda: one.executor.workers == 2, WAIT_S)
        yield one


def test_a_killed_worker_fails_what_it_had_and_no_process_is_left(
    tmp_path: Path,
) -> None:
    with (
        cluster(tmp_path) as (_, first, address),
        harness(address, tmp_path) as driven,
    ):
        gate, held = holding(driven, tmp_path, ["a", "b"])
        queued = driven.submit_each(tasks.add, range(20))
        pids = [gate.process_of(name) for name in ("a", "b")]

        with worker(address):
            assert settled(lambda: driven.executor.workers == 4, WAIT_S)
            first.kill()

            for work in held:
                error = driven.error(work)
                assert isinstance(error, WorkerLostError)
                assert "its worker tcp://127.0.0.1:" in str(error)
            assert driven.values(queued) == list(range(20))
            assert settled(lambda: not any(map(alive, pids)), WAIT_S)
            within_limit(driven, None)


@jf.python_app
def large(size: int) -> bytes:
    return b"x" * size


@jf.python_app
def longer(data: bytes) -> bytes:
    return data + b"y"


@jf.python_app(executors=["here"])
def length_here(data: bytes) -> int:
    return len(data)


@jf.python_app(cache=True)
def cached(size: int) -> bytes:
    return b"z" * size


LARGE = 3_000_000


@contextmanager
def kernel(address: str, tmp_path: Path, **config: Any) -> Iterator[Any]:
    """Give a kernel on a cluster, and with threads of its own."""
    far = {"plugin": "dask", "address": address, "patience": WAIT_S}
    here = {"plugin": "threads", "workers": 1}
    executors = {"far": far, "here": here}
    directory = tmp_path / "runs"
    with jf.load(run_dir=directory, executors=executors, **config) as one:
        yield one


def on_far(app: Any, *args: Any) -> Any:
    return app.options(executors=["far"])(*args)


def test_a_kept_result_is_read_wherever_it_is_wanted(tmp_path: Path) -> None:
    with (
        cluster(tmp_path) as (_, _, address),
        worker(address),
        kernel(address, tmp_path),
    ):
        first = on_far(large, LARGE)
        chain = first
        for _ in range(10):
            chain = on_far(longer, chain)
        here = length_here(chain)
        many = [on_far(longer, first) for _ in range(8)]  # on both workers
        remembered = on_far(cached, LARGE)

        assert chain.result(WAIT_S) == b"x" * LARGE + b"y" * 10
        assert here.result(WAIT_S) == LARGE + 10
        assert {len(one.result(WAIT_S)) for one in many} == {LARGE + 1}
        assert remembered.result(WAIT_S) == b"z" * LARGE
        late = on_far(large, LARGE)
    assert late.result() == b"x" * LARGE  # the run has ended, and the agents with it


def noted(notes: str, name: str, data: bytes) -> bytes:
    with Path(notes).open("a") as file:
        file.write(f"{name}\n")
    return data


@jf.python_app
def large_noted(notes: str, name: str) -> bytes:
    return noted(notes, name, b"x" * LARGE)


@jf.python_app
def longer_noted(notes: str, name: str, data: bytes) -> bytes:
    return noted(notes, name, data + name.encode())


@jf.python_app(retries=0)
def large_once(notes: str) -> bytes:
    return noted(notes, "once", b"x" * LARGE)


@jf.python_app(cache=True)
def large_cached(notes: str) -> bytes:
    return noted(notes, "cached", b"x" * LARGE)


def test_what_a_killed_worker_takes_with_it_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stays, "HOME_S", 1_000.0)
    notes = str(tmp_path / "notes")
    with (
        cluster(tmp_path) as (_, killed, address),
        # Retries are for what is on its way to the worker.
        kernel(
            address, tmp_path, retries=1, monitors={"db": {"plugin": "sqlite"}}
        ) as one,
    ):
        chain = on_far(large_noted, notes, "a")
        for name in ("b", "c"):
            chain = on_far(longer_noted, notes, name, chain)
        once, stored = on_far(large_once, notes), on_far(large_cached, notes)
        jf.wait_for_current_tasks()
        kept = chain._result  # to read it would bring it home
        assert isinstance(kept, stays.Stayed)
        assert kept.away

        killed.kill()
        killed.wait()

        assert chain.done()
        others = [on_far(longer_noted, notes, "d", chain), length_here(chain)]
        assert once.result() == stored.result() == b"x" * LARGE
        with worker(address):
            assert others[0].result(WAIT_S) == b"x" * LARGE + b"bcd"
            assert others[1].result(WAIT_S) == LARGE + 2
            assert chain.result(WAIT_S) == b"x" * LARGE + b"bc"
    ran = sorted(Path(notes).read_text().split())
    assert ran == ["a", "a", "b", "b", "c", "c", "cached", "d", "once"]

    with Store(one.run_dir) as store:
        again = store.reruns()
        apps = {found.task: found.app for found in again}
        assert sorted(apps.values()) == ["large_noted", "longer_noted", "longer_noted"]
        assert all(found.n == 2 and found.over for found in again)
        for task in apps:
            page = store.task(task)
            assert page is not None
            assert [attempt.n for attempt in page.attempts] == [1, 2]
            assert [found.n for found in page.reruns] == [2]
            assert all(attempt.worker for attempt in page.attempts)
            told = details_of(read(one.run_dir), store, task)
            assert told is not None
            facts = dict(told["facts"])
            assert "is gone" in facts["run again (2)"]
    command = ["show", "--dir", str(tmp_path / "runs")]
    shown = CliRunner().invoke(runs, command).output
    assert shown.count("run again") == 3
    assert "is gone" in shown


def test_without_a_worker_what_a_killed_one_had_is_an_error_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stays, "HOME_S", 1_000.0)
    with (
        cluster(tmp_path) as (_, killed, address),
        harness(address, tmp_path) as driven,
    ):
        work = driven.submit(tasks.payload, LARGE)
        kept = driven.outcome(work)
        assert isinstance(kept, stays.Stayed)

        killed.kill()

        with pytest.raises(ResultLostError, match=r"\(payload\) is lost"):
            kept.fetch()
        within_limit(driven, None)


def test_what_has_come_home_survives_a_killed_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stays, "HOME_S", 0.0)
    with (
        cluster(tmp_path) as (_, killed, address),
        kernel(address, tmp_path, retries=1),
    ):
        first = on_far(large, LARGE)
        jf.wait_for_current_tasks()
        assert settled(lambda: not first._result.away, WAIT_S)

        killed.kill()

        with worker(address):
            assert on_far(longer, first).result(WAIT_S) == b"x" * LARGE + b"y"
        assert first.result() == b"x" * LARGE


def test_workers_that_are_all_killed_are_an_error_in_time(tmp_path: Path) -> None:
    with (
        cluster(tmp_path) as (_, killed, address),
        harness(address, tmp_path) as driven,
    ):
        _, works = holding(driven, tmp_path, ["a", "b"])
        works += driven.submit_each(tasks.add, range(20))

        killed.kill()

        for work in works:
            assert isinstance(driven.error(work), WorkerLostError | ExecutorLostError)
        within_limit(driven, None)


def test_a_killed_scheduler_is_an_error_in_time(tmp_path: Path) -> None:
    with (
        cluster(tmp_path) as (killed, _, address),
        harness(address, tmp_path) as driven,
    ):
        _, works = holding(driven, tmp_path, map(str, range(20)))

        killed.kill()

        for work in works:
            assert isinstance(driven.error(work), ExecutorError)
        within_limit(driven, None)


@contextmanager
def stopped_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Harness, list[Work], subprocess.Popen[str]]]:
    """Stop an agent, but not the processes of its two tasks, which end meanwhile."""
    monkeypatch.setattr(post, "POLL_S", 0.5)
    monkeypatch.setattr(dask, "LATE_S", 0.5)
    with (
        cluster(tmp_path) as (_, stopped, address),
        harness(address, tmp_path) as driven,
    ):
        gate, held = holding(driven, tmp_path, ["a", "b"])
        stopped.send_signal(signal.SIGSTOP)
        driven.cleanups.append(lambda: stopped.send_signal(signal.SIGCONT))
        gate.open()
        yield driven, held, stopped


def test_results_of_an_agent_that_was_stopped_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "jackfield.executors.remote")
    with stopped_agent(tmp_path, monkeypatch) as (driven, held, stopped):
        assert settled(lambda: caplog.text.count("No answer of") > 1, WAIT_S)
        stopped.send_signal(signal.SIGCONT)

        assert driven.values(held) == ["a", "b"]
        assert driven.values(driven.submit_each(tasks.add, range(20))) == [*range(20)]


def test_late_results_of_an_agent_that_was_given_up_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stopped_agent(tmp_path, monkeypatch) as (driven, held, stopped):
        monkeypatch.setattr(post, "SILENCE_S", 1.0)
        for work in held:
            assert isinstance(driven.error(work), WorkerLostError)
        monkeypatch.setattr(post, "SILENCE_S", WAIT_S)
        stopped.send_signal(signal.SIGCONT)

        # The worker gets another agent; what the first one has is asked for by nobody.
        assert settled(lambda: driven.executor.workers == 2, WAIT_S)
        assert driven.values(driven.submit_each(tasks.add, range(20))) == [*range(20)]


def test_a_driver_that_stands_still_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a function in C keeps the interpreter, no thread of the driver runs."""
    limit = 5.0
    monkeypatch.setattr(post, "POLL_S", 0.1)
    monkeypatch.setattr(post, "SILENCE_S", limit)
    with (
        scheduler() as (_, address),
        worker(address, lease=limit),
        harness(address, tmp_path) as driven,
    ):
        gate, held = holding(driven, tmp_path, ["a", "b"])

        ctypes.PyDLL(None).sleep(int(2 * limit))

        gate.open()
        assert driven.values(held) == ["a", "b"]


def keep_interpreter(seconds: int) -> int:
    """Call a function in C that keeps the lock: no other thread runs meanwhile."""
    ctypes.PyDLL(None).sleep(seconds)
    return os.getpid()


def test_a_task_that_keeps_the_interpreter_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that of a process of the pool: agent and engine have others."""
    limit = 1.0
    monkeypatch.setattr(post, "POLL_S", 0.1)
    monkeypatch.setattr(post, "SILENCE_S", limit)
    with (
        scheduler() as (_, address),
        worker(address, lease=limit),
        harness(address, tmp_path) as driven,
    ):
        long = driven.submit(keep_interpreter, int(5 * limit))

        short = driven.value(driven.submit(tasks.process_id, 0))

        assert not driven.reported(long)
        assert driven.value(long) not in (short, os.getpid())


def test_tasks_of_a_driver_that_is_killed_end_with_it(tmp_path: Path) -> None:
    with scheduler() as (_, address), worker(address, lease=2.0):
        script, started = tmp_path / "script.py", tmp_path / "started"
        script.write_text(engines.driver({"plugin": "dask", "address": address}))
        with subprocess.Popen([sys.executable, str(script), str(started)]) as killed:
            try:
                assert settled(started.exists, WAIT_S)
                pid = int(started.read_text())
                assert alive(pid)
            finally:
                killed.kill()
        assert settled(lambda: not alive(pid), WAIT_S)


def test_a_killed_driver_leaves_no_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(engines.driver(LOCAL))
    started = tmp_path / "started"
    before = descendants()
    with subprocess.Popen([sys.executable, str(script), str(started)]) as killed:
        try:
            assert settled(started.exists, WAIT_S)
            processes = descendants() - before | {int(started.read_text())}
            assert any("forkserver" in command_of(pid) for pid in processes)
        finally:
            killed.kill()

    assert settled(lambda: not any(map(alive, processes)), WAIT_S)


def test_a_worker_of_another_kind_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "CPython 3.99, wire 1, cloudpickle 9.9"
    monkeypatch.setattr(driver, "fingerprint", lambda: other)
    with cluster(tmp_path) as (_, _, address):
        one = made({"address": address, "patience": 2.0})
        tested = Harness(one, tmp_path, "far")

        def run() -> None:
            # The worker may come after the look at the start; then works are told.
            tested.start()
            tested.value(tested.submit(tasks.add, 1))

        with pytest.raises(EnvironmentMismatchError, match=f"this process is {other}"):
            run()
        one.shutdown(grace=0)


def test_a_worker_of_another_python_runs_nothing(tmp_path: Path) -> None:
    python = os.environ.get("TEST_OTHER_PYTHON")
    if python is None:
        pytest.skip("TEST_OTHER_PYTHON names no other Python with jackfield[dask]")
    command = [python, "-c", "from jackfield_executors.remote.fingerprint import *; "]
    command[-1] += "print(fingerprint())"
    theirs = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert theirs != fingerprint()

    with scheduler() as (_, address), worker(address, python):
        one = made({"address": address, "patience": 2.0})
        tested = Harness(one, tmp_path, "far")

        def run() -> None:
            # The worker may come after the look at the start; then works are told.
            tested.start()
            tested.value(tested.submit(tasks.add, 1))

        with pytest.raises(EnvironmentMismatchError) as caught:
            run()
        assert theirs in str(caught.value)
        assert fingerprint() in str(caught.value)
        one.shutdown(grace=0)


def test_a_script_that_workers_would_run_again_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import jackfield as jf\n"
        "with jf.load({'executors': {'far': {'plugin': 'dask'}}}):\n"
        "    print('loaded')\n"
    )

    ran = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        timeout=2 * WAIT_S,
    )

    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "a worker of Dask's has begun the script again" in ran.stderr
    *_, last = ran.stderr.splitlines()
    assert last.startswith("jackfield.errors.ExecutorError: Executor 'far': no worker")
    assert "below `if __name__ == '__main__':`" in last
    assert "bootstrapping phase" not in ran.stderr  # in pages of tracebacks
