"""Run every row on every system that is installed, interleaved, and print ratios.

usage: python run.py [--repeats N] [--rows ROW,...] [--quick]

Each measurement is a process of its own. The systems of a row take turns, so that
what else the machine does meets all of them; a row shows medians with their spread,
and the ratio of each system's median to ours (above 1: ours is better).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

NEEDS = {"loky": "loky", "parsl-threads": "parsl", "parsl-htex": "parsl"}

# row: (title, work, N, metric, higher is better, ours, the others)
THREADS = ["cf-threads", "parsl-threads"]
PROCESSES = ["cf-processes", "loky", "parsl-htex"]
ROWS: dict[str, tuple[str, str, int, str, bool, str, list[str]]] = {
    "threads": ("threads, independent, µs a task", "noop", 100_000, "us_per_task", False, "jackfield-threads", THREADS),
    "chain": ("threads, chain, µs a task", "chain", 100_000, "us_per_task", False, "jackfield-threads", ["parsl-threads"]),
    "fan": ("threads, fan out and in, µs a task", "fan", 100_000, "us_per_task", False, "jackfield-threads", ["parsl-threads"]),
    "latency": ("threads, latency p50, µs", "latency", 3_000, "p50_us", False, "jackfield-threads", THREADS),
    "held": ("threads, bytes a task, futures held", "memory", 100_000, "held_bytes", False, "jackfield-threads", THREADS),
    "dropped": ("threads, bytes a task, futures dropped", "memory", 100_000, "dropped_bytes", False, "jackfield-threads", THREADS),
    "start": ("threads, load to first result, ms", "noop", 1, "start_ms", False, "jackfield-threads", THREADS),
    "processes": ("processes, independent, µs a task", "noop", 20_000, "us_per_task", False, "jackfield-processes", PROCESSES),
    "processes-latency": ("processes, latency p50, µs", "latency", 2_000, "p50_us", False, "jackfield-processes", PROCESSES),
    "payload": ("processes, results of 1 MB, MB/s", "payload", 200, "mb_per_s", True, "jackfield-processes", PROCESSES),
    "processes-start": ("processes, load to first result, ms", "noop", 1, "start_ms", False, "jackfield-processes", PROCESSES),
}  # fmt: skip

# Parsl is so slow that the full number of tasks would take minutes; its cost for
# each task does not fall with their number.
FEWER = {"parsl-threads": 10_000, "parsl-htex": 2_000, "loky": 10_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the tasks")
    parser.add_argument("--json", type=Path, help="write all measurements here")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "rows": {}}
    print(f"{results['machine']}\n")
    print("| work | jackfield | " + "peer | ratio |")
    print("| --- | --- | --- | --- |")
    for row in options.rows.split(","):
        samples = measure(row, options.repeats, 10 if options.quick else 1)
        results["rows"][row] = samples
        show(row, samples)
    results["rows"]["import"] = import_times(options.repeats * 3)
    show_import(results["rows"]["import"])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def measure(row: str, repeats: int, divide: int) -> dict[str, list[float]]:
    _, work, n, metric, _, ours, others = ROWS[row]
    systems = [ours, *[name for name in others if installed(name)]]
    samples: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(repeats):
        for name in systems:
            tasks = max(1, min(n, FEWER.get(name, n)) // divide)
            result = once(name, work, tasks)
            if result is not None:
                samples[name].append(result[metric])
    return samples


def once(name: str, work: str, n: int) -> dict[str, float] | None:
    done = subprocess.run(
        [sys.executable, HERE / "peers.py", name, work, str(n)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
    )
    if done.returncode:
        print(
            f"{name} {work} failed: {done.stderr.strip().splitlines()[-1:]}",
            file=sys.stderr,
        )
        return None
    return json.loads(done.stdout.splitlines()[-1])


def show(row: str, samples: dict[str, list[float]]) -> None:
    title, _, _, _, higher, ours, others = ROWS[row]
    mine = statistics.median(samples[ours]) if samples[ours] else float("nan")
    for name in others:
        values = samples.get(name)
        if not values:
            continue
        theirs = statistics.median(values)
        ratio = mine / theirs if higher else theirs / mine
        print(
            f"| {title} | {spread(samples[ours])} | {name} {spread(values)} | {ratio:.2f} x |",
            flush=True,
        )


def spread(values: list[float]) -> str:
    if not values:
        return "failed"
    return f"{statistics.median(values):.4g} ({min(values):.3g} to {max(values):.3g})"


def import_times(repeats: int) -> dict[str, list[float]]:
    """Milliseconds of a Python that imports something, beside one that does not."""
    codes = {
        "bare": "pass",
        "jackfield": "import jackfield",
        "parsl": "import parsl",
        "concurrent.futures": "import concurrent.futures.thread",
    }
    if importlib.util.find_spec("parsl") is None:
        del codes["parsl"]
    times: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(repeats):
        for name, code in codes.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times[name].append((time.perf_counter() - start) * 1e3)
    return times


def show_import(times: dict[str, list[float]]) -> None:
    bare = statistics.median(times["bare"])
    over = {name: statistics.median(values) - bare for name, values in times.items()}
    mine = over["jackfield"]
    for name, value in over.items():
        if name not in ("bare", "jackfield"):
            print(
                f"| import, ms over bare Python | {mine:.3g} | {name} {value:.3g} | {value / mine:.2f} x |"
            )


def installed(name: str) -> bool:
    return name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None


def machine() -> str:
    versions = []
    for package in ("jackfield", "parsl", "loky"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    today = time.strftime("%Y-%m-%d")
    cores = len(os.sched_getaffinity(0))
    return (
        f"{today}, {platform.system()} {platform.machine()}, {cores} cores, "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


if __name__ == "__main__":
    main()
