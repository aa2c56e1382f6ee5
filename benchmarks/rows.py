"""What a row of the benchmarks is: cases that take turns, and figures of them.

Each theme (``threads.py``, ``memo.py``, ...) lists its rows and has their work.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple


class Case(NamedTuple):
    """One measurement: a system, some work and its size.

    Attributes:
        system: A name in ``peers.SYSTEMS``, or ``"-"`` for work that needs none.
        work: Module and function: ``"graphs.chain"``.
        n: How many tasks.
        label: What it is called in tables; otherwise the system's name.
        options: Further arguments of the work; ``workers`` is for the system.
    """

    system: str
    work: str
    n: int
    label: str = ""
    options: Mapping[str, Any] = MappingProxyType({})

    @property
    def name(self) -> str:
        return self.label or self.system


class Bar(NamedTuple):
    """What a figure has to reach.

    Attributes:
        kind: ``"at most"`` or ``"at least"``: the first case's figure itself;
            ``"more"``: at most so much more than that of the case ``against``;
            ``"ratio"``: so many times as good as that one, at least.
        limit: The number.
        against: Name of another case.
        aim: What it would reach at best.
    """

    kind: Literal["at most", "at least", "more", "ratio"]
    limit: float
    against: str = ""
    aim: float | None = None


class Metric(NamedTuple):
    """A figure that the work of a row returns.

    Attributes:
        key: Its name there.
        title: What it is, with its unit.
        higher: Whether more is better.
        bars: What it has to reach.
    """

    key: str
    title: str
    higher: bool = False
    bars: tuple[Bar, ...] = ()


class Row(NamedTuple):
    """Cases that are measured in turns; the first is ours, the others are compared.

    Attributes:
        name: What ``--rows`` calls it.
        cases: What is measured, each time in a process of its own.
        metrics: Which figures are shown.
        prepare: Work that is done once before, in a directory that it shares.
        full: Whether it takes so long that only ``--full`` runs it.
    """

    name: str
    cases: tuple[Case, ...]
    metrics: tuple[Metric, ...]
    prepare: Case | None = None
    full: bool = False


US = "us_per_task"
CPU_US = "cpu_us_per_task"


class Watch:
    """Runs from when it is made: on the clock, and in processor time of this process."""

    def __init__(self) -> None:
        self._clock = time.perf_counter()
        self._cpu = time.process_time()

    def per_task(self, n: int) -> dict[str, float]:
        """Return the microseconds for each of n tasks."""
        clock = time.perf_counter() - self._clock
        cpu = time.process_time() - self._cpu
        return {US: clock / n * 1e6, CPU_US: cpu / n * 1e6}


FEWER = {
    "parsl-threads": 10_000,
    "parsl-htex": 2_000,
    "parsl-checkpoints": 2_000,
    "loky": 10_000,
    "dask-threads": 1_000,
    "dask-processes": 1_000,
    "executorlib": 500,
    "ray": 2_000,
}
"""Tasks for systems so slow that the full number would take minutes; the cost of each
does not fall with their number."""


def cases(work: str, n: int, *systems: str, **options: Any) -> tuple[Case, ...]:
    """Return the same work on several systems."""
    return tuple(
        Case(system, work, min(n, FEWER.get(system, n)), options=options)
        for system in systems
    )
