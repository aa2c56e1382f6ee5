"""Large data is in memory once, whoever uses it, and is gone with its last user."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

import jackfield as jf
from jackfield_executors.processes import shared
from jackfield_executors.processes.options import parse_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(
    not shared.available(), reason="this system shares no memory by descriptors"
)

COUNT = 1_000_000  # of numbers of 8 bytes
LARGE = 6_250_000  # 50 MB
KILLS = 15
NAME = "memfd:jackfield-data"


def segments(pid: int | str = "self") -> int:
    """Return how many segments a process has mapped or has descriptors of."""
    found = Path(f"/proc/{pid}/maps").read_text().count(NAME)
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += NAME in os.readlink(link)  # noqa: PTH115  (a name that is no path)
        except OSError:  # closed meanwhile
            continue
    return found


def maps() -> int:
    """Return how many segments this process has mapped."""
    return Path("/proc/self/maps").read_text().count(NAME)


@jf.python_app(executors=["cpu"])
def ones(count: int = COUNT) -> Any:
    return np.ones(count)


@jf.python_app(executors=["cpu"])
def plus_one(array: Any) -> Any:
    return array + 1


@jf.python_app(executors=["cpu"])
def total(array: Any) -> float:
    return float(array.sum())


@jf.python_app(executors=["cpu"])
def seen(array: Any) -> tuple[bool, int, int]:
    return array.flags.writeable, maps(), os.getpid()


@jf.python_app(executors=["cpu"])
def mapped() -> int:
    return maps()


@jf.python_app(executors=["cpu"])
def changed(array: Any) -> float:
    array[0] = 5
    return float(array[0])


@jf.python_app(executors=["cpu"], retries=KILLS)
def plus_one_at_last(array: Any, place: str) -> Any:
    Path(place, str(os.getpid())).touch()  # this worker may be killed
    return array + 1


@jf.python_app(executors=["cpu"])
def hold_until(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.001)


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Any]:
    kernels = []

    def load_one(workers: int = 2, **options: Any) -> jf.DataFlowKernel:
        executor = {"plugin": "processes", "workers": workers, **options}
        config = {"executors": {"cpu": executor}, "run_dir": str(tmp_path)}
        kernels.append(jf.load(config))
        return kernels[-1]

    yield load_one
    for kernel in kernels:
        kernel.cleanup()
        jf.clear()


def test_an_array_goes_from_task_to_task(load: Any) -> None:
    load()
    future = ones()
    for _ in range(5):
        future = plus_one(future)

    assert total(future).result() == 6.0 * COUNT
    assert float(future.result().sum()) == 6.0 * COUNT


def test_what_is_shared_is_mapped_once_and_cannot_be_changed(load: Any) -> None:
    load(workers=1)
    future = ones()

    looks = [seen(future).result() for _ in range(8)]

    assert {(writeable, count) for writeable, count, _ in looks} == {(False, 1)}
    with pytest.raises(ValueError, match="read-only"):
        changed(future).result()


def test_a_result_in_the_script_is_its_own_copy(load: Any) -> None:
    load()
    future = ones()
    kept = plus_one(future)
    wait([kept])  # arguments are pickled when a worker is about to get them
    array = future.result()
    array[:] = 7.0

    assert float(kept.result().sum()) == 2.0 * COUNT
    assert total(array).result() == 7.0 * COUNT


def test_an_argument_that_is_changed_between_two_calls_arrives_changed(
    load: Any,
) -> None:
    load()
    array = np.ones(COUNT)
    holding = [total(array) for _ in range(4)]
    sums = [one.result() for one in holding]
    for place in (0, COUNT // 2, COUNT - 1):
        array[place] += 1
        sums.append(total(array).result())

    assert sums == [*[COUNT] * 4, COUNT + 1, COUNT + 2, COUNT + 3]


def test_an_argument_of_many_tasks_is_shared(load: Any, tmp_path: Path) -> None:
    load(workers=1)
    go = tmp_path / "go"
    held = hold_until(str(go))  # so that all wait at the same time
    array = np.ones(COUNT)
    looks = [seen(array) for _ in range(6)]

    go.touch()
    held.result()
    assert {one.result()[0] for one in looks} == {False}
    assert total(array).result() == COUNT


def test_nothing_is_kept_when_nobody_needs_it(
    load: Any, wait_until: Callable[..., None]
) -> None:
    load(workers=1)
    future = ones()
    array = np.zeros(COUNT)
    assert total(future).result() + total(array).result() == COUNT
    future.result()
    assert segments() > 0
    del future
    gc.collect()

    wait_until(lambda: segments() == 0)
    wait_until(lambda: mapped().result() == 0)


def test_a_task_goes_to_the_worker_that_has_its_argument(
    load: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    load()

    @jf.python_app(executors=["cpu"])
    def made() -> tuple[int, Any]:
        return os.getpid(), np.ones(COUNT)

    @jf.python_app(executors=["cpu"])
    def maker_and_user(pair: Any) -> tuple[int, int]:
        return pair[0], os.getpid()

    @jf.python_app(executors=["cpu"])
    def hold(name: str, *names: str) -> int:
        Path(name).touch()
        while not all(Path(one).exists() for one in names):
            time.sleep(0.001)
        return os.getpid()

    def names(*texts: str) -> list[str]:
        return [str(tmp_path / text) for text in texts]

    for turn in range(6):
        here, there, end = names(f"{turn}-here", f"{turn}-there", f"{turn}-end")
        first = hold(here, there)
        second = hold(there, here)
        assert first.result() != second.result()  # both workers are there, and idle
        future = made()
        wait([future])
        # The worker that has not made it is to be the one that was busy last.
        held = [hold(f"{end}{n}", *names(f"{turn}-end{1 - n}")) for n in range(2)]
        assert len({one.result() for one in held}) == 2
        maker, user = maker_and_user(future).result()
        assert maker == user


def test_a_result_outlives_its_kernel(
    load: Any, wait_until: Callable[..., None]
) -> None:
    kernel = load()
    future = ones()
    total(future).result()
    kernel.cleanup()

    assert float(future.result().sum()) == COUNT
    del future
    gc.collect()
    wait_until(lambda: segments() == 0)


def test_above_the_bound_data_is_in_nameless_files(load: Any, tmp_path: Path) -> None:
    load(workers=1, max_shared="1 MB")
    future = ones()

    assert total(future).result() == COUNT
    assert segments() == 0
    links = [str(one.readlink()) for one in _links()]
    assert any(str(tmp_path) in one and "(deleted)" in one for one in links)
    assert seen(future).result()[0] is False
    assert not [one for one in tmp_path.rglob("*") if one.stat().st_size >= COUNT]
    assert total(plus_one(future)).result() == 2.0 * COUNT


def _links() -> list[Path]:
    return [one for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]


def test_with_nothing_shared_tasks_have_copies_of_their_own(load: Any) -> None:
    load(max_shared=0)
    future = ones()

    assert changed(future).result() == 5.0
    assert total(future).result() == COUNT
    assert segments() == 0


def test_without_descriptors_results_go_through_the_socket(load: Any) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        load(workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    futures = [ones(100_000) for _ in range(100)]

    assert [one.result().sum() for one in futures] == [100_000] * 100
    assert segments() <= 2 * 128


def test_a_lost_descriptor_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    from collections import deque

    shared.spill_directory = str(tmp_path)
    first, second = (shared.write([[bytes(100)]], [100], 1 << 20) for _ in range(2))
    try:
        known = shared.identity(first, [100])
        assert shared.received(deque([first]), known) == first
        with pytest.raises(OSError, match="has not arrived"):
            shared.received(deque([second]), known)
        with pytest.raises(OSError, match="has not arrived"):
            shared.received(deque(), known)
    finally:
        os.close(first)
        os.close(second)


def test_nobody_can_change_a_segment(tmp_path: Path) -> None:
    for room in (1 << 20, 0):
        shared.spill_directory = str(tmp_path)
        fd = shared.write([[b"ab", b"c"], [b"defg"]], [3, 4], room)
        try:
            with pytest.raises(OSError):  # noqa: PT011  (which one depends on its kind)
                os.write(fd, b"x")
            with pytest.raises(OSError):  # noqa: PT011
                os.ftruncate(fd, 0)
            assert os.pread(fd, 3, 0) + os.pread(fd, 4, 64) == b"abcdefg"
            # Before Linux 6.7, a sealed memory could be shared by such a one alone.
            assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        finally:
            os.close(fd)


@pytest.mark.parametrize("value", [-1, "much", 1.5, True])
def test_max_shared_is_a_size(value: Any) -> None:
    with pytest.raises(jf.ConfigurationError, match="max_shared"):
        parse_options("cpu", {"max_shared": value})


def workers_alive() -> list[int]:
    """Return the process ids of the workers: what the fork server has started."""
    found = []
    for server in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            found += [one.pid for one in server.children()]
    return found


def segments_elsewhere() -> int:
    found = 0
    for pid in workers_alive():
        with contextlib.suppress(OSError):  # it has just ended
            found += segments(pid)
    return found


def test_kills_leave_no_large_result_behind(
    load: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    load(workers=2)
    generator = random.Random(8)
    stop = threading.Event()
    place = tmp_path / "workers"
    place.mkdir()

    def kill() -> None:
        for _ in range(KILLS):  # fewer than a task has retries
            if stop.wait(0.3 * generator.random()):
                return
            pids = workers_alive()
            # Mostly such as have begun a task: when several in a row die in their
            # start, which takes long on a busy machine, the pool is taken for broken.
            if generator.random() < 0.8:
                pids = [pid for pid in pids if (place / str(pid)).exists()]
            with contextlib.suppress(IndexError, ProcessLookupError):  # none is there
                os.kill(generator.choice(pids), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        ends = []
        for _ in range(3):
            future = plus_one_at_last(np.zeros(LARGE), str(place))
            for _ in range(4):
                future = plus_one_at_last(future, str(place))
            ends.append(future)
        del future
        assert [float(one.result()[-1]) for one in ends] == [5.0] * 3
    finally:
        stop.set()
        killer.join()
    ends.clear()
    gc.collect()

    wait_until(lambda: segments() == 0)
    wait_until(lambda: segments_elsewhere() == 0)


def test_a_killed_driver_leaves_nothing_of_50_mb(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    script = textwrap.dedent("""
        import os, time
        import numpy as np
        import jackfield as jf

        @jf.python_app
        def ones(count):
            return os.getpid(), np.ones(count)

        @jf.python_app
        def hold(pair):
            print("worker", os.getpid(), flush=True)
            time.sleep(600)

        with jf.load({"executors": {"cpu": {"plugin": "processes", "workers": 2}}}):
            future = ones(6_250_000)
            held = [hold(future) for _ in range(2)]
            held[0].result()
    """)
    path = tmp_path / "script.py"
    path.write_text(script)
    driver = subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, cwd=tmp_path, text=True
    )
    assert driver.stdout is not None
    try:
        workers = [int(driver.stdout.readline().split()[1]) for _ in range(2)]
        assert all(segments(pid) for pid in (driver.pid, *workers))
    finally:
        driver.kill()
        driver.wait()
        driver.stdout.close()

    wait_until(lambda: not any(map(psutil.pid_exists, workers)))
    assert not [one for one in tmp_path.rglob("*") if one.stat().st_size > 1_000_000]
