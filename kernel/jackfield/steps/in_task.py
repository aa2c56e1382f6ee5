"""Tasks that move their remote files themselves, and not the kernel for them.

They do where an executor's workers do not see the driver's files, and where the
configuration says so for a scheme. Whether a task does is decided when its files are
known, and its function is wrapped when it is handed over: after its memo key was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from jackfield.executors.walltime import without_walltime
from jackfield.graph.arguments import find
from jackfield.staging.remote import warn_alone

if TYPE_CHECKING:
    from jackfield.executors.pool import ExecutorPool
    from jackfield.files import File
    from jackfield.graph.task import Task
    from jackfield.transfers.shared import SharedTransfers


class InTask:
    """Decides whether a task moves its files itself, and wraps its function if so."""

    def __init__(
        self, pool: ExecutorPool, transfers: Callable[[], SharedTransfers]
    ) -> None:
        self._pool = pool
        self._transfers = transfers

    def decide(self, task: Task, files: Iterable[File]) -> bool:
        """Tell whether a task with these remote files moves them itself; note it."""
        route = self._pool.route(task.spec, task.time_limit)
        if not self._transfers().in_task(files, route):
            return False
        task.need_extras().in_task = True
        return True

    def wrap(self, task: Task) -> None:
        """Have the task's function stage its files, if the task is to."""
        work, extras = task.work, task.extras
        if work is None or extras is None or not extras.in_task:
            return
        from jackfield.transfers.in_task import StagedCall  # few tasks need it

        if isinstance(without_walltime(work.function), StagedCall):  # a retry
            return
        outputs = extras.remote_outputs()
        found = find(work.args, dict(work.kwargs))
        files = [*outputs, *(found.files if found is not None else ())]
        # Where it runs, there is no log of the run to warn into.
        sites = {
            file.url: replace(self._transfers().site(file), warn=warn_alone)
            for file in files
        }
        work.function = StagedCall(task.spec.name, work.function, sites, outputs)
