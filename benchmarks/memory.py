"""Rows on memory: bytes of a task in each state, and a long run in a bounded window."""

from __future__ import annotations

import gc
import sys
import time
from typing import Any

from rows import US, Bar, Case, Metric, Row
from tasks import GATE, noop, wait

from memo import rss

OURS = "jackfield-threads"
PEERS = ("parsl-threads", "dask-threads")
"""Not asked for a million: they need gigabytes and minutes."""
SLOW = {"dask-threads": 5_000}
WINDOW = 1_000
SETTLED_S = 0.5


def _rows(
    size: str, n: int, peers: tuple[str, ...], *, full: bool = False
) -> list[Row]:
    def row(state: str, others: tuple[str, ...], *metrics: Metric) -> Row:
        measured = tuple(
            Case(system, f"memory.{state}", min(n, SLOW.get(system, n)))
            for system in (OURS, *others)
        )
        return Row(f"{state}-{size}", measured, metrics, full=full)

    def metric(key: str, what: str, limit: float, aim: float) -> Metric:
        bars = (Bar("at most", limit, aim=aim),)
        return Metric(key, f"{size} tasks, bytes of one {what}", bars=bars)

    return [
        row("waiting", peers, metric("bytes", "that waits for another", 2_000, 1_200)),
        row("submitted", ("cf-threads", *peers), metric("bytes", "at the executor", 2_000, 1_200)),
        row(
            "finished",
            ("cf-threads", *peers),
            Metric("held_bytes", f"{size} tasks, bytes of one that ended, its future held"),
            metric("dropped_bytes", "that ended, its future dropped", 200, 100),
            Metric("dropped_blocks", f"{size} tasks, Python's blocks of one that ended, its future dropped"),
        ),
    ]  # fmt: skip


def _window(n: int, name: str, *, full: bool = False) -> Row:
    measured = (
        Case(OURS, "memory.window", n, f"{n:,}"),
        Case(OURS, "memory.window", 10_000, "10,000"),
    )
    metrics = (
        Metric(US, f"map of {n:,} in a window of 1,000, µs a task", bars=(Bar("ratio", 0.8, "10,000"),)),
        Metric("grown_mb", f"map of {n:,} in a window of 1,000, MB more"),
    )  # fmt: skip
    return Row(name, measured, metrics, full=full)


ROWS = [
    *_rows("1e4", 10_000, PEERS),
    *_rows("1e5", 100_000, PEERS),
    *_rows("1e6", 1_000_000, (), full=True),
    _window(100_000, "window"),
    _window(1_000_000, "window-1e6", full=True),
]


def waiting(system: Any, n: int) -> dict[str, float]:
    """Measure tasks that wait for one that waits for us."""
    blocker = system.submit(wait)
    before = _settled()
    futures = [system.submit(noop, blocker) for _ in range(n)]
    grown = _settled() - before
    GATE.set()
    assert sum(future.result() for future in futures) == 0
    return {"bytes": grown / n}


def submitted(system: Any, n: int) -> dict[str, float]:
    """Measure tasks that could run, if the workers were not all busy."""
    blockers = [system.submit(wait) for _ in range(2)]
    before = _settled()
    futures = [system.submit(noop, i) for i in range(n)]
    grown = _settled() - before
    GATE.set()
    assert sum(future.result() for future in futures) == n * (n - 1) // 2
    assert all(blocker.result() == 0 for blocker in blockers)
    return {"bytes": grown / n}


def finished(system: Any, n: int) -> dict[str, float]:
    before, blocks = _settled(), sys.getallocatedblocks()
    futures = [system.submit(noop, i) for i in range(n)]
    for future in futures:
        future.result()
    held = _settled() - before
    del futures, future
    dropped = _settled() - before
    return {
        "held_bytes": held / n,
        "dropped_bytes": dropped / n,  # with what Python keeps for its next objects
        "dropped_blocks": (sys.getallocatedblocks() - blocks) / n,
    }


def window(system: Any, n: int) -> dict[str, float]:
    results = system.kernel.map(noop, range(n), window=WINDOW)
    assert next(results) == 0
    before = rss()
    start = time.perf_counter()
    assert sum(results) == n * (n - 1) // 2
    took = time.perf_counter() - start
    return {US: took / n * 1e6, "grown_mb": (rss() - before) / 1e6}


def _settled() -> int:
    """Return the memory in use, once what others do with new tasks is done."""
    before = -1
    while True:
        gc.collect()
        now = rss()
        if abs(now - before) < 1 << 16:
            return now
        before = now
        time.sleep(SETTLED_S)
