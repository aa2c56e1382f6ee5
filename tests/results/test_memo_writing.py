"""When results are written, by ``kernel.checkpoint()`` too, and what if they cannot."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.errors import CheckpointError, CheckpointWarning
from jackfield.plugins import PluginManager
from jackfield_testing.checkpoints.case import mounted

if TYPE_CHECKING:
    from jackfield.abc import CheckpointRecord

LIMIT_S = 60.0


class Store:
    """A plugin with a store in memory, which can refuse to write."""

    def __init__(self) -> None:
        self.records: dict[bytes, CheckpointRecord] = {}
        self.problem: BaseException | None = None
        self.refusals = 0
        self.gate = threading.Event()
        self.gate.set()

    @jf.hookimpl
    def jackfield_open_checkpoint(self, url: str) -> Any:
        return _Opened(self) if url.startswith("here") else None


class _Opened(jf.abc.CheckpointStore):
    def __init__(self, store: Store) -> None:
        self.store = store

    def get(self, key: bytes) -> CheckpointRecord | None:
        return self.store.records.get(key)

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        assert self.store.gate.wait(LIMIT_S)
        if self.store.problem is not None:
            self.store.refusals += 1
            raise self.store.problem
        self.store.records.update({record.key: record for record in records})

    def keys(self) -> Any:
        return iter(list(self.store.records))

    def delete(self, keys: Any) -> None:
        for key in keys:
            self.store.records.pop(key, None)

    def close(self) -> None:
        pass


def load(store: Store, **options: Any) -> jf.DataFlowKernel:
    others = {name: options.pop(name) for name in ("lazy_errors",) if name in options}
    table = {"store": "here:", **options}
    return jf.load({"checkpoint": table, **others}, plugins=[store])


@contextlib.contextmanager
def warned(text: str) -> Iterator[None]:
    """See that there is one warning of checkpoints, and what it says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    told = [str(w.message) for w in caught if w.category is CheckpointWarning]
    assert len(told) == 1, told
    assert text in told[0]


@pytest.fixture
def full() -> Store:
    """A store that has no room."""
    store = Store()
    store.problem = CheckpointError("the disk is full.", "here")
    return store


# -- When the program says so


@pytest.mark.parametrize("mode", ["manual", "dfk_exit", "periodic"])
def test_what_is_pending_is_written_when_the_program_says_so(mode: str) -> None:
    store = Store()
    with load(store, mode=mode) as kernel:
        assert [f.result(LIMIT_S) for f in _powers(kernel, 20)] == [
            2**n for n in range(20)
        ]
        assert store.records == {}
        kernel.checkpoint()
        assert len(store.records) == 20
        kernel.checkpoint()


def test_nothing_else_is_written_in_manual_mode() -> None:
    store = Store()
    with load(store, mode="manual") as kernel:
        kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S)
        kernel.checkpoint()
        kernel.submit(pow, 2, 4, cache=True).result(LIMIT_S)

    assert len(store.records) == 1


def test_it_waits_until_the_records_are_there() -> None:
    store = Store()
    store.gate.clear()
    with load(store, mode="manual") as kernel:
        kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S)
        thread = threading.Thread(target=kernel.checkpoint)
        thread.start()
        thread.join(0.2)
        waited = thread.is_alive()
        store.gate.set()
        thread.join(LIMIT_S)

        assert waited
        assert len(store.records) == 1


def test_a_task_may_ask_for_it() -> None:
    store = Store()
    with load(store, mode="manual") as kernel:
        kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S)
        kernel.submit(kernel.checkpoint).result(LIMIT_S)

        assert len(store.records) == 1


