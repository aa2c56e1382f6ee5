"""Rows on how well workers are used: workflows of sleeping tasks, beside the bound.

No schedule is shorter than the longest path through the graph, nor than all the work
divided by the workers. What a run takes beyond the larger of both is the price of not
knowing how long tasks will take, up to the schedule that a simulation finds without
knowing it, and the system's beyond that.

On processes, sending short tasks ahead stands beside sending one at a time.

The shapes are those of well-known scientific workflows, described in short: stages,
how many tasks each has, how long they take, and how they depend on earlier stages.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import deque
from typing import Any, Literal, NamedTuple

from rows import Bar, Case, Metric, Row
from tasks import sleep

WORKERS = 8
WORK_S = 12.0
"""Seconds of sleep in a workflow, all tasks together."""
WARM_S = 0.5
SPREAD = 1.0
"""Standard deviation of a duration's logarithm: one in a hundred takes ten times the
median."""


class Stage(NamedTuple):
    """Some tasks of a workflow that do the same.

    Attributes:
        name: What it is called.
        width: How many tasks.
        cost: Median duration, in units that ``WORK_S`` gives a length.
        parents: Earlier stages with how they are met: ``each`` is the task at the same
            place (a wider stage's tasks are dealt out evenly), ``pair`` also the next
            one, ``all`` is all of them.
    """

    name: str
    width: int
    cost: float
    parents: tuple[tuple[str, Literal["each", "pair", "all"]], ...] = ()


SHAPES = {
    "mosaic": [  # of pictures of the sky
        Stage("project", 60, 4),
        Stage("overlap", 59, 1, (("project", "pair"),)),
        Stage("fit", 1, 2, (("overlap", "all"),)),
        Stage("correct", 60, 1, (("project", "each"), ("fit", "all"))),
        Stage("table", 1, 1, (("correct", "all"),)),
        Stage("add", 4, 8, (("correct", "each"), ("table", "all"))),
        Stage("shrink", 4, 2, (("add", "each"),)),
        Stage("picture", 1, 2, (("shrink", "all"),)),
    ],
    "epigenomics": [  # lanes of reads, through the same steps side by side
        Stage("split", 4, 2),
        Stage("filter", 64, 2, (("split", "each"),)),
        Stage("convert", 64, 1, (("filter", "each"),)),
        Stage("pack", 64, 1, (("convert", "each"),)),
        Stage("map", 64, 8, (("pack", "each"),)),
        Stage("merge lane", 4, 2, (("map", "each"),)),
        Stage("merge", 1, 4, (("merge lane", "all"),)),
        Stage("index", 1, 2, (("merge", "all"),)),
        Stage("pile up", 1, 2, (("index", "all"),)),
    ],
    "genome": [  # chromosomes, each in pieces, compared between populations
        Stage("individuals", 100, 4),
        Stage("merge", 10, 4, (("individuals", "each"),)),
        Stage("sift", 10, 2),
        Stage("overlap", 70, 2, (("merge", "each"), ("sift", "each"))),
        Stage("frequency", 70, 6, (("merge", "each"), ("sift", "each"))),
    ],
    "seismology": [  # many stations, one sum
        Stage("deconvolve", 200, 2),
        Stage("sum", 1, 1, (("deconvolve", "all"),)),
    ],
    "sweep": [  # short trials, many of which are sent ahead together
        Stage("try", 4_000, 1),
        Stage("compare", 1, 1, (("try", "all"),)),
    ],
}

WITHIN = Bar("at most", 1.1)


def _row(shape: str, where: str, *systems: str) -> Row:
    options = {"workers": WORKERS, "shape": shape}
    measured = tuple(
        Case(system, "quality.workflow", 1, options=options) for system in systems
    )
    what = f"workflow {shape}, {WORKERS} {where}"
    metrics = (
        Metric("over_bound", f"{what}, time over the bound", bars=(WITHIN,)),
        Metric("over_greedy", f"{what}, time over the schedule", bars=(WITHIN,)),
    )
    if where == "threads":
        return Row(shape, measured, metrics)
    ahead = Metric("seconds", f"{what}, s", bars=(Bar("ratio", 0.97, systems[1]),))
    return Row(f"{shape}-{where}", measured, (metrics[1], ahead))


ROWS = [
    *(
        _row(shape, "threads", "jackfield-threads", "parsl-threads", "dask-threads")
        for shape in SHAPES
    ),
    *(
        _row(shape, "processes", "jackfield-processes", "jackfield-one-at-a-time")
        for shape in SHAPES
    ),
]


class Planned(NamedTuple):
    """A task to be: how long it sleeps, and the tasks before it, by number."""

    seconds: float
    parents: tuple[int, ...]


def plan(shape: str, seed: str = "") -> list[Planned]:
    """Make a workflow's tasks, always the same ones for a seed."""
    dice = random.Random(shape + seed)
    places: dict[str, range] = {}
    tasks: list[Planned] = []
    for stage in SHAPES[shape]:
        first = len(tasks)
        for i in range(stage.width):
            found = [
                number
                for name, how in stage.parents
                for number in _met(places[name], how, i, stage.width)
            ]
            cost = stage.cost * math.exp(dice.gauss(0, SPREAD))
            tasks.append(Planned(cost, tuple(found)))
        places[stage.name] = range(first, len(tasks))
    unit = WORK_S / sum(task.seconds for task in tasks)
    return [task._replace(seconds=task.seconds * unit) for task in tasks]


def _met(earlier: range, how: str, i: int, width: int) -> range:
    """Return which tasks of an earlier stage the i-th of a stage depends on."""
    if how == "all":
        return earlier
    if how == "pair":
        return earlier[i : i + 2]
    begin = i * len(earlier) // width
    return earlier[begin : max(begin + 1, (i + 1) * len(earlier) // width)]


def bound(tasks: list[Planned], workers: int) -> float:
    """Return the seconds that no schedule can undercut."""
    ends: list[float] = []
    for task in tasks:
        ends.append(task.seconds + max((ends[i] for i in task.parents), default=0.0))
    return max(*ends, sum(task.seconds for task in tasks) / workers)


def greedy(tasks: list[Planned], workers: int) -> float:
    """Return the seconds of the schedule that hands out tasks as they get ready.

    In the order of submission, to whichever worker is free: the best that can be done
    without knowing how long tasks take, and without any cost of doing it.
    """
    waiting = [len(task.parents) for task in tasks]
    children: list[list[int]] = [[] for _ in tasks]
    for number, task in enumerate(tasks):
        for parent in task.parents:
            children[parent].append(number)
    ready = deque(number for number, count in enumerate(waiting) if not count)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            number = ready.popleft()
            heapq.heappush(running, (now + tasks[number].seconds, number))
        now, ended = heapq.heappop(running)
        for child in children[ended]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    return now


def workflow(system: Any, n: int, shape: str) -> dict[str, float]:
    tasks = plan(shape)
    for future in [system.submit(sleep, WARM_S) for _ in range(WORKERS)]:
        assert future.result()  # by now all workers have started
    start = time.perf_counter()
    futures: list[Any] = []
    for task in tasks:
        parents = [futures[i] for i in task.parents]
        futures.append(system.submit(sleep, task.seconds, *parents))
    assert sum(future.result() for future in futures) == len(tasks)
    took = time.perf_counter() - start
    return {
        "over_bound": took / bound(tasks, WORKERS),
        "over_greedy": took / greedy(tasks, WORKERS),
        "seconds": took,
    }
