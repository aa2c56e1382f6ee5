"""Rows on large data: handed to many tasks, from task to task, and back to the script."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from rows import Bar, Metric, Row, cases

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = "jackfield-processes"
CF = "cf-processes"
PEERS = (CF, "ray", "dask-processes")
LARGE = 6_250_000  # numbers of 8 bytes: 50 MB
HUGE = 125_000_000  # 1 GB
ENTRIES = 300_000
PERIOD_S = 0.02

ROWS = [
    Row(
        "broadcast",
        cases("large.broadcast", 40, OURS, *PEERS),
        (Metric("s", "50 MB that a task has made to 40 tasks, s", bars=(Bar("ratio", 1 / 0.15, CF), Bar("ratio", 1 / 1.2, "ray"))),),
    ),
    Row(
        "broadcast-argument",
        cases("large.broadcast_argument", 40, OURS, *PEERS),
        (Metric("s", "50 MB of the script to 40 tasks, s"),),
    ),
    Row(
        "array-chain",
        cases("large.array_chain", 20, OURS, *PEERS),
        (Metric("ms_per_link", "a chain that hands on 50 MB, ms a link", bars=(Bar("ratio", 1, "ray"),)),),
    ),
    Row(
        "dict-chain",
        cases("large.dict_chain", 10, OURS, *PEERS),
        (Metric("ms_per_link", "a chain that hands on 300,000 entries, ms a link", bars=(Bar("ratio", 1 / 1.3, "dask-processes"),)),),
    ),
    Row(
        "array-results",
        cases("large.results", 300, OURS, *PEERS),
        (Metric("ms", "an array of 1 MB as result, ms", bars=(Bar("ratio", 1, CF),)),),
    ),
    Row(
        "gigabyte",
        cases("large.gigabyte", 8, OURS, "ray", "dask-processes"),
        (Metric("s", "1 GB to 8 tasks, s"), Metric("gb", "1 GB to 8 tasks, most memory, GB")),
    ),
]  # fmt: skip


def ones(count: int) -> Any:
    import numpy as np

    return np.ones(count)


def size(value: Any) -> int:
    """Return the length; Ray takes no function that is built in."""
    return len(value)


def plus_one(array: Any) -> Any:
    return array + 1


def total(array: Any) -> float:
    return float(array.sum())


def entries(count: int) -> dict[int, float]:
    return {number: float(number) for number in range(count)}


def copied(values: dict[int, float]) -> dict[int, float]:
    return dict(values)


def call(system: Any, function: Callable[..., Any], argument: Any) -> Any:
    """Submit a call; an executor that knows no dependencies gets the result."""
    if hasattr(system, "executor") and hasattr(argument, "result"):
        argument = argument.result()
    return system.submit(function, argument)


def warm(system: Any) -> None:
    for future in [system.submit(ones, 10) for _ in range(8)]:
        future.result()


def broadcast(system: Any, n: int) -> dict[str, float]:
    warm(system)
    start = time.perf_counter()
    array = system.submit(ones, LARGE)
    futures = [call(system, total, array) for _ in range(n)]
    assert {future.result() for future in futures} == {LARGE}
    return {"s": time.perf_counter() - start}


def broadcast_argument(system: Any, n: int) -> dict[str, float]:
    warm(system)
    array = ones(LARGE)
    start = time.perf_counter()
    futures = [system.submit(total, array) for _ in range(n)]
    assert {future.result() for future in futures} == {LARGE}
    return {"s": time.perf_counter() - start}


def array_chain(system: Any, n: int) -> dict[str, float]:
    warm(system)
    start = time.perf_counter()
    future = system.submit(ones, LARGE)
    for _ in range(n):
        future = call(system, plus_one, future)
    assert call(system, total, future).result() == (n + 1) * LARGE
    return {"ms_per_link": (time.perf_counter() - start) / n * 1e3}


def dict_chain(system: Any, n: int) -> dict[str, float]:
    warm(system)
    start = time.perf_counter()
    future = system.submit(entries, ENTRIES)
    for _ in range(n):
        future = call(system, copied, future)
    assert call(system, size, future).result() == ENTRIES
    return {"ms_per_link": (time.perf_counter() - start) / n * 1e3}


def results(system: Any, n: int) -> dict[str, float]:
    warm(system)
    start = time.perf_counter()
    futures = [system.submit(ones, 131_072) for _ in range(n)]
    assert all(len(future.result()) == 131_072 for future in futures)
    return {"ms": (time.perf_counter() - start) / n * 1e3}


def gigabyte(system: Any, n: int) -> dict[str, float]:
    warm(system)
    ended = threading.Event()
    seen = [0]

    def look() -> None:
        while not ended.wait(PERIOD_S):
            seen.append(_memory())

    before = _memory()
    watcher = threading.Thread(target=look)
    watcher.start()
    start = time.perf_counter()
    array = system.submit(ones, HUGE)
    futures = [call(system, total, array) for _ in range(n)]
    assert {future.result() for future in futures} == {HUGE}
    took = time.perf_counter() - start
    ended.set()
    watcher.join()
    return {"s": took, "gb": (max(seen) - before) / 1e9}


def _memory() -> int:
    """Return the memory of this process and all below it; what is shared counts once."""
    import psutil

    found = 0
    this = psutil.Process()
    for process in [this, *this.children(recursive=True)]:
        try:
            found += process.memory_full_info().pss
        except psutil.Error:  # it has ended
            continue
    return found
