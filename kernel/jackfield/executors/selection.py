"""Which executors can run an app's tasks, and which of them gets the next one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from jackfield.errors import ConfigurationError
from jackfield.graph.route import healthy

if TYPE_CHECKING:
    from jackfield.graph.route import ExecutorEntry, Route
    from jackfield.graph.task import AppSpec, Task
    from jackfield.plugins.manager import PluginManager


def unfit(entry: ExecutorEntry, spec: AppSpec, walltime: float | None) -> str:
    """Say why an executor cannot run an app's tasks; empty if it can."""
    can = entry.capabilities
    if walltime is not None and can.walltime == "none":
        return f"{entry.label!r} cannot enforce a walltime."
    for name, amount in spec.resources.items():
        if name not in can.resources:
            known = ", ".join(sorted(can.resources)) or "none"
            return (
                f"{entry.label!r} does not know the resource {name!r} "
                f"(it knows: {known})."
            )
        if amount > (most := can.resources[name]):
            return (
                f"{entry.label!r}: the task asks for {amount:.12g} {name}; the largest "
                f"worker has {most:.12g}."
            )
    return ""


def select(
    task: Task,
    route: Route,
    manager: PluginManager,
    coming: Mapping[ExecutorEntry, Sequence[Task]],
) -> ExecutorEntry:
    """Choose the executor of one attempt: the one a hook names, or the least loaded.

    That one has the fewest unfinished works for each of its workers; one without
    workers comes last, and of equals the first is taken. ``coming`` has the tasks of
    this batch that an executor will get, and that its load does not count yet.

    Raises:
        ConfigurationError: A hook named a label that is none of the candidates'.
    """
    entries = healthy(route.entries)
    loads = {entry: entry.load + len(coming.get(entry, ())) for entry in entries}
    if manager.hooks.select_executor:
        view = task.view(tuple([entry.label for entry in entries]))
        by_label = {entry.label: load for entry, load in loads.items()}
        offered = partial(_offered, entries)
        chosen = manager.ask(manager.hooks.select_executor, offered, view, by_label)
        if chosen is not None:
            return chosen
    return min(loads, key=lambda one: loads[one] / one.room if one.room else math.inf)


def _offered(entries: Sequence[ExecutorEntry], label: object) -> ExecutorEntry:
    """Return the candidate that a hook has named."""
    for entry in entries:
        if entry.label == label:
            return entry
    raise ConfigurationError(
        f"A plugin's jackfield_select_executor answered {label!r}, which is none of "
        f"the executors offered: {', '.join([entry.label for entry in entries])}."
    )
