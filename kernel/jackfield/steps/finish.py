"""What is left to do when a function has returned: join, outputs, memo.

The outputs of a join app are made by its inner tasks. So they are looked for, and
staged out, when these have ended.

Runs without the scheduler's role, on the thread that worked the report off. The plain
task never comes here.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import MissingOutputs
from jackfield.files import lack_of
from jackfield.futures import AppFuture, DataFuture
from jackfield.graph.arguments import futures_in, substitute
from jackfield.graph.task import own_tasks
from jackfield.states import FINAL
from jackfield.steps.part import Part

if TYPE_CHECKING:
    from jackfield.graph.task import Task
    from jackfield.graph.transitions import Effects
    from jackfield.staging.mover import Mover
    from jackfield.steps.join import Joins


MAY_HOLD: Final = frozenset({AppFuture, DataFuture, list, tuple, dict})
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
    some = value.values() if isinstance(value, dict) else value
    values = (value,) if isinstance(value, Future) else islice(some, _LOOKED_AT)
    return any(one.id > task.id for one in own_tasks(values, task.home))


class Finisher(Part):
    """Finishes tasks.

    Attributes:
        transfers: Gives who stages files out.
        joins: Has tasks wait for inner futures.
        retry: Handles an attempt that has failed after all.
        succeed: Ends a task with its result, which is remembered first where its app is
            cached.
        fail: Ends a task with an error.
        control: Has a function change the graph.
    """

    transfers: Callable[[], Mover]
    joins: Joins
    retry: Callable[[Task, BaseException], None]
    succeed: Callable[[Task, Any], None]
    fail: Callable[[Task, BaseException], None]
    control: Callable[[Callable[[Effects], None]], None]

    def finish(self, task: Task, value: Any) -> None:
        """Do what follows a function's return, then end the task."""

        def find() -> tuple[Any, list[Future[Any]]]:
            if type(value) in MAY_HOLD and has_left_futures(task, value):
                raise TypeError(
                    f"App {task.spec.name!r} has called another app and returned its "
                    f"future, for which nobody would wait: make it a join_app."
                )
            inner: list[Future[Any]] = []
            if task.spec.kind == "join":
                inner = _joined_futures(task, value)
                task.need_extras().joining = bool(inner)
            return value, inner or self._outputs(task)

        self._end_after(task, find)

    def complete_join(self, task: Task) -> None:
        """Go on with a task when what it waited for after its return has ended well."""
        extras = task.extras
        assert extras is not None
        # A cancel may end the task on another thread, which first makes the state final
        # and then drops the value. So the value is read first: if the state is not
        # final afterwards, it was still there.
        value = extras.value
        if task.state in FINAL:
            return

        def find() -> tuple[Any, list[Future[Any]]]:
            if not extras.joining:  # it was the outputs that it waited for
                return value, []
            extras.joining = False
            (result,), _ = substitute((value,), {}, _result)
            return result, self._outputs(task)

        self._end_after(task, find)

    def _end_after(
        self, task: Task, find: Callable[[], tuple[Any, list[Future[Any]]]]
    ) -> None:
        """End a task with the value, and after the futures, that are found."""
        try:
            value, inner = find()
        except MissingOutputs as error:
            self.retry(task, error)
        except BaseException as error:
            self.fail(task, error)
        else:
            if inner:
                self.control(partial(self.joins.join, task, value, inner))
            else:
                self.succeed(task, value)

    def _outputs(self, task: Task) -> list[Future[Any]]:
        """Look for a task's outputs; return what ends when they are right and there.

        These are the transfers that stage them out, and of local files that a size or
        digest is declared for the comparisons with it.

        Raises:
            MissingOutputs: Some have not been made, or are no files. Who reads from a
                named pipe, or writes to it, may wait for ever.
        """
        extras = task.extras
        if extras is None or not (extras.outputs or extras.streams):
            return []
        moved = extras.remote_outputs()
        files = [one for one in extras.outputs if one.declared and one not in moved]
        here = list(extras.outputs)
        if extras.in_task:  # it has moved some itself, and looked for these
            here = [one for one in here if one not in moved]
            moved = []
        missing = tuple(filter(None, [lack_of(file.filepath) for file in here]))
        if missing:
            raise MissingOutputs(task.spec.name, missing)
        sent: list[Future[Any]] = [self.transfers().send(f) for f in moved + files]
        for one in own_tasks(sent, task.home):
            one.note_parent(task)
        return sent


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
