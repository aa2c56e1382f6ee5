"""Tasks that move their remote files themselves, and not the kernel for them.

They do where an executor's workers do not see the driver's files, and where the
configuration says so for a scheme. Whether a task does is decided when its files are
known, and its function is wrapped when it is handed over: after its memo key was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from jackfield.abc import LimitedCall
from jackfield.graph.arguments import find, substitute

if TYPE_CHECKING:
    from jackfield.executors.pool import ExecutorPool
    from jackfield.files import File
    from jackfield.graph.task import Task
    from jackfield.staging.mover import Courier, Mover


class StagedCall:
    """What the worker calls: a task's function, with the moves of its files around."""

    __slots__ = ("courier", "function")

    wraps_tasks: ClassVar[bool] = True

    def __init__(self, function: Callable[..., Any], courier: Courier) -> None:
        self.function: Callable[..., Any] = function
        self.courier: Courier = courier

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function with local copies of files; raises what ``moving`` does."""
        with self.courier.moving() as local:
            args, kwargs = substitute(args, kwargs, local)
            return self.function(*args, **kwargs)


class InTask:
    """Decides whether a task moves its files itself, and wraps its function if so."""

    def __init__(self, pool: ExecutorPool, transfers: Callable[[], Mover]) -> None:
        self._pool = pool
        self._transfers = transfers

    def decide(self, task: Task, files: Iterable[File]) -> bool:
        """Tell whether a task with these remote files moves them itself; note it."""
        route = self._pool.route(task.spec, task.time_limit)
        here = all(one.capabilities.shared_filesystem for one in route.entries)
        if here and not self._transfers().in_task(files):
            return False
        task.need_extras().in_task = True
        return True

    def left(self, task: Task, files: Iterable[File]) -> list[File]:
        """Return those of a task's inputs that it does not bring itself.

        Local ones that are only compared with what is declared are among them.
        """
        moved = [one for one in files if _may_move(one)]
        itself = bool(moved) and self.decide(task, moved)
        return [one for one in files if not itself or one not in moved]

    def wrap(self, task: Task) -> None:
        """Have the task's function stage its files, if the task is to."""
        work, extras = task.work, task.extras
        if work is None or extras is None or not extras.in_task:
            return
        function = work.function
        if isinstance(function, LimitedCall):
            function = function.function
        if isinstance(function, StagedCall):  # a retry
            return
        given = {name: one for name, one in work.kwargs.items() if name != "outputs"}
        found = find(work.args, given)
        inputs = list(filter(_may_move, found.files)) if found is not None else []
        outputs = extras.remote_outputs()
        courier = self._transfers().courier(task.spec.name, inputs, outputs)
        work.function = StagedCall(work.function, courier)


def _may_move(file: File) -> bool:
    return file.remote or file.url.startswith("file:")
