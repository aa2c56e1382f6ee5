"""Races, made likely: all threads pause at random lines of the kernel.

A seed makes the pauses and the work, not the order of threads; a failure may need the
same seed a few times to come again.
"""

from __future__ import annotations

import concurrent.futures
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0
KERNEL = str(Path(jf.__file__).parent)
PAUSES_S = (0.0, 0.0, 0.0, 1e-5, 1e-4, 5e-4)


@contextmanager
def random_pauses(dice: random.Random) -> Iterator[None]:
    """Have this thread and those that start meanwhile pause at lines of the kernel."""

    def at_call(frame: FrameType, event: str, _: Any) -> Any:
        return at_line if frame.f_code.co_filename.startswith(KERNEL) else None

    def at_line(frame: FrameType, event: str, _: Any) -> Any:
        if dice.random() < 0.02:
            time.sleep(dice.choice(PAUSES_S))
        return at_line

    before = sys.gettrace(), threading.gettrace()
    threading.settrace(at_call)
    sys.settrace(at_call)
    try:
        yield
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])


def config(run_dir: Path, **options: Any) -> jf.Config:
    return jf.Config(
        executors={"threads": {"plugin": "threads", "workers": 3}},
        internal_threads=3,
        run_dir=run_dir,
        exit_grace=0.2,
        log_level="OFF",
        retries=1,
        **options,
    )


def fail(*_: object) -> int:
    raise ValueError("planned")


def count(*values: object) -> int:
    return len(values)


@jf.python_app(cache=True)
def cached(x: int) -> int:
    return x


@jf.join_app
def join(*_: object) -> Any:
    return [jf.dfk().submit(count, 1), jf.dfk().submit(int)]


class Submitter(threading.Thread):
    """Submits, cancels and waits at random, on tasks that all submitters share."""

    def __init__(self, kernel: jf.DataFlowKernel, shared: list[Any], seed: int) -> None:
        super().__init__(daemon=True)
        self.kernel = kernel
        self.shared = shared
        self.dice = random.Random(seed)
        self.fault: BaseException | None = None
        self.told: Counter[int] = Counter()

    def run(self) -> None:
        try:
            for _ in range(12):
                self.act()
        except jf.KernelClosedError:
            pass
        except BaseException as error:
            self.fault = error

    def act(self) -> None:
        dice, shared = self.dice, self.shared
        needs = [dice.choice(shared) for _ in range(dice.randint(0, 2)) if shared]
        kind = dice.random()
        function: Callable[..., Any] = count
        if kind < 0.1:
            function = fail
        elif kind < 0.25:
            function, needs = cached, [dice.randint(0, 3)]
        elif kind < 0.35:
            function = join
        future = self.kernel.submit(function, *needs)
        future.add_done_callback(lambda ended: self.told.update([ended.tid]))
        shared.append(future)
        if dice.random() < 0.2:
            dice.choice(shared).cancel()
        if dice.random() < 0.1:
            self.wait([dice.choice(shared) for _ in range(3)])
        if dice.random() < 0.05:
            self.kernel.wait_for_current_tasks(LIMIT_S)

    def wait(self, futures: list[Any]) -> None:
        assert not concurrent.futures.wait(futures, LIMIT_S).not_done
        distinct = set(futures)
        given = list(concurrent.futures.as_completed(distinct, LIMIT_S))
        assert len(given) == len(distinct)


def check(shared: list[Any], submitters: list[Submitter]) -> None:
    """Each future has ended, in a final state, and its callback was called once."""
    assert [submitter.fault for submitter in submitters] == [None] * len(submitters)
    final = {"succeeded", "memoized", "failed", "dependency-failed", "cancelled"}
    assert {future.task_status() for future in shared} <= final
    told = sum((submitter.told for submitter in submitters), Counter())
    assert told == {future.tid: 1 for future in shared}


@pytest.mark.parametrize("seed", range(10))
def test_threads_that_share_tasks_leave_every_future_ended_once(
    tmp_path: Path, seed: int
) -> None:
    shared: list[Any] = []
    with random_pauses(random.Random(seed)), jf.load(config(tmp_path)) as kernel:
        submitters = [Submitter(kernel, shared, 4 * seed + n) for n in range(4)]
        for submitter in submitters:
            submitter.start()
        for submitter in submitters:
            submitter.join(LIMIT_S)

    check(shared, submitters)
    counts = kernel.task_state_counts
    inner = sum(counts.values()) - len(shared)  # what the joins have submitted
    assert inner % 2 == 0


@pytest.mark.parametrize("wait", [True, False], ids=["waiting", "cancelling"])
@pytest.mark.parametrize("seed", range(4))
def test_an_end_in_the_middle_leaves_every_future_ended_once(
    tmp_path: Path, seed: int, wait: bool
) -> None:
    dice = random.Random(seed)
    options: dict[str, Any] = {"lazy_errors": dice.random() < 0.5}
    if dice.random() < 0.5:
        options["max_pending"] = dice.randint(1, 5)
    shared: list[Any] = []
    with random_pauses(dice):
        kernel = jf.load(config(tmp_path, **options))
        submitters = [Submitter(kernel, shared, 4 * seed + n) for n in range(4)]
        for submitter in submitters:
            submitter.start()
        time.sleep(dice.random() * 0.02)
        kernel.cleanup(wait=wait)
        for submitter in submitters:
            submitter.join(LIMIT_S)

    check(shared, submitters)


def test_leaving_right_after_a_submit_loses_no_task(tmp_path: Path) -> None:
    dice = random.Random(1)
    for _ in range(30):
        with random_pauses(dice), jf.DataFlowKernel(config(tmp_path)) as kernel:
            futures = [kernel.submit(count, n) for n in range(dice.randint(1, 3))]

        assert [future.result(0) for future in futures] == [1] * len(futures)
