"""A short tour of cities, found by islands that breed and exchange their best.

    python examples/islands.py [DIRECTORY]

Each island improves its tours in a task of its own; then the best of each goes to the
next island, and the tours breed on, until nothing has become better. So how many tasks
there are is found out on the way: a join app looks at the results and calls itself.
The tour is drawn to `tour.svg`. Needs nothing but Jackfield.
"""

from __future__ import annotations

import random
import sys
from itertools import pairwise
from math import dist
from pathlib import Path
from typing import Any, TypeAlias

import jackfield as jf

City: TypeAlias = tuple[float, float]
Tour: TypeAlias = list[City]

CITIES = 40
ISLANDS = 4
STEPS = 4000
PATIENCE = 2


def length(tour: Tour) -> float:
    """Return the length of a round trip."""
    return sum(dist(a, b) for a, b in pairwise([*tour, tour[0]]))


@jf.python_app
def settle(seed: int) -> Tour:
    """Begin an island: the cities, the same for all, in an order of its own."""
    cities = [(x, y) for x, y in zip(*[iter(_numbers(2 * CITIES))] * 2, strict=True)]
    random.Random(seed).shuffle(cities)
    return cities


def _numbers(count: int) -> list[float]:
    dice = random.Random(1)
    return [dice.random() for _ in range(count)]


@jf.python_app
def breed(tour: Tour, guest: Tour, seed: int) -> Tour:
    """Improve the better one of two tours: turn a piece around if that is shorter."""
    dice = random.Random(seed)
    best = min(tour, guest, key=length)
    shortest = length(best)
    for _ in range(STEPS):
        start, end = sorted(dice.sample(range(len(best) + 1), 2))
        other = best[:start] + best[start:end][::-1] + best[end:]
        if (now := length(other)) < shortest:
            best, shortest = other, now
    return best


@jf.join_app
def generations(
    tours: list[Tour], number: int, shortest: float, waited: int
) -> dict[str, Any]:
    """Have all islands breed, until nothing has become better for a while."""
    now = min(length(tour) for tour in tours)
    waited = 0 if now < shortest - 1e-9 else waited + 1
    if waited > PATIENCE:
        return {"tour": best(tours), "generations": number}
    guests = tours[-1:] + tours[:-1]  # from the next island
    bred = [
        breed(tour, guest, number * ISLANDS + island)
        for island, (tour, guest) in enumerate(zip(tours, guests, strict=True))
    ]
    return {"all": generations(bred, number + 1, now, waited)}


@jf.python_app
def best(tours: list[Tour]) -> Tour:
    """Return the shortest of tours."""
    return min(tours, key=length)


def draw(tour: Tour) -> str:
    """Return a picture of a tour, as SVG."""
    points = " ".join(f"{10 + 380 * x:.0f},{10 + 380 * y:.0f}" for x, y in tour)
    dots = "".join(
        f'<circle cx="{10 + 380 * x:.0f}" cy="{10 + 380 * y:.0f}" r="4"/>'
        for x, y in tour
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="400">'
        f'<polygon points="{points}" fill="#e8f0f7" stroke="#1b6ca8"/>{dots}</svg>'
    )


def main(directory: Path) -> dict[str, Any]:
    """Find a tour below a directory; return what came of it."""
    config = {
        "run_dir": directory / "runs",
        "executors": {"cpu": {"plugin": "processes", "workers": 2}},
        "monitors": {"history": {"plugin": "sqlite"}},
    }
    with jf.load(config) as kernel:
        islands = [settle(seed) for seed in range(ISLANDS)]
        first = best(islands)
        found = generations(islands, 0, float("inf"), 0).result()
    while "all" in found:  # each generation has put its own around the next one's
        found = found["all"]
    before, after = length(first.result()), length(found["tour"])
    (directory / "tour.svg").write_text(draw(found["tour"]))
    print(
        f"{found['generations']} generations on {ISLANDS} islands: "
        f"from {before:.2f} to {after:.2f}"
    )
    return {"before": before, "after": after, "run": kernel.run_dir}


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
