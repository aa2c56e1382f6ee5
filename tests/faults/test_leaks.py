"""Many kernels in one process leave it as they found it."""

from __future__ import annotations

import gc
import logging
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import jackfield as jf
from jackfield.kernel import shutdown
from jackfield_testing.footprint import settled

KERNELS = 200
ROUNDS = 3
LIMIT_S = 60.0


class Watches:
    """An observer, a provider and a policy, so that every part is in use."""

    @jf.hookimpl
    def jackfield_task_events(self) -> None: ...

    @jf.hookimpl
    def jackfield_retry(self) -> None: ...

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        transfer.path.write_bytes(b"x")
        return jf.RemoteInfo()


@jf.python_app
def identity(value: Any, *_: Any) -> Any:
    return value


@jf.python_app(retries=1)
def fail() -> None:
    raise ValueError("failed")


@jf.join_app
def join(number: int) -> list[jf.AppFuture[int]]:
    return [identity(item) for item in range(number)]


def use(run_dir: Path) -> None:
    """Load a kernel, use all it has, and end it."""
    options: dict[str, Any] = {
        "executors": {"threads": {"plugin": "threads", "workers": 2}},
        "run_dir": run_dir,
        "plugins": [Watches()],
        "checkpoint": {"store": "memory"},
    }
    with jf.load(jf.Config(**options)) as kernel:
        called = threading.Event()
        joined = join(3)
        joined.add_done_callback(lambda _: called.set())
        staged = identity(jf.File("mem://host/x"))
        cached = [kernel.submit(abs, -1, cache=True) for _ in range(2)]
        failed = identity(fail())
        cancelled = identity(joined)
        cancelled.cancel()
        assert isinstance(failed.exception(LIMIT_S), jf.DependencyError)
        assert [future.result(LIMIT_S) for future in cached] == [1, 1]
        assert joined.result(LIMIT_S) == [0, 1, 2]
        staged.result(LIMIT_S)
        assert called.wait(LIMIT_S)


def use_store(run_dir: Path) -> None:
    """Load a kernel with a store of results, and use that."""
    run_dir.mkdir(exist_ok=True)
    table = {"store": f"sqlite:///{run_dir}/results.db"}
    with jf.load(jf.Config(run_dir=run_dir, checkpoint=table)) as kernel:
        futures = [kernel.submit(abs, -number, cache=True) for number in range(3)]
        assert [future.result(LIMIT_S) for future in futures] == [0, 1, 2]


def end_badly(run_dir: Path) -> None:
    """Leave a kernel by an error, with tasks that run and tasks that wait."""
    gate = threading.Event()
    kernel = jf.load(jf.Config(run_dir=run_dir, exit_grace=0.0))
    kernel.submit(abs, kernel.submit(gate.wait, LIMIT_S))
    kernel.cleanup(wait=False)
    gate.set()


def fail_to_start(run_dir: Path) -> None:
    """Load a kernel whose second executor does not exist."""
    tables = {"good": {"plugin": "threads"}, "bad": {"plugin": "no-such-plugin"}}
    with pytest.raises(jf.PluginError):
        jf.load(jf.Config(run_dir=run_dir, executors=tables))


def count_objects() -> Counter[str]:
    gc.collect()
    return Counter(
        f"{type(item).__module__}.{type(item).__qualname__}"
        for item in gc.get_objects()
    )


def do_not_collect_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pytest from holding each line of the log. Called in the test itself."""
    monkeypatch.setattr(logging.getLogger("jackfield"), "propagate", False)


@pytest.mark.parametrize(
    ("life", "number"),
    [
        (use, 40),
        pytest.param(use, KERNELS, marks=pytest.mark.slow),
        (use_store, 30),
        (end_badly, 30),
        (fail_to_start, 50),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_nothing_is_left_of_many_kernels(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    life: Callable[[Path], None],
    number: int,
) -> None:
    do_not_collect_the_log(monkeypatch)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    process = psutil.Process()
    children = set(process.children(recursive=True))  # of other tests
    for _ in range(5):  # caches fill, modules are imported
        life(tmp_path / "warm-up")
    settled(lambda: not _task_threads(), LIMIT_S)
    threads, descriptors = process.num_threads(), process.num_fds()
    loggers = set(logging.root.manager.loggerDict)

    # What is left of each kernel is there after every round. The interpreter's caches
    # (those of abstract classes, by the class that was asked about) grow once, by as
    # much as tests before this one have imported.
    grown = {"": number}
    for _ in range(ROUNDS):
        objects = count_objects()
        for _ in range(number):
            life(tmp_path / "runs")
        assert settled(lambda: process.num_threads() <= threads, LIMIT_S)
        more = count_objects() - objects
        grown = {kind: count for kind, count in more.items() if count >= 0.9 * number}
        if not grown:
            break

    assert grown == {}
    assert settled(lambda: process.num_fds() <= descriptors, LIMIT_S)
    assert set(logging.root.manager.loggerDict) == loggers
    assert not shutdown._open
    assert settled(lambda: {*process.children(recursive=True)} <= children, LIMIT_S)


def _task_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("jackfield-")]


def test_memory_stays_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    do_not_collect_the_log(monkeypatch)
    process = psutil.Process()
    for _ in range(20):
        use(tmp_path / "runs")
    gc.collect()
    before = process.memory_info().rss

    for _ in range(KERNELS):
        use(tmp_path / "runs")
    gc.collect()

    assert process.memory_info().rss - before < 10_000_000
