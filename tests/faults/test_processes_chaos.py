"""Workers are killed at random while a graph of short tasks runs on them."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from jackfield.abc import Executor, ExecutorContext, Work
from jackfield.errors import WorkerDiedError
from jackfield_executors.processes import jackfield_create_executor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackfield.abc import Outcome

TASKS = 600
KILLS = 25
TIME_LIMIT = 60.0


def step(directory: str, number: int, values: list[int]) -> int:
    """Note that the task runs, and compute a little."""
    with Path(directory, str(number)).open("a") as file:
        file.write("x")
    Path(directory, f"worker-{os.getpid()}").touch()
    time.sleep(0.0005 if number % 7 else 0.004)
    return (sum(values) * 31 + number) % 1_000_003


class Graph:
    """Runs tasks whose inputs are done, and again those whose worker has died."""

    def __init__(self, generator: random.Random, directory: Path) -> None:
        self.inputs = [
            generator.sample(range(number), min(number, generator.randrange(4)))
            for number in range(TASKS)
        ]
        self.values: dict[int, int] = {}
        self.attempts: Counter[int] = Counter()
        self.surprises: list[BaseException] = []
        self.done = threading.Event()
        self._directory = directory
        self._missing = [set(inputs) for inputs in self.inputs]
        executor = jackfield_create_executor(
            kind="processes", label="chaos", options={"workers": 3, "preload": []}
        )
        assert isinstance(executor, Executor)
        self.executor = executor
        executor.start(ExecutorContext("chaos", directory, self._report))

    def run(self) -> None:
        self._submit([n for n, missing in enumerate(self._missing) if not missing])

    def _submit(self, numbers: Sequence[int]) -> None:
        batch = []
        for number in numbers:
            self.attempts[number] += 1
            values = [self.values[i] for i in self.inputs[number]]
            args = (str(self._directory), number, values)
            batch.append(Work(number, self.attempts[number], "step", step, args, {}))
        if batch:
            self.executor.submit(batch)

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        ready = []
        for work, error, value in outcomes:
            if error is None:
                self.values[work.id] = value
                ready += self._released_by(work.id)
            elif isinstance(error, WorkerDiedError):
                ready.append(work.id)
            else:
                self.surprises.append(error)
        if self.surprises or len(self.values) == TASKS:
            self.done.set()
        else:
            self._submit(ready)

    def _released_by(self, number: int) -> list[int]:
        released = []
        for other, missing in enumerate(self._missing):
            if number in missing:
                missing.remove(number)
                if not missing:
                    released.append(other)
        return released

    def expected(self) -> dict[int, int]:
        values: dict[int, int] = {}
        for number, inputs in enumerate(self.inputs):
            total = sum(values[i] for i in inputs)
            values[number] = (total * 31 + number) % 1_000_003
        return values


def kill_workers(
    server: psutil.Process,
    generator: random.Random,
    directory: Path,
    done: threading.Event,
) -> None:
    """Kill random workers: the children of our child, the fork server."""
    for _ in range(KILLS):
        if done.wait(generator.random() * 0.03):
            return
        pids = [process.pid for process in server.children()]
        if generator.random() < 0.9:  # else it may be one that is only starting
            pids = [pid for pid in pids if (directory / f"worker-{pid}").exists()]
        if pids:
            number = generator.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
            try:
                os.kill(generator.choice(pids), number)
            except ProcessLookupError:
                continue


@pytest.mark.parametrize("seed", range(3))
def test_a_graph_survives_random_deaths(tmp_path: Path, seed: int) -> None:
    generator = random.Random(seed)
    others = set(psutil.Process().children())
    graph = Graph(generator, tmp_path)
    (server,) = set(psutil.Process().children()) - others
    killer = threading.Thread(
        target=kill_workers, args=(server, generator, tmp_path, graph.done)
    )
    try:
        graph.run()
        killer.start()
        assert graph.done.wait(TIME_LIMIT)
        killer.join()
    finally:
        graph.executor.shutdown(grace=0)

    assert not graph.surprises
    assert graph.values == graph.expected()
    assert_each_ran_as_often_as_reported(graph, tmp_path)


def assert_each_ran_as_often_as_reported(graph: Any, directory: Path) -> None:
    """A task runs again only if a death was reported for it."""
    for number, attempts in graph.attempts.items():
        runs = len((directory / str(number)).read_text())
        assert 1 <= runs <= attempts, (
            f"{number} ran {runs} times in {attempts} attempts"
        )
