"""Why a call was a hit or a miss, in words."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jackfield.files import redact
from jackfield.results.manifests import changes
from jackfield.results.nearest import COMPARED, Call, find_nearest

if TYPE_CHECKING:
    from jackfield.abc import CheckpointStore
    from jackfield.futures import MemoStatus

SHOWN: Final = 20
"""Reasons that ``str`` shows."""

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
        return "\n".join([*lines, self.note] if self.note else lines)


def explain_miss(
    call: Call, stores: Iterable[tuple[str, CheckpointStore]], task: int | None = None
) -> Explanation:
    """Compare a call that was executed with the nearest one that was stored before.

    Raises:
        CheckpointError: A store cannot be read.
    """
    found = find_nearest(call, stores)
    note = ""
    if found.capped:
        note = f"Compared with the {COMPARED:,} calls of the app stored last only."
    entry, facts = found.entry, dict[str, Any]()
    reasons = [NONE_STORED]
    if entry is not None:
        reasons = changes(entry.manifest, call.manifest) or [NOTHING_NOTED]
        facts = {
            "nearest": entry.key.hex(),
            "stored": entry.created,
            "store": redact(found.url),
        }
    return Explanation(
        call.app, task, "miss", call.key.hex(), tuple(reasons), **facts, note=note
    )


def shown_time(seconds: float) -> str:
    """Return a time in the local zone, to the second."""
    try:
        return time.strftime("%F %T", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return f"{seconds:g}"
