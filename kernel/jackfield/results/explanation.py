"""Why a call was a hit or a miss, and which stored call is nearest to it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield.errors import printable
from jackfield.files import redact
from jackfield.results.manifests import changes, measure

if TYPE_CHECKING:
    from jackfield.abc import CheckpointEntry, CheckpointStore
    from jackfield.futures import MemoStatus

SHOWN: Final = 20
"""Reasons that ``str`` shows."""

COMPARED: Final = 10_000
"""Calls of a store that are compared at most."""

LOOKED_AT: Final = 100_000
"""Calls of a store that are looked at at most, those stored too late included."""

NONE_STORED: Final = "no earlier call of this app is stored (those that fail never are)"
NOTHING_NOTED: Final = (
    "nothing that is noted has changed; how the parts refer to each other has, or the "
    "rules for keys have"
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call was a hit or a miss. ``str`` of it is for people.

    Attributes:
        app: Name of the app's function.
        task: Number of the task, or ``None`` for a call of an earlier run.
        status: As in ``MemoInfo``.
        key: Memo key in hexadecimal, or ``None``.
        reasons: What differs from the nearest stored call, or what else is to be
            said, one sentence each.
        nearest: Key of the stored call that was compared with, or ``None``.
        stored: When that call, or of a hit the result, was stored, in seconds since
            the epoch; or ``None``.
        store: URL of the store that has it, or ``None``.
        note: What was left out of the search, or ``""``.
    """

    app: str
    task: int | None
    status: MemoStatus
    key: str | None
    reasons: tuple[str, ...]
    nearest: str | None = None
    stored: float | None = None
    store: str | None = None
    note: str = ""

    def __str__(self) -> str:
        """Return some lines that end without a line break."""
        title = self.app if self.task is None else f"{self.app} (task {self.task})"
        key = "" if self.key is None else f", key {self.key}"
        lines = [f"{title}: {self.status}{key}"]
        if self.nearest is not None and self.stored is not None:
            when = shown_time(self.stored)
            lines.append(f"nearest stored call: {self.nearest}, {when}, {self.store}")
        lines += [f"  {reason}" for reason in self.reasons[:SHOWN]]
        if len(self.reasons) > SHOWN:
            lines.append(f"  and {len(self.reasons) - SHOWN} more")
        told = [*lines, self.note] if self.note else lines
        return printable("\n".join(told), keep="\n")


class Call(NamedTuple):
    """A call that is to be explained.

    Attributes:
        app: Name of the app.
        key: Its memo key.
        manifest: What the key was made of.
        time: What was stored before this, in seconds since the epoch, counts.
        run: When the run began that it belongs to, if that is known.
    """

    app: str
    key: bytes
    manifest: Mapping[str, str]
    time: float
    run: float = float("inf")


def explain_miss(
    call: Call, stores: Iterable[tuple[str, CheckpointStore]], task: int | None = None
) -> Explanation:
    """Compare a call that was executed with the nearest one that was stored before.

    Raises:
        CheckpointError: A store cannot be read.
    """
    entry, url, capped = find_nearest(call, stores)
    note = f"Compared with the {COMPARED:,} calls of the app stored last only."
    say = partial(Explanation, call.app, task, "miss", call.key.hex())
    say = partial(say, note=note if capped else "")
    if entry is None:
        return say((NONE_STORED,))
    reasons = changes(entry.manifest, call.manifest) or [NOTHING_NOTED]
    return say(tuple(reasons), entry.key.hex(), entry.created, redact(url))


class Nearest(NamedTuple):
    """The stored call that differs least, its store, and whether some were left out."""

    entry: CheckpointEntry | None
    url: str
    capped: bool


def find_nearest(call: Call, stores: Iterable[tuple[str, CheckpointStore]]) -> Nearest:
    """Find the stored call of the same app that differs least from another.

    Those with the fewest different arguments come first: what has the very same
    arguments shows what has changed in the code. Where arguments differ, calls of
    earlier runs come before those of this one, which are often its neighbours. Then
    the fewest differences in the code decide, and then the time.

    Raises:
        CheckpointError: A store cannot be read.
    """
    distance = measure(call.manifest)
    best: tuple[tuple[int, bool, int, float], CheckpointEntry, str] | None = None
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
            arguments, code = distance(entry.manifest)
            neighbour = arguments > 0 and entry.created >= call.run
            rank = arguments, neighbour, code, -entry.created
            if best is None or rank < best[0]:
                best = rank, entry, url
    return Nearest(best[1] if best else None, best[2] if best else "", capped)


def shown_time(seconds: float) -> str:
    """Return a time in the local zone, to the second."""
    try:
        return time.strftime("%F %T", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return f"{seconds:g}"
