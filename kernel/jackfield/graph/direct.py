"""Dependencies in their usual shape: arguments that are plain values or own futures.

What ``dependencies`` does for any shape, at a fraction of its cost: nothing is walked
through, and nothing but the arguments themselves is kept for a task that waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from jackfield.futures import AppFuture
from jackfield.graph.arguments import ATOMIC

if TYPE_CHECKING:
    from jackfield.graph.task import Task
    from jackfield.steps.engine import Engine

_FUTURES: Final = frozenset({AppFuture})


def candidates(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """List the arguments that are, or may hold, something to wait for."""
    found = [value for value in args if type(value) not in ATOMIC]
    if kwargs:
        found += [value for value in kwargs.values() if type(value) not in ATOMIC]
    return found


def parents(engine: Engine, values: Sequence[Any]) -> Sequence[Task] | None:
    """Return the tasks behind values that are all futures of this kernel's tasks.

    Returns:
        One task for each value, ``None`` if one of them is anything else.
    """
    if not _FUTURES.issuperset(map(type, values)):
        return None
    tasks = [future._task for future in values]
    for task in tasks:
        if task.kernel is not engine:
            return None
    return tasks


def put_in(
    args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Put results in the place of the futures, which have all ended well."""
    args = tuple([v._result if type(v) is AppFuture else v for v in args])
    if kwargs:
        kwargs = {
            name: v._result if type(v) is AppFuture else v for name, v in kwargs.items()
        }
    return args, kwargs
