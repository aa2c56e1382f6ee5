"""Why a call was a hit or a miss, and which stored call is nearest to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield.files import redact
from jackfield.keeping import CachedCall, Explanation, shown_time
from jackfield_results.manifests import changes, measure

if TYPE_CHECKING:
    from jackfield.abc import CheckpointEntry, CheckpointStore

COMPARED: Final = 10_000
"""Calls of a store that are compared at most."""

LOOKED_AT: Final = 100_000
"""Calls of a store that are looked at at most, those stored too late included."""

NONE_STORED: Final = "no earlier call of this app is stored (those that fail never are)"
NO_STORES: Final = "no equal call was made in this run, and no results are stored"
NOTHING_NOTED: Final = (
    "nothing that is noted has changed; how the parts refer to each other has, or the "
    "rules for keys have"
)


def explain_hit(
    call: CachedCall, stores: Iterable[tuple[str, CheckpointStore]], run: float
) -> Explanation:
    """Tell where the result of a call was found.

    Raises:
        CheckpointError: A store cannot be read.
    """
    del run
    say = partial(Explanation, call.app, call.task, "hit", call.key.hex())
    for url, store in stores:
        record = store.get(call.key)
        if record is None:
            continue
        by = f", by {record.app!r}" if record.app != call.app else ""
        reason = f"stored {shown_time(record.created)} in {redact(url)}{by}"
        if record.created >= call.looked_up:
            reason = "an equal call was being executed"
        return say((reason,), stored=record.created, store=redact(url))
    return say(("an equal call of this run had the result, which is not stored",))


def explain_miss(
    call: CachedCall,
    stores: Sequence[tuple[str, CheckpointStore]],
    run: float = float("inf"),
) -> Explanation:
    """Compare a call that was executed with the nearest one that was stored before.

    ``run`` is when the run began that it belongs to, if that is known.

    Raises:
        CheckpointError: A store cannot be read.
    """
    say = partial(Explanation, call.app, call.task, "miss", call.key.hex())
    if not stores:
        return say((NO_STORES,))
    manifest = call.manifest()
    entry, url, capped = find_nearest(call, manifest, stores, run)
    note = f"Compared with the {COMPARED:,} calls of the app stored last only."
    say = partial(say, note=note if capped else "")
    if entry is None:
        return say((NONE_STORED,))
    reasons = changes(entry.manifest, manifest) or [NOTHING_NOTED]
    return say(tuple(reasons), entry.key.hex(), entry.created, redact(url))


class Nearest(NamedTuple):
    """The stored call that differs least, its store, and whether some were left out."""

    entry: CheckpointEntry | None
    url: str
    capped: bool


def find_nearest(
    call: CachedCall,
    manifest: Mapping[str, str],
    stores: Iterable[tuple[str, CheckpointStore]],
    run: float,
) -> Nearest:
    """Find the stored call of the same app that differs least from another.

    Those with the fewest different arguments come first: what has the very same
    arguments shows what has changed in the code. Where arguments differ, calls of
    earlier runs come before those of this one, which are often its neighbours. Then
    the fewest differences in the code decide, and then the time.

    Raises:
        CheckpointError: A store cannot be read.
    """
    distance = measure(manifest)
    best: tuple[tuple[int, bool, int, float], CheckpointEntry, str] | None = None
    capped = False
    for url, store in stores:
        compared = 0
        for number, entry in enumerate(store.scan(call.app)):
            if compared >= COMPARED or number >= LOOKED_AT:
                capped = True
                break
            if entry.key == call.key or entry.created >= call.looked_up:
                continue
            compared += 1
            arguments, code = distance(entry.manifest)
            neighbour = arguments > 0 and entry.created >= run
            rank = arguments, neighbour, code, -entry.created
            if best is None or rank < best[0]:
                best = rank, entry, url
    return Nearest(best[1] if best else None, best[2] if best else "", capped)
