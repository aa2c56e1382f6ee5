"""The heart: processes the items of the inbox, and does what they call for.

``Engine.step`` runs with the scheduler's role and only changes the graph. It knows four
kinds of items: a new task, an outcome that an executor reports, an ``Ended`` (by which
another thread says how a task is to end), and a control, which is a function.
``EffectRunner.run`` runs afterwards without the role, on the same thread: there, works
are handed to executors, and code of users and plugins runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from jackfield.abc import Outcome, Work
from jackfield.clock import monotonic
from jackfield.errors import ExecutorError
from jackfield.futures.future import take_callbacks
from jackfield.graph import transitions
from jackfield.graph.task import Task, own_tasks
from jackfield.graph.transitions import Effects, Ended
from jackfield.states import FINAL, TaskState
from jackfield.steps.code import keeps
from jackfield.steps.finish import MAY_HOLD, has_left_futures
from jackfield.steps.part import Part
from jackfield.stream import Notes

if TYPE_CHECKING:
    from logging import Logger

    from jackfield.futures.callbacks import CallbackRunner
    from jackfield.futures.future import Ending
    from jackfield.graph.observation import Observation
    from jackfield.graph.route import ExecutorEntry
    from jackfield.graph.scheduler import Scheduler
    from jackfield.graph.state import Closing, Tally
    from jackfield.graph.task import Extras, Home
    from jackfield.results.flights import Flights
    from jackfield.steps.ends import Ends
    from jackfield.steps.finish import Finisher
    from jackfield.steps.launch import Launcher
    from jackfield.steps.lazy import Lazy
    from jackfield.steps.throttle import Throttle


def receive_outcomes(
    scheduler: Scheduler, log: Logger, entry: ExecutorEntry, outcomes: Sequence[Outcome]
) -> None:
    """Take outcomes from an executor, on any of its threads; see ``abc.Report``.

    If the executor has more works than workers, its thread has another one to run. It
    then leaves the outcomes to the dispatcher, which works them off in batches.
    Otherwise it works them off itself, which saves the hand-over to another thread.
    """
    try:
        scheduler.inbox.extend(outcomes)
    except TypeError:
        kind = type(outcomes).__name__
        log.exception("An executor reported %s, no list of outcomes", kind)
    if entry.given - entry.returned > entry.workers:  # its load
        scheduler.nudge()
    else:
        scheduler.pump()


class Intake(Part):
    """Registers tasks with what they depend on. Called with the role.

    Those that come too late, or whose dependency has failed, are ended by ``ends``.
    ``release_files`` notes that a task does not want its files any more.
    ``observation`` tells observers who waits.
    """

    live: dict[int, Task]
    home: Home
    closing: Closing
    ends: Ends
    observation: Observation
    release_files: Callable[..., None]

    def admit(self, task: Task, effects: Effects) -> None:
        """Register a new task."""
        if self.closing.reason is not None and task.spec.kind != "transfer":
            self.live[task.id] = task  # submitted before, but too late to begin
            self.ends.end_cancelled(task, effects)
        elif task.parents is not None:
            parents, task.parents = task.parents, ()
            self._wait(task, parents, effects)
        elif task.found is not None:
            self._wait(task, own_tasks(task.found.futures, self.home), effects)
        else:
            self.live[task.id] = task
            task.state = TaskState.READY
            effects.ready.append(task)
            if effects.noted is not None:
                effects.noted.new.append(task)

    def wait_for_late_files(self, task: Task, effects: Effects) -> None:
        """Have a task wait for files that turned up in the results that it got."""
        found = task.found
        if task.state in FINAL:  # cancelled meanwhile, when nobody saw the files
            if found is not None:
                effects.rest.append((self.release_files, task, found.files))
            return
        task.state = TaskState.WAITING
        if found is not None:
            self._wait(task, own_tasks(found.futures, self.home), effects)

    def _wait(self, task: Task, parents: Iterable[Task], effects: Effects) -> None:
        if effects.noted is not None:
            effects.noted.new.append(task)
            effects.noted.edges.append((task, parents))
        failed = transitions.add(self.live, task, parents)
        if failed is not None:
            self.ends.fail_dependents(failed, [task], effects)
        elif task.waiting == 0:
            task.state = TaskState.READY
            effects.ready.append(task)
        elif self.observation.tasks is not None:
            self.observation.tasks.note((task,))


class Reports(Part):
    """Takes what executors report: outcomes that count, strays, and nonsense.

    Called with the role; ``failed`` and ``returned`` are called later, without it.

    Attributes:
        live: The tasks that are registered and not ended.
        tally: Counts the strays.
        memo: The flights: they keep results of cached tasks.
        failed: Handles a failed attempt.
        returned: Does what follows a function's return.
        observation: Tells observers of tasks that are finishing.
    """

    live: dict[int, Task]
    tally: Tally
    memo: Lazy[Flights]
    failed: Callable[[Task, BaseException], None]
    returned: Callable[[Task, Any], None]
    observation: Observation

    def take(self, outcome: Outcome, endings: list[Ending], effects: Effects) -> None:
        """Take one outcome, unless its attempt does not count any more."""
        try:
            work, error, value = outcome
            task = self.live.get(work.id)
        except (AttributeError, TypeError, ValueError):
            self.take_nonsense(outcome, endings, effects)
            return
        if (
            task is None
            or task.work is not work
            or task.state is not TaskState.SUBMITTED
            or (entry := task.entry) is None
        ):
            self.tally.strays += 1
            return
        entry.returned += 1
        task.state = TaskState.FINISHING
        if entry.faults and not isinstance(error, ExecutorError):
            entry.faults = 0  # it works, whatever the task has raised
        extras = task.extras
        if extras is not None and extras.keep:
            extras.keep = keeps(work.function)
        if error is not None:
            if not isinstance(error, BaseException):
                kind = type(error).__name__
                reason = f"it reported {kind} as the error of task {task.title}"
                error = ExecutorError(entry.label, reason)
            effects.rest.append((self.failed, task, error))
        elif type(value) in MAY_HOLD and has_left_futures(task, value):
            self._finish(task, value, effects)
        elif extras is None or self._ends_at_once(task, extras, value):
            endings.append((task.future, None, value, task, TaskState.SUCCEEDED))
        else:
            self._finish(task, value, effects)

    def _finish(self, task: Task, value: Any, effects: Effects) -> None:
        """Have done what is left to do after the function."""
        effects.rest.append((self.returned, task, value))
        if self.observation.tasks is not None:
            self.observation.tasks.note((task,))
        launched = task.launched_at()
        if launched is not None:
            task.launched = launched[0], monotonic()

    def _ends_at_once(self, task: Task, extras: Extras, value: Any) -> bool:
        """Tell whether nothing is left to do after the function.

        The result of a cached task is kept then, if it need not be stored.
        """
        if task.spec.kind == "join" or extras.outputs or extras.streams:
            return False
        if extras.memo != "miss":  # not looked up, or a hit: no result to keep
            return True
        flights = self.memo.made  # by the look-up
        return flights is not None and flights.keep_at_once(extras, value)

    def take_nonsense(
        self, report: Any, endings: list[Ending], effects: Effects
    ) -> None:
        """Fail the work that a malformed report is about, or drop the report."""
        if isinstance(report, tuple) and type(report) is not tuple:  # a named one
            self.take(tuple(report), endings, effects)
            return
        work = report[0] if isinstance(report, tuple | list) and report else None
        task = self.live.get(work.id) if isinstance(work, Work) else None
        if task is None or task.entry is None or not isinstance(work, Work):
            self.tally.strays += 1
            return
        reason = f"it reported no (work, error, value) for task {task.title}"
        error = ExecutorError(task.entry.label, reason)
        self.take((work, error, None), endings, effects)


class EffectRunner(Part):
    """Does what a step calls for, without the role, on the thread that took the step.

    Submitters that ``max_pending`` blocks wait at the throttle until tasks end.
    ``observation`` tells observers of tasks that are ready. ``fail`` ends a task with
    an error; ``fault`` logs what is a bug of the kernel.
    """

    launcher: Launcher
    callbacks: CallbackRunner
    throttle: Throttle
    finisher: Finisher
    observation: Observation
    fail: Callable[[Task, BaseException], None]
    fault: Callable[[BaseException], None]

    def run(self, effects: Effects) -> None:
        """Launch what is ready, wake who waits, then run others' code."""
        if effects.ready:
            if self.observation.tasks is not None:
                ready = filter(_is_told_ready, effects.ready)
                self.observation.tasks.note(ready)
            self.launcher.launch(effects.ready)
        for future, callbacks in take_callbacks(effects.ended):
            self.callbacks.put(future, callbacks)
        if self.throttle.waiting:
            self.throttle.let_all_look()
        if effects.joined or effects.rest:
            self.launcher.away()
        for task in effects.joined:
            self._do(self.finisher.complete_join, task)
        for action, task, *arguments in effects.rest:
            self._do(action, task, *arguments)

    def _do(self, action: Callable[..., object], task: Task, *arguments: Any) -> None:
        """Do one thing; what it raises ends the task and neither thread nor batch."""
        try:
            action(task, *arguments)
        except BaseException as error:
            self.fail(task, error)
            self.fault(error)