KILLED = """
import os, signal
import jackfield as jf

@jf.python_app(cache=True)
def work(x):
    return x

with jf.load({"checkpoint": {"store": "sqlite:///x.db", "mode": "manual"}}) as kernel:
    [work(n).result() for n in range(5)]
    kernel.checkpoint()
    [work(n).result() for n in range(5, 9)]
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(KILLED)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, timeout=LIMIT_S, check=False
    )
    assert done.returncode == -signal.SIGKILL

    url = f"sqlite:///{tmp_path}/x.db"
    with contextlib.closing(PluginManager().open_checkpoint(url, {})) as store:
        assert len(list(store.keys())) == 5


def test_what_cannot_be_written_is_an_error(full: Store) -> None:
    with (
        warned("disk is full"),
        load(full, mode="manual") as kernel,
    ):
        assert kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S) == 8
        for _ in range(2):
            with pytest.raises(CheckpointError, match="'here': the disk is full"):
                kernel.checkpoint()

    assert full.refusals == 1


def test_without_a_store_that_is_an_error(tmp_path: Path) -> None:
    run_dir = str(tmp_path / "runs")
    with jf.load({"checkpoint": {"store": "memory"}, "run_dir": run_dir}) as kernel:
        kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S)
        with pytest.raises(CheckpointError, match="in memory only: store = 'memory'"):
            kernel.checkpoint()


def test_with_a_default_store_that_does_not_open_too(tmp_path: Path) -> None:
    (tmp_path / "checkpoints.db").write_text("of another program")
    with (
        warned("kept in memory only"),
        jf.load({"run_dir": str(tmp_path)}) as kernel,
    ):
        kernel.checkpoint()  # nobody has needed it yet
        kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S)
        with pytest.raises(CheckpointError, match="no SQLite database"):
            kernel.checkpoint()


@pytest.mark.parametrize("mode", ["dfk_exit", "manual"])
def test_a_mode_alone_is_for_the_default_store(tmp_path: Path, mode: str) -> None:
    config = {"checkpoint": {"mode": mode}, "run_dir": str(tmp_path)}
    with jf.load(config) as kernel:
        kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S)
    with jf.load(config) as kernel:
        again = kernel.submit(pow, 2, 3, cache=True)
        assert again.result(LIMIT_S) == 8

        assert (again.memo.status == "hit") == (mode == "dfk_exit")
        assert (tmp_path / "checkpoints.db").is_file()


def test_after_the_end_it_is_refused() -> None:
    with load(Store(), mode="manual") as kernel:
        pass
    with pytest.raises(jf.KernelClosedError, match="cannot checkpoint"):
        kernel.checkpoint()


# -- on_failure


def _powers(kernel: jf.DataFlowKernel, number: int) -> list[jf.AppFuture[Any]]:
    return [kernel.submit(pow, 2, n, cache=True) for n in range(number)]


@pytest.mark.parametrize("options", [{}, {"on_failure": "warn"}])
def test_a_run_goes_on_without_its_store_and_says_so_once(
    full: Store, options: dict[str, str]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with load(full, **options) as kernel:
            for _ in range(3):
                futures = _powers(kernel, 20)
                assert [f.result(LIMIT_S) for f in futures] == [2**n for n in range(20)]
            log = kernel.run_dir
    told = [str(one.message) for one in caught]

    assert told == [
        "Results are not stored any more: Checkpoint store 'here': the disk is full."
    ]
    text = "".join(p.read_text() for p in log.glob("*.log"))
    assert text.count("Results are not stored any more") == 1
    assert "ERROR" in text


def test_a_run_may_stop_with_its_store(full: Store) -> None:
    full.gate.clear()
    with (
        warned("disk is full"),
        load(full, on_failure="stop") as kernel,
    ):
        lost = kernel.submit(pow, 2, 3, cache=True)
        waiting = kernel.submit(abs, lost)
        full.gate.set()

        with pytest.raises(CheckpointError, match="'here': the disk is full"):
            lost.result(LIMIT_S)
        with pytest.raises(
            jf.KernelClosedError, match=r"results cannot be stored\. .*disk is full"
        ):
            kernel.submit(abs, 1)
        jf.wait_for_current_tasks(LIMIT_S)

    assert lost.task_status() == "failed"
    assert waiting.task_status() in {"cancelled", "dependency-failed"}


def test_what_runs_when_a_run_stops_may_end(full: Store) -> None:
    running, gate = threading.Event(), threading.Event()

    def work(x: int) -> int:
        running.set()
        assert gate.wait(LIMIT_S)
        return x

    with (
        warned("disk is full"),
        load(full, on_failure="stop") as kernel,
    ):
        plain, cached = kernel.submit(work, 1), kernel.submit(work, 2, cache=True)
        assert running.wait(LIMIT_S)
        kernel.submit(pow, 2, 3, cache=True).exception(LIMIT_S)
        gate.set()

        assert plain.result(LIMIT_S) == 1
        assert isinstance(cached.exception(LIMIT_S), CheckpointError)

    assert full.refusals == 1


def test_equal_calls_of_a_result_that_is_lost_end_too(full: Store) -> None:
    full.gate.clear()
    with (
        warned("disk is full"),
        load(full, on_failure="stop") as kernel,
    ):
        futures = [kernel.submit(pow, 2, 3, cache=True) for _ in range(5)]
        full.gate.set()
        jf.wait_for_current_tasks(LIMIT_S)

    ends = [one.task_status() for one in futures]
    assert ends[0] == "failed"
    assert set(ends[1:]) <= {"failed", "cancelled"}


def test_a_store_that_raises_anything_is_a_failure() -> None:
    store = Store()
    store.problem = ZeroDivisionError("oops")
    with (
        warned("ZeroDivisionError: oops"),
        load(store, on_failure="stop") as kernel,
        pytest.raises(CheckpointError, match="ZeroDivisionError: oops"),
    ):
        kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S)


@pytest.mark.parametrize("mode", ["manual", "periodic", "dfk_exit"])
def test_in_other_modes_the_run_stops_and_no_task_fails(full: Store, mode: str) -> None:
    with (
        warned("disk is full"),
        load(full, mode=mode, on_failure="stop") as kernel,
    ):
        assert kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S) == 8
        with pytest.raises(CheckpointError, match="disk is full"):
            kernel.checkpoint()
        with pytest.raises(jf.KernelClosedError, match="cannot be stored"):
            kernel.submit(pow, 2, 3)


def test_a_result_that_cannot_be_pickled_stops_nothing() -> None:
    store = Store()
    with (
        warned("are not stored: TypeError"),
        load(store, on_failure="stop") as kernel,
    ):
        kernel.submit(threading.Lock, cache=True).result(LIMIT_S)
        assert kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S) == 8

    assert len(store.records) == 1


def test_another_policy_is_refused() -> None:
    with pytest.raises(jf.ConfigurationError, match="did you mean 'stop'"):
        jf.Config(checkpoint={"store": "here:", "on_failure": "stopp"})


FULL = """
import sys
import jackfield as jf

