"""Rows on the beginning: importing, and from nothing to the first result."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

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

SHORT = ("jackfield-processes", "cf-processes", "loky")


def _short(module: str, what: str) -> Row:
    return Row(
        f"short-{module}",
        tuple(
            Case("-", "start.short", 3, name, {"which": name, "module": module})
            for name in SHORT
        ),
        (
            Metric("first_ms", f"processes, {what}: to the first result, ms", bars=(Bar("ratio", 1.0, "cf-processes"),)),
            Metric("run_ms", f"processes, {what}: a short run, ms", bars=(Bar("ratio", 1 / 1.1, "cf-processes"),)),
            Metric("replaced_ms", f"processes, {what}: a dead worker's place taken, ms", bars=(Bar("at most", 30),)),
        ),
    )  # fmt: skip


ROWS = [
    _short("light", "a bare function"),
    _short("heavy", "one that needs numpy and pandas"),
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


def short(_: None, n: int, which: str, module: str) -> dict[str, float]:
    """Take the medians of short runs, each in a Python of its own."""
    program = Path(__file__).with_name("short_run.py")
    runs = []
    for _round in range(n):
        command = [sys.executable, program, which, module, str(time.monotonic())]
        done = subprocess.run(command, check=True, capture_output=True)
        runs.append(json.loads(done.stdout))
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


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
