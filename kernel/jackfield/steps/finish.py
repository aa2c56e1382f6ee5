"""What is left to do when a function has returned: join, outputs, memo.

Runs without the scheduler's role, on the thread that worked the report off. The plain
task never comes here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import MissingOutputs
from jackfield.futures import AppFuture, DataFuture
from jackfield.graph.arguments import futures_in, substitute
from jackfield.graph.task import own_tasks
from jackfield.states import FINAL

if TYPE_CHECKING:
    from jackfield.graph.task import Task
    from jackfield.graph.transitions import Effects
    from jackfield.steps.join import Joins
    from jackfield.transfers.shared import SharedTransfers


MAY_HOLD: Final = frozenset({AppFuture, DataFuture, list, tuple})
"""Types of results in which futures are looked for."""

_LOOKED_AT: Final = 16
"""Items of a list that are looked at; to look at all would take too long."""


def has_left_futures(task: Task, value: Any) -> bool:
    """Tell whether a python app has returned futures of tasks that it has submitted.

    These are of its own kernel, and younger than it. A future that it was given, which
    is possible with ``quote``, is older.
    """
    if task.spec.kind != "python":
        return False
    values = islice(value, _LOOKED_AT) if isinstance(value, list | tuple) else (value,)
    return any(one.id > task.id for one in own_tasks(values, task.home))


class Finisher:
    """Finishes tasks.

    Args:
        transfers: Gives who stages files out.
        joins: Has tasks wait for inner futures.
        retry: Handles an attempt that has failed after all.
        succeed: Ends a task with its result, which is remembered first where its app is
            cached.
        fail: Ends a task with an error.
        control: Has a function change the graph.
    """

    def __init__(
        self,
        *,
        transfers: Callable[[], SharedTransfers],
        joins: Joins,
        retry: Callable[[Task, BaseException], None],
        succeed: Callable[[Task, Any], None],
        fail: Callable[[Task, BaseException], None],
        control: Callable[[Callable[[Effects], None]], None],
    ) -> None:
        self._transfers = transfers
        self._joins = joins
        self._retry = retry
        self._succeed = succeed
        self._fail = fail
        self._control = control

    def finish(self, task: Task, value: Any) -> None:
        """Do what follows a function's return, then end the task."""
        try:
            inner = self._inner(task, value)
        except MissingOutputs as error:
            self._retry(task, error)
        except BaseException as error:
            self._fail(task, error)
        else:
            if inner:
                self._control(partial(self._joins.join, task, value, inner))
            else:
                self._succeed(task, value)

    def complete_join(self, task: Task) -> None:
        """End a task whose inner futures have all ended well."""
        extras = task.extras
        assert extras is not None
        # A cancel may end the task on another thread, which first makes the state final
        # and then drops the value. So the value is read first: if the state is not
        # final afterwards, it was still there.
        value = extras.value
        if task.state in FINAL:
            return
        try:
            if task.spec.kind == "join":
                (value,), _ = substitute((value,), {}, _result)
        except BaseException as error:
            self._fail(task, error)
        else:
            self._succeed(task, value)

    def _inner(self, task: Task, value: Any) -> list[Future[Any]]:
        """Return the futures that have to end before the task does."""
        inner: list[Future[Any]] = []
        if type(value) in MAY_HOLD and has_left_futures(task, value):
            raise TypeError(
                f"App {task.spec.name!r} has called another app and returned its "
                f"future, for which nobody would wait: make it a join_app."
            )
        extras = task.extras
        assert extras is not None
        if task.spec.kind == "join":
            inner += _joined_futures(task, value)
            extras.joining = True
        if extras.in_task or not (extras.outputs or extras.streams):
            return inner
        if extras.outputs:
            missing = [
                file.filepath
                for file in extras.outputs
                if not os.path.exists(file.filepath)  # noqa: PTH110  (a str is at hand)
            ]
            if missing:
                raise MissingOutputs(task.spec.name, missing)
        for file in extras.remote_outputs():
            inner.append(self._transfers().send(file))
        return inner


def _joined_futures(task: Task, value: Any) -> list[Future[Any]]:
    futures = futures_in(value)
    if not futures and not isinstance(value, list | tuple | dict | set | frozenset):
        raise TypeError(
            f"Join app {task.spec.name!r} returned {type(value).__name__}; expected a "
            f"future, or futures in a list, tuple, dict, set or dataclass."
        )
    return futures


def _result(placeholder: Any) -> Any:
    return placeholder.result(0) if isinstance(placeholder, Future) else placeholder
