from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.errors import AppTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackfield.abc import Work


def sleep_with_children(file: str) -> None:
    """Start ``sh``, which starts ``sleep``, and wait for them."""
    script = f"sleep 1000 & echo $$ $! > {file}.new; mv {file}.new {file}; wait"
    subprocess.run(["sh", "-c", script], check=True)


def spin(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    while True:
        pass


def hold(file: str) -> str:
    """Wait until the file is there."""
    Path(file + ".begun").touch()
    while not Path(file).exists():
        time.sleep(0.005)
    return file


def touch(file: str) -> None:
    Path(file).touch()


def pids_in(file: Path, wait_until: Callable[..., None]) -> list[int]:
    wait_until(lambda: file.exists() and file.read_text())
    return [int(pid) for pid in file.read_text().split()]


def test_a_walltime_ends_the_task_and_its_children(
    pool: Any,
    tmp_path: Path,
    wait_until: Callable[..., None],
    is_alive: Callable[[int], bool],
) -> None:
    file = tmp_path / "pids"
    for walltime in (0.8, 6.0, 40.0):  # until it is enough on a busy machine
        begin = time.monotonic()
        work = pool.submit(sleep_with_children, str(file), walltime=walltime)

        error = pool.error(work)
        took = time.monotonic() - begin

        assert isinstance(error, AppTimeout)
        assert error.walltime == walltime
        assert took >= walltime
        if file.exists():
            break
    for pid in pids_in(file, wait_until):
        wait_until(lambda pid=pid: not is_alive(pid))
    assert pool.call(abs, -1) == 1


def test_a_task_that_never_returns_to_the_interpreter_is_ended(
    pool: Any, tmp_path: Path
) -> None:
    def block_in_c() -> None:
        sum(iter(int, 1))

    assert isinstance(pool.error(pool.submit(block_in_c, walltime=0.2)), AppTimeout)


def test_short_tasks_with_a_walltime_are_left_alone(pool: Any) -> None:
    works = [pool.work(abs, -n, walltime=60) for n in range(2_000)]
    pool.executor.submit(works)

    assert [pool.value(work) for work in works] == list(range(2_000))


def test_the_walltime_counts_from_the_tasks_own_begin(
    open_executor: Callable[..., Any], tmp_path: Path
) -> None:
    """Waiting behind others is not counted; being slow at the end of many is."""
    pool = open_executor(workers=1)
    # Each may take a hundred times as long as it does, on a busy machine.
    works = [pool.work(time.sleep, 0.03, walltime=3.0) for _ in range(110)]
    late = pool.work(time.sleep, 600, walltime=3.0)
    pool.executor.submit([*works, late])

    pool.wait(*works, late)

    assert [pool.outcomes[work][0] for work in works] == [None] * 110
    assert isinstance(pool.outcomes[late][0], AppTimeout)


def test_a_walltime_holds_for_a_task_that_was_sent_ahead(
    open_executor: Callable[..., Any],
) -> None:
    pool = open_executor(workers=1)

    def run(number: int) -> int:
        if number == 150:
            time.sleep(600)
        return number

    for work in pool.submit_many(run, 100):
        pool.value(work)
    works = [pool.work(run, n, walltime=4.0) for n in range(100, 300)]
    pool.executor.submit(works)
    pool.wait(*works)

    failed = [work.args[0] for work in works if pool.outcomes[work][0] is not None]
    assert failed == [150]
    assert isinstance(pool.outcomes[works[50]][0], AppTimeout)


def test_cancelling_a_running_task_ends_it_and_its_children(
    pool: Any,
    tmp_path: Path,
    wait_until: Callable[..., None],
    is_alive: Callable[[int], bool],
) -> None:
    file = tmp_path / "pids"
    work = pool.submit(sleep_with_children, str(file))
    pids = pids_in(file, wait_until)

    assert pool.executor.cancel(work)

    for pid in pids:
        wait_until(lambda pid=pid: not is_alive(pid))
    assert pool.call(abs, -1) == 1
    assert work not in pool.outcomes


def test_a_kill_is_sent_again_if_the_fork_server_is_too_busy_to_hear_of_it(
    open_executor: Callable[..., Any],
    tmp_path: Path,
    wait_until: Callable[..., None],
    is_alive: Callable[[int], bool],
) -> None:
    pool = open_executor(workers=1)
    fork_server = pool.call(os.getppid)
    work = pool.submit(hold, str(tmp_path / "never"))
    wait_until((tmp_path / "never.begun").exists)
    (worker,) = pool.executor._pool.workers.values()
    os.kill(fork_server, signal.SIGSTOP)
    try:
        server = pool.executor._supervisor._server
        while server.kill_worker(0):  # there is none of this number: only fills it
            pass

        assert pool.executor.cancel(work)
    finally:
        os.kill(fork_server, signal.SIGCONT)

    wait_until(lambda: not is_alive(worker.pid))
    assert pool.call(abs, -1) == 1


def test_cancelling_does_not_wait_for_the_task(
    pool: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """The task never ends: a cancel that waited for it would not return."""
    work = pool.submit(spin, str(tmp_path / "pid"))
    pids_in(tmp_path / "pid", wait_until)

    assert pool.executor.cancel(work)

    assert work not in pool.outcomes


def test_a_task_that_waits_is_cancelled_without_a_trace(
    open_executor: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    pool = open_executor(workers=1)
    held = pool.submit(hold, str(tmp_path / "go"))
    wait_until((tmp_path / "go.begun").exists)
    waiting = [pool.submit(touch, str(tmp_path / f"ran-{n}")) for n in range(5)]

    assert [pool.executor.cancel(work) for work in waiting[1:]] == [True] * 4
    (tmp_path / "go").touch()
    pool.wait(held, waiting[0])
    pool.executor.shutdown()

    assert sorted(path.name for path in tmp_path.glob("ran-*")) == ["ran-0"]
    assert not any(work in pool.outcomes for work in waiting[1:])


def test_a_task_that_was_sent_ahead_is_cancelled_without_a_trace(
    open_executor: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    pool = open_executor(workers=1)
    directory = str(tmp_path)

    def run(number: int) -> None:
        if number == 100:
            hold(f"{directory}/go")
        touch(f"{directory}/ran-{number}")

    for work in pool.submit_many(run, 100):
        pool.value(work)
    works = [pool.work(run, n) for n in range(100, 150)]
    pool.executor.submit(works)
    wait_until((tmp_path / "go.begun").exists)

    assert pool.executor.cancel(works[30])
    (tmp_path / "go").touch()
    pool.wait(*works[:30], *works[31:])
    pool.executor.shutdown()

    assert works[30] not in pool.outcomes
    assert not (tmp_path / "ran-130").exists()
    assert (tmp_path / "ran-131").exists()


def test_cancelling_many_does_not_search_for_each_among_all(
    open_executor: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    pool = open_executor(workers=1)
    pool.submit(hold, str(tmp_path / "go"))
    wait_until((tmp_path / "go.begun").exists)
    works = pool.submit_many(abs, 20_000)
    begin = time.thread_time()  # not of the clock: a busy machine takes longer

    assert all(pool.executor.cancel(work) for work in reversed(works))

    assert time.thread_time() - begin < 5.0
    (tmp_path / "go").touch()
    assert pool.call(abs, -1) == 1


@pytest.mark.parametrize("seed", range(3))
def test_cancelling_at_any_moment_hurts_no_other_task(pool: Any, seed: int) -> None:
    import random

    generator = random.Random(seed)
    works: list[Work] = []
    cancelled: set[Work] = set()
    ready = threading.Event()

    def cancel() -> None:
        ready.wait(60)
        for work in generator.sample(works, 40):
            time.sleep(generator.random() * 0.004)
            if pool.executor.cancel(work):
                cancelled.add(work)

    def run(number: int) -> int:
        time.sleep(0.0005 if number % 10 else 0.01)
        return number

    works += [pool.work(run, number) for number in range(400)]
    canceller = threading.Thread(target=cancel)
    canceller.start()
    ready.set()
    for start in range(0, 400, 50):
        pool.executor.submit(works[start : start + 50])
    canceller.join()

    kept = [work for work in works if work not in cancelled]
    assert [pool.value(work) for work in kept] == [work.args[0] for work in kept]
    pool.executor.shutdown()
    assert not any(work in pool.outcomes for work in cancelled)
