from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackfield.abc import Work


def hold(file: str) -> str:
    """Wait until the file is there."""
    Path(file + ".begun").touch()
    while not Path(file).exists():
        time.sleep(0.005)
    return file


def teach(pool: Any, function: Callable[[int], Any]) -> None:
    """Have the executor learn that a function is short."""
    for work in pool.submit_many(function, 200):
        pool.wait(work)


def test_tasks_of_an_unknown_function_are_spread(
    open_executor: Callable[..., Any], tmp_path: Path
) -> None:
    """Four tasks that wait for each other all run at once on four workers."""
    pool = open_executor(workers=4)

    def meet(number: int) -> None:
        (tmp_path / str(number)).touch()
        while len(list(tmp_path.iterdir())) < 4:
            time.sleep(0.005)

    works = pool.submit_many(meet, 4)

    assert [pool.value(work) for work in works] == [None] * 4


def test_no_task_waits_behind_a_long_one_while_a_worker_is_idle(
    pool: Any, tmp_path: Path
) -> None:
    """Also if the function has always been short so far."""

    def run(file: str) -> None:
        if file:
            hold(file)

    teach(pool, lambda _: None)
    for work in [pool.submit(run, "") for _ in range(200)]:
        pool.wait(work)
    go = tmp_path / "go"
    works = [pool.work(run, str(go) if n == 5 else "") for n in range(300)]

    pool.executor.submit(works)

    pool.wait(*works[:5], *works[6:])
    assert works[5] not in pool.outcomes
    go.touch()
    pool.wait(works[5])


def test_no_task_with_a_large_argument_waits_behind_a_long_one(
    pool: Any, tmp_path: Path
) -> None:
    def run(file: str, data: bytes) -> int:
        if file:
            hold(file)
        return len(data)

    large = bytes(100_000)
    for work in [pool.submit(run, "", large) for _ in range(50)]:
        pool.wait(work)
    go = tmp_path / "go"
    works = [pool.work(run, str(go) if n == 0 else "", large) for n in range(4)]

    pool.executor.submit(works)

    pool.wait(*works[1:])
    assert works[0] not in pool.outcomes
    go.touch()
    pool.wait(works[0])


def test_finished_results_do_not_wait_for_a_slow_task(
    open_executor: Callable[..., Any], tmp_path: Path
) -> None:
    pool = open_executor(workers=1)
    go = tmp_path / "go"

    def run(number: int) -> int:
        if number == 1_000:
            hold(str(go))
        return number

    teach(pool, run)
    works = [pool.work(run, n) for n in range(990, 1_010)]
    pool.executor.submit(works)

    pool.wait(*works[:10])
    assert works[10] not in pool.outcomes
    go.touch()
    pool.wait(*works)


def test_results_of_a_long_batch_come_back_all_the_time(
    open_executor: Callable[..., Any], tmp_path: Path
) -> None:
    """While a task of it still runs, at most fifty of those before are kept back."""
    pool = open_executor(workers=1)
    go = tmp_path / "go"

    def run(number: int) -> int:
        end = time.perf_counter() + 0.0005
        while time.perf_counter() < end or (number == 150 and not go.exists()):
            pass
        return number

    go.touch()
    teach(pool, run)
    go.unlink()
    works = pool.submit_many(run, 200)

    pool.wait(*works[:100])
    assert works[150] not in pool.outcomes
    go.touch()
    pool.wait(*works)


def test_work_is_sent_ahead_only_for_milliseconds(
    open_executor: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """With one worker busy, the other one does nearly everything else."""
    pool = open_executor(workers=2)
    teach(pool, slow_process)
    go = tmp_path / "go"
    held = pool.submit(hold, str(go))
    wait_until((tmp_path / "go.begun").exists)

    works: list[Work] = pool.submit_many(slow_process, 100)

    pool.wait(*works)
    assert held not in pool.outcomes
    assert len({pool.value(work) for work in works}) == 1
    go.touch()


def slow_process(number: int) -> int:
    time.sleep(0.001)
    return os.getpid()


IN_STEP = 60


def in_step(directory: str) -> int:
    """Return the process, when the other one has begun as many of these, up to 60.

    What it has begun is counted by files: variables do not outlive a task.
    """
    steps = Path(directory)
    done = len(list(steps.glob(f"*-{os.getpid()}"))) if directory else IN_STEP
    if done < IN_STEP:
        (steps / f"{done}-{os.getpid()}").touch()
        while len(list(steps.glob(f"{done}-*"))) < 2:
            time.sleep(0.0005)
    return os.getpid()


def test_both_workers_share_short_work(pool: Any, tmp_path: Path) -> None:
    """If one were given most of it at once, the other one could not go on.

    Left to themselves, they would share it as the machine shares its cores.
    """
    for work in [pool.submit(in_step, "") for _ in range(200)]:
        pool.wait(work)
    steps = tmp_path / "steps"
    steps.mkdir()
    works = [pool.work(in_step, str(steps)) for _ in range(200)]
    pool.executor.submit(works)

    pids = [pool.value(work) for work in works]

    assert len(set(pids)) == 2
    assert min(pids.count(pid) for pid in set(pids)) >= IN_STEP


def test_a_large_argument_is_not_pickled_before_its_turn(
    open_executor: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    pool = open_executor(workers=1)
    go = tmp_path / "go"
    pool.submit(hold, str(go))
    wait_until((tmp_path / "go.begun").exists)
    pickled: list[int] = []

    class Costly:
        def __reduce__(self) -> Any:
            pickled.append(1)
            return int, (1,)

    works = [pool.work(abs, Costly()) for _ in range(10)]
    pool.executor.submit(works)

    assert not pickled
    go.touch()
    assert [pool.value(work) for work in works] == [1] * 10
