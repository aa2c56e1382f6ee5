"""How close elastic executors come to the ideal, and what they waste.

``python benchmarks/elastic.py processes`` runs 40 tasks of a second on at most two
worker processes, which are started for it: ideally 20 s. ``python benchmarks/elastic.py
slurm`` runs ten tasks of 15 s in jobs of one minute, each with two workers, of which two
may run at a time; it needs a Slurm where ``sbatch`` finds it, and dask-jobqueue. A task
that was begun and not ended is counted as wasted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jackfield as jf

SLURM = {
    "plugin": "dask",
    "cluster": "slurm",
    "most": 2,
    "cluster_options": {
        "cores": 2,
        "processes": 1,
        "job_cpu": 1,
        "memory": "500 MB",
        "walltime": "00:01:00",
        "interface": "lo",
        "python": sys.executable,
        "scheduler_options": {"dashboard_address": ":0"},
    },
}
PROCESSES = {"plugin": "processes", "least": 0, "most": 2}


@jf.python_app
def work(number: int, seconds: float, begun: Path) -> int:
    with begun.open("a") as file:
        file.write(f"{number}\n")
    time.sleep(seconds)
    return number


def measure(table: dict[str, Any], tasks: int, seconds: float) -> tuple[float, int]:
    """Return the seconds until all tasks have ended, and how often one ran in vain."""
    with tempfile.TemporaryDirectory() as scratch:
        begun = Path(scratch, "begun")
        if table["plugin"] == "dask":
            options = {**table["cluster_options"], "shared_temp_directory": scratch}
            table = {**table, "cluster_options": options}
        with jf.load(run_dir=Path(scratch, "runs"), executors={"x": table}):
            start = time.monotonic()
            futures = [work(number, seconds, begun) for number in range(tasks)]
            assert [future.result() for future in futures] == list(range(tasks))
            took = time.monotonic() - start
        times = Counter(begun.read_text().split())
    return took, sum(times.values()) - tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["processes", "slurm"])
    parser.add_argument("--quick", action="store_true", help="a tenth of the time")
    chosen = parser.parse_args()
    if chosen.kind == "slurm":
        table, tasks, seconds = SLURM, 10, 15.0
    else:
        table, tasks, seconds = PROCESSES, 40, 1.0
    took, wasted = measure(table, tasks, seconds / 10 if chosen.quick else seconds)
    ideal = tasks * seconds / (10 if chosen.quick else 1)
    print(
        f"{chosen.kind}: {tasks} tasks, {ideal:g} s of work, {took:.1f} s, "
        f"{wasted} wasted; load of the machine {os.getloadavg()[0]:.0f}"
    )


if __name__ == "__main__":
    main()
