"""Histories of runs that never were, of any size: for tests, benchmarks and views.

They come out of a simulation, so that they hold together as real ones do: a worker has
one attempt at a time, a task begins after those that it depends on have ended, and
what depends on a failed task fails. The same arguments give the same history.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from jackfield import TaskState
from jackfield.events import (
    AttemptRecord,
    Batch,
    Failure,
    Load,
    Place,
    Running,
    TaskRecord,
    WorkerEvent,
)
from jackfield_monitoring.store.rows import microseconds
from jackfield_monitoring.store.writer import RunRow, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WALL_S: Final = 1_790_000_000.0
MONOTONIC_S: Final = 100_000.0

TASKS_PER_BATCH: Final = 2_000

REACH: Final = 200
"""How many tasks back a dependency is at the most."""

_TRACEBACK: Final = """\
Traceback (most recent call last):
  File "/home/ada/analysis/steps.py", line {line}, in {app}
    value = {call}
            {marks}
{kind}: {message}
"""

_FAILURES: Final = (
    ("ValueError", "could not convert string to float: 'x{}'", "float(text)"),
    ("FileNotFoundError", "[Errno 2] No such file: '/data/in/{}.csv'", "open(name)"),
    ("MemoryError", "Unable to allocate {} MiB for an array", "numpy.zeros(shape)"),
)


@dataclass(slots=True)
class MadeUp:
    """What is to be made up.

    Attributes:
        tasks: How many tasks.
        workers: How many workers of one executor, ``cpu``.
        apps: How many apps; the first ones have the most tasks.
        failed: Share of tasks that fail by themselves, 0 to 1.
        memoized: Share of tasks whose result is known already.
        depending: Share of tasks that depend on one or two others.
        unfinished: How many of the last tasks have not ended.
        seed: Another number makes another history.
    """

    tasks: int = 1_000
    workers: int = 8
    apps: int = 5
    failed: float = 0.01
    memoized: float = 0.05
    depending: float = 0.5
    unfinished: int = 0
    seed: int = 0
    _random: random.Random = field(default_factory=random.Random)
    _free: list[tuple[float, int]] = field(default_factory=list)
    _ends: list[float] = field(default_factory=list)
    _origins: dict[int, int] = field(default_factory=dict)

    def batches(self) -> Iterator[Batch]:
        """Give the history as an observer would get it."""
        self._random.seed(self.seed)
        self._free = [(MONOTONIC_S, one) for one in range(self.workers)]
        self._ends, self._origins = [], {}
        yield Batch(
            WALL_S,
            MONOTONIC_S,
            workers=[
                WorkerEvent("cpu", f"cpu-{one}", _host(one), 1000 + one, True, "", 0.0)
                for one in range(self.workers)
            ],
        )
        for first in range(0, self.tasks, TASKS_PER_BATCH):
            yield self._batch(range(first, min(first + TASKS_PER_BATCH, self.tasks)))

    def _batch(self, numbers: range) -> Batch:
        tasks: list[TaskRecord] = []
        attempts: list[AttemptRecord] = []
        edges: dict[tuple[str, str], int] = {}
        for number in numbers:
            task = self._task(number, attempts)
            tasks.append(task)
            for parent in task.depends_on:
                pair = (f"step_{self._app(parent)}", task.app)
                edges[pair] = edges.get(pair, 0) + 1
        now = max((one.reported for one in attempts), default=MONOTONIC_S)
        return Batch(
            WALL_S + now - MONOTONIC_S,
            now,
            tasks=tasks,
            attempts=attempts,
            loads=[
                Load(
                    "cpu", self.workers, min(self.workers, len(tasks)),
                    running=self._running(now) if numbers.stop == self.tasks else (),
                )
            ],
            app_edges=edges,
        )  # fmt: skip

    def _running(self, now: float) -> list[Running]:
        """Have the first tasks that have not ended run, one on each worker."""
        tasks = range(self.tasks - self.unfinished, self.tasks)
        return [
            Running(
                number, 1, f"step_{self._app(number)}", f"cpu-{worker}", _host(worker),
                1000 + worker, min(free + 1e-5, now),
            )
            for number, (free, worker) in zip(tasks, sorted(self._free), strict=False)
        ]  # fmt: skip

    def _app(self, number: int) -> int:
        """Return which app a task is of; half of them are of the first, and so on."""
        spread = (number * 2_654_435_761) & 0xFFFF_FFFF or 1
        return min(32 - spread.bit_length(), self.apps - 1) if self.apps < 33 else (
            spread % self.apps
        )  # fmt: skip

    def _task(self, number: int, attempts: list[AttemptRecord]) -> TaskRecord:
        """Make up a task, and its attempts."""
        chance, app = self._random.random, self._app(number)
        parents = self._parents(number)
        submitted = MONOTONIC_S + number * 1e-4
        ready = max([submitted, *(self._ends[one] for one in parents)])
        origin = next(
            (self._origins[one] for one in parents if one in self._origins), None
        )
        state, failure, count, key = TaskState.SUCCEEDED, None, 0, None
        ended: float | None = ready + 1e-4
        if number >= self.tasks - self.unfinished:
            state, count, ended = TaskState.SUBMITTED, 1, None
        elif origin is not None:
            state = TaskState.DEPENDENCY_FAILED
            text = f"Task {number} was not run: task {origin} failed."
            failure = Failure("DependencyError", text, "", origin)
        elif chance() < self.memoized:
            state, key = TaskState.MEMOIZED, number.to_bytes(32, "big")
        else:
            failure = _failure(number, app) if chance() < self.failed else None
            state = TaskState.FAILED if failure else TaskState.SUCCEEDED
            count, ended = self._run(number, app, ready, failure, attempts)
        if failure is not None:
            self._origins[number] = number if origin is None else origin
        self._ends.append(ready + 1e-4 if ended is None else ended)
        return TaskRecord(
            number, f"step_{app}", "python", "", f"step_{app}({number}, scale=0.5)",
            state, count, submitted, ended, None, parents, "cpu" if count else None,
            "hit" if key else "off", key, "", None, None, failure,
        )  # fmt: skip

    def _parents(self, number: int) -> tuple[int, ...]:
        if not number or self._random.random() >= self.depending:
            return ()
        pick, least = self._random.randrange, max(0, number - REACH)
        return tuple(sorted({pick(least, number) for _ in range(1 + number % 2)}))

    def _run(
        self, number: int, app: int, ready: float, failure: Failure | None,
        attempts: list[AttemptRecord],
    ) -> tuple[int, float]:  # fmt: skip
        """Make up attempts; return their number, and when the last one has ended."""
        retried = _failure(number + 1, app) if number % 97 == 0 else failure
        ends = [(retried, 0.1), (failure, None)] if retried else [(None, None)]
        if retried is failure:
            ends = ends[-1:]
        for n, (problem, retry_in) in enumerate(ends, 1):
            free, worker = heapq.heappop(self._free)
            began = max(free, ready) + 1e-5
            ended = began + self._random.lognormvariate(-3.0 + app % 5 / 2, 0.6)
            heapq.heappush(self._free, (ended, worker))
            place = Place(
                f"cpu-{worker}", _host(worker), 1000 + worker, began, ended,
                (ended - began) * 0.9, 50_000_000 + app * 1_000_000,
            )  # fmt: skip
            attempts.append(AttemptRecord(
                number, n, "cpu", ready, ended + 1e-4, place, problem, retry_in,
            ))  # fmt: skip
            ready = ended + (retry_in or 0.0)
        return len(ends), ready

    def write(self, path: Path) -> None:
        """Write the history into a store, through what writes those of real runs."""
        run = RunRow(
            uuid=f"{self.seed:032x}", dir=str(path.parent), wall=microseconds(WALL_S),
            monotonic=microseconds(MONOTONIC_S), host="lovelace", user="ada", pid=4711,
            python="3.13.0", jackfield="0.1.0", argv='["python", "steps.py"]',
            cwd="/home/ada/analysis",
        )  # fmt: skip
        writer = Writer(path, run)
        now = MONOTONIC_S
        for batch in self.batches():
            now = batch.monotonic
            writer.write([batch])
        if self.unfinished:
            writer.close()
        else:
            failed = "failed" if self._origins else "done"
            writer.end(failed, microseconds(now), [])


def _host(worker: int) -> str:
    return f"node{worker // 64:03}"


def _failure(number: int, app: int) -> Failure:
    kind, text, call = _FAILURES[number % len(_FAILURES)]
    message = text.format(number)
    traceback = _TRACEBACK.format(
        line=10 + app, app=f"step_{app}", call=call, marks="^" * len(call), kind=kind,
        message=message,
    )  # fmt: skip
    return Failure(kind, message, traceback)
