"""Makes any ``concurrent.futures.Executor`` an executor of the kernel.

The kernel asks for ``plugin = "adapter"`` with the executor as an option, where a
configuration, a script or another plugin gives it one that is not of its own kind. So a
site may adapt such executors in its own way.

The adapted one is called the *engine* here. Works wait in a queue of ours, and the
engine gets, in bundles, what its workers can run and a little more. So a work that
waits can be cancelled whatever the engine can, and a scheduler in Python does not get
a hundred thousand tasks. Where the engine pickles, it gets bytes and gives built-in
types back, so that its own pickling meets no object of a user and can break on none.

A work is in one place at a time: in ``_queue``, in a bundle of ``_flying``, or
reported. It goes from one to the next under ``_lock``. One thread of ours, the *loop*,
does everything that takes time: it fills bundles, hands them over, reads what came of
them and reports. Other threads only change the queue, and wake the loop through
``_inbox``, into which the engine's threads put the bundles that are done.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import math
import pickle
import secrets
import threading
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import READY, Capabilities, Executor, Health
from jackfield.errors import EnvironmentMismatchError, ExecutorError, ExecutorLostError
from jackfield.events import Running
from jackfield.hookspecs import hookimpl
from jackfield_executors.each_its_own import all_failed
from jackfield_executors.foreign import engine
from jackfield_executors.foreign.bundling import MOST, Bundle, Costs, Packer
from jackfield_executors.foreign.failures import Failures
from jackfield_executors.foreign.options import Options, parse_options
from jackfield_executors.measured import place_in_pool
from jackfield_executors.patience import Patience
from jackfield_executors.ranked import Ranked
from jackfield_executors.surroundings import present_directory
from jackfield_executors.threads import join_within
from jackfield_system.works import run_work

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from jackfield.abc import ExecutorContext, Outcome, Work
    from jackfield_executors.foreign.disks import Disks
    from jackfield_executors.remote import bundles
    from jackfield_executors.remote.carrying import Packed

log: logging.Logger = logging.getLogger("jackfield.executors.adapter")

END_S: Final = 5.0
"""Seconds beyond the grace that an idle or killed engine gets to end."""

LOOKED_AT: Final = 1_000
"""Works of a long queue that are looked at, to say how long all of them take."""

STOP_AFTER: Final = 2.0
"""When a bundle has taken so many times its seconds, it begins no further call."""

JACKFIELD_SHOWN = ("workers", "bundle", "ahead", "patience", "carry", "ship")


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | None:
    """Adapt the executor that is given as the option ``executor``."""
    if kind != "adapter":
        return None
    return AdaptedExecutor(parse_options(label, options))


@hookimpl
def jackfield_check_options(name: str, options: Mapping[str, Any]) -> bool:
    """Check an executor's table."""
    parse_options(name, options)
    return True


def adapt(executor: concurrent.futures.Executor, label: str) -> Executor:
    """Return a foreign executor as one of the kernel's, with the default options.

    Args:
        executor: Any executor. Its attribute ``jackfield_capabilities``, if there is
            one, tells what it can do. Without it, a ``ThreadPoolExecutor`` is known to
            share memory with us, and any other is taken to pickle.
        label: Its name, for messages.

    Raises:
        ConfigurationError: ``jackfield_capabilities`` is not ``Capabilities``.
    """
    return AdaptedExecutor(Options(label, executor))


