"""The transitions: what an item of the inbox does to the graph.

``Engine.step`` runs with the scheduler's role and only changes state; it collects
in ``Effects`` what has to be done afterwards without the role, in this order:
launch what is ready, wake who waits, then what may run users' or plugins' code.
"""

from __future__ import annotations

import itertools
import operator
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.abc import Outcome, runs_tasks
from jackfield.dataflow import finish, graph, launch, retry
from jackfield.dataflow.blame import blame, blame_foreign, one_line
from jackfield.dataflow.effects import Barrier, Effects, Ending
from jackfield.dataflow.executors import INTERNAL
from jackfield.dataflow.scheduler import Scheduler
from jackfield.dataflow.submission import submit
from jackfield.dataflow.task import AppSpec, Task
from jackfield.errors import KernelClosedError
from jackfield.futures import (
    AppFuture,
    KernelFuture,
    announce,
    claim_cancel,
    settle,
)
from jackfield.states import FINAL, TaskState

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

    from jackfield.config import Config
    from jackfield.dataflow.callbacks import CallbackRunner
    from jackfield.dataflow.events import EventStream
    from jackfield.dataflow.executors import ExecutorPool
    from jackfield.dataflow.memo import Memo
    from jackfield.dataflow.staging import Staging
    from jackfield.plugins.manager import PluginManager


