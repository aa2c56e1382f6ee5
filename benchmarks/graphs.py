"""Rows on dependencies: chains, fans, and a random graph in layers."""

from __future__ import annotations

import random
import threading
from array import array
from typing import TYPE_CHECKING, Any

from rows import US, Bar, Case, Metric, Row, Watch, cases
from tasks import add1, noop, total

if TYPE_CHECKING:
    from concurrent.futures import Future

OURS = "jackfield-threads"
PEERS = ("parsl-threads", "dask-threads")
N = 100_000
BY_HAND = "cf-threads, by callbacks"
INDEPENDENT = (Case(OURS, "threads.independent", N, "independent"),)
BARS = (Bar("ratio", 1 / 2.5, "independent", 1 / 1.5),)
CHAINED = (*BARS, Bar("ratio", 1 / 2.5, BY_HAND, 1 / 1.5))

WIDTH = 1_000
"""Tasks in a layer."""
PARENTS = 5
"""Edges of each task into the layer before."""

ROWS = [
    Row(
        "chain",
        (
            *cases("graphs.chain", N, OURS),
            *INDEPENDENT,
            Case("cf-threads", "graphs.chain_by_callbacks", N, BY_HAND),
            *cases("graphs.chain", N, *PEERS),
        ),
        (Metric(US, "threads, chain, µs a task", bars=CHAINED),),
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


def chain_by_callbacks(system: Any, n: int) -> dict[str, float]:
    """Submit each task when the one before has ended, as who has no dependencies does.

    So nobody knows the chain in advance, no failure is handed on, and nothing can be
    cancelled but the task that is there.
    """
    ended = threading.Event()
    left = n

    def go_on(future: Future[int]) -> None:
        nonlocal left
        result = future.result()
        if not left:
            assert result == n
            ended.set()
            return
        left -= 1
        system.submit(add1, result).add_done_callback(go_on)

    watch = Watch()
    system.submit(noop, 0).add_done_callback(go_on)
    ended.wait()
    return watch.per_task(n + 1)


def fan_out(system: Any, n: int) -> dict[str, float]:
    watch = Watch()
    first = system.submit(noop, 1)
    futures = [system.submit(add1, first) for _ in range(n)]
    assert sum(future.result() for future in futures) == 2 * n
    return watch.per_task(n + 1)


def fan_in(system: Any, n: int) -> dict[str, float]:
    watch = Watch()
    futures = [system.submit(noop, i) for i in range(n)]
    assert system.submit(total, *futures).result() == n
    return watch.per_task(n + 1)


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
    watch = Watch()
    layer = [system.submit(total) for _ in range(width)]
    for edges in chosen:
        parents = [layer[i] for i in edges]
        layer = [
            system.submit(total, *parents[first : first + PARENTS])
            for first in range(0, len(parents), PARENTS)
        ]
    expected = PARENTS if chosen else 0
    assert all(future.result() == expected for future in layer)
    return watch.per_task(width * (len(chosen) + 1))
