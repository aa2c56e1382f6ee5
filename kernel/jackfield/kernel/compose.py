"""Makes the parts of one kernel and gives each the other parts that it uses.

No part knows the whole: a class of ``steps``, say, gets the few things that it uses as
arguments, nine at the most. They are all made here, in an order in which each finds
what it needs. Where two parts need each other, one of them gets a method of ``Parts``
that calls the other when it is there.

``Parts`` also keeps what the public face of the kernel (``dfk``) and its end
(``shutdown``) call themselves. No other room sees it.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jackfield import clock
from jackfield.abc import current_work
from jackfield.errors import CheckpointWarning
from jackfield.executors.pool import ExecutorPool
from jackfield.futures.callbacks import CallbackRunner
from jackfield.futures.locks import Latch, is_interrupt
from jackfield.graph.arguments import checked_parts
from jackfield.graph.observation import Observation
from jackfield.graph.route import INTERNAL, TRANSFERS
from jackfield.graph.scheduler import Scheduler
from jackfield.graph.state import Barrier, Barriers, Closing, Tally
from jackfield.graph.task import AppSpec, Home
from jackfield.graph.transitions import Effects, Ended
from jackfield.states import Summary, TaskState
from jackfield.steps.call import CallReader
from jackfield.steps.cancel import Canceller
from jackfield.steps.code import PresentCode
from jackfield.steps.ends import Ends, Failures
from jackfield.steps.engine import (
    EffectRunner,
    Engine,
    Intake,
    Reports,
    receive_outcomes,
)
from jackfield.steps.finish import Finisher
from jackfield.steps.foreign import ForeignFutures
from jackfield.steps.in_task import InTask
from jackfield.steps.join import Joins
from jackfield.steps.launch import Handover, Launcher
from jackfield.steps.lazy import Lazy
from jackfield.steps.prepare import Preparer
from jackfield.steps.retry import Retrier
from jackfield.steps.submit import Dependencies, Submitter
from jackfield.steps.throttle import Throttle
from jackfield.steps.writers import Writers
from jackfield.stream import StreamContext

if TYPE_CHECKING:
    from concurrent.futures import Future

    from jackfield.abc import Kept
    from jackfield.config import Config
    from jackfield.events import Load
    from jackfield.executors.scaling import Scaling
    from jackfield.files import File
    from jackfield.futures import AppFuture
    from jackfield.graph.arguments import Opener
    from jackfield.graph.task import Task
    from jackfield.keeping import ResultKeeper
    from jackfield.kernel.log import RunLog
    from jackfield.memo_keys import KeyMaker
    from jackfield.plugins.manager import PluginManager
    from jackfield.results.flights import Flights
    from jackfield.staging.mover import Errand, Mover, Progress
    from jackfield.states import TaskView

T = TypeVar("T")

RUN_DIR: Final = "{run_dir}"
"""Stands in a store's URL for the directory of the run."""

TRANSFER_THREADS: Final = 16
"""How many files are moved at a time if nothing is configured.

It is twice the connections of one host, so that one slow host leaves threads to others.
"""

SUMMARY_S: Final = 5.0
"""Seconds that a summary waits for what happened before it to be recorded."""

LOOK_UP: Final = AppSpec("memo_look_up", kind="transfer", executors=(INTERNAL,))
"""Looks a cached call up in a task of the kernel's own.

It is used where to make the memo key takes long, because the arguments are large, so
that it does not hold up a thread of the kernel.
"""

ERRANDS: Final[Mapping[Errand, AppSpec]] = {
    "stage_in": AppSpec("stage_in", kind="transfer", executors=(TRANSFERS,)),
    "stage_out": AppSpec("stage_out", kind="transfer", executors=(TRANSFERS,)),
    "verify": AppSpec("verify", kind="transfer", executors=(INTERNAL,)),
}
"""The tasks that a mover starts."""


