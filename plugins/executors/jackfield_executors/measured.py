"""When and where calls ran in processes anywhere, told by this machine's clock."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from jackfield.clock import monotonic
from jackfield.events import Place
from jackfield.measuring import begin, place, this_host

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

Ran: TypeAlias = tuple[tuple[Any, ...], float]
"""A ``Place`` as a plain tuple, and by how much the time of day of its machine is ahead
of the monotonic clock there: other machines have another one."""


def run_measured(measure: str, call: Callable[[], T]) -> tuple[T, Ran]:
    """Run a call, and return also when and where it ran."""
    began = begin(measure)
    outcome = call()
    return outcome, to_send(place(began))


def to_send(place: tuple[Any, ...]) -> Ran:
    """Return a place of this machine's as another one can read it."""
    return tuple(place), time() - monotonic()


def received(ran: Ran) -> Place:
    """Return a place by this machine's clock."""
    place, ahead = Place(*ran[0]), ran[1]
    if place.host == this_host():
        return place
    behind = ahead - (time() - monotonic())
    return place._replace(began=place.began + behind, ended=place.ended + behind)


def place_in_pool(label: str, ran: Ran) -> Place:
    """Return where a call ran by ``run_measured``, in a pool that is not ours.

    A worker is one thread of a process; of most pools each process has one.
    """
    there = received(ran)
    thread = "" if there.worker == "MainThread" else f"-{there.worker}"
    return there._replace(worker=f"{label}-{there.pid}{thread}")
