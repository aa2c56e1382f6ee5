"""Rows on what a run's history costs its tasks, beside Parsl's monitoring."""

from __future__ import annotations

import time
from typing import Any

from rows import US, Bar, Case, Metric, Row
from tasks import noop

CPU = "cpu_us_per_task"


def _row(name: str, kind: str, parsl: str, n: int, parsls: int) -> Row:
    work = "monitoring.independent"
    return Row(
        name,
        (
            Case(f"jackfield-history-{kind}", work, n, "history"),
            Case(f"jackfield-{kind}", work, n, "none"),
            Case(f"jackfield-resources-{kind}", work, n, "history, resources"),
            Case(f"parsl-{parsl}", work, parsls),
            Case(f"parsl-{parsl}-monitoring", work, parsls),
            Case(f"parsl-{parsl}-resources", work, parsls // 50),
        ),
        (
            Metric(
                US,
                f"{kind}, with a history, µs a task",
                bars=(Bar("ratio", 4, f"parsl-{parsl}-monitoring"),),
            ),
            Metric(
                CPU,
                f"{kind}, with a history, µs a task of the script's processor time",
                bars=(Bar("more", 12, "none"),),
            ),
        ),
    )


ROWS = [
    _row("history-threads", "threads", "threads", 50_000, 2_000),
    _row("history-processes", "processes", "htex", 50_000, 2_000),
]  # fmt: skip


def independent(system: Any, n: int) -> dict[str, float]:
    """Have tasks done that do nothing; what is written meanwhile counts."""
    start, cpu = time.perf_counter(), time.process_time()
    futures = [system.submit(noop, i) for i in range(n)]
    assert sum(future.result() for future in futures) == n * (n - 1) // 2
    took = time.perf_counter() - start
    settle = getattr(system, "settle", None)
    if settle is not None:
        settle()
    return {US: took / n * 1e6, CPU: (time.process_time() - cpu) / n * 1e6}