class Parts:
    """The parts of one kernel. Making them starts no thread and no executor.

    Attributes:
        live: The tasks that are registered and have not ended, by number.
        tally: How many tasks have ended in which state.
        closing: Whether tasks are still taken.
        barriers: What threads wait at that wait for all tasks.
        observation: Tells observers of tasks and transfers.
        scheduler: Says which thread may change the graph.
        callbacks: Calls the users' done-callbacks.
        keeper: Gives what keeps results for later runs; made at once if a store is
            configured.
        pool: The executors.
        ends: Ends tasks.
        home: What tasks know of the kernel.
        submitter: Takes new tasks.
    """

    def __init__(
        self, config: Config, manager: PluginManager, run_dir: Path, log: RunLog
    ) -> None:
        self._started: float = clock.monotonic()
        self._created: float = time.time()
        self.config: Config = config
        self.manager: PluginManager = manager
        self.run_dir: Path = run_dir
        self.log: RunLog = log
        self.live: dict[int, Task] = {}
        self.tally: Tally = Tally()
        self.closing: Closing = Closing()
        self.barriers: Barriers = Barriers()
        self.observation: Observation = _observation(config)
        self.callbacks: CallbackRunner = CallbackRunner()
        self.scheduler: Scheduler = Scheduler("dispatcher", self._fault)
        self._throttle: Throttle = Throttle(
            self.live,
            self.scheduler.inbox,
            self.closing,
            self.must_not_wait,
            log.warning,
        )
        self._transfers: Lazy[Mover] = Lazy(self._make_mover)
        self._keys: Lazy[KeyMaker] = Lazy(self._make_keys)
        self._flights: Lazy[Flights] = Lazy(self._make_flights)
        self._scaling: Lazy[Scaling] = Lazy(self._make_scaling)
        self.keeper: Lazy[ResultKeeper] = Lazy(self._make_keeper)
        self._checkpoint: Mapping[str, Any] = _in_run_dir(config.checkpoint, run_dir)
        if config.checkpoint:
            self.keeper()
        self.pool: ExecutorPool = ExecutorPool(
            manager,
            run_dir,
            partial(receive_outcomes, self.scheduler, log),
            self._own_executors(),
            self.observation.tell,
            lambda: self._scaling().ask_soon(),
            self.scheduler,
            log,
        )
        self._make_ends()
        self._make_beginning()
        self._make_engine()

    # -- how tasks end

    def _make_ends(self) -> None:
        failures = Failures(
            self.tally, self.closing, self.log, lazy=self.config.lazy_errors
        )
        scheduler = self.scheduler
        self.ends: Ends = Ends(
            self.live,
            self.tally,
            self.barriers,
            failures,
            self.observation,
            control=scheduler.control,
            free_followers=self._free,
            release_files=self._release_files,
        )
        self._foreign: ForeignFutures = ForeignFutures(self.ends, scheduler.post)
        canceller = Canceller(self.ends, scheduler.post, self.log)
        self.home: Home = Home(
            live=self.live,
            caches=self.config.app_cache,
            keeper=lambda: self.keeper.made,
            seen=self.tally.seen,
            cancel=canceller.cancel,
            lift_item=lambda *item: self.submitter.lift_item(*item),  # noqa: PLW0108  (it is made later)
        )
        self._joins: Joins = Joins(
            self.live,
            self.home,
            self.ends,
            self._foreign,
            self._flights,
            self.observation,
        )

    # -- how tasks begin

    def _make_beginning(self) -> None:
        config, post = self.config, self.scheduler.post
        self._in_task: InTask = InTask(self.pool, self._transfers)
        self._code: PresentCode = PresentCode(self._keys, self._flights)
        copies = config.staging.get("file", {}).get("copy") is True
        dependencies = Dependencies(
            home=self.home,
            deep=config.dependencies == "deep",
            copies=copies,
            post=post,
            foreign=self._foreign,
            transfers=self._transfers,
            in_task=self._in_task,
            opener=self._opener,
        )
        self.submitter: Submitter = Submitter(
            home=self.home,
            post=post,
            closing=self.closing,
            pool=self.pool,
            reader=CallReader(
                self.run_dir, self._transfers, self._name_stream, copies=copies
            ),
            limit=config.max_pending,
            throttle=self._throttle,
            dependencies=dependencies,
            observation=self.observation,
        )

    # -- what happens to tasks between beginning and end

    def _make_engine(self) -> None:
        scheduler, ends = self.scheduler, self.ends
        intake = Intake(
            self.live,
            self.home,
            self.closing,
            ends,
            self.observation,
            self._release_files,
        )
        retrier = Retrier(
            self.manager,
            self.pool,
            self.config,
            self.closing,
            scheduler,
            self._code,
            ends,
            self.observation,
            self.log,
        )
        finisher = Finisher(
            transfers=self._transfers,
            joins=self._joins,
            retry=retrier.handle,
            succeed=self._succeed,
            fail=ends.fail,
            control=scheduler.control,
        )
        reports = Reports(
            self.live,
            self.tally,
            self._flights,
            retrier.handle,
            finisher.finish,
            self.observation,
        )
        effect_runner = EffectRunner(
            self._make_launcher(intake),
            self.callbacks,
            self._throttle,
            finisher,
            self.observation,
            fail=ends.fail,
            fault=self._fault,
        )
        engine = Engine(intake, reports, ends, self.observation, self._fault)
        scheduler.work_with(engine.step, effect_runner.run)

    def _make_launcher(self, intake: Intake) -> Launcher:
        preparer = Preparer(
            deep=self.config.dependencies == "deep",
            in_task=self._in_task,
            transfers=self._transfers,
            memo=self._flights if self.config.app_cache else None,
            opener=self._opener,
            wait_for_late_files=intake.wait_for_late_files,
            control=self.scheduler.control,
        )
        handover = Handover(
            self.scheduler,
            self.ends,
            self.closing,
            self.observation,
            self._in_task,
            self._code,
            self._free,
            Lazy(partial(self.manager.usual, "walltime", (type,))),
            Writers(self.log),
        )
        return Launcher(
            preparer,
            self.pool,
            self.manager,
            handover,
            self.scheduler.away,
            self.ends.fail,
            self._fetch,
            self._launch,
        )

    # -- parts that are made when a run first needs them

    def _make_mover(self) -> Mover:
        from jackfield.staging.mover import Mover, MoverContext

        around = MoverContext(
            self.config.transfers,
            self.config.staging,
            self.manager.hooks.credentials,
            self.manager.provider,
            self.run_dir / "files",
            lambda errand, do: self.submitter.submit_internal(ERRANDS[errand], do),
            self.closing.cut_short,
            self._note_transfer,
            self.log,
        )
        return self.manager.usual("mover", (Mover,), around)

    def _note_transfer(
        self, number: int, url: str, direction: str, progress: Progress
    ) -> None:
        if self.observation.transfers is not None:
            self.observation.transfers.note_transfer(number, url, direction, progress)

    def _make_flights(self) -> Flights:
        from jackfield.results.flights import Actions, Flights

        actions = Actions(
            end=self._end,
            fail=self.ends.fail,
            launch=self._launch,
            refuse_circle=lambda task, leader: self.scheduler.control(
                partial(self._joins.refuse_circle, task, leader)
            ),
            elsewhere=partial(self.submitter.submit_internal, LOOK_UP),
            fetch=self._fetch,
            warn=partial(self._warn_of_results, level=logging.WARNING),
            forbidden=self._is_forbidden,
        )
        return Flights(self._keys(), self.keeper, actions)

    def _make_keys(self) -> KeyMaker:
        from jackfield.plugins.key_makers import create_key_maker

        return create_key_maker(self.manager, self._checkpoint.get("files", "content"))

    def _make_keeper(self) -> ResultKeeper:
        from jackfield.keeping import ResultKeeper, Surroundings

        around = Surroundings(
            directory=self.run_dir.parent,
            started=self._created,
            open_store=self.manager.open_checkpoint,
            gathering=self.scheduler.gathering,
            warn=self._warn_of_results,
            stop_run=self.stop_run,
        )
        return self.manager.usual("keeper", (ResultKeeper,), self._checkpoint, around)

    def _make_scaling(self) -> Scaling:
        from jackfield.executors.scaling import Scaling

        period, later = self.config.scale_period, self.scheduler.call_later
        return Scaling(self.manager, self.pool, period, later, self.log)

    def _warn_of_results(self, text: str, level: int) -> None:
        """Tell of results that are not kept, in the log and by a warning."""
        self.log.log(level, "%s", text)
        warning = CheckpointWarning(text)
        warning.logged = True
        with suppress(CheckpointWarning):  # made an error: but nobody could catch it
            warnings.warn(warning, stacklevel=1)

    def _own_executors(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the tables of the kernel's own executors; see ``ExecutorPool``."""
        files = self.config.transfers.get("threads", TRANSFER_THREADS)
        return {
            INTERNAL: {"plugin": "threads", "workers": self.config.internal_threads},
            TRANSFERS: {"plugin": "transfers", "workers": files},
        }

    # -- calls from one part to another that is made later, or only when it is needed

    def _free(self, task: Task) -> None:
        self._flights().free(task)

    def _succeed(self, task: Task, value: Any) -> None:
        if task.extras is not None and task.extras.memo == "miss":
            self._flights().remember(task, value)
        else:
            self._end(task, TaskState.SUCCEEDED, None, value)

    def _end(
        self, task: Task, state: TaskState, error: BaseException | None, value: Any
    ) -> None:
        self.scheduler.inbox.append(Ended(task, state, error, value))
        self.scheduler.pump()

    def _fetch(self, kept: Kept, action: Callable[[], None]) -> None:
        """Do something, in a task of the kernel's own, when a result is at hand."""

        def wait() -> None:
            with suppress(Exception):  # whoever reads it gets the error
                kept.fetch()
            action()

        spec = AppSpec("fetch", kind="transfer", executors=(INTERNAL,))
        self.submitter.submit_internal(spec, wait)

    def _launch(self, tasks: Sequence[Task]) -> None:
        def ready(effects: Effects) -> None:
            effects.ready += [one for one in tasks if one.state is TaskState.READY]

        self.scheduler.control(ready)

    # -- plugins that are asked

    def _name_stream(self, view: TaskView, stream: str) -> Any:
        hooks = self.manager.hooks.stream_path
        return self.manager.ask(hooks, lambda path: path, view, stream)

    def _is_forbidden(self, task: Task) -> bool:
        hooks, ask = self.manager.hooks.use_result, self.manager.ask
        return bool(hooks) and ask(hooks, bool, task.view(with_call=True)) is False

    def _opener(self) -> Opener | None:
        hooks = self.manager.hooks.find_futures
        return partial(self.manager.ask, hooks, checked_parts) if hooks else None

    def _release_files(self, _: Task, files: Mapping[File, Future[Any] | None]) -> None:
        self._transfers().release(files)

    def _fault(self, error: BaseException) -> None:
        """Log an exception that must not occur, and go on; a Ctrl-C is raised."""
        if is_interrupt(error):
            raise error
        self.log.critical("Fault in the kernel", exc_info=error)

    # -- for the public face of the kernel and for its end

    def summary(self) -> Summary:
        """Return what has become of the tasks so far.

        It is made by an item of the inbox. So it comes after the ends of all tasks
        whose results anybody has seen, which are recorded a moment after the results
        are there. A thread that works for the kernel cannot wait for that, and makes it
        itself; so does one that waits in vain, since a plugin holds the dispatcher up.
        """
        return self.in_turn(self._summary)

    def in_turn(self, look: Callable[[], T]) -> T:
        """Look at the graph in an item of the inbox; or here, if none is worked off."""
        if self.scheduler.thread.is_alive() and not self.scheduler.busy:
            made: list[T] = []
            latch = Latch()

            def make(_: Effects) -> None:
                made.append(look())
                latch.open()

            self.scheduler.post(make)
            if latch.wait(SUMMARY_S):
                return made[0]
        return look()

    def unended(self) -> dict[int, AppFuture[Any]]:
        """Return the users' tasks that have not ended; to be called by ``in_turn``."""
        futures = {}
        for task in list(self.live.values()):
            future = task.future  # dropped by who ends the task
            users = task.spec.kind != "transfer"
            if future is not None and users and not future.done():
                futures[task.id] = future
        return futures

    def _summary(self) -> Summary:
        counts, own = dict.fromkeys(TaskState, 0), dict.fromkeys(TaskState, 0)
        counts.update(self.tally.counts)
        own.update(self.tally.own)
        for task in list(self.live.values()):
            (own if task.spec.kind == "transfer" else counts)[task.state] += 1
        return Summary(
            counts=MappingProxyType(counts),
            failures=tuple(self.tally.failures),
            failed=counts[TaskState.FAILED],
            elapsed=clock.monotonic() - self._started,
            run_dir=self.run_dir,
            own=MappingProxyType(own),
        )

    def wait_for_tasks(self, timeout: float | None = None) -> None:
        """Wait until every task submitted so far has ended; see ``DataFlowKernel``.

        Raises:
            TimeoutError: Some have not ended in time.
        """
        # The barrier is set by an item of the inbox, which comes after all tasks that
        # were submitted before. When it is worked off, these are live or have ended.
        barrier = Barrier()
        self.scheduler.post(partial(self.barriers.set, barrier, self.live))
        down = False
        try:
            down = barrier.down.wait(timeout)
        finally:
            if not down:  # out of time, or Ctrl-C
                self.scheduler.post(partial(self.barriers.drop, barrier))
        if not down:
            number = len(barrier.left)
            raise TimeoutError(f"{number} tasks did not end within {timeout} s")

    def must_not_wait(self) -> bool:
        """Tell whether this thread runs a task or works for the kernel.

        It must not wait for tasks, because tasks wait for it.
        """
        return current_work() is not None or self.scheduler.busy

    def unfinished(self) -> int:
        """Return how many tasks have not ended, those in the inbox included."""
        return self._throttle.unfinished()

    def stop_run(self, reason: str) -> None:
        """Take no further task, and cancel those that have not begun.

        Those who submit a task afterwards are told the reason.
        """
        if self.closing.reason is None:
            self.closing.close(reason)
            self.scheduler.control(self.ends.cancel_all_not_begun)

    def cut_short(self) -> None:
        """Cancel what has not begun, stop transfers, let none and no retry begin."""
        # Before transfers are stopped, the tasks that wait for them are cancelled: they
        # are not to fail with their files. Once more afterwards, for a task that was to
        # be tried again in between.
        self.scheduler.post(self.ends.cancel_all_not_begun)
        self.closing.cut_short.set()  # first; see ``Mover.stop_all``
        if self._transfers.made is not None:
            self._transfers.made.stop_all()
        self.scheduler.post(self.ends.cancel_all_not_begun)

    def observe(self) -> None:
        """Start the event stream if a plugin observes and it is not started yet.

        Raises:
            PluginError: Nobody makes one.
        """
        seen, hooks = self.observation, self.manager.hooks
        stream = seen.stream
        some = hooks.task_events or hooks.transfer_events or hooks.run_events
        if stream is None and some:
            around = StreamContext(
                self.manager.deliver_events, self._loads, self.log, seen.complete
            )
            stream = self.manager.create_stream(around)
            stream.start()
        if hooks.task_events:
            seen.tasks = stream
        if hooks.transfer_events or hooks.run_events:
            seen.transfers = stream
        if hooks.run_events:
            seen.runs = stream

    def _loads(self) -> list[Load]:
        """Return what each executor has to do."""
        from jackfield.events import Load  # only observers need it

        run = self.pool.running
        return [
            Load(e.label, e.workers, e.load, running=run(e), lacking=e.health.reason)
            for e in self.pool.entries.values()
        ]


def _observation(config: Config) -> Observation:
    """Return what is noted for observers, which are none yet."""
    monitors = config.monitors.values()
    resources = any(one.get("resources") for one in monitors)
    return Observation(
        complete=any(one.get("complete") for one in monitors),
        measure="resources" if resources else "times",
    )


def _in_run_dir(table: Mapping[str, Any], run_dir: Path) -> Mapping[str, Any]:
    """Return the checkpoint table with the run's directory put into the store's URL."""
    if RUN_DIR not in table.get("store", ""):
        return table
    return {**table, "store": table["store"].replace(RUN_DIR, str(run_dir.absolute()))}
