"""What an order of ready tasks would bring: simulated, without any cost of ordering.

usage: python orders.py [PLANS]

For each shape of ``quality``, the time beside the bound, as means of many plans whose
durations are drawn anew: tasks taken in the order in which they get ready, and those
first that have the longest way to the end before them. That is measured by what is known
of durations: nothing (each counts as one), the mean of each stage, as it could be learned
from earlier tasks of an app, or the duration itself, which nobody knows.
"""

from __future__ import annotations

import heapq
import statistics
import sys
from collections.abc import Sequence

from quality import SHAPES, WORKERS, Planned, bound, greedy, plan


def main() -> None:
    plans = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    print(
        "| shape | as they get ready | longest way | by stages' means | durations known |"
    )
    print("| --- | --- | --- | --- | --- |")
    for shape in SHAPES:
        rows = [ratios(shape, str(seed)) for seed in range(plans)]
        means = [f"{statistics.mean(column):.3f}" for column in zip(*rows, strict=True)]
        print(f"| {shape} | {' | '.join(means)} |")


def ratios(shape: str, seed: str) -> list[float]:
    tasks = plan(shape, seed)
    stages = [stage.name for stage in SHAPES[shape] for _ in range(stage.width)]
    of_stage: dict[str, list[float]] = {}
    for stage, task in zip(stages, tasks, strict=True):
        of_stage.setdefault(stage, []).append(task.seconds)
    means = {stage: statistics.mean(seconds) for stage, seconds in of_stage.items()}
    known = (
        [1.0] * len(tasks),
        [means[stage] for stage in stages],
        [task.seconds for task in tasks],
    )
    best = bound(tasks, WORKERS)
    ordered = [in_order(tasks, ways(tasks, seconds)) for seconds in known]
    return [took / best for took in (greedy(tasks, WORKERS), *ordered)]


def ways(tasks: Sequence[Planned], seconds: Sequence[float]) -> list[float]:
    """Return the longest way from each task to the end of the workflow."""
    found = list(seconds)
    for number in reversed(range(len(tasks))):  # a task stands behind its parents
        for parent in tasks[number].parents:
            found[parent] = max(found[parent], seconds[parent] + found[number])
    return found


def in_order(tasks: Sequence[Planned], way: Sequence[float]) -> float:
    """Return the seconds of the schedule that takes the longest way first."""
    waiting = [len(task.parents) for task in tasks]
    children: list[list[int]] = [[] for _ in tasks]
    for number, task in enumerate(tasks):
        for parent in task.parents:
            children[parent].append(number)
    ready = [
        (-way[number], number) for number, count in enumerate(waiting) if not count
    ]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < WORKERS:
            _, number = heapq.heappop(ready)
            heapq.heappush(running, (now + tasks[number].seconds, number))
        now, ended = heapq.heappop(running)
        for child in children[ended]:
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, (-way[child], child))
    return now


if __name__ == "__main__":
    main()