class Engine:
    """State and transitions of one kernel; ``DataFlowKernel`` is its public face.

    Attributes:
        live: Tasks that are registered and not ended, by id.
        counts: Final state to number of tasks.
        failures: The first failures, one line each.
        strays: Reports that were dropped: repeated, late or unknown.
        room: Notified when tasks end and a submitter waits for room.
        closed: Set when no further task is taken; says why.
    """

    pool: ExecutorPool
    memo: Memo
    staging: Staging
    callbacks: CallbackRunner
    events: EventStream | None = None

    def __init__(
        self, config: Config, manager: PluginManager, run_dir: Path, log: Logger
    ) -> None:
        self.config: Config = config
        self.manager: PluginManager = manager
        self.log: Logger = log
        self.live: dict[int, Task] = {}
        self.counts: Counter[TaskState] = Counter()
        self.failures: list[str] = []
        self.strays: int = 0
        self.ids: itertools.count[int] = itertools.count()
        self.deep: bool = config.dependencies == "deep"
        self.run_dir: Path = run_dir
        self.room: threading.Condition = threading.Condition()
        self.throttled: int = 0
        self.closed: str | None = None
        self.barriers: list[Barrier] = []
        self.scheduler: Scheduler = Scheduler(self.step, "dispatcher")

    # -- coming in

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes from an executor; see ``jackfield.abc.Report``."""
        self.scheduler.inbox.extend(outcomes)
        self.pump()

    def control(self, action: Callable[[Effects], None]) -> None:
        """Have ``action`` change the graph, from a thread of the kernel."""
        self.scheduler.inbox.append(action)
        self.pump()

    def pump(self) -> None:
        """Work the inbox off; a fault of the kernel is logged, never raised."""
        try:
            self.scheduler.pump()
        except Exception:
            self.log.critical("Fault in the kernel", exc_info=True)

    def cancel(self, task: Task, future: AppFuture[Any]) -> bool:
        """Cancel a task on any thread; see ``AppFuture.cancel``."""
        if future.done():
            return future.cancelled()
        work, entry = task.work, task.entry
        if not claim_cancel(future, lambda: task.state in _CANCELLABLE):
            if task.state is not TaskState.SUBMITTED or work is None or entry is None:
                return future.cancelled()
            if not entry.executor.cancel(work) or not claim_cancel(future):
                return future.cancelled()
        self.scheduler.post(partial(self._on_cancelled, task))
        self._announce(future)
        return True

    def submit_internal(
        self, spec: AppSpec, action: Callable[[], Any]
    ) -> AppFuture[Any]:
        """Submit a task of the kernel's own."""
        return submit(self, spec, action, (), {})

    def lift_item(self, future: AppFuture[Any], key: Any) -> AppFuture[Any]:
        """Return the future of one item of a future's result."""
        return submit(self, _GET_ITEM, operator.getitem, (future, key), {})

    def throttle(self, limit: int) -> None:
        """Wait until fewer than ``limit`` tasks are unfinished.

        Threads that run tasks do not wait: what they submit may be what the others
        wait for.
        """
        if self.unfinished() < limit or runs_tasks():
            return
        with self.room:
            self.throttled += 1
            try:
                while self.unfinished() >= limit and self.closed is None:
                    self.room.wait(timeout=_ROOM_CHECK_S)
            finally:
                self.throttled -= 1

    def unfinished(self) -> int:
        """Return how many tasks have not ended, those in the inbox included."""
        return len(self.live) + len(self.scheduler.inbox)

    # -- a step, with the role

    def step(self, inbox: deque[Any], limit: int) -> Callable[[], None]:
        """Work off up to ``limit`` items; return what to do without the role."""
        effects = Effects()
        endings: list[Ending] = []
        for _ in range(limit):
            if not inbox:
                break
            item = inbox.popleft()
            kind = type(item)
            if kind is tuple:
                self._on_outcome(item, endings, effects)
            elif kind is Task:
                self._admit(item, effects)
            else:
                if endings:  # keep the order of what came in
                    self._end(endings, effects)
                    endings = []
                self._run_control(item, effects)
        if endings:
            self._end(endings, effects)
        return partial(self._perform, effects)

    def _run_control(self, action: Callable[[Effects], None], effects: Effects) -> None:
        try:
            action(effects)
        except Exception:
            self.log.critical("Fault in the kernel", exc_info=True)

    def _admit(self, task: Task, effects: Effects) -> None:
        if self.closed is not None and task.spec.kind != "transfer":
            error = KernelClosedError(self.closed)
            self.live[task.id] = task
            self._end([(task, TaskState.FAILED, error, None)], effects)
            return
        found = task.found
        if found is None:
            self.live[task.id] = task
            task.state = TaskState.READY
            effects.ready.append(task)
            return
        failed = graph.add(self.live, task, self.own_tasks(found.futures))
        if failed is not None:
            self.doom(failed, [task], effects)
        elif task.waiting == 0:
            task.state = TaskState.READY
            effects.ready.append(task)

    def own_tasks(self, futures: Iterable[Future[Any]]) -> dict[Task, None]:
        """Return the distinct tasks of this kernel behind futures."""
        return {
            future._task: None
            for future in futures
            if isinstance(future, KernelFuture) and future._task.kernel is self
        }

    def _on_outcome(
        self, outcome: Outcome, endings: list[Ending], effects: Effects
    ) -> None:
        work, error, value = outcome
        task = self.live.get(work.id)
        if (
            task is None
            or task.work is not work
            or task.state is not TaskState.SUBMITTED
            or task.entry is None
        ):
            self.strays += 1
            return
        task.entry.returned += 1
        if error is not None:
            task.state = TaskState.FINISHING
            effects.failed.append((task, error))
        elif task.extras is None:
            task.state = TaskState.FINISHING
            endings.append((task, TaskState.SUCCEEDED, None, value))
        else:
            task.state = TaskState.FINISHING
            effects.returned.append((task, value))

    def _on_cancelled(self, task: Task, effects: Effects) -> None:
        if task.state in FINAL:
            return
        if task.state is TaskState.SUBMITTED and task.entry is not None:
            task.entry.returned += 1
        self._end([(task, TaskState.CANCELLED, CancelledError(), None)], effects)

    # -- ends

    def end(
        self,
        task: Task,
        state: TaskState,
        error: BaseException | None,
        value: Any,
        effects: Effects,
    ) -> None:
        """End one task. Called by controls."""
        if task.state not in FINAL:
            self._end([(task, state, error, value)], effects)

    def _end(self, endings: Sequence[Ending], effects: Effects) -> None:
        wins = settle(
            [(task.future, error, value) for task, _, error, value in endings]
        )
        for (task, state, error, _), won in zip(endings, wins, strict=True):
            if not won:  # the user's cancel came first
                state, error = TaskState.CANCELLED, CancelledError()  # noqa: PLW2901
            dependents = graph.end(self.live, task, state)
            self._conclude(task, error, effects)
            if not dependents:
                continue
            if error is None:
                self._release(dependents, effects)
            else:
                self.doom(task, dependents, effects)

    def _conclude(
        self, task: Task, error: BaseException | None, effects: Effects
    ) -> None:
        """Do what every end calls for; ``task.state`` is final already."""
        self.counts[task.state] += 1
        if task.future is not None:
            effects.ended.append(task.future)
        if task.extras is not None:
            if task.data_futures:
                effects.ended.extend(finish.settle_data(task, error))
            if error is not None and task.extras.key is not None:
                effects.freed.append(task)
        if error is not None:
            task.error = error
            self._note_failure(task, error)
        if self.events is not None:
            self.events.note(task, error)
        if self.barriers:
            self._lower_barriers(task)
        task.forget()

    def _release(self, dependents: Sequence[Task], effects: Effects) -> None:
        for task in graph.release(dependents):
            if task.state is TaskState.JOINING:
                effects.joined.append(task)
            else:
                effects.ready.append(task)

    def doom(self, task: Task, dependents: Sequence[Task], effects: Effects) -> None:
        """End what hangs on a failed task. Called by controls."""
        for doomed, blamed in graph.doom(self.live, task, dependents):
            error: BaseException
            error, doomed.state = blame(doomed, blamed)
            if not settle([(doomed.future, error, None)])[0]:
                error, doomed.state = CancelledError(), TaskState.CANCELLED
            self._conclude(doomed, error, effects)

    def _lower_barriers(self, task: Task) -> None:
        for barrier in list(self.barriers):
            barrier.left.discard(task.id)
            if not barrier.left:
                self.barriers.remove(barrier)
                barrier.done.set()

    def _note_failure(self, task: Task, error: BaseException) -> None:
        if task.state is not TaskState.FAILED:
            return
        line = f"Task {task.title} failed: {one_line(error)}"
        self.log.warning("%s", line)
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(line)
        if not self.config.lazy_errors and self.closed is None:
            self.closed = f"the run has stopped at its first failure. {line}"
            self.scheduler.inbox.append(self.cancel_unsubmitted)

    def cancel_unsubmitted(self, effects: Effects) -> None:
        """Cancel what has not been given to an executor. A control."""
        for task in list(self.live.values()):
            if task.state in _CANCELLABLE:
                self._end(
                    [(task, TaskState.CANCELLED, CancelledError(), None)], effects
                )

    def cancel_rest(self, effects: Effects) -> None:
        """End what the executors have not reported and no longer will. A control."""
        rest = list(self.live.values())
        if rest:
            titles = ", ".join(task.title for task in rest[:10])
            self.log.warning("Ended with %d unfinished tasks: %s", len(rest), titles)
        for task in rest:
            self.end(task, TaskState.CANCELLED, CancelledError(), None, effects)

    # -- what a step called for, without the role

    def _perform(self, effects: Effects) -> None:
        if effects.ready:
            launch.launch(self, effects.ready)
        for future in effects.ended:
            self._announce(future)
        if self.throttled:
            with self.room:
                self.room.notify_all()
        for task, error in effects.failed:
            retry.handle_failure(self, task, error)
        for task, value in effects.returned:
            finish.finish(self, task, value)
        for task in effects.joined:
            finish.complete_join(self, task)
        for task in effects.freed:
            self.memo.free(task)

    def _announce(self, future: KernelFuture[Any]) -> None:
        callbacks = announce(future)
        if callbacks:
            self.callbacks.put(future, callbacks)

    # -- dependencies that are not tasks of this kernel

    def watch_foreign(self, task: Task, futures: Sequence[Future[Any]]) -> None:
        """Have other futures release ``task``; ``task.waiting`` counts them already."""
        for future in futures:
            future.add_done_callback(partial(self._foreign_done, task))

    def _foreign_done(self, task: Task, future: Future[Any]) -> None:
        # May run on a user's thread, which never takes the role.
        self.scheduler.post(partial(self._on_foreign, task, future))

    def _on_foreign(self, task: Task, future: Future[Any], effects: Effects) -> None:
        if task.state in FINAL:
            return
        error: BaseException | None
        if future.cancelled():
            error = CancelledError("a future that it depends on was cancelled")
        else:
            error = future.exception()
        if error is None:
            self._release([task], effects)
            return
        dependency_error, state = blame_foreign(task, future, error)
        self.end(task, state, dependency_error, None, effects)


_GET_ITEM = AppSpec("getitem", executors=(INTERNAL,))
_ROOM_CHECK_S = 1.0  # a notification that was missed costs no more than this
_CANCELLABLE = frozenset({TaskState.WAITING, TaskState.READY, TaskState.JOINING})
_KEPT_FAILURES = 100
