"""The benchmarks run: a few rows in small, for their working, not for their figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LIMIT_S = 120.0


def run(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def test_rows_are_measured_compared_and_written(tmp_path: Path) -> None:
    rows = "events,hit,local-file"
    shown = run(
        "run.py", "--rows", rows, "--quick", "--repeats", 1, "--output", tmp_path
    )
    assert "| memo, a hit in memory, µs a task | " in shown
    assert "| threads, a plugin observes all events, µs a task | observed " in shown

    samples = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert list(samples) == rows.split(",")
    assert samples["events"]["observed"][0]["us_per_task"] > 0
    assert (tmp_path / "ratios.svg").stat().st_size > 0


def test_a_tasks_steps_are_measured_one_by_one() -> None:
    lines = run("budget.py", 200, 1).splitlines()
    steps = [line[:36].strip() for line in lines]
    assert steps[:3] == ["submit", "register", "launch"]
    assert steps[-1] == "a link of a chain"
