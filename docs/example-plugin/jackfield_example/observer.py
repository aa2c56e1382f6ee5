"""Count how tasks end, and leave the count in the run directory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from jackfield import hookimpl
from jackfield.states import FINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackfield import DataFlowKernel, TaskEvent


class Tally:
    """An observer with a memory: one for each kernel."""

    def __init__(self) -> None:
        self._ends: Counter[str] = Counter()

    @hookimpl
    def jackfield_task_events(self, events: Sequence[TaskEvent]) -> None:
        """Count the tasks that have ended."""
        self._ends.update(one.state.value for one in events if one.state in FINAL)

    @hookimpl
    def jackfield_kernel_closing(self, kernel: DataFlowKernel) -> None:
        """Write one line for each way of ending."""
        lines = [f"{number} {state}\n" for state, number in self._ends.most_common()]
        (kernel.run_dir / "tally.txt").write_text("".join(lines))
