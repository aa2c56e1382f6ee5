"""How tasks end, and with them what hangs on them.

The methods of ``Ends`` but ``fail``, and those that they call, run with the scheduler's
role: they change the graph and collect in ``Effects`` what is to be done afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import TaskExitError, one_line
from jackfield.futures.future import Cancellation, claim_cancel, settle
from jackfield.graph import transitions
from jackfield.graph.dependency_errors import dependency_error, line_of, name_call
from jackfield.states import FINAL, TaskState
from jackfield.steps.part import Part

if TYPE_CHECKING:
    from concurrent.futures import Future
    from logging import Logger

    from jackfield.files import File
    from jackfield.futures.future import Ending
    from jackfield.graph.observation import Observation
    from jackfield.graph.state import Barriers, Closing, Tally
    from jackfield.graph.task import Task
    from jackfield.graph.transitions import Effects

NOT_BEGUN: Final = frozenset({TaskState.WAITING, TaskState.READY, TaskState.JOINING})
"""States in which no executor has the task."""

_KEPT_FAILURES: Final = 100
"""Failures of which the summary has a line."""


class Failures(Part):
    """Notes the tasks that failed, and stops the run at the first one if it is eager.

    A run that is ``lazy`` goes on after a failure. ``tally`` keeps a line on each one.
    """

    tally: Tally
    closing: Closing
    log: Logger
    lazy: bool

    def note(self, task: Task, error: BaseException, effects: Effects) -> None:
        """Keep a line on a task that failed.

        There is none on tasks that were cancelled, or whose dependency failed.
        """
        if task.state is not TaskState.FAILED:
            return
        line = f"Task {task.title} failed: {task.reason or one_line(error)}"
        effects.rest.append((self.warn, task, line))
        # A transfer is a task of the kernel's own, which users do not know. They are
        # told of the tasks that fail because their file did not arrive.
        users = task.spec.kind != "transfer"
        keep = users and len(self.tally.failures) < _KEPT_FAILURES
        if keep:
            self.tally.failures.append(line)
        if users:
            self.tally.failed[task.id] = line if keep else ""
        if not self.lazy and self.closing.reason is None:
            self.closing.close(f"the run has stopped at its first failure. {line}")
            effects.stop_run = True

    def warn(self, _: Task, line: str) -> None:
        """Log a warning that a task is the cause of."""
        self.log.warning("%s", line)


class Ends(Part):
    """Ends tasks. All methods but ``fail`` are called with the scheduler's role.

    ``fail`` changes the graph by a function that it gives to ``control``. For a task
    that did not succeed, ``free_followers`` lets another one with the same memo key run
    in its place, and ``release_files`` notes that it wants no files.
    """

    live: dict[int, Task]
    tally: Tally
    barriers: Barriers
    failures: Failures
    observation: Observation
    control: Callable[[Callable[[Effects], None]], None]
    free_followers: Callable[[Task], None]
    release_files: Callable[[Task, Mapping[File, Future[Any] | None]], None]

    # -- one task, or a batch

    def fail(self, task: Task, error: BaseException) -> None:
        """End a task with an error; it is not retried, or not any more.

        Called on any thread, without the role. An error that would end the program of
        whoever asks for the result, such as a plugin's ``SystemExit``, is wrapped.
        """
        if not isinstance(error, Exception):
            wrapped = TaskExitError(task.spec.name, line_of(error))
            wrapped.__cause__ = error
            error = wrapped
        name_call(task, error)
        self.control(partial(self.end, task, TaskState.FAILED, error, None))

    def end(
        self,
        task: Task,
        state: TaskState,
        error: BaseException | None,
        value: Any,
        effects: Effects,
    ) -> None:
        """End one task, if it has not ended."""
        if task.state not in FINAL:
            self.end_all([(task.future, error, value, task, state)], effects)

    def end_all(self, endings: Sequence[Ending], effects: Effects) -> None:
        """End tasks that have not ended; each stands in the batch once."""
        wins = settle(endings)
        for (_, error, _, task, state), won in zip(endings, wins, strict=True):
            if not won:  # a cancel came first
                state, error = TaskState.CANCELLED, Cancellation()  # noqa: PLW2901
            dependents = transitions.end(self.live, task, state)
            self._record(task, error, effects)
            if not dependents:
                continue
            if error is None:
                self.release(dependents, effects)
            else:
                self.fail_dependents(task, dependents, effects)

    def _record(
        self, task: Task, error: BaseException | None, effects: Effects
    ) -> None:
        """Do what every end calls for, once the task is out of the graph."""
        own = task.spec.kind == "transfer"
        (self.tally.own if own else self.tally.counts)[task.state] += 1
        if task.future is not None:
            effects.ended.append(task.future)
        if task.data_futures:
            effects.ended.extend(_settle_files(task, error))
        if error is not None:
            self._not_succeeded(task, error, effects)
        if self.observation.tasks is not None:
            self.observation.tasks.note((task,), error)
        if effects.noted is not None:
            effects.noted.end(task, task.work)
        if self.barriers.standing:  # after the failure is noted: they may look at it
            self.barriers.lower(task.id)
        task.forget()

    def _not_succeeded(
        self, task: Task, error: BaseException, effects: Effects
    ) -> None:
        if task.extras is not None and task.extras.key is not None:
            effects.rest.append((self.free_followers, task))
        if task.found is not None and task.found.files:
            effects.rest.append((self.release_files, task, task.found.files))
        task.error = error
        self.failures.note(task, error, effects)

    # -- what hangs on them

    def release(self, dependents: Iterable[Task], effects: Effects) -> None:
        """Count a success on tasks that wait for it."""
        for task in transitions.release(dependents):
            blamed = None if task.extras is None else task.extras.blamed
            if blamed is not None:
                self.fail_dependents(blamed, [task], effects)
            elif task.state is TaskState.JOINING:
                effects.joined.append(task)
            else:
                effects.ready.append(task)

    def fail_dependents(
        self, task: Task, dependents: Sequence[Task], effects: Effects
    ) -> None:
        """End what depends on a task that failed or was cancelled."""
        for doomed, blamed in transitions.doom(self.live, task, dependents):
            error: BaseException
            error, doomed.state = dependency_error(doomed, blamed)
            ending = (doomed.future, error, None, doomed, doomed.state)
            if not settle([ending])[0]:
                error, doomed.state = Cancellation(), TaskState.CANCELLED
            self._record(doomed, error, effects)

    # -- cancelled ones

    def end_cancelled(self, task: Task, effects: Effects) -> None:
        """End a task whose future was cancelled, or that came too late to begin."""
        if task.state in FINAL:
            return
        if task.state is TaskState.SUBMITTED and task.entry is not None:
            task.entry.returned += 1  # it will not be reported
        self.end(task, TaskState.CANCELLED, Cancellation(), None, effects)

    def cancel_all_not_begun(self, effects: Effects) -> None:
        """Cancel what has not been given to an executor.

        The youngest first: what depends on a cancelled task is to be cancelled as well,
        and not to fail with it.
        """
        for task in reversed(list(self.live.values())):
            if task.future is not None and claim_cancel(
                task.future, partial(has_not_begun, task)
            ):
                self.end_cancelled(task, effects)

    def end_all_unreported(self, effects: Effects) -> None:
        """End what the executors have not reported, and no longer will."""
        rest = list(self.live.values())
        if rest:
            titles = ", ".join(task.title for task in rest[:10])
            line = f"Ended with {len(rest)} unfinished tasks: {titles}"
            effects.rest.append((self.failures.warn, rest[0], line))
        for task in rest:
            self.end(task, TaskState.CANCELLED, Cancellation(), None, effects)


def has_not_begun(task: Task) -> bool:
    """Tell whether no executor has a task."""
    return task.state in NOT_BEGUN


def _settle_files(task: Task, error: BaseException | None) -> tuple[Any, ...]:
    """End the futures of a task's files; return them."""
    futures = task.data_futures
    settle([(one, error, one.file_obj, task, task.state) for one in futures])
    return futures
