"""Rows on two threads: tasks that do nothing, one at a time and many at once."""

from __future__ import annotations

import threading
import time
from typing import Any

from rows import US, Bar, Case, Metric, Row, Watch, cases
from tasks import noop

OURS = "jackfield-threads"

ROWS = [
    Row(
        "threads",
        cases("threads.independent", 100_000, OURS, "cf-threads", "parsl-threads", "dask-threads"),
        (Metric(US, "threads, independent, µs a task", bars=(Bar("ratio", 0.6, "cf-threads", 1), Bar("ratio", 6, "parsl-threads", 10))),),
    ),
    Row(
        "latency",
        cases("threads.latency", 3_000, OURS, "cf-threads", "parsl-threads", "dask-threads"),
        (Metric("p50_us", "threads, one at a time, p50, µs"), Metric("p99_us", "threads, one at a time, p99, µs")),
    ),
    Row(
        "submitters",
        (
            Case(OURS, "threads.submitters", 100_000, "8 submitters", {"submitters": 8}),
            Case(OURS, "threads.submitters", 100_000, "1 submitter", {"submitters": 1}),
            Case("cf-threads", "threads.submitters", 100_000, "cf-threads, 8", {"submitters": 8}),
        ),
        (Metric(US, "threads, submitted by 8 threads at once, µs a task", bars=(Bar("ratio", 1 / 1.2, "1 submitter"),)),),
    ),
    Row(
        "events",
        (
            Case("jackfield-observed", "threads.independent", 100_000, "observed"),
            Case(OURS, "threads.independent", 100_000, "not observed"),
        ),
        (Metric(US, "threads, a plugin observes all events, µs a task", bars=(Bar("more", 5, "not observed"),)),),
    ),
    Row(
        "run-events",
        (
            Case("jackfield-followed", "threads.independent", 100_000, "followed"),
            Case("jackfield-recorded", "threads.independent", 100_000, "all records read"),
            Case(OURS, "threads.independent", 100_000, "not observed"),
        ),
        (Metric(US, "threads, a plugin follows the run, µs a task", bars=(Bar("more", 1, "not observed", 0.5), Bar("ratio", 0.2, "all records read"))),),
    ),
]  # fmt: skip


def independent(system: Any, n: int) -> dict[str, float]:
    watch = Watch()
    futures = [system.submit(noop, i) for i in range(n)]
    assert sum(future.result() for future in futures) == n * (n - 1) // 2
    return watch.per_task(n)


def latency(system: Any, n: int) -> dict[str, float]:
    times = []
    for i in range(n):
        start = time.perf_counter()
        assert system.submit(noop, i).result() == i
        times.append(time.perf_counter() - start)
    times.sort()
    return {"p50_us": times[n // 2] * 1e6, "p99_us": times[int(n * 0.99)] * 1e6}


def submitters(system: Any, n: int, submitters: int) -> dict[str, float]:
    """Have several threads submit at once, each its share."""
    share = n // submitters
    futures: list[list[Any]] = [[] for _ in range(submitters)]
    ready = threading.Barrier(submitters + 1)

    def submit(mine: list[Any]) -> None:
        ready.wait()
        mine.extend(system.submit(noop, i) for i in range(share))

    threads = [threading.Thread(target=submit, args=(mine,)) for mine in futures]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    total = sum(future.result() for mine in futures for future in mine)
    assert total == submitters * share * (share - 1) // 2
    return {US: (time.perf_counter() - start) / (submitters * share) * 1e6}
