"""Makes the parts of one kernel and gives each the other parts that it uses.

No part knows the whole: a class of ``steps``, say, gets the three to eight things that
it uses as arguments. They are all made here, in an order in which each finds what it
needs. Where two parts need each other, one of them gets a method of ``Parts`` that
calls the other when it is there.

``Parts`` also keeps what the public face of the kernel (``dfk``) and its end
(``shutdown``) call themselves. No other room sees it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from jackfield import clock
from jackfield.abc import current_work
from jackfield.executors.pool import ExecutorPool
from jackfield.futures.callbacks import CallbackRunner
from jackfield.futures.locks import Latch
from jackfield.graph.events import EventStream, Observation
from jackfield.graph.route import INTERNAL, TRANSFERS
from jackfield.graph.scheduler import Scheduler, is_interrupt
from jackfield.graph.state import Barriers, Closing, Tally
from jackfield.graph.task import AppSpec, Home
from jackfield.graph.transitions import Effects, Ended
from jackfield.results.checkpoints import Checkpoints
from jackfield.states import Summary, TaskState
from jackfield.steps.call import CallReader
from jackfield.steps.cancel import Canceller
from jackfield.steps.code import PresentCode
from jackfield.steps.ends import EndRecorder, Ends, Failures
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

if TYPE_CHECKING:
    from concurrent.futures import Future
    from logging import Logger

    from jackfield.abc import Work
    from jackfield.config import Config
    from jackfield.files import File
    from jackfield.futures import AppFuture
    from jackfield.graph.task import Task
    from jackfield.memo_keys import KeyMaker
    from jackfield.plugins.manager import PluginManager
    from jackfield.results.flights import Flights
    from jackfield.transfers.shared import SharedTransfers

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
        checkpoints: The stores of results of earlier runs, and for later ones.
        pool: The executors.
        ends: Ends tasks.
        submitter: Takes new tasks.
    """

    def __init__(
        self, config: Config, manager: PluginManager, run_dir: Path, log: Logger
    ) -> None:
        self._started: float = clock.monotonic()
        self.config: Config = config
        self.manager: PluginManager = manager
        self.run_dir: Path = run_dir
        self.log: Logger = log
        self.live: dict[int, Task] = {}
        self.tally: Tally = Tally()
        self.closing: Closing = Closing()
        self.barriers: Barriers = Barriers()
        self.observation: Observation = Observation()
        self.callbacks: CallbackRunner = CallbackRunner()
        self.scheduler: Scheduler = Scheduler("dispatcher", self._fault)
        self._throttle: Throttle = Throttle(
            self.live,
            self.scheduler.inbox,
            self.closing,
            self.must_not_wait,
            log.warning,
        )
        self._transfers: Lazy[SharedTransfers] = Lazy(self._make_transfers)
        self._keys: Lazy[KeyMaker] = Lazy(self._make_keys)
        self._flights: Lazy[Flights] = Lazy(self._make_flights)
        self.checkpoints: Checkpoints = Checkpoints(
            config.checkpoint,
            manager.open_checkpoint,
            run_dir.parent,
            log,
            self.scheduler.gathering,
            self.stop_run,
        )
        self.pool: ExecutorPool = ExecutorPool(
            manager,
            run_dir,
            partial(receive_outcomes, self.scheduler, log),
            self._own_executors(),
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
        recorder = EndRecorder(
            self.tally,
            self.barriers,
            failures,
            self.observation,
            free_followers=self._free,
            release_files=self._release_files,
        )
        scheduler = self.scheduler
        self.ends: Ends = Ends(self.live, recorder, failures, scheduler.control)
        self._foreign: ForeignFutures = ForeignFutures(self.ends, scheduler.post)
        canceller = Canceller(self.ends, scheduler.post, self.log)
        self._home: Home = Home(
            live=self.live,
            caches=self.config.app_cache,
            started=time.time(),
            stores=self.checkpoints.reading,
            seen=self.tally.seen,
            cancel=canceller.cancel,
            lift_item=self._lift_item,
        )
        self._joins: Joins = Joins(
            self.live, self._home, self.ends, self._foreign, self._flights
        )

    # -- how tasks begin

    def _make_beginning(self) -> None:
        config, post = self.config, self.scheduler.post
        self._in_task: InTask = InTask(self.pool, self._transfers)
        self._code: PresentCode = PresentCode(self._keys, self._flights)
        dependencies = Dependencies(
            home=self._home,
            deep=config.dependencies == "deep",
            copies=_copies(config),
            post=post,
            foreign=self._foreign,
            transfers=self._transfers,
            in_task=self._in_task,
        )
        self.submitter: Submitter = Submitter(
            home=self._home,
            post=post,
            closing=self.closing,
            pool=self.pool,
            reader=CallReader(self.run_dir, self._transfers, copies=_copies(config)),
            limit=config.max_pending,
            throttle=self._throttle,
            dependencies=dependencies,
        )

    # -- what happens to tasks between beginning and end

    def _make_engine(self) -> None:
        scheduler, ends = self.scheduler, self.ends
        intake = Intake(self.live, self._home, self.closing, ends, self._release_files)
        retrier = Retrier(
            self.manager,
            self.pool,
            self.config,
            self.closing,
            scheduler,
            self._code,
            ends.fail,
            ends.end_cancelled,
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
            self.live, self.tally, self._keep_at_once, retrier.handle, finisher.finish
        )
        effect_runner = EffectRunner(
            self._make_launcher(intake),
            self.callbacks,
            self._throttle,
            finisher,
            fail=ends.fail,
            fault=self._fault,
        )
        engine = Engine(intake, reports, ends, self._fault)
        scheduler.work_with(engine.step, effect_runner.run)

    def _make_launcher(self, intake: Intake) -> Launcher:
        preparer = Preparer(
            deep=self.config.dependencies == "deep",
            in_task=self._in_task,
            transfers=self._transfers,
            memo=self._flights if self.config.app_cache else None,
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
        )
        return Launcher(preparer, self.pool, self.manager, handover, self.ends.fail)

    # -- parts that are made when a run first needs them

    def _make_transfers(self) -> SharedTransfers:
        from jackfield.transfers.shared import SharedTransfers
        from jackfield.transfers.sites import Sites, WarnOnce

        config = self.config
        warn = WarnOnce(self.log)
        mover = self.manager.create_mover(config.transfers, config.staging, warn)
        return SharedTransfers(
            self.run_dir / "files",
            mover,
            Sites(config, self.manager, mover),
            self.submitter.submit_internal,
            copies=_copies(config),
            warn=warn,
            closing=self.closing,
            observation=self.observation,
            log=self.log,
        )

    def _make_flights(self) -> Flights:
        from jackfield.results.flights import Actions, Flights

        actions = Actions(
            end=self._end,
            fail=self.ends.fail,
            launch=self._launch,
            refuse_circle=self._refuse_circle,
            elsewhere=partial(self.submitter.submit_internal, LOOK_UP),
        )
        return Flights(self._keys, self.checkpoints, actions)

    def _make_keys(self) -> KeyMaker:
        from jackfield.plugins.key_makers import create_key_maker

        files = self.config.checkpoint.get("files", "content")
        return create_key_maker(self.manager, files)

    def _own_executors(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the tables of the kernel's own executors; see ``ExecutorPool``."""
        files = self.config.transfers.get("threads", TRANSFER_THREADS)
        return {
            INTERNAL: {"plugin": "threads", "workers": self.config.internal_threads},
            TRANSFERS: {"plugin": "transfers", "workers": files},
        }

    # -- calls from one part to another that is made later, or only when it is needed

    def _lift_item(self, future: AppFuture[Any], key: Any) -> AppFuture[Any]:
        return self.submitter.lift_item(future, key)

    def _free(self, task: Task) -> None:
        self._flights().free(task)

    def _keep_at_once(self, extras: Any, value: Any) -> bool:
        return self._flights().keep_at_once(extras, value)

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

    def _launch(self, tasks: Sequence[Task]) -> None:
        def ready(effects: Effects) -> None:
            effects.ready += [one for one in tasks if one.state is TaskState.READY]

        self.scheduler.control(ready)

    def _refuse_circle(self, task: Task, leader: Task) -> None:
        self.scheduler.control(partial(self._joins.refuse_circle, task, leader))

    def _release_files(
        self, task: Task, files: Mapping[File, Future[Any] | None]
    ) -> None:
        del task
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
        if self.scheduler.thread.is_alive() and not self.scheduler.busy:
            made: list[Summary] = []
            latch = Latch()

            def make(effects: Effects) -> None:
                del effects
                made.append(self._summary())
                latch.open()

            self.scheduler.post(make)
            if latch.wait(SUMMARY_S):
                return made[0]
        return self._summary()

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

    def runs(self, work: Work) -> bool:
        """Tell whether a work is the present attempt of a task of this kernel."""
        return self._home.task_of_work(work) is not None

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
        self.closing.cut_short.set()  # first; see ``SharedTransfers.stop_all``
        if self._transfers.made is not None:
            self._transfers.made.stop_all()
        self.scheduler.post(self.ends.cancel_all_not_begun)

    def observe(self) -> None:
        """Start the event stream if a plugin observes and it is not started yet."""
        seen, hooks = self.observation, self.manager.hooks
        stream = seen.tasks or seen.transfers
        if stream is None and (hooks.task_events or hooks.transfer_events):
            stream = EventStream(self.manager.deliver_events, self.log)
            stream.start()
        if hooks.task_events:
            seen.tasks = stream
        if hooks.transfer_events:
            seen.transfers = stream


def _copies(config: Config) -> bool:
    """Tell whether ``file:`` URLs are staged like those of other schemes."""
    return config.staging.get("file", {}).get("copy") is True
