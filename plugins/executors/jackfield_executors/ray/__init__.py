"""Run tasks on the nodes of a Ray cluster. Plugin name: ``ray``.

Each node gets an *agent*: our own ``processes`` pool, as an actor of Ray's. Tasks go to
the agents and not through Ray's scheduler, which takes half a millisecond for each.
``docs/executors-ray.md`` has the options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from jackfield.hookspecs import hookimpl
from jackfield_executors.elastic import Bounds, bounds_of, known_elsewhere
from jackfield_executors.remote.checking import (
    FLAG,
    FROM_0,
    FROM_1,
    RESOURCES,
    SECONDS,
    TABLE,
    Takes,
    checked_options,
    need_package,
    text,
)
from jackfield_executors.remote.disk_options import OPTIONS
from jackfield_executors.shares import checked_amounts

if TYPE_CHECKING:
    from jackfield.abc import Executor

_DEFAULTS: Final[Mapping[str, Any]] = {
    "address": None,
    "agents": None,
    "least": 0,
    "most": 1,
    "init": 0,
    "agent_options": {},
    "cluster_options": {},
    "patience": 60.0,
    "resources": {},
    "keep": False,
    **OPTIONS,
}

_TAKES: Final[Mapping[str, Takes]] = {
    "address": text("a cluster's address, 'auto' or 'host:6379'"),
    "agents": FROM_1,
    "least": FROM_0,
    "most": FROM_1,
    "init": FROM_0,
    "agent_options": TABLE,
    "cluster_options": TABLE,
    "patience": SECONDS,
    "resources": RESOURCES,
    "keep": FLAG,
}


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | None:
    """Make the executor for a configuration's table with ``plugin = "ray"``."""
    if kind != "ray":
        return None
    checked = _checked(label, options)
    from jackfield_executors.ray.site import RaySite
    from jackfield_executors.remote.driver import AgentsExecutor

    bounds = _bounds(label, options)
    site = RaySite(checked, elastic=bounds.elastic)
    return AgentsExecutor(
        label,
        site,
        patience=checked["patience"],
        jobs=site if bounds.elastic else None,
        bounds=bounds,
        resources=checked["resources"],
        keep=checked["keep"],
        **{name: checked[name] for name in OPTIONS},
    )


@hookimpl
def jackfield_check_options(name: str, options: Mapping[str, Any]) -> bool:
    """Check an executor's table, and whether the package that it needs is there."""
    _checked(name, options)
    return True


def _checked(label: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with their defaults.

    Raises:
        ConfigurationError: Names the executor, the option and what it takes.
    """
    checked = checked_options(
        "ray", label, options, _DEFAULTS, _TAKES, elsewhere=known_elsewhere
    )
    _bounds(label, options)
    need_package("ray", label)
    # What Ray gives an agent is there for its tasks.
    rays = checked["agent_options"]
    known = {"gpus": rays.get("num_gpus"), "memory": rays.get("memory")}
    given = {name: float(amount) for name, amount in known.items() if amount}
    checked["resources"] = given | checked_amounts(checked["resources"])
    return checked


def _bounds(label: str, options: Mapping[str, Any]) -> Bounds:
    """Return how many agents there may be; equal numbers if that does not change."""
    return bounds_of(label, options, fixed="agents", most=1)