def _is_told_ready(task: Task) -> bool:
    """Tell whether a task had, or has, something to do before it is submitted."""
    waited = task.parents is not None or task.found is not None or task.attempt > 1
    return waited or task.spec.cache


class Engine(Part):
    """Works the inbox off. ``step`` is called with the role, by the scheduler.

    What a control raises is a bug of the kernel, and goes to ``fault``. Observers get
    what is noted of a step by ``observation``.
    """

    intake: Intake
    reports: Reports
    ends: Ends
    observation: Observation
    fault: Callable[[BaseException], None]

    def step(self, inbox: deque[Any], limit: int) -> Effects:
        """Work off up to ``limit`` items; return what they call for."""
        effects = Effects()
        runs = self.observation.runs
        if runs is not None:
            effects.noted = Notes(calls=runs.calls > 0)
        endings: list[Ending] = []
        admit, take = self.intake.admit, self.reports.take
        for _ in range(limit):
            if not inbox:
                break
            item = inbox.popleft()
            kind = type(item)
            if kind is tuple:
                take(item, endings, effects)
            elif kind is Task:
                admit(item, effects)
            elif kind is Ended:
                task, state, error, value = item
                if task.state not in FINAL:
                    endings.append((task.future, error, value, task, state))
            elif not callable(item):
                self.reports.take_nonsense(item, endings, effects)
            else:
                if endings:  # keep the order of what came in
                    self.ends.end_all(endings, effects)
                    endings = []
                try:
                    item(effects)
                except BaseException as error:
                    self.fault(error)
        if endings:
            self.ends.end_all(endings, effects)
        if effects.stop_run:
            # At the first failure of an eager run. An item of its own, behind those
            # that are in the inbox already.
            inbox.append(self.ends.cancel_all_not_begun)
        if runs is not None and effects.noted is not None:
            runs.put(effects.noted)
        return effects
