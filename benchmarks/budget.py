"""Where the time of a plain task goes, step by step, on one thread and without garbage.

usage: python budget.py [TASKS] [REPEATS]

Each step of a task's life is done for all tasks before the next one begins, with the
executor's part left out and measured for itself. What the table does not show is what
comes on top in real life: the garbage collector's passes, and threads that take the
interpreter from each other.
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks import noop

import jackfield
from jackfield.abc import Executor, ExecutorContext, Outcome, Work
from jackfield.graph.scheduler import BATCH
from jackfield.steps.engine import receive_outcomes
from jackfield_system.works import run_work


class Collector(Executor):
    """Keeps the works that it gets; nothing runs."""

    workers = 1

    def start(self, context: ExecutorContext) -> None:
        del context
        self.works: list[Work] = []

    def submit(self, batch: Sequence[Work]) -> None:
        self.works.extend(batch)

    def shutdown(self, *, grace: float | None = None) -> None:
        del grace


def main() -> None:
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    samples: dict[str, list[float]] = {}
    for _ in range(repeats):
        for arguments in ("plain", "a future"):
            for step, seconds in measured(
                tasks, of_future=arguments != "plain"
            ).items():
                key = step if arguments == "plain" else f"{step}, {arguments}"
                samples.setdefault(key, []).append(seconds / tasks * 1e6)
        samples.setdefault("a link of a chain", []).append(link(tasks) / tasks * 1e6)
    for step, times in samples.items():
        print(f"{step:36} {statistics.median(times):6.2f} ({min(times):.2f})")


@contextmanager
def started() -> Iterator[tuple[jackfield.DataFlowKernel, Any, Collector]]:
    """Give a kernel, its parts and the executor that runs nothing."""
    executor = Collector()
    with (
        tempfile.TemporaryDirectory() as directory,
        jackfield.load(executors={"x": executor}, run_dir=Path(directory)) as kernel,
    ):
        yield kernel, kernel._parts, executor


def measured(n: int, *, of_future: bool) -> dict[str, float]:
    """Return the seconds that n tasks spend in each step."""
    with started() as (kernel, parts, executor):
        first = kernel.submit(noop)
        while not executor.works:
            time.sleep(0.001)
        entry = parts.pool.entries["x"]
        receive_outcomes(
            parts.scheduler,
            parts.log,
            entry,
            [run_work(work) for work in executor.works],
        )
        assert first.result(10) == 0
        executor.works.clear()
        took: dict[str, float] = {}

        def timed(step: str, action: Callable[[], Any]) -> Any:
            start = time.perf_counter()
            value = action()
            took[step] = took.get(step, 0.0) + time.perf_counter() - start
            return value

        gc.collect()
        gc.disable()
        with parts.scheduler._role:  # the dispatcher leaves the inbox to us
            argument: Any = first if of_future else 1
            futures = timed(
                "submit", lambda: [kernel.submit(noop, argument) for _ in range(n)]
            )
            drain(
                parts.scheduler,
                lambda action: timed("register", action),
                "launch",
                timed,
            )
            outcomes: list[Outcome] = timed(
                "run", lambda: [run_work(work) for work in executor.works]
            )
            executor.works.clear()
            parts.scheduler.inbox.extend(outcomes)
            del outcomes
            drain(
                parts.scheduler, lambda action: timed("end", action), "announce", timed
            )
            expected = 0 if of_future else 1
            results = timed("result", lambda: [future.result() for future in futures])
            assert results == [expected] * n
        gc.enable()
        return took


def link(n: int) -> float:
    """Return the seconds of n links: run, end, register nothing, launch the next."""
    with started() as (kernel, parts, executor):
        future = kernel.submit(noop)
        for _ in range(n):
            future = kernel.submit(noop, future)
        while kernel.task_state_counts[jackfield.TaskState.WAITING] < n:
            time.sleep(0.01)
        entry = parts.pool.entries["x"]
        gc.collect()
        gc.disable()
        start = time.perf_counter()
        while executor.works:
            receive_outcomes(
                parts.scheduler, parts.log, entry, (run_work(executor.works.pop()),)
            )
        took = time.perf_counter() - start
        gc.enable()
        assert future.result(10) == 0
        return took


def drain(
    scheduler: Any, step: Callable[[Callable[[], Any]], Any], after: str, timed: Any
) -> None:
    while scheduler.inbox:
        effects = step(lambda: scheduler._step(scheduler.inbox, BATCH))
        timed(after, lambda effects=effects: scheduler._perform(effects))


if __name__ == "__main__":
    main()