@jf.python_app(cache=True)
def work(n):
    return bytes([n]) * 200_000

disk, url, policy = sys.argv[1:]
table = {"store": url, "on_failure": policy}
ends = []
with jf.load({"checkpoint": table, "run_dir": "runs"}) as kernel:
    for n in range(20):
        try:
            ends.append(len(work(n).result()))
        except jf.JackfieldError as error:
            ends.append(type(error).__name__)
print(ends.count(200_000), *sorted(set(map(str, ends))))
"""


@pytest.mark.parametrize("url", ["sqlite:///{}/x.db", "pickle:///{}/x"])
@pytest.mark.parametrize("policy", ["warn", "stop"])
def test_a_disk_that_is_really_full(tmp_path: Path, url: str, policy: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "script.py").write_text(FULL)
    prefix = mounted(f"mount -t tmpfs -o size=1m,mode=700 tmpfs {disk}")

    done = subprocess.run(
        [*prefix, sys.executable, "script.py", str(disk), url.format(disk), policy],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Warning: Results are not stored any more") == 1, (
        done.stderr
    )
    good, *kinds = done.stdout.split()
    if policy == "warn":
        assert (good, kinds) == ("20", ["200000"])
    else:
        assert 0 < int(good) < 10
        assert kinds == ["200000", "CheckpointError", "KernelClosedError"]