class AdaptedExecutor(Executor):
    """An engine behind the kernel's contract; see ``adapt``."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._engine: concurrent.futures.Executor = options.executor
        self._label: str = options.label
        declared = engine.capabilities(options.executor, options.label)
        # Works are ordered by priority while they wait in our own queue, until the
        # engine has room for them. Its own queue takes no part in that.
        self.capabilities: Capabilities = declared._replace(priorities=True)
        self._true_cancel = engine.cancels_truly(options.executor)
        self._costs = Costs(options.bundle)
        self._packer = Packer()
        self._errors = Failures(options.label, options.executor)
        self._disks: Disks | None = None
        self._watch: engine.Watch | None = None
        self._workers = 0
        self._patience = Patience(options.label, options.patience)
        self._gone = ""  # how long it had no worker, if that was too long
        # Tokens differ between all drivers that use one engine, not only within ours.
        self._tokens = (f"{secrets.token_hex(8)}-{n}" for n in itertools.count())
        self._lock = threading.Lock()
        self._queue: Ranked = Ranked()
        self._flying: dict[str, Bundle] = {}
        self._holder: dict[Work, Bundle] = {}  # the bundle that a flying work is in
        self._inbox: SimpleQueue[Bundle | None] = SimpleQueue()
        # Of the loop alone: what it has to report.
        self._outcomes: list[Outcome] = []
        self._packed: list[tuple[Work, bundles.Outcome, Packed | None]] = []
        self._loop: threading.Thread | None = None
        self._closed = False  # no work is taken any more
        self._muted = False  # the grace is over, and nothing is reported any more
        self._ended = False  # the engine is shut down
        self._ending = threading.Lock()  # held to shut it down: once at a time
        self._idle = threading.Event()  # set when it is closed and nothing is left

    @property
    def workers(self) -> int:
        """As the options or the engine say, or else the number of cores."""
        if isinstance(self._options.workers, int):
            return self._options.workers
        if self._watch is not None:
            return self._watch.workers
        return engine.fixed_workers(self._engine)

    @property
    def health(self) -> Health:
        """As the last answer was, if the engine can be asked for its workers."""
        return READY if self._watch is None else self._patience.health

    def start(self, context: ExecutorContext) -> None:
        """Remember where to report, and look how many workers there are."""
        self._label = context.label
        self._patience = Patience(context.label, self._options.patience)
        self._errors = Failures(context.label, self._engine)
        self._report = context.report
        self._changed = context.changed
        if self.capabilities.isolated:
            from jackfield_executors.foreign.disks import Disks

            declared = self.capabilities.shared_filesystem
            self._disks = Disks(self._options, context.run_dir, declared=declared)
        count = self._options.workers
        if not callable(count):
            count = engine.counter(self._engine)
        if count is not None:
            self._watch = engine.Watch(count, self._label, self._watched)
            self._watch.start()
            self._look(self.workers, "")
        self._workers = self.workers

    # -- what the kernel calls

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue works.

        Raises:
            ExecutorError: After ``shutdown``.
        """
        with self._lock:
            if self._closed:
                raise ExecutorError(self._label, "it takes no works after shutdown")
            self._queue.extend(batch)
            if self._loop is None:
                name = f"jackfield-{self._label}-loop"
                self._loop = threading.Thread(target=self._run, name=name, daemon=True)
                self._loop.start()
        self._inbox.put(None)

    def cancel(self, work: Work) -> bool:
        """Drop a work that waits; one with the engine only if that is to be trusted.

        The rest of its bundle is put back into the queue.
        """
        with self._lock:
            if self._queue.discard(work):
                self._inbox.put(None)  # somebody may wait for the queue to be empty
                return True
            bundle = self._holder.get(work)
            if bundle is None or bundle.future is None or not self._true_cancel:
                return False
            future = bundle.future
            # Noted before the cancel: should it be in time, the loop, which may get the
            # bundle at once, has to know for whom it was.
            bundle.dropped.add(work)
        cancelled = self._cancel(future)
        if not cancelled:
            with self._lock:
                bundle.dropped.discard(work)
        return cancelled

    def running(self) -> list[Running] | None:
        """Return what runs, where the engine's workers are threads of this process.

        Where it pickles, a bundle goes to it as a whole; and futures of pools of
        processes are said to run when they are only next in line.
        """
        if self.capabilities.isolated:
            return None
        with self._lock:
            works = list(self._holder)
        # One that has ended, and is about to be reported, has a place already.
        begun = [(work, work.begun) for work in works if work.ran is None]
        return [
            Running(work.id, work.attempt, work.name, *at[:4])
            for work, at in begun
            if at is not None
        ]

    def _cancel(self, future: Future[Any]) -> bool:
        """Cancel an engine's future; return what it says. Never raises."""
        try:
            engine.bear_cancelled(future)
            return future.cancel()
        except Exception:
            log.exception("Executor %r: cancelling a future raised", self._label)
            return False

    # -- the loop

    def _run(self) -> None:
        while not self._idle.is_set():
            try:
                self._step()
            except BaseException as error:  # a defect of ours; no future may be pending
                log.exception("Executor %r has failed", self._label)
                self._lose(ExecutorError(self._label, f"it has failed: {error!r}"))
                self._deliver()

    def _step(self) -> None:
        """Wait for something to happen, and deal with all that has."""
        done = [self._inbox.get()]
        try:
            while True:
                done.append(self._inbox.get_nowait())
        except Empty:
            for bundle in done:
                if bundle is not None:
                    self._land(bundle)
        self._check_workers()
        self._feed()  # before the report, which may take longer
        self._deliver()
        with self._lock:
            if self._closed and not (self._queue or self._flying):
                self._idle.set()

    def _feed(self) -> None:
        """Give the engine bundles until it has enough."""
        while (bundle := self._next_bundle()) is not None:
            try:
                future = self._hand_over(bundle)
            except BaseException as error:
                self._fail(bundle, self._errors.refusal(error))
                continue
            if future is None:
                continue
            with self._lock:
                bundle.future = future
                unwanted = bundle.token not in self._flying
            if unwanted:  # given up while it was on its way
                self._cancel(future)
            future.add_done_callback(partial(self._done, bundle))

    def _done(self, bundle: Bundle, _: Future[Any]) -> None:
        """Have the loop take a bundle. On whatever thread the engine calls this."""
        self._inbox.put(bundle)

    def _next_bundle(self) -> Bundle | None:
        """Take works from the queue, if the engine has room for another bundle.

        Even without a worker the engine gets a few: one that starts workers when there
        are tasks would never see any.
        """
        room = max(1, self._workers) * (1 + self._options.ahead)
        with self._lock:
            if not self._queue or len(self._flying) >= room:
                return None
            # A bundle gets no more than its share of the queue. Were the whole queue
            # put into the first one, the other workers would have nothing to do.
            most = min(MOST, math.ceil(len(self._queue) / room))
            if not self.capabilities.isolated:
                most = 1
            works = self._costs.take(self._queue, most)
            bundle = Bundle(next(self._tokens), works)
            self._flying[bundle.token] = bundle
            for work in works:
                self._queue.discard(work)
                self._holder[work] = bundle
            return bundle

    def _hand_over(self, bundle: Bundle) -> Future[Any] | None:
        """Give a bundle to the engine; ``None`` if none of its works can be pickled."""
        if not self.capabilities.isolated:
            return self._engine.submit(run_work, bundle.works[0])
        from jackfield_executors.remote.bundles import run_bundle
        from jackfield_executors.remote.fingerprint import fingerprint

        assert self._disks is not None  # it pickles
        disks = self._disks
        data, failed, left = self._packer.pack(bundle, disks.limit, disks.code())
        with self._lock:
            for work, error in failed:
                if self._holder.pop(work, None) is not None:
                    self._outcomes.append((work, self._errors.refusal(error), None))
            self._put_back(left)
            if not bundle.works:
                self._flying.pop(bundle.token, None)
                return None
        home = present_directory(), *disks.home[1:]
        limit = STOP_AFTER * self._options.bundle
        return self._engine.submit(
            run_bundle, bundle.token, fingerprint(), home, limit, data
        )

    def _put_back(self, works: Sequence[Work]) -> None:
        """Put works of a bundle back at the front of the queue. The lock is held.

        Those that were given up meanwhile stay out.
        """
        for work in reversed(works):
            if self._holder.pop(work, None) is not None:
                self._queue.put_first(work)

    def _land(self, bundle: Bundle) -> None:
        """Take a bundle whose future is done; keep what is to be reported."""
        future = bundle.future
        with self._lock:
            if future is None or bundle.token not in self._flying:
                return  # it was given up meanwhile
            if future.cancelled() and bundle.dropped:
                del self._flying[bundle.token]
                dropped = [work for work in bundle.works if work in bundle.dropped]
                self._put_back([w for w in bundle.works if w not in bundle.dropped])
                for work in dropped:
                    self._holder.pop(work, None)
                return
        try:
            self._read(bundle, future)
        except BaseException as error:
            reason = f"its future cannot be read: {error!r}"
            self._fail(bundle, self._errors.failure(reason, error))

    def _read(self, bundle: Bundle, future: Future[Any]) -> None:
        """Read a future that is done."""
        if future.cancelled():
            reason = f"somebody else cancelled {bundle.named}"
            self._fail(bundle, ExecutorError(self._label, reason))
            return
        error = future.exception()
        if isinstance(error, concurrent.futures.BrokenExecutor):
            self._fail(bundle, self._errors.broken(error))
        elif error is not None:
            reason = f"it failed to run {bundle.named}: {error!r}"
            self._fail(bundle, self._errors.failure(reason, error))
        elif self.capabilities.isolated:
            self._unpack(bundle, *future.result())
        else:
            _, failure, value = future.result()
            if self._settle(bundle):
                self._outcomes.append((bundle.works[0], failure, value))

    def _unpack(self, bundle: Bundle, theirs: str, lacking: str, data: bytes) -> None:
        """Take an ``Answer`` of a worker; see ``remote.bundles``."""
        from jackfield_executors.remote.fingerprint import fingerprint

        if theirs != fingerprint():
            reason = "install the same versions there"
            self._fail(
                bundle,
                EnvironmentMismatchError(self._label, reason, fingerprint(), theirs),
            )
            return
        if lacking and self._disks is not None:
            self._disks.note(lacking)
        packed: list[bundles.Outcome]
        costs: list[float]
        packed, costs = pickle.loads(data)
        ran = bundle.works[: len(packed)]
        for work, cost in zip(ran, costs, strict=True):
            self._costs.note(work.name, cost)
        if self._settle(bundle, bundle.works[len(ran) :]):
            kept = [bundle.packed.get(work) for work in ran]
            self._packed += zip(ran, packed, kept, strict=True)

    def _settle(self, bundle: Bundle, left: Sequence[Work] = ()) -> bool:
        """Take a bundle out of the air, and queue the works that have not run.

        Returns false if it was given up meanwhile, so that nothing is to be reported.
        """
        with self._lock:
            if self._flying.pop(bundle.token, None) is None:
                return False
            self._put_back(left)
            for work in bundle.works:
                self._holder.pop(work, None)
            return True

    def _fail(self, bundle: Bundle, error: BaseException) -> None:
        """Have all works of a bundle fail with an error."""
        if self._settle(bundle):
            self._outcomes += all_failed(bundle.works, error)

    def _deliver(self) -> None:
        """Report what has ended."""
        outcomes, self._outcomes = self._outcomes, []
        packed, self._packed = self._packed, []
        if packed:
            outcomes += self._landed(packed)
        if not outcomes or self._muted:
            return
        try:
            self._report(outcomes)
        except BaseException:
            log.exception("Executor %r: its report raised", self._label)

    def _landed(
        self, packed: Sequence[tuple[Work, bundles.Outcome, Packed | None]]
    ) -> list[Outcome]:
        """Unpack outcomes; put the files of those that have any in their places."""
        from jackfield_executors.remote.carrying import land
        from jackfield_serialize import load_outcome

        outcomes: list[Outcome] = []
        for work, (one, ran, returned), kept in packed:
            try:
                if ran is not None:
                    work.ran = place_in_pool(self._label, ran)
                if kept is None:
                    outcomes.append((work, *load_outcome(work.name, one)))
                else:
                    outcomes.append(land(work, one, kept, returned))
            except BaseException as error:
                reason = f"its future cannot be read: {error!r}"
                outcomes.append((work, self._errors.failure(reason, error), None))
        return outcomes

    # -- workers

    def _to_do(self) -> tuple[int, int, int, float]:
        """Return how many works wait, how many are open, and what they will take.

        That is, of how many nobody knows how long they take, and the seconds that all
        others are expected to take. In a long queue the first ones stand for the rest.
        """
        with self._lock:
            queued, unfinished = len(self._queue), len(self._queue) + len(self._holder)
            some = [*islice(self._queue, LOOKED_AT), *self._holder]
        costs = [self._costs.expected(work.name) for work in some]
        seconds = sum(cost for cost in costs if cost is not None)
        more = unfinished / len(costs) if costs else 1.0
        return queued, unfinished, round(costs.count(None) * more), seconds * more

    def _watched(self) -> None:
        """Look at what the engine has just answered. On the watch's thread."""
        before, workers = (self._workers, self._patience.health), self.workers
        watch, patience = self._watch, self._patience
        assert watch is not None
        if watch.gone:
            health = patience.give_up(watch.why)
        else:
            health = self._look(workers, watch.why)
        self._gone = health.reason if health.state == "lost" else ""
        self._workers = workers
        if (workers, health) != before:
            self._changed()  # first: what fails now is to go elsewhere
        self._inbox.put(None)

    def _look(self, workers: int, why: str) -> Health:
        """Say what so many workers make of the executor. On the watch's thread."""
        return self._patience.look(workers, why=why)

    def _check_workers(self) -> None:
        """Give up all works when there has been no worker for too long.

        That is done right after an answer, and not whenever works come: the last answer
        may be a second old, and there may be workers again.
        """
        if not self._gone:
            return
        reason = f"{self._gone}; tasks that it had may have run, or may still run"
        self._gone = ""
        self._lose(ExecutorLostError(self._label, reason))

    def _lose(self, error: ExecutorError) -> None:
        """Fail all works, whether they wait or fly, and cancel what flies."""
        with self._lock:
            bundles = list(self._flying.values())
            works = [*self._holder, *self._queue]
            self._flying.clear()
            self._holder.clear()
            self._queue.clear()
        self._outcomes += all_failed(works, error)
        self._cancel_all(bundles)

    def _cancel_all(self, bundles: Iterable[Bundle]) -> None:
        """Tell the engine that nobody wants these; on a thread, it may not listen."""
        futures = [bundle.future for bundle in bundles if bundle.future is not None]
        if futures:

            def cancel() -> None:
                for future in futures:
                    self._cancel(future)

            threading.Thread(target=cancel, daemon=True).start()

    # -- the end

    def shutdown(self, *, grace: float | None = None) -> None:
        """Shut the engine down; kill its processes when the grace is over.

        The kernel may end within a report, that is, on the loop, which would have to
        wait for itself. Then the shutdown is done on another thread, and this returns
        at once.
        """
        with self._lock:
            self._closed = True
            if self._loop is None:
                self._idle.set()
        if self._ended:
            return
        if threading.current_thread() is self._loop:
            name = f"jackfield-{self._label}-shutdown"
            threading.Thread(
                target=self._end, args=(grace,), name=name, daemon=True
            ).start()
        else:
            self._end(grace)

    def _end(self, grace: float | None) -> None:
        """Wait for the works, or cancel and then kill or leave them."""
        if grace is not None:
            self._drop()
        self._inbox.put(None)
        self._idle.wait(grace)
        with self._lock:
            stuck = list(self._holder)
            bundles = list(self._flying.values())
            self._flying.clear()
            self._holder.clear()
        # From here on nothing is reported; the kernel ends the tasks that are left.
        self._muted = bool(stuck)
        self._cancel_all(bundles)
        if self._watch is not None:
            self._watch.stop()
        if self._disks is not None:
            self._disks.close()
        if stuck and not self.capabilities.isolated:
            self._leave(stuck)
        else:
            lost = self._watch is not None and not self._watch.workers
            patient = grace is None and not lost
            self._shut_down_within(None if patient else END_S, kill=bool(stuck))
        self._inbox.put(None)
        if self._loop is not None:
            join_within([self._loop], END_S)

    def _drop(self) -> None:
        """Drop what has not begun, as far as the engine can be trusted to tell."""
        with self._lock:
            self._queue.clear()
            bundles = list(self._flying.values()) if self._true_cancel else []
            for bundle in bundles:
                bundle.dropped.update(bundle.works)
            futures = [bundle.future for bundle in bundles]
        for future in futures:
            if future is not None:
                self._cancel(future)

    def _leave(self, stuck: Sequence[Work]) -> None:
        """Shut the engine down without waiting for its threads."""
        log.warning(
            "Executor %r leaves threads that run %r: a thread cannot be stopped, and "
            "Python waits at its exit for those of a ThreadPoolExecutor",
            self._label, stuck,
        )  # fmt: skip
        with self._ending:
            self._engine.shutdown(wait=False)
            self._ended = True

    def _shut_down_within(self, limit: float | None, *, kill: bool) -> None:
        """Shut the engine down, but wait only so many seconds.

        This is done on a daemon thread, which can be left behind.
        """
        end = threading.Thread(target=self._shut_down, args=(kill,), daemon=True)
        end.start()
        join_within([end], limit)
        if end.is_alive():
            log.warning("Executor %r does not end; it is left", self._label)

    def _shut_down(self, kill: bool) -> None:
        with self._ending:
            if self._ended:
                return
            try:
                engine.end(self._engine, kill=kill)
            except Exception:
                log.exception("Executor %r raised in its shutdown", self._label)
            self._ended = True
