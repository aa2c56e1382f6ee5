"""What was measured, as Markdown: medians, their spread, ratios, and the bars."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rows import Bar, Metric, Row

PACKAGES = ("jackfield", "parsl", "loky", "distributed", "executorlib", "ray")

Samples = Mapping[str, Sequence[Mapping[str, float]]]
"""Case to the figures of each of its repeats."""

BEGIN = "<!-- what run.py --page has measured -->"
END = "<!-- the end of that -->"

HEAD = [
    "| work | jackfield | beside it | ratio | bar |",
    "| --- | --- | --- | --- | --- |",
]


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": versions(),
        "load": os.getloadavg()[0],
    }


def title(facts: Mapping[str, Any]) -> str:
    packages = ", ".join(
        f"{name} {number}" for name, number in facts["versions"].items()
    )
    return (
        f"{facts['date']}, {facts['system']}, {facts['cores']} cores, "
        f"Python {facts['python']}, {packages}"
    )


def lines(row: Row, samples: Samples) -> Iterator[str]:
    """Give the lines of a row: for each figure, one for each case beside the first."""
    for metric in row.metrics:
        figures = {
            case.name: [one[metric.key] for one in samples.get(case.name, ()) if metric.key in one]
            for case in row.cases
        }  # fmt: skip
        yield from _lines(row, metric, figures)


def _lines(
    row: Row, metric: Metric, figures: Mapping[str, list[float]]
) -> Iterator[str]:
    first, *others = [case.name for case in row.cases]
    name = "" if first.startswith("jackfield") else f"{first} "
    mine = f"{name}{spread(figures[first])}"
    alone = ", ".join(
        judged(bar, metric, figures, first) for bar in metric.bars if not bar.against
    )
    shown = False
    for other in others:
        if not figures[other]:
            continue
        bars = [
            judged(bar, metric, figures, first)
            for bar in metric.bars
            if bar.against == other
        ]
        if alone and not shown:
            bars.insert(0, alone)
        ratio = ratio_of(metric, figures, first, other)
        beside = f"{other} {spread(figures[other])}"
        yield f"| {metric.title} | {mine} | {beside} | {ratio:.2f} x | {', '.join(bars)} |"
        shown = True
    if not shown:
        yield f"| {metric.title} | {mine} | | | {alone} |"


def median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


def ratio_of(
    metric: Metric, figures: Mapping[str, list[float]], first: str, other: str
) -> float:
    """Return how many times as good the first case is as another."""
    mine, theirs = median(figures[first]), median(figures[other])
    above, below = (mine, theirs) if metric.higher else (theirs, mine)
    return above / below if below else float("nan")


def judged(
    bar: Bar, metric: Metric, figures: Mapping[str, list[float]], first: str
) -> str:
    """Say what a figure has to reach, and what is aimed at, and whether it does."""
    figure, text = median(figures[first]), ""
    if bar.kind == "more":
        figure -= median(figures[bar.against])
        text = f"{figure:+.3g}, "
    elif bar.kind == "ratio":
        figure = ratio_of(metric, figures, first, bar.against)
    more = bar.kind in {"at least", "ratio"}
    sign, unit = "≥" if more else "≤", " x" if bar.kind == "ratio" else ""
    told = []
    for what, limit in (("", bar.limit), ("aim ", bar.aim)):
        if limit is not None:
            reached = figure >= limit if more else figure <= limit
            verdict = "yes" if reached else "no"
            told.append(f"{what}{sign} {limit:.3g}{unit}: {verdict}")
    return text + ", ".join(told)


def spread(values: list[float]) -> str:
    """Say median and range, or that nothing could be measured."""
    if not values:
        return "failed"
    middle = f"{statistics.median(values):.4g}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.3g} to {max(values):.3g})"


def replace(path: Path, facts: Mapping[str, Any], how: str, table: list[str]) -> None:
    """Put a table of one run in the place of the one that a page has."""
    before, _, rest = path.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    section = [BEGIN, "", f"{title(facts)}. {how}", "", *table, "", END]
    path.write_text(before + "\n".join(section) + after, "utf-8")
