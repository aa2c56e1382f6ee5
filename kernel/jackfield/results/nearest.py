"""The stored call that another one differs least from: why it was no hit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield.results.manifests import Measure

if TYPE_CHECKING:
    from jackfield.abc import CheckpointEntry, CheckpointStore

COMPARED: Final = 10_000
"""Calls of a store that are compared at most."""

LOOKED_AT: Final = 100_000
"""Calls of a store that are looked at at most, those stored too late included."""


class Call(NamedTuple):
    """A call that is to be explained.

    Attributes:
        app: Name of the app.
        key: Its memo key.
        manifest: What the key was made of.
        time: What was stored before this counts; seconds since the epoch.
        run: When the run began that it belongs to, if that is known.
    """

    app: str
    key: bytes
    manifest: Mapping[str, str]
    time: float
    run: float = float("inf")


class Nearest(NamedTuple):
    """What was found in the stores.

    Attributes:
        entry: The call that differs least, or ``None``.
        url: Of its store.
        capped: Whether there are more calls than were compared.
    """

    entry: CheckpointEntry | None
    url: str
    capped: bool


_Rank = tuple[int, bool, int, float]


def find_nearest(call: Call, stores: Iterable[tuple[str, CheckpointStore]]) -> Nearest:
    """Find the stored call of the same app that differs least from another.

    Those with the fewest different arguments come first: what has the very same
    arguments shows what has changed in the code. Where arguments differ, calls of
    earlier runs come before those of this one, which are often its neighbours. Then
    the fewest differences in the code decide, and then the time.

    Raises:
        CheckpointError: A store cannot be read.
    """
    measure = Measure(call.manifest)
    best: tuple[_Rank, CheckpointEntry, str] | None = None
    capped = False
    for url, store in stores:
        compared = 0
        for number, entry in enumerate(store.scan(call.app)):
            if compared >= COMPARED or number >= LOOKED_AT:
                capped = True
                break
            if entry.key == call.key or entry.created >= call.time:
                continue
            compared += 1
            rank = _rank(call, measure, entry)
            if best is None or rank < best[0]:
                best = rank, entry, url
    return Nearest(best[1] if best else None, best[2] if best else "", capped)


def _rank(call: Call, measure: Measure, entry: CheckpointEntry) -> _Rank:
    arguments, code = measure.distance(entry.manifest)
    neighbour = arguments > 0 and entry.created >= call.run
    return arguments, neighbour, code, -entry.created
