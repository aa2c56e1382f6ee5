"""A parameter sweep: many simulations, one table, one picture.

    python examples/sweep.py [DIRECTORY]

Each point is a cached call, so a second run, or one with a finer grid, computes only
what is new. The table is pandas'; the picture is `sweep.svg`. Needs pandas.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

import jackfield as jf

RATES = [0.05 * n for n in range(1, 13)]
DELAYS = [1, 2, 4, 8]
STEPS = 400


@jf.python_app(cache=True)
def spread(rate: float, delay: int) -> dict[str, float]:
    """Simulate an epidemic; return its peak, and the share that it has reached."""
    susceptible, infected = 0.999, [0.001]
    removed, peak = 0.0, 0.0
    for step in range(STEPS):
        new = rate * susceptible * infected[-1]
        recovered = infected[step - delay] * 0.1 if step >= delay else 0.0
        susceptible, removed = susceptible - new, removed + recovered
        infected.append(max(0.0, infected[-1] + new - recovered))
        peak = max(peak, infected[-1])
    return {"rate": rate, "delay": delay, "peak": peak, "reached": 1 - susceptible}


@jf.python_app
def tabulate(rows: list[dict[str, float]]) -> pd.DataFrame:
    """Make a table of all points: a row for each rate, a column for each delay."""
    return pd.DataFrame(rows).pivot_table("peak", "rate", "delay")


@jf.python_app
def draw(table: pd.DataFrame, outputs: list[jf.File]) -> int:
    """Draw a line for each delay; return how many there are."""
    colours = ["#1b6ca8", "#c1440e", "#3a7d44", "#7b4fa3"]
    lines = []
    for colour, (delay, column) in zip(colours, table.items(), strict=True):
        points = " ".join(
            f"{40 + 900 * float(rate):.1f},{260 - 220 * peak:.1f}"
            for rate, peak in zip(column.index, column.tolist(), strict=True)
        )
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}"/>'
            f'<text x="590" y="{260 - 220 * column.tolist()[-1]:.0f}" fill="{colour}">'
            f"delay {delay}</text>"
        )
    Path(outputs[0]).write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="680" height="280" '
        f'font-family="sans-serif" font-size="12">{"".join(lines)}'
        '<text x="40" y="276">peak by rate</text></svg>'
    )
    return len(lines)


def main(directory: Path) -> dict[str, Any]:
    """Run the sweep below a directory; return what came of it."""
    config = {
        "run_dir": directory / "runs",
        "executors": {"cpu": {"plugin": "processes", "workers": 2}},
        "checkpoint": {"store": f"sqlite:///{directory.absolute()}/sweep.db"},
        "monitors": {"history": {"plugin": "sqlite"}},
    }
    with jf.load(config) as kernel:
        points = [spread(rate, delay) for rate, delay in product(RATES, DELAYS)]
        table = tabulate(points)
        drawn = draw(table, outputs=[jf.File(directory / "sweep.svg")])
        worst = table.result().max().max()
        found = sum(point.memo.status == "hit" for point in points)
        lines = drawn.result()
    print(f"{len(points)} points, {found} of them found; the worst peak is {worst:.3f}")
    return {"found": found, "lines": lines, "worst": worst, "run": kernel.run_dir}


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
