"""From ready to submitted: values put in, memo looked up, executor chosen, handed over.

Runs without the scheduler's role, on whichever thread found the tasks ready. No other
thread launches the same attempt. But a cancel may end the task at any moment, and
``Task.forget`` then empties its fields; so they are read once, and checked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from jackfield.abc import LimitedCall
from jackfield.errors import ExecutorError, one_line
from jackfield.executors.selection import select
from jackfield.futures.future import holding_ends
from jackfield.graph.route import Route
from jackfield.kept import NotAtHandError
from jackfield.states import TaskState
from jackfield.steps.part import Part
from jackfield.steps.prepare import read_kept

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield.executors.pool import ExecutorPool
    from jackfield.graph.observation import Observation
    from jackfield.graph.route import ExecutorEntry
    from jackfield.graph.scheduler import Scheduler
    from jackfield.graph.state import Closing
    from jackfield.graph.task import Extras, Task
    from jackfield.kept import Kept
    from jackfield.plugins.manager import PluginManager
    from jackfield.steps.code import CheckedCall, Looked, PresentCode
    from jackfield.steps.ends import Ends
    from jackfield.steps.in_task import InTask
    from jackfield.steps.lazy import Lazy
    from jackfield.steps.prepare import Preparer
    from jackfield.steps.writers import Writers


class Launcher(Part):
    """Gives ready tasks to their executors, among which plugins may choose.

    ``fetch`` runs an action as soon as a kept result is at hand; ``later`` has tasks
    launched, unless they are not ready any more. ``away`` is called before code of
    others; see ``Scheduler.away``.
    """

    preparer: Preparer
    pool: ExecutorPool
    manager: PluginManager
    handover: Handover
    away: Callable[[], None]
    fail: Callable[[Task, BaseException], None]
    fetch: Callable[[Kept, Callable[[], None]], object]
    later: Callable[[Sequence[Task]], None]

    def launch(self, tasks: Sequence[Task]) -> None:
        """Launch tasks, with one ``submit`` for each executor."""
        groups: defaultdict[ExecutorEntry, list[Task]] = defaultdict(list)
        for task in tasks:
            try:
                plain = task.found is None and task.extras is None
                if not plain:
                    self.away()
                bare = plain and task.parents is None
                if not bare and not self.preparer.prepare(task):
                    continue
                entry = self._choose(task, groups)
                work = task.work
                if work and work.kept and not _may_keep(work, entry, task.extras):
                    self.away()
                    read_kept(work)
            except NotAtHandError as late:
                self.fetch(late.args[0], partial(self.later, [task]))
                continue
            except BaseException as error:
                self.fail(task, error)
                continue
            groups[entry].append(task)
        for entry, group in groups.items():
            try:
                self.handover.submit(entry, group)
            except BaseException as error:
                for task in group:
                    self.fail(task, error)

    def _choose(
        self, task: Task, groups: Mapping[ExecutorEntry, Sequence[Task]]
    ) -> ExecutorEntry:
        """Return the executor of this attempt.

        If only one fits, and no plugin wants to choose, it is that one.
        """
        extras, route = task.extras, task.spec.route
        of_its_own = extras is not None and (
            extras.forced is not None
            or extras.avoided
            or extras.walltime != task.spec.walltime
        )
        if of_its_own or route is None or route.version is not self.pool.version:
            route = self.pool.route(task.spec, task.time_limit)
            if extras is not None and extras.forced is not None:
                return _forced(task, extras.forced, route)
            if extras is not None and extras.avoided:
                route = _elsewhere(extras.avoided, route)
        if len(route.entries) == 1 and not self.manager.hooks.select_executor:
            return route.entries[0]
        self.away()
        return select(task, route, self.manager, groups)


def _forced(task: Task, label: str, route: Route) -> ExecutorEntry:
    """Return the executor that a retry has asked for."""
    for entry in route.entries:
        if entry.label == label:
            return entry
    raise ExecutorError(
        label,
        f"asked for by a retry of {task.title}, "
        f"is none of those that fit: {', '.join(route.labels)}",
    )


def _elsewhere(avoided: frozenset[str], route: Route) -> Route:
    """Return the executors that have not failed with a task, or all if all have."""
    entries = [entry for entry in route.entries if entry.label not in avoided]
    return Route(tuple(entries), route.version) if entries else route


class Handover(Part):
    """Submits tasks to the executor that was chosen for them.

    Those that were cancelled on their way here are ended. For each of these, ``free``
    lets another task with the same memo key run in its place. ``limited`` gives what
    enforces walltimes where an executor does not; ``writers`` warns of files that two
    tasks write.
    """

    scheduler: Scheduler
    ends: Ends
    closing: Closing
    observation: Observation
    in_task: InTask
    code: PresentCode
    free: Callable[[Task], None]
    limited: Lazy[type[LimitedCall]]
    writers: Writers

    def submit(self, entry: ExecutorEntry, tasks: Sequence[Task]) -> None:
        """Hand tasks over; those whose future was cancelled meanwhile are ended."""
        submitted = _mark_submitted(tasks, entry)
        if len(submitted) < len(tasks):
            self._drop_cancelled(tasks)
        works: list[Work] = []
        isolated = entry.capabilities.isolated
        if isolated:  # functions are pickled
            self.scheduler.away()
        looked: Looked | None = None
        checked: CheckedCall | None = None
        for task in submitted:
            work = task.work
            if work is None:  # ended by ``end_all_unreported`` since it was marked
                continue
            extras = task.extras
            limit = task.spec.walltime if extras is None else extras.walltime
            try:
                if extras is not None and (extras.outputs or extras.streams):
                    self.writers.note(task, extras)
                if extras is not None and extras.in_task:
                    self.in_task.wrap(task)
                if limit is not None:
                    apply_walltime(work, limit, entry, self.limited)
                if isolated:
                    work.once = task.spec.retries == 0
                    looked = self.code.send(task, work, looked)
                elif extras is not None and extras.memo == "miss":
                    checked = self.code.check(task, work, checked)
            except BaseException as error:
                self.ends.fail(task, error)
                continue
            works.append(work)
        if self.observation.tasks is not None:
            self.observation.tasks.note(submitted)
        if self.observation.runs is not None:
            self.observation.launch(submitted, works)
        self.scheduler.away()
        try:
            entry.submit(works)
        except BaseException as error:
            self._refused(entry, submitted, works, error)

    def _refused(
        self,
        entry: ExecutorEntry,
        tasks: Sequence[Task],
        works: Sequence[Work],
        error: BaseException,
    ) -> None:
        if self.closing.cut_short.is_set():  # shut down before these works came
            for task in tasks:
                self.scheduler.control(partial(self.ends.end_cancelled, task))
            return
        reason = ExecutorError(entry.label, f"submit raised {one_line(error)}")
        reason.__cause__ = error
        self.scheduler.inbox.extend([(work, reason, None) for work in works])
        self.scheduler.pump()

    def _drop_cancelled(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            if task.state is not TaskState.SUBMITTED:
                if task.extras is not None and task.extras.key is not None:
                    self.free(task)
                self.scheduler.control(partial(self.ends.end_cancelled, task))


def _may_keep(work: Work, entry: ExecutorEntry, extras: Extras | None) -> bool:
    """Tell whether an executor gets kept results as they are.

    It must have kept them itself, and nobody may have to look into them for files.
    """
    if extras is not None and extras.in_task:
        return False
    return all(kept.executor == entry.label for kept in work.kept)


def _mark_submitted(tasks: Sequence[Task], entry: ExecutorEntry) -> list[Task]:
    """Note the executor of those tasks whose future is pending, and return them.

    From here on, ``cancel`` asks the executor instead of just ending the future. Both
    look at the future and at the task's state with the lock on ends held, so a cancel
    comes either before this, and the task is not handed over, or after it, and the
    executor is asked.
    """
    pending: list[Task] = []
    with holding_ends():
        for task in tasks:
            future = task.future
            if future is not None and not future.done():
                task.entry = entry
                task.state = TaskState.SUBMITTED
                pending.append(task)
    return pending


def apply_walltime(
    work: Work, seconds: float, entry: ExecutorEntry, limited: Lazy[type[LimitedCall]]
) -> None:
    """Have a walltime enforced: by the executor if it can kill, else in the task.

    A function that has just this walltime is left as it is. So it is one object,
    however often its task is tried: what workers had to be sent with it is remembered
    by the object.
    """
    function = work.function
    has = function if isinstance(function, LimitedCall) else None
    if entry.capabilities.walltime == "kill":
        work.function = function if has is None else has.function
        work.walltime = seconds
        return
    work.walltime = None
    if has is None or (has.name, has.seconds) != (work.name, seconds):
        work.function = limited()(function, work.name, seconds)
