"""The processes executor beside the pools that Python users know.

Run it with ``python benchmarks/processes_vs_pools.py``; it takes half a minute. Each
measurement is repeated with the systems taking turns, and the medians are shown:
compare them within one run only.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from jackfield.abc import Executor, ExecutorContext, Outcome, Work
from jackfield_executors.processes import jackfield_create_executor

MEGABYTE = 1_000_000

Measure = Callable[["System"], float]


def noop(*args: object) -> None:
    """Do nothing."""


def megabyte() -> bytes:
    return b"x" * MEGABYTE


class System:
    """One executor, behind the two calls that the measurements need."""

    def __init__(self, name: str, pool: Any) -> None:
        self.name = name
        self.pool = pool

    def run_one(self, function: Callable[..., Any]) -> None:
        self.pool.submit(function).result()

    def run_many(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        futures = [self.pool.submit(function, *args) for args in arguments]
        for future in futures:
            future.result()

    def close(self) -> None:
        self.pool.shutdown()


class Ours(System):
    """The batch contract, with one future for each task as a kernel would have it."""

    def __init__(self, workers: int, directory: str) -> None:
        executor = jackfield_create_executor(
            kind="processes", label="bench", options={"workers": workers}
        )
        assert isinstance(executor, Executor)
        super().__init__("jackfield", executor)
        self.futures: dict[Work, concurrent.futures.Future[Any]] = {}
        executor.start(ExecutorContext("bench", Path(directory), self.report))

    def report(self, outcomes: Sequence[Outcome]) -> None:
        for work, error, value in outcomes:
            future = self.futures.pop(work)
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def submit(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        futures = []
        batch = []
        for args in arguments:
            work = Work(0, 1, function.__name__, function, args, {})
            self.futures[work] = future = concurrent.futures.Future[Any]()
            futures.append(future)
            batch.append(work)
        self.pool.submit(batch)
        return futures

    def run_one(self, function: Callable[..., Any]) -> None:
        self.submit(function, [()])[0].result()

    def run_many(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        futures = []
        for start in range(0, len(arguments), 500):
            futures += self.submit(function, arguments[start : start + 500])
        for future in futures:
            future.result()


def noops(system: System) -> float:
    """Microseconds for each of 20,000 tasks that do nothing."""
    arguments = [(number,) for number in range(20_000)]
    begin = perf_counter()
    system.run_many(noop, arguments)
    return (perf_counter() - begin) / len(arguments) * 1e6


def latency(system: System) -> float:
    """Microseconds from submitting a task to having its result, one at a time."""
    times = []
    for _ in range(400):
        begin = perf_counter()
        system.run_one(noop)
        times.append(perf_counter() - begin)
    return statistics.median(times) * 1e6


def large_results(system: System) -> float:
    """Milliseconds for each result of 1 MB."""
    begin = perf_counter()
    system.run_many(megabyte, [()] * 200)
    return (perf_counter() - begin) / 200 * 1e3


def open_systems(workers: int, directory: str) -> list[System]:
    context = multiprocessing.get_context("forkserver")
    systems = [
        Ours(workers, directory),
        System(
            "ProcessPoolExecutor",
            concurrent.futures.ProcessPoolExecutor(workers, mp_context=context),
        ),
    ]
    try:
        import loky
    except ImportError:
        print("loky is not installed and is left out")
    else:
        systems.append(System("loky", loky.ProcessPoolExecutor(workers)))
    return systems


def compare(systems: Sequence[System], measure: Measure, repeats: int) -> None:
    results: dict[str, list[float]] = {system.name: [] for system in systems}
    for _ in range(repeats):
        for system in systems:
            results[system.name].append(measure(system))
    print(f"\n{measure.__doc__}")
    ours = statistics.median(results["jackfield"])
    for name, values in results.items():
        median = statistics.median(values)
        spread = f"{min(values):9.2f} to {max(values):9.2f}"
        print(f"  {name:20} {median:9.2f}  ({spread})  {median / ours:6.2f} x ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        systems = open_systems(options.workers, directory)
        for system in systems:
            system.run_many(noop, [()] * 100)
        for measure in (noops, latency, large_results):
            compare(systems, measure, options.repeats)
        for system in systems:
            system.close()


if __name__ == "__main__":
    main()
