"""The options of an adapted executor, checked."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from jackfield.errors import ConfigurationError, suggest
from jackfield_executors.remote.disk_options import wrong_option
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
    known = [field.name for field in fields(Options) if field.name != "label"]
    for name in options:
        if name not in known:
            raise ConfigurationError(
                f"Executor {label!r}: adapter has no option {name!r}"
                f"{suggest(name, known)} Options: {', '.join(known)}."
            )
    executor = options.get("executor")
    if not isinstance(executor, concurrent.futures.Executor):
        raise ConfigurationError(
            f"Executor {label!r}: the plugin 'adapter' needs the option executor, "
            f"which is a concurrent.futures.Executor; it was given "
            f"{', '.join(options) or 'none'}."
        )
    for name, value in options.items():
        wanted = _wrong(name, value)
        if wanted:
            raise ConfigurationError(
                f"Executor {label!r}: option {name!r} must be {wanted}, not {value!r}."
            )
    return Options(label, **options)


def _wrong(name: str, value: Any) -> str:
    """Say what an option takes, if the value is something else."""
    if name in {"carry", "ship", "shared_filesystem"}:
        return wrong_option(name, value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name == "workers":
        fits = value is None or callable(value) or (whole and value >= 1)
        return "" if fits else "a whole number from 1 on, or a function"
    if name == "ahead":
        return "" if whole and value >= 0 else "a whole number from 0 on"
    if name in {"bundle", "patience"}:
        fits = (whole or isinstance(value, float)) and value >= 0
        return "" if fits else "a number of seconds from 0 on"
    return ""
