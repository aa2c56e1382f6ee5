"""Chooses executors by a table of the configuration, so that scripts need no labels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from jackfield import ConfigurationError, hookimpl
from jackfield.errors import PluginWarning, suggest

if TYPE_CHECKING:
    from jackfield import DataFlowKernel, TaskView

JACKFIELD_API = ">=1,<2"


class Placement:
    """Sends each task to the first executor of its list that is not full.

    An executor is only ever chosen for a task that may run there: one whose app allows
    it, and that it can do. A task for which that leaves none of the list is left to the
    kernel.

    Args:
        apps: App to the labels that its tasks prefer, the first one most: one label or
            a list. An app's name may be a pattern such as ``"train_*"``; the first that
            fits counts.
        fill: Label to the number of unfinished tasks with which the executor is full.
            Where ``apps`` has nothing for a task, its list is these executors in this
            order, and then all others in the order of configuration: so work flows over
            from this machine to a cluster when there is more of it.

    Raises:
        ConfigurationError: A table is wrong.
    """

    def __init__(
        self,
        *,
        apps: Mapping[str, str | list[str]] | None = None,
        fill: Mapping[str, int] | None = None,
    ) -> None:
        self._apps: dict[str, tuple[str, ...]] = {
            pattern: _labels(pattern, labels)
            for pattern, labels in _table("apps", apps).items()
        }
        self._fill: dict[str, int] = {
            label: _number(label, value)
            for label, value in _table("fill", fill).items()
        }

    @hookimpl
    def jackfield_kernel_started(self, kernel: DataFlowKernel) -> None:
        """Warn of labels that no executor has; it may still be added."""
        named = {label for labels in self._apps.values() for label in labels}
        for label in sorted((named | set(self._fill)) - set(kernel.executors)):
            hint = suggest(label, kernel.executors)
            message = f"plugins.placement: no executor has the label {label!r}{hint}"
            warnings.warn(message, PluginWarning, stacklevel=2)

    @hookimpl
    def jackfield_select_executor(
        self, task: TaskView, executors: Mapping[str, int]
    ) -> str | None:
        """Return the first label of the task's list that is offered and not full.

        If all of them are full, it is the last one: tasks have to queue somewhere.
        """
        offered = [one for one in self._wanted(task, executors) if one in executors]
        for label in offered:
            if executors[label] < self._fill.get(label, math.inf):
                return label
        return offered[-1] if offered else None

    def _wanted(self, task: TaskView, executors: Mapping[str, int]) -> Iterable[str]:
        for pattern, labels in self._apps.items():
            if fnmatchcase(task.app, pattern):
                return labels
        return dict.fromkeys([*self._fill, *executors]) if self._fill else ()


def _table(option: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"plugins.placement.{option} must be a table, not {type(value).__name__}."
        )
    return value


def _labels(pattern: str, value: Any) -> tuple[str, ...]:
    labels = (value,) if isinstance(value, str) else value
    if not isinstance(labels, list | tuple) or not all(
        isinstance(label, str) for label in labels
    ):
        raise ConfigurationError(
            f"plugins.placement.apps.{pattern} must be a label or a list of labels, "
            f"not {value!r}."
        )
    return tuple(labels)


def _number(label: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(
            f"plugins.placement.fill.{label} must be a number of tasks from 1 up, "
            f"not {value!r}."
        )
    return value
