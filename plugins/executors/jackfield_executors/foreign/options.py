"""The options of an adapted executor, checked."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jackfield.errors import ConfigurationError
from jackfield_executors.checking import (
    DISKS,
    FROM_0,
    SECONDS,
    Check,
    checked_values,
    takes,
)
from jackfield_executors.shares import parse_size


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one adapted executor; see ``docs/executors-foreign.md``.

    Attributes:
        label: The executor's label.
        executor: The foreign executor.
        workers: How many tasks it runs at once, or a function that tells, which is
            asked every second on a thread of its own. ``None`` asks the executor, where
            it is known how.
        bundle: Seconds of work that may go as one task of the executor; with 0 each
            task goes alone.
        ahead: Bundles for each worker beyond the one that it runs.
        patience: Seconds without any worker after which tasks fail.
        carry: Bytes of files that travel with a call, in each direction, to workers
            that do not see the driver's disk.
        ship: Files and directories of modules for these; ``None`` finds them.
        shared_filesystem: Whether workers see that disk; ``None`` looks.
    """

    label: str
    executor: concurrent.futures.Executor
    workers: int | Callable[[], int] | None = None
    bundle: float = 0.05
    ahead: int = 1
    patience: float = 60.0
    carry: int | str = "64 MB"
    ship: Sequence[str] | None = None
    shared_filesystem: bool | None = None

    def carried(self) -> int:
        """Return ``carry`` in bytes."""
        size = parse_size(self.carry)
        assert size is not None  # it was checked
        return size


def parse_options(label: str, options: Mapping[str, Any]) -> Options:
    """Check an executor's table.

    Raises:
        ConfigurationError: Names the executor, the option and what it takes.
    """
    checked = checked_values("adapter", label, options, _CHECKS)
    executor = options.get("executor")
    if not isinstance(executor, concurrent.futures.Executor):
        raise ConfigurationError(
            f"Executor {label!r}: the plugin 'adapter' needs the option executor, "
            f"which is a concurrent.futures.Executor; it was given "
            f"{', '.join(options) or 'none'}."
        )
    return Options(label, **checked)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


_CHECKS: Final[Mapping[str, Check]] = {
    "executor": lambda value: value,
    "workers": takes(
        lambda value: value is None or callable(value) or _is_count(value),
        "a whole number from 1 on, or a function",
    ),
    "bundle": SECONDS,
    "ahead": FROM_0,
    "patience": SECONDS,
    **{name: one.check for name, one in DISKS.items()},
}
