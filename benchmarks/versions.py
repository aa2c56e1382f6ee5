"""Compare this checkout with another one, in turns, on tasks that do nothing.

usage: python versions.py OTHER/.venv/bin/python [--rows NAME,...] [--repeats N]

Run by the interpreter of this checkout; the other's is given. Each measurement is a
process of its own, and the two take turns. A line shows medians: the processor time of
the driver, which other programs of the machine disturb little, then the time on the
clock, which on processes has the workers in it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from rows import CPU_US, US

HERE = Path(__file__).parent
LIMIT_S = 300.0


class Load(NamedTuple):
    """A system of ``peers.SYSTEMS``, work on it, and how many tasks."""

    system: str
    work: str
    n: int


LOADS = {
    "threads": Load("jackfield-threads", "threads.independent", 100_000),
    "processes": Load("jackfield-processes", "threads.independent", 60_000),
    "miss": Load("jackfield-threads", "memo.misses", 40_000),
    "hit": Load("jackfield-threads", "memo.hits", 40_000),
    "process-miss": Load("jackfield-processes", "memo.misses", 40_000),
    "send": Load("jackfield-processes", "processes.functions", 2_000),
    "chain": Load("jackfield-threads", "graphs.chain", 40_000),
    "layered": Load("jackfield-threads", "graphs.layered", 40_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("other", type=Path, help="interpreter of the other checkout")
    parser.add_argument("--rows", default=",".join(LOADS), help="names, with commas")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    print("| work | figure | here | there | here / there |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.rows.split(","):
        both = in_turns(LOADS[name], Path(sys.executable), options.other, options)
        for figure, title in ((CPU_US, "driver's CPU, µs"), (US, "clock, µs")):
            here, there = ([one[figure] for one in samples] for samples in both)
            ratio = statistics.median(here) / statistics.median(there)
            shown = f"{spread(here)} | {spread(there)} | {ratio:.2f}"
            print(f"| {name} | {title} | {shown} |", flush=True)


def in_turns(
    load: Load, here: Path, there: Path, options: argparse.Namespace
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Return the figures of each repeat, with this checkout's first."""
    both: tuple[list[dict[str, float]], list[dict[str, float]]] = [], []
    for turn in range(options.repeats):
        pairs = list(zip((here, there), both, strict=True))
        for python, samples in pairs if turn % 2 else reversed(pairs):
            samples.append(measured(load, python))
    return both


def measured(load: Load, python: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [python, HERE / "one.py", load.system, load.work, str(load.n)],
            stdout=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=True,
            env={
                **os.environ,
                "PYTHONPATH": str(HERE),
                "BENCH_DIR": place,
                "PYTHONDONTWRITEBYTECODE": "",
                "XDG_CONFIG_HOME": place,
            },
        )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def spread(samples: list[float]) -> str:
    low, high = min(samples), max(samples)
    return f"{statistics.median(samples):.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
