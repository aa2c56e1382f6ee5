"""Run tasks on the nodes of a Ray cluster. Plugin name: ``ray``.

Each node gets an *agent*: our own ``processes`` pool, as an actor of Ray's. Tasks go to
the agents and not through Ray's scheduler, which takes half a millisecond for each.
``docs/executors-ray.md`` has the options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from jackfield.hookspecs import hookimpl
from jackfield_executors.checking import (
    AGENTS,
    AGENTS_SHOWN,
    DISKS,
    FROM_1,
    TABLE,
    Option,
    checked_options,
    need_package,
    text,
)
from jackfield_executors.elastic import Bounds, bounds_of, known_elsewhere

if TYPE_CHECKING:
    from jackfield.abc import Executor

_OPTIONS: Final[Mapping[str, Option]] = {
    "address": Option(None, text("a cluster's address, 'auto' or 'host:6379'")),
    "agents": Option(None, FROM_1),
    "agent_options": Option({}, TABLE),
    "cluster_options": Option({}, TABLE),
    **AGENTS,
}

JACKFIELD_SHOWN = (
    "address",
    "agents",
    *AGENTS_SHOWN,
)


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
        **{name: checked[name] for name in DISKS},
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
        "ray", label, options, _OPTIONS, elsewhere=known_elsewhere
    )
    _bounds(label, options)
    need_package("ray", label)
    # What Ray gives an agent is there for its tasks.
    rays = checked["agent_options"]
    known = {"gpus": rays.get("num_gpus"), "memory": rays.get("memory")}
    given = {name: float(amount) for name, amount in known.items() if amount}
    checked["resources"] = given | checked["resources"]
    return checked


def _bounds(label: str, options: Mapping[str, Any]) -> Bounds:
    """Return how many agents there may be; equal numbers if that does not change."""
    return bounds_of(label, options, fixed="agents", most=1)
