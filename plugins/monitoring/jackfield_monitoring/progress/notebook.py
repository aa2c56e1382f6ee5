"""Progress in a notebook: one output, under the cell that has loaded the kernel."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any, Final

from jackfield_monitoring import html
from jackfield_monitoring.progress import lines

if TYPE_CHECKING:
    from jackfield_monitoring.progress.counts import Counts

MOST_APPS: Final = 12
"""Apps that are shown."""

_LOOK: Final = lines.Look(width=160, height=MOST_APPS + 3)


class NotebookFace:
    """One output, whose content is replaced.

    It is made on the thread that loads the kernel: so it belongs to that cell.
    """

    period: float = 0.5

    def __init__(self) -> None:
        display: Any = importlib.import_module("IPython.display").display
        shown = _shown(["no tasks yet"], failed=False)
        self._handle: Any = display(shown, raw=True, display_id=True)
        self._before: list[str] = []

    def show(self, counts: Counts, seconds: float) -> None:
        """Replace what is shown, if there is something else to show."""
        made = lines.lines(counts, _LOOK, seconds, time.monotonic())
        if made != self._before:
            self._before = made
            failed = counts.newest is not None
            self._handle.update(_shown(made, failed=failed), raw=True)

    def finish(self, counts: Counts, seconds: float) -> None:
        """Show for the last time."""
        self.show(counts, seconds)


def _shown(made: list[str], *, failed: bool) -> dict[str, str]:
    """Return lines as plain text and as HTML; a notebook shows the one that it can.

    Args:
        made: The lines.
        failed: Whether the last one is a failure.
    """
    last = len(made) - failed
    shown = html.lines(made[:last]) + html.lines(made[last:], html.BAD)
    return {"text/plain": "\n".join(made), "text/html": shown}
