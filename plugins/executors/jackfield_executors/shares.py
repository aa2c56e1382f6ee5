"""Sharing what there is of cores, memory and the like among works that ask for amounts.

A *demand* is what one work takes while it runs. A work that says nothing of cores takes
as many as one worker has on average; of all else it takes nothing unless it asks.

In which order works begin: the first one that fits into what is free. What passes a
work that does not fit must not be in its way, or a large one would wait for ever behind
small ones that come after it. So for the first that does not fit, what it asks for is
kept free; for those after it, there is no need to keep anything.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from jackfield.errors import ExecutorError

CORES: Final = "cores"
GPUS: Final = "gpus"

NOTHING: Final[Mapping[str, float]] = {}

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
"""The variable that tells a process which GPUs are its own."""

AMOUNTS: Final = "a table of amounts, such as { gpus = 2, memory = '64 GB' }"
"""What the option ``resources`` takes."""

_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12} | {
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}

_ALMOST: Final = 1e-9
"""How far sums of fractions may be off: three thirds have to fit into one."""

Demand: TypeAlias = "tuple[tuple[str, float], ...]"
"""Names of resources and amounts, sorted. Equal demands are equal tuples."""


class Shares:
    """What there is of each resource. It never changes.

    Args:
        amounts: Resource name to amount.
        workers: How many works run at once at most.
    """

    def __init__(self, amounts: Mapping[str, float], workers: int) -> None:
        self.amounts: Mapping[str, float] = amounts
        cores = amounts.get(CORES)
        self.plain: Demand = () if cores is None else ((CORES, cores / workers),)
        """The demand of a work that asks for nothing."""
        self._names: Sequence[str] = _device_names(int(amounts.get(GPUS, 0)))

    def demand(self, resources: Mapping[str, float]) -> Demand:
        """Return what a work takes that asks for these."""
        return tuple(sorted({**dict(self.plain), **resources}.items()))

    def refusal(
        self, label: str, resources: Mapping[str, float]
    ) -> ExecutorError | None:
        """Return the error of a work that asks for more than there is."""
        for name, amount in resources.items():
            most = self.amounts.get(name, 0.0)
            if amount > most + _ALMOST:
                reason = f"a task asks for {amount:.10g} {name}; there are {most:.10g}"
                return ExecutorError(label, reason)
        gpus = resources.get(GPUS, 0)
        if gpus > 1 and not float(gpus).is_integer():
            reason = f"a task asks for {gpus:.10g} gpus; above one, they are whole"
            return ExecutorError(label, reason)
        return None

    def devices(
        self, demand: Demand, taken: Iterable[tuple[str, Demand]], liked: str
    ) -> str | None:
        """Choose the GPUs of a demand, as ``VISIBLE`` has them.

        Args:
            demand: What asks for them: a whole number, or a part of one.
            taken: The GPUs that others have, and their demands.
            liked: Those to choose if they are free.

        Returns:
            Names with commas between them; empty if it asks for none, ``None`` if there
            are not so many free ones.
        """
        amount = dict(demand).get(GPUS, 0.0)
        if not amount:
            return ""
        used = dict.fromkeys(self._names, 0.0)
        for names, other in taken:
            part = min(1.0, dict(other).get(GPUS, 0.0))
            for name in names.split(","):
                used[name] = used.get(name, 0.0) + part
        part = min(1.0, amount)
        found = [name for name in self._names if used[name] + part <= 1 + _ALMOST]
        count = math.ceil(amount)
        if liked.count(",") + 1 == count and set(liked.split(",")) <= set(found):
            return liked
        return ",".join(found[:count]) if len(found) >= count else None

    def free(self, taken: Iterable[Demand]) -> dict[str, float]:
        """Return what is left when works have taken these."""
        left = dict(self.amounts)
        for demand in taken:
            take(left, demand)
        return left


def _device_names(count: int) -> list[str]:
    """Return the GPUs that this process may use, as far as it has been told."""
    given = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    return given[:count] if len(given) >= count else [str(n) for n in range(count)]


def fits(demand: Demand, free: Mapping[str, float]) -> bool:
    """Whether there is enough for a demand."""
    return all(amount <= free.get(name, 0.0) + _ALMOST for name, amount in demand)


def lacking(demand: Demand, free: Mapping[str, float]) -> set[str]:
    """Return the resources of which there is not enough for a demand."""
    return {name for name, amount in demand if amount > free.get(name, 0.0) + _ALMOST}


def take(free: dict[str, float], demand: Demand) -> None:
    """Take a demand out of what is free; it may be below 0 then, if it is only kept."""
    for name, amount in demand:
        free[name] = free.get(name, 0.0) - amount


def give_back(free: dict[str, float], demand: Demand) -> None:
    """Undo ``take``."""
    for name, amount in demand:
        free[name] += amount


def parse_size(value: Any) -> int | None:
    """Return bytes, given as an integer or as text: ``"500 MB"``, ``"2GiB"``."""
    if value is None:
        return None
    if isinstance(value, str):
        match = re.fullmatch(
            r"(\d{1,18}(?:\.\d+)?)\s*([kmgt]i?)?b?", value.strip().lower()
        )
        if match and float(match[1]) > 0:
            return int(float(match[1]) * _UNITS[match[2] or ""])
    elif type(value) is int and 0 < value < 2**63:
        return value
    raise ValueError("a number of bytes, or a size such as '2 GB'")


def checked_amounts(value: Any) -> dict[str, float]:
    """Return the option ``resources``: amounts by name, as numbers or as sizes.

    Raises:
        ValueError: It is something else; says what it takes.
    """
    if not isinstance(value, Mapping):
        raise ValueError(AMOUNTS)  # noqa: TRY004  (options catch one kind)
    found = {}
    for name, given in value.items():
        amount: Any = parse_size(given) if isinstance(given, str) else given
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        # No float holds an integer beyond its range; NaN is neither below nor above.
        fits = number and 0 <= amount <= sys.float_info.max
        if not isinstance(name, str) or not fits:
            raise ValueError(AMOUNTS)
        found[name] = float(amount)
    if not found.get(GPUS, 0.0).is_integer() or found.get(CORES) == 0:
        raise ValueError(f"{AMOUNTS}; gpus are whole, and cores more than none")
    return found
