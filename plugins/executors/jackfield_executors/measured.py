"""When and where calls ran in processes anywhere, told by this machine's clock."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from jackfield.clock import monotonic
from jackfield.events import Place, Running
from jackfield_system.measuring import begin, place, this_host

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
    return tuple(place), ahead()


def ahead() -> float:
    """Return by how much the time of day is ahead of the monotonic clock here."""
    return time() - monotonic()


def received(ran: Ran) -> Place:
    """Return a place by this machine's clock."""
    place = Place(*ran[0])
    later = _later(place.host, ran[1])
    return place._replace(began=place.began + later, ended=place.ended + later)


def received_running(told: tuple[Any, ...], there: float) -> Running:
    """Return what runs on another machine by this machine's clock.

    Args:
        told: A ``Running`` of that machine's.
        there: What ``ahead`` was there.
    """
    one = Running(*told)
    if one.began is None:
        return one
    return one._replace(began=one.began + _later(one.host, there))


def _later(host: str, there: float) -> float:
    """Return what to add to a time of a machine's monotonic clock to have one here."""
    return 0.0 if host == this_host() else there - ahead()


def place_in_pool(label: str, ran: Ran) -> Place:
    """Return where a call ran by ``run_measured``, in a pool that is not ours.

    A worker is one thread of a process; of most pools each process has one.
    """
    there = received(ran)
    thread = "" if there.worker == "MainThread" else f"-{there.worker}"
    return there._replace(worker=f"{label}-{there.pid}{thread}")
