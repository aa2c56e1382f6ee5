"""What elastic executors share: the bounds of their size, and since when they idle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from jackfield.clock import monotonic
from jackfield.errors import ConfigurationError

_PARSL: Final = {
    "init_blocks": "init",
    "min_blocks": "least",
    "max_blocks": "most",
    "max_workers": "workers, or most",
    "max_workers_per_node": "workers, or cores in cluster_options",
    "cores_per_worker": "threads_per_worker, or processes in cluster_options",
    "mem_per_worker": "memory_limit_per_worker, or memory in cluster_options",
    "nodes_per_block": "a job of one node each, with jobs or most",
    "walltime": "walltime in cluster_options",
    "provider": "cluster and cluster_options of the plugin 'dask'",
    "partition": "queue in cluster_options",
    "account": "account in cluster_options",
    "scheduler_options": "job_extra_directives in cluster_options",
    "worker_init": "job_script_prologue in cluster_options",
    "parallelism": "plugins.scaling.horizon",
    "strategy": "plugins.scaling.strategy",
    "max_idletime": "plugins.scaling.idle",
}
"""Parsl's names of options, and ours."""


def known_elsewhere(name: str) -> str:
    """Return the end of a sentence about an option of Parsl's; empty for others."""
    return f"; here that is {_PARSL[name]}." if name in _PARSL else ""


class Bounds(NamedTuple):
    """Between how many workers, or jobs, an executor may have, and at first."""

    least: int
    most: int
    init: int

    @property
    def elastic(self) -> bool:
        """Whether there may be more or fewer than at first."""
        return self.least < self.most


def bounds_of(
    label: str, options: Mapping[str, Any], *, fixed: str, most: int
) -> Bounds:
    """Return what the options ``least``, ``most`` and ``init`` say, each checked alone.

    Args:
        label: The executor's.
        options: Its options. Without any of the three, the size is fixed.
        fixed: Name of the option that is the size if it is fixed.
        most: That size, and ``most``, where no option says it.

    Raises:
        ConfigurationError: They contradict each other.
    """
    named = [name for name in ("least", "most", "init") if name in options]
    if not named:
        size = options.get(fixed, most)
        return Bounds(size, size, size)
    if fixed in options:
        raise ConfigurationError(
            f"Executor {label!r}: 'least', 'most' and 'init' are bounds of a number "
            f"that changes, and {fixed!r} fixes it; give one or the other."
        )
    least = options.get("least", 0)
    most = options.get("most", max(most, least, options.get("init", 0)))
    init = options.get("init", least)
    if not least <= init <= most or not most:
        raise ConfigurationError(
            f"Executor {label!r}: least <= init <= most must hold, and most be above "
            f"0; these are {least}, {init} and {most}."
        )
    return Bounds(least, most, init)


class Idle:
    """Since when an executor has had nothing to do. ``end`` is for any thread."""

    def __init__(self) -> None:
        self._since: float | None = None

    def end(self) -> None:
        """Note that there is something to do."""
        self._since = None

    def seconds(self, unfinished: int) -> float:
        """Return for how long there has been nothing to do, if there is nothing now.

        Whoever gives it works meanwhile calls ``end`` after they are counted, so that
        at worst the time begins anew.
        """
        now = monotonic()
        if unfinished:
            self._since = None
            return 0.0
        since = self._since = self._since or now
        return now - since
