"""What a kernel says of itself in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield.states import TaskState


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a kernel's tasks so far.

    Attributes:
        counts: State to number of tasks; transfers count as tasks.
        failures: The first failures, one line each.
        failed: How many tasks failed, without those that depended on them.
        elapsed: Seconds since the kernel started.
        run_dir: The run's directory.
    """

    counts: Mapping[TaskState, int]
    failures: tuple[str, ...]
    failed: int
    elapsed: float
    run_dir: Path
