"""Rows on two processes: tasks that do nothing, and results of a megabyte."""

from __future__ import annotations

import time
from typing import Any

from rows import US, Bar, Metric, Row, Watch, cases
from tasks import counted, make

OURS = "jackfield-processes"
PEERS = ("cf-processes", "loky", "parsl-htex", "dask-processes", "executorlib", "ray")

ROWS = [
    Row(
        "processes",
        cases("threads.independent", 20_000, OURS, *PEERS),
        (Metric(US, "processes, independent, µs a task", bars=(Bar("ratio", 3, "cf-processes", 6), Bar("ratio", 20, "parsl-htex", 60))),),
    ),
    Row(
        "processes-latency",
        cases("threads.latency", 2_000, OURS, *PEERS),
        (Metric("p50_us", "processes, one at a time, p50, µs", bars=(Bar("ratio", 1 / 0.7, "cf-processes", 1 / 0.3),)), Metric("p99_us", "processes, one at a time, p99, µs")),
    ),
    Row(
        "processes-chain",
        cases("graphs.chain", 20_000, OURS, "parsl-htex", "dask-processes", "ray") + cases("graphs.chain", 50, "executorlib"),
        (Metric(US, "processes, chain, µs a task"),),
    ),
    Row(
        "payload",
        cases("processes.payload", 200, OURS, *PEERS),
        (Metric("mb_per_s", "processes, results of 1 MB, MB/s", higher=True, bars=(Bar("ratio", 1, "cf-processes", 2),)),),
    ),
]  # fmt: skip


def payload(system: Any, n: int) -> dict[str, float]:
    start = time.perf_counter()
    futures = [system.submit(make, 1_000_000) for _ in range(n)]
    assert all(len(future.result()) == 1_000_000 for future in futures)
    return {"mb_per_s": n / (time.perf_counter() - start)}


def functions(system: Any, n: int) -> dict[str, float]:
    """Send n functions that no worker has, and that it cannot import."""
    made = [counted(i) for i in range(n)]
    watch = Watch()
    futures = [system.submit(function) for function in made]
    assert sum(future.result() for future in futures) == n * (n - 1) // 2
    return watch.per_task(n)
