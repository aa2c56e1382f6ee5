"""What becomes of a failed attempt: another one, or the end."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Retry, Work
from jackfield.errors import (
    ExecutorError,
    KernelClosedError,
    ResultLostError,
    SerializationError,
    StaleCodeError,
    WorkerLostError,
    one_line,
)
from jackfield.states import FINAL, TaskState
from jackfield.steps.code import innermost, original
from jackfield.steps.part import Part

if TYPE_CHECKING:
    from logging import Logger

    from jackfield.config import Config
    from jackfield.executors.pool import ExecutorPool
    from jackfield.graph.observation import Observation
    from jackfield.graph.scheduler import Scheduler
    from jackfield.graph.state import Closing
    from jackfield.graph.task import Task
    from jackfield.graph.transitions import Effects
    from jackfield.plugins.manager import PluginManager
    from jackfield.steps.code import PresentCode
    from jackfield.steps.ends import Ends

JITTER: Final = 0.1
"""Delays are stretched by up to this part, so that retries do not march in step."""


MOST_RESENT: Final = 10
"""So often a task is sent again because of other code, and it is a failure."""

MOST_OUTLIVED: Final = 3
"""So often a task whose worker was lost as expected is tried again at no cost."""


class Retrier(Part):
    """Retries tasks whose attempt failed, or ends them.

    A plugin may say what a failure costs and how long to wait. The configuration says
    how often and how long where the app does not. ``scheduler`` keeps the delays.
    """

    manager: PluginManager
    pool: ExecutorPool
    config: Config
    closing: Closing
    scheduler: Scheduler
    code: PresentCode
    ends: Ends
    observation: Observation
    log: Logger

    def handle(self, task: Task, error: BaseException) -> None:
        """Retry a task whose attempt failed, or end it. Called without the role."""
        if task.state in FINAL:
            return
        if isinstance(error, KernelClosedError) and self.closing.reason is not None:
            # Its function has called an app after the run had stopped taking tasks.
            # Such a run cancels all that has not begun. A part of this task never
            # will begin, so the task is cancelled and not failed.
            self.scheduler.control(partial(self.ends.end_cancelled, task))
            return
        if isinstance(error, WorkerLostError) and self._try_at_no_cost(task, error):
            return
        entry = task.entry
        if entry is not None and isinstance(error, ExecutorError):
            self.pool.blame(entry, error)
            extras = task.need_extras()
            extras.avoided = extras.avoided | {entry.label}
        try:
            if isinstance(error, StaleCodeError) and self._send_again(task, error):
                return
            if _is_hopeless(task, error):
                self._fail(task, error)
                return
            answer = self._ask(task, error)
            task.cost += answer.cost
            if self._stopped() or task.cost > self._allowed(task):
                self._fail(task, error)
                return
            delay = self._delay(task, answer)
        except BaseException as fault:
            fault.__cause__ = error
            self.ends.fail(task, fault)
            return
        what = one_line(error)
        call = f" [in {call}]" if (call := task.call_text()) else ""
        self.log.info(
            "Task %s: attempt %d failed: %s%s", task.title, task.attempt, what, call
        )
        self.scheduler.control(
            partial(self._again, task, task.attempt + 1, delay, answer.executor, error)
        )

    def _fail(self, task: Task, error: BaseException) -> None:
        """End a task with the error of its last attempt."""
        self.code.compare_failed(task)
        self.ends.fail(task, error)

    def _try_at_no_cost(self, task: Task, error: WorkerLostError) -> bool:
        """Try a task again whose worker was to go: nobody is to blame."""
        extras = task.need_extras()
        extras.outlived += error.expected
        if not error.expected or extras.outlived > MOST_OUTLIVED or self._stopped():
            return False
        self.scheduler.control(
            partial(self._again, task, task.attempt + 1, 0.0, extras.forced, error)
        )
        return True

    def _send_again(self, task: Task, error: StaleCodeError) -> bool:
        """Send a task again whose worker had other code: that is no failure of its."""
        work = task.work
        if work is None or original(work.function) is work.function or self._stopped():
            return False
        extras = task.need_extras()
        extras.resent += 1
        if extras.resent > MOST_RESENT:  # what is sent is not what is asked for
            return False
        self.code.stale(work, error)
        again = partial(self._again, task, task.attempt, 0.0, extras.forced, None)
        self.scheduler.control(again)
        return True

    def _stopped(self) -> bool:
        """Tell whether the run is being cut short: nothing is tried again then."""
        closing = self.closing
        first_failure = closing.reason is not None and not self.config.lazy_errors
        return first_failure or closing.cut_short.is_set()

    def _ask(self, task: Task, error: BaseException) -> Retry:
        manager = self.manager
        if not manager.hooks.retry or task.spec.kind == "transfer":
            return Retry()
        labels = self.pool.route(task.spec, task.time_limit).labels
        view = task.view(labels, with_call=True)
        answer = manager.ask(manager.hooks.retry, _checked, view, error, view.attempt)
        extras = task.need_extras()
        extras.errors = (*extras.errors, one_line(error))
        return answer or Retry()

    def _allowed(self, task: Task) -> float:
        if task.spec.kind == "transfer":
            return 0
        retries = task.spec.retries
        return self.config.retries if retries is None else retries

    def _delay(self, task: Task, answer: Retry) -> float:
        """Return the seconds to wait: the answer's, or exponential backoff."""
        if answer.delay is not None:
            return answer.delay
        spec, config = task.spec, self.config
        first = config.retry_delay if spec.retry_delay is None else spec.retry_delay
        backoff = spec.retry_backoff
        factor = config.retry_backoff if backoff is None else backoff
        if first <= 0:
            return 0.0
        try:
            delay = first * factor ** (task.attempt - 1)
        except OverflowError:
            delay = config.retry_max_delay
        import random  # few runs need it

        delay = min(delay, max(first, config.retry_max_delay))
        return delay * (1 + JITTER * random.random())  # noqa: S311  (no secret)

    def _again(
        self,
        task: Task,
        attempt: int,
        delay: float,
        executor: str | None,
        error: BaseException | None,
        effects: Effects,
    ) -> None:
        """Begin another attempt, after a delay. A control.

        The attempt is a new ``Work``: a late report of the old one is not its report.
        ``error`` is what the old one has failed with, if it was a failure.
        """
        old = task.work
        if task.state in FINAL or old is None:
            return
        task.state = TaskState.WAITING
        if error is not None:
            self._tell(task, old, error, delay, effects)
        task.launched = None
        task.attempt = attempt
        function = original(old.function)
        task.work = Work(
            old.id, attempt, old.name, function, old.args, old.kwargs,
            old.walltime, old.resources, kept=old.kept, priority=old.priority,
        )  # fmt: skip
        if executor is not None or task.extras is not None:
            task.need_extras().forced = executor
        if delay > 0:
            ready = partial(self.scheduler.control, partial(_ready, task))
            self.scheduler.call_later(delay, ready)
        else:
            _ready(task, effects)

    def _tell(
        self,
        task: Task,
        work: Work,
        error: BaseException,
        delay: float,
        effects: Effects,
    ) -> None:
        """Have observers told of an attempt that will be followed by another."""
        if self.observation.tasks is not None:
            self.observation.tasks.note((task,), error)
        launched = task.launched_at()
        if effects.noted is not None and launched is not None:
            row = task, work, task.entry, launched[0], error, delay
            effects.noted.failed.append(row)


def _checked(answer: Any) -> Retry:
    if not isinstance(answer, Retry):
        raise TypeError(
            f"A plugin's jackfield_retry answered {answer!r}; expected a "
            f"jackfield.Retry or None."
        )
    for name, number in (("cost", answer.cost), ("delay", answer.delay or 0.0)):
        if not isinstance(number, int | float) or math.isnan(number):
            raise TypeError(
                f"A plugin's jackfield_retry answered {answer!r}; {name} is no number."
            )
    return answer


def _ready(task: Task, effects: Effects) -> None:
    if task.state is TaskState.WAITING:
        task.state = TaskState.READY
        effects.ready.append(task)


def _is_hopeless(task: Task, error: BaseException) -> bool:
    """Tell whether another try must fail in the same way.

    What cannot be pickled will not be, and what is lost is not found; and a function
    that does not take these arguments was not even called.
    """
    if isinstance(error, (SerializationError, ResultLostError)):
        return True
    work = task.work
    if type(error) is not TypeError or work is None:
        return False
    import inspect  # few runs need it

    try:
        signature = inspect.signature(innermost(work.function))
    except (TypeError, ValueError):  # of C, say
        return False
    try:
        signature.bind(*work.args, **work.kwargs)
    except TypeError:
        return True
    return False
