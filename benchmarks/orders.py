"""What an order of ready tasks would bring: simulated, without any cost of ordering.

usage: python orders.py [PLANS]

For each shape of ``quality``, the time beside the bound, as means of many plans whose
durations are drawn anew: tasks taken in the order in which they get ready, and those
first that have the longest way to the end before them. That is measured by what is known
of durations: nothing (each counts as one), the mean of each stage, as it could be learned
from earlier tasks of an app, or the duration itself, which nobody knows.

The last column is a closer bound: it minds that a task through which all paths go has the
workers to itself, and that at the beginning and at the end there is not work for all. No
order, whatever it knows, is shorter than that.
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
        "| shape | as they get ready | longest way | by stages' means | durations known "
        "| no order is below |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
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
    times = (greedy(tasks, WORKERS), *ordered, closer_bound(tasks))
    return [took / best for took in times]


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


def closer_bound(tasks: Sequence[Planned]) -> float:
    """Return seconds that no schedule falls below: the sum of what each part takes.

    A part is what lies between two tasks through which all paths go.
    """
    before, after = _closure(tasks)
    alone = [
        number
        for number in range(len(tasks))
        if before[number].bit_count() + after[number].bit_count() == len(tasks) - 1
    ]
    seconds = sum(tasks[number].seconds for number in alone)
    rest = [number for number in range(len(tasks)) if number not in set(alone)]
    parts: dict[int, list[int]] = {}
    for number in rest:
        parts.setdefault(sum(before[number] >> one & 1 for one in alone), []).append(
            number
        )
    return seconds + sum(_bound_of_part(tasks, part) for part in parts.values())


def _closure(tasks: Sequence[Planned]) -> tuple[list[int], list[int]]:
    """Return for each task those before and those after it, as the bits of a number."""
    before, after = [0] * len(tasks), [0] * len(tasks)
    for number, task in enumerate(tasks):  # a task stands behind its parents
        for parent in task.parents:
            before[number] |= before[parent] | 1 << parent
    for number in reversed(range(len(tasks))):
        for parent in tasks[number].parents:
            after[parent] |= after[number] | 1 << number
    return before, after


def _bound_of_part(tasks: Sequence[Planned], part: Sequence[int]) -> float:
    """Return the least time of some tasks, by what lies before and behind each.

    Of any of them, what cannot begin before one moment, and has so much behind it at
    its end, takes at least that moment, its work for each worker, and what is behind.
    """
    head, tail = dict.fromkeys(part, 0.0), dict.fromkeys(part, 0.0)
    for number in part:
        ends = (head[p] + tasks[p].seconds for p in tasks[number].parents if p in head)
        head[number] = max(ends, default=0.0)
    for number in reversed(part):
        for parent in tasks[number].parents:
            if parent in tail:
                way = tail[number] + tasks[number].seconds
                tail[parent] = max(tail[parent], way)
    least = max(head[n] + tasks[n].seconds + tail[n] for n in part)
    by_tail = sorted(part, key=lambda number: -tail[number])
    for begin in set(head.values()):
        work = 0.0
        for number in by_tail:
            if head[number] >= begin:
                work += tasks[number].seconds
                least = max(least, begin + work / WORKERS + tail[number])
    return least


if __name__ == "__main__":
    main()
