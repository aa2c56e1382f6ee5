"""Rows on the beginning: importing, and from nothing to the first result."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from rows import Bar, Case, Metric, Row, cases

MODULES = {
    "jackfield": "jackfield",
    "concurrent.futures": "concurrent.futures.thread",
    "parsl": "parsl",
    "dask": "distributed",
    "executorlib": "executorlib",
    "ray": "ray",
}
PEERS = ("cf-processes", "loky", "parsl-htex", "dask-processes", "executorlib", "ray")

ROWS = [
    Row(
        "import",
        tuple(
            Case("-", "start.importing", 5, name, {"module": module})
            for name, module in MODULES.items()
        ),
        (Metric("import_ms", "import, ms more than bare Python", bars=(Bar("at most", 80, aim=40),)),),
    ),
    Row(
        "start",
        cases("threads.independent", 1, "jackfield-threads", "cf-threads", "parsl-threads", "dask-threads"),
        (Metric("start_ms", "threads, from nothing to the first result, ms"), Metric("load_ms", "threads, load() to the first result, ms", bars=(Bar("at most", 50, aim=20),)), Metric("stop_ms", "threads, cleanup(), ms")),
    ),
    Row(
        "processes-start",
        cases("threads.independent", 1, "jackfield-processes", *PEERS),
        (Metric("start_ms", "processes, from nothing to the first result, ms"), Metric("stop_ms", "processes, cleanup(), ms")),
    ),
]  # fmt: skip


def importing(_: None, n: int, module: str) -> dict[str, float]:
    """Time new Pythons that import a module, in turns with some that import nothing."""
    took: dict[str, list[float]] = {"pass": [], f"import {module}": []}
    for _round in range(n):
        for code, times in took.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append((time.perf_counter() - start) * 1e3)
    bare, more = (statistics.median(times) for times in took.values())
    return {"import_ms": more - bare}
