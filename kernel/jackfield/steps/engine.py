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
from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.abc import Outcome, runs_tasks
from jackfield.dataflow import (
    cancelling,
    finish,
    foreign,
    graph,
    perform,
    reports,
)
from jackfield.errors import one_line
from jackfield.executors.pool import INTERNAL
from jackfield.futures.claims import Cancellation, settle
from jackfield.graph.dependency_errors import blame
from jackfield.graph.effects import Barrier, Effects, Ended, Ending
from jackfield.graph.scheduler import Scheduler, is_interrupt
from jackfield.graph.task import AppSpec, Task
from jackfield.states import FINAL, TaskState
from jackfield.steps.submit import submit

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

    from jackfield.config import Config
    from jackfield.executors.pool import ExecutorEntry, ExecutorPool
    from jackfield.futures import AppFuture
    from jackfield.futures.callbacks import CallbackRunner
    from jackfield.futures.locks import Latch
    from jackfield.graph.events import EventStream
    from jackfield.plugins.manager import PluginManager
    from jackfield.results.checkpoints import Checkpoints
    from jackfield.results.flights import Memo
    from jackfield.transfers.flights import Staging


class Engine:
    """State and transitions of one kernel; ``DataFlowKernel`` is its public face.

    Attributes:
        live: Tasks that are registered and not ended, by id.
        counts: Final state to number of tasks.
        failures: The first failures, one line each.
        strays: Reports that were dropped: repeated, late or unknown.
        room: One for each submitter that waits until tasks have ended.
        closed: Set when no further task is taken; says why.
        stopped: Set when the run is cut short: nothing is moved or tried again.
        events: Where tasks' changes of state are told, if somebody listens.
        transfer_events: Where transfers' steps are, likewise.
    """

    pool: ExecutorPool
    checkpoints: Checkpoints
    callbacks: CallbackRunner
    events: EventStream | None = None
    transfer_events: EventStream | None = None

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
        self.copies: bool = config.staging.get("file", {}).get("copy") is True
        self.run_dir: Path = run_dir
        self.room: deque[Latch] = deque()
        self.closed: str | None = None
        self.stopped: threading.Event = threading.Event()
        self._memo: Memo | None = None
        self._staging: Staging | None = None
        self._making: threading.Lock = threading.Lock()
        self.barriers: list[Barrier] = []
        self.scheduler: Scheduler = Scheduler(
            self.step, partial(perform.perform, self), "dispatcher", self.fault
        )

    @property
    def memo(self) -> Memo:
        """The results of cached apps; made for the first one."""
        if self._memo is None:
            from jackfield.results.flights import Memo  # for cached apps only

            with self._making:
                self._memo = self._memo or Memo(self, self.checkpoints)
        return self._memo

    @property
    def staging(self) -> Staging:
        """Who moves files; made for the first one."""
        if self._staging is None:
            from jackfield.transfers.flights import Staging  # most runs need none

            with self._making:
                self._staging = self._staging or Staging(self, self.run_dir)
        return self._staging

    def stop(self) -> None:
        """Cut the run short: stop what is moved, begin nothing again."""
        self.stopped.set()
        if self._staging is not None:
            self._staging.stop_all()

    # -- coming in

    def report(self, entry: ExecutorEntry, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes from an executor; see ``abc.Report``."""
        try:
            self.scheduler.inbox.extend(outcomes)
        except TypeError:
            kind = type(outcomes).__name__
            self.log.exception("An executor reported %s, no list of outcomes", kind)
        if entry.load > entry.workers:
            self.scheduler.nudge()  # this thread has more to run
        else:
            self.scheduler.pump()

    def control(self, action: Callable[[Effects], None]) -> None:
        """Have ``action`` change the graph, from a thread of the kernel."""
        self.scheduler.inbox.append(action)
        self.scheduler.pump()

    def fault(self, error: BaseException) -> None:
        """Log what ought not to happen. No thread of the kernel ends by it.

        Raises:
            KeyboardInterrupt: It is the user's, on the main thread.
        """
        if is_interrupt(error):
            raise error
        self.log.critical("Fault in the kernel", exc_info=error)

    def cancel(self, task: Task, future: AppFuture[Any]) -> bool:
        """Cancel a task on any thread; see ``AppFuture.cancel``."""
        return cancelling.cancel(self, task, future)

    def submit_internal(
        self, spec: AppSpec, action: Callable[[], Any]
    ) -> AppFuture[Any]:
        """Submit a task of the kernel's own."""
        return submit(self, spec, action, (), {})

    def lift_item(self, future: AppFuture[Any], key: Any) -> AppFuture[Any]:
        """Return the future of one item of a future's result."""
        return submit(self, _GET_ITEM, operator.getitem, (future, key), {})

    def serves(self) -> bool:
        """Tell whether tasks wait for this thread: it runs one, or ends one."""
        return runs_tasks() or self.scheduler.busy

    def unfinished(self) -> int:
        """Return how many tasks have not ended, those in the inbox included."""
        return len(self.live) + len(self.scheduler.inbox)

    # -- a step, with the role

    def step(self, inbox: deque[Any], limit: int) -> Effects:
        """Work off up to ``limit`` items; return what they call for."""
        effects = Effects()
        endings: list[Ending] = []
        for _ in range(limit):
            if not inbox:
                break
            item = inbox.popleft()
            kind = type(item)
            if kind is tuple:
                reports.take(self, item, endings, effects)
            elif kind is Task:
                self._admit(item, effects)
            elif kind is Ended:
                task, state, error, value = item
                if task.state not in FINAL:
                    endings.append((task.future, error, value, task, state))
            elif not callable(item):
                reports.take_nonsense(self, item, endings, effects)
            else:
                if endings:  # keep the order of what came in
                    self._end(endings, effects)
                    endings = []
                self._run_control(item, effects)
        if endings:
            self._end(endings, effects)
        return effects

    def _run_control(
        self, action: Callable[[Effects], object], effects: Effects
    ) -> None:
        try:
            action(effects)
        except BaseException as error:
            self.fault(error)

    def _admit(self, task: Task, effects: Effects) -> None:
        if self.closed is not None and task.spec.kind != "transfer":
            self.live[task.id] = task  # submitted before, but too late to begin
            self.on_cancelled(task, effects)
            return
        if task.parents is not None:
            parents, task.parents = task.parents, ()
            self._wait(task, parents, effects)
        elif task.found is not None:
            self._wait(task, foreign.own_tasks(self, task.found.futures), effects)
        else:
            self.live[task.id] = task
            task.state = TaskState.READY
            effects.ready.append(task)

    def wait_again(self, task: Task, effects: Effects) -> None:
        """Have a task wait for what turned up in its arguments. A control."""
        if task.state in FINAL:  # cancelled meanwhile, when nobody saw the files
            if task.found is not None:
                effects.rest.append((perform.release_files, task, task.found.files))
            return
        task.state = TaskState.WAITING
        if task.found is not None:
            self._wait(task, foreign.own_tasks(self, task.found.futures), effects)

    def _wait(self, task: Task, parents: Iterable[Task], effects: Effects) -> None:
        failed = graph.add(self.live, task, parents)
        if failed is not None:
            self.doom(failed, [task], effects)
        elif task.waiting == 0:
            task.state = TaskState.READY
            effects.ready.append(task)

    def on_cancelled(self, task: Task, effects: Effects) -> None:
        """End a task whose future is cancelled. A control."""
        if task.state in FINAL:
            return
        if task.state is TaskState.SUBMITTED and task.entry is not None:
            task.entry.returned += 1
        self.end(task, TaskState.CANCELLED, Cancellation(), None, effects)

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
            self._end([(task.future, error, value, task, state)], effects)

    def succeed(self, task: Task, value: Any) -> None:
        """End a task well, from a thread of the kernel."""
        self.post_end(Ended(task, TaskState.SUCCEEDED, None, value))

    def post_end(self, ended: Ended) -> None:
        """End a task, from a thread of the kernel."""
        self.scheduler.inbox.append(ended)
        self.scheduler.pump()

    def end_cancelled(self, task: Task, effects: Effects) -> None:
        """End a task that the end of the run has overtaken. A control."""
        self.end(task, TaskState.CANCELLED, Cancellation(), None, effects)

    def _end(self, endings: Sequence[Ending], effects: Effects) -> None:
        wins = settle(endings)
        for (_, error, _, task, state), won in zip(endings, wins, strict=True):
            if not won:  # the user's cancel came first
                state, error = TaskState.CANCELLED, Cancellation()  # noqa: PLW2901
            dependents = graph.end(self.live, task, state)
            self._conclude(task, error, effects)
            if not dependents:
                continue
            if error is None:
                self.release(dependents, effects)
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
                effects.rest.append((perform.free, task))
        if error is not None:
            if task.found is not None and task.found.files:
                effects.rest.append((perform.release_files, task, task.found.files))
            task.error = error
            self._note_failure(task, error, effects)
        if self.events is not None:
            self.events.note((task,), error)
        if self.barriers:
            self._lower_barriers(task)
        task.forget()

    def release(self, dependents: Sequence[Task], effects: Effects) -> None:
        """Count a success on tasks that wait for it. Called by controls."""
        for task in graph.release(dependents):
            if task.state is TaskState.JOINING:
                effects.rest.append((finish.complete_join, task))
            else:
                effects.ready.append(task)

    def doom(self, task: Task, dependents: Sequence[Task], effects: Effects) -> None:
        """End what hangs on a failed task. Called by controls."""
        for doomed, blamed in graph.doom(self.live, task, dependents):
            error: BaseException
            error, doomed.state = blame(doomed, blamed)
            ending = (doomed.future, error, None, doomed, doomed.state)
            if not settle([ending])[0]:
                error, doomed.state = Cancellation(), TaskState.CANCELLED
            self._conclude(doomed, error, effects)

    def set_barrier(self, barrier: Barrier, effects: Effects) -> None:
        """Have a barrier wait for the tasks that are live now. A control."""
        del effects
        barrier.left = set(self.live)
        if barrier.left:
            self.barriers.append(barrier)
        else:
            barrier.down.open()

    def drop_barrier(self, barrier: Barrier, effects: Effects) -> None:
        """Forget a barrier that nobody waits at any more. A control."""
        del effects
        if barrier in self.barriers:
            self.barriers.remove(barrier)

    def _lower_barriers(self, task: Task) -> None:
        for barrier in list(self.barriers):
            barrier.left.discard(task.id)
            if not barrier.left:
                self.barriers.remove(barrier)
                barrier.down.open()

    def _note_failure(self, task: Task, error: BaseException, effects: Effects) -> None:
        if task.state is not TaskState.FAILED:
            return
        line = f"Task {task.title} failed: {task.reason or one_line(error)}"
        effects.rest.append((perform.warn, task, line))
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(line)
        if not self.config.lazy_errors and self.closed is None:
            self.closed = f"the run has stopped at its first failure. {line}"
            self.scheduler.inbox.append(partial(cancelling.cancel_unsubmitted, self))


_GET_ITEM = AppSpec("getitem", executors=(INTERNAL,))
_KEPT_FAILURES = 100
