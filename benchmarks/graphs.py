"""Rows on dependencies: chains, fans, and a random graph in layers."""

from __future__ import annotations

import random
import time
from array import array
from typing import Any

from rows import US, Bar, Case, Metric, Row, Watch, cases
from tasks import add1, noop, total

OURS = "jackfield-threads"
PEERS = ("parsl-threads", "dask-threads")
N = 100_000
INDEPENDENT = (Case(OURS, "threads.independent", N, "independent"),)
BARS = (Bar("ratio", 1 / 2.5, "independent", 1 / 1.5),)

WIDTH = 1_000
"""Tasks in a layer."""
PARENTS = 5
"""Edges of each task into the layer before."""

ROWS = [
    Row(
        "chain",
        cases("graphs.chain", N, OURS) + INDEPENDENT + cases("graphs.chain", N, *PEERS),
        (Metric(US, "threads, chain, µs a task", bars=BARS),),
    ),
    Row(
        "fan-out",
        cases("graphs.fan_out", N, OURS) + INDEPENDENT + cases("graphs.fan_out", N, *PEERS),
        (Metric(US, "threads, one to all, µs a task", bars=BARS),),
    ),
    Row(
        "fan-in",
        cases("graphs.fan_in", N, OURS) + INDEPENDENT + cases("graphs.fan_in", N, *PEERS),
        (Metric(US, "threads, all to one, µs a task", bars=BARS),),
    ),
    Row(
        "layered",
        (
            Case(OURS, "graphs.layered", 200_000),
            Case(OURS, "threads.independent", 200_000, "independent"),
            *cases("graphs.layered", 200_000, *PEERS),
        ),
        (Metric(US, "threads, random graph, 5 edges a task, µs a task", bars=(Bar("ratio", 1 / 2, "independent"),)),),
    ),
]  # fmt: skip


def chain(system: Any, n: int) -> dict[str, float]:
    watch = Watch()
    future = system.submit(noop, 0)
    for _ in range(n):
        future = system.submit(add1, future)
    assert future.result() == n
    return watch.per_task(n + 1)


def fan_out(system: Any, n: int) -> dict[str, float]:
    start = time.perf_counter()
    first = system.submit(noop, 1)
    futures = [system.submit(add1, first) for _ in range(n)]
    assert sum(future.result() for future in futures) == 2 * n
    return {US: (time.perf_counter() - start) / (n + 1) * 1e6}


def fan_in(system: Any, n: int) -> dict[str, float]:
    start = time.perf_counter()
    futures = [system.submit(noop, i) for i in range(n)]
    assert system.submit(total, *futures).result() == n
    return {US: (time.perf_counter() - start) / (n + 1) * 1e6}


def layered(system: Any, n: int) -> dict[str, float]:
    """Make a graph in layers, each task with some parents in the layer before."""
    dice = random.Random(0)
    width = min(WIDTH, n)
    chosen = [  # flat, so that the collector has our objects to look at and no others
        array(
            "H", [i for _ in range(width) for i in dice.sample(range(width), PARENTS)]
        )
        for _ in range(n // width - 1)
    ]
    start = time.perf_counter()
    layer = [system.submit(total) for _ in range(width)]
    for edges in chosen:
        parents = [layer[i] for i in edges]
        layer = [
            system.submit(total, *parents[first : first + PARENTS])
            for first in range(0, len(parents), PARENTS)
        ]
    expected = PARENTS if chosen else 0
    assert all(future.result() == expected for future in layer)
    return {US: (time.perf_counter() - start) / (width * (len(chosen) + 1)) * 1e6}
