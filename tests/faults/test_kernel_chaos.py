"""A graph of tasks on a kernel, while its workers are killed at random."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import jackfield as jf

LIMIT_S = 600.0
WORKERS = 3


def step(directory: str, number: int, values: list[int]) -> int:
    """Note the attempt and the worker, and compute a little."""
    path = Path(directory, str(number))
    with path.open("a") as stream:
        stream.write("x")
    Path(directory, f"worker-{os.getpid()}").touch()
    time.sleep(0.001)
    return (sum(values) * 31 + number) % 1_000_003


def expected(inputs: list[list[int]]) -> list[int]:
    values: list[int] = []
    for number, needed in enumerate(inputs):
        values.append((sum(values[i] for i in needed) * 31 + number) % 1_000_003)
    return values


def run(directory: Path, inputs: list[list[int]], killer: Any) -> tuple[Any, float]:
    """Run the graph; return its futures, which have ended, and the seconds taken."""
    others = set(psutil.Process().children())
    executors = {"cpu": {"plugin": "processes", "workers": WORKERS}}
    with jf.load(
        executors=executors, retries=1000, run_dir=directory / "runs"
    ) as kernel:
        (server,) = set(psutil.Process().children()) - others
        kernel.submit(len, "").result(LIMIT_S)
        done = threading.Event()
        thread = threading.Thread(target=killer, args=(server, done))
        thread.start()
        start = time.monotonic()
        futures: list[jf.AppFuture[int]] = []
        for number, needed in enumerate(inputs):
            values = [futures[i] for i in needed]
            futures.append(kernel.submit(step, str(directory), number, values))
        kernel.wait_for_current_tasks(LIMIT_S)
        taken = time.monotonic() - start
        done.set()
        thread.join(LIMIT_S)
    return futures, taken


@pytest.mark.parametrize("tasks", [250, pytest.param(5000, marks=pytest.mark.slow)])
def test_every_future_ends_right_while_workers_die(tmp_path: Path, tasks: int) -> None:
    generator = random.Random(7)
    inputs = [
        generator.sample(range(max(0, n - 200), n), min(n, generator.randrange(4)))
        for n in range(tasks)
    ]
    kills: list[int] = []

    def kill(server: psutil.Process, done: threading.Event) -> None:
        while not done.wait(generator.uniform(0.02, 0.1)):
            pids = [child.pid for child in server.children()]
            # Mostly those that work. Were each killed in its start, which takes long on
            # a busy machine, none would ever do anything.
            if generator.random() < 0.9:
                pids = [pid for pid in pids if (disturbed / f"worker-{pid}").exists()]
            if pids:
                try:
                    os.kill(generator.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                kills.append(1)

    def spare(server: psutil.Process, done: threading.Event) -> None:
        done.wait(LIMIT_S)

    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    calm.mkdir()
    disturbed.mkdir()
    plain, seconds = run(calm, inputs, spare)
    futures, seconds_with_kills = run(disturbed, inputs, kill)

    assert [future.result(0) for future in plain] == expected(inputs)
    assert [future.result(0) for future in futures] == expected(inputs)
    assert kills
    for number, future in enumerate(futures):
        ran = len((disturbed / str(number)).read_text())
        assert 1 <= ran <= future._task.attempt  # at most once a try
    print(f"{len(kills)} kills, {seconds_with_kills / seconds:.1f} x the time")
