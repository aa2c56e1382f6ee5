"""Parsl's record of a task, with what Jackfield tells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from jackfield import TaskView


class TaskRecord(dict[str, Any]):
    """A dict of facts by Parsl's names, and ``call``, the call as a shortened text."""

    def __missing__(self, key: str) -> Any:
        raise KeyError(
            f"{key!r}: Jackfield's hooks see no arguments and no live records; there "
            f"is {', '.join(map(repr, self))}"
        )

    @classmethod
    def of(cls, task: TaskView, **more: Any) -> Self:
        """Make one of a hook's view of a task; ``more`` are further facts."""
        return cls(
            id=task.id,
            func_name=task.app,
            try_id=task.attempt - 1,
            executor=task.executor,
            fail_cost=task.cost,
            fail_history=list(task.errors),
            hashsum=task.key.hex() if task.key is not None else None,
            resource_specification=dict(task.resources),
            call=task.call,
            **more,
        )
