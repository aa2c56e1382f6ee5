"""Run tasks on threads of this process. Plugin name: ``threads``.

Right for tasks that wait or release the GIL: arguments and results are shared, not
copied. Options: ``workers``, how many tasks run at once; without it, four more than
there are cores, and at most 32. ``resources``, what there is of what tasks ask for.

Until its outcome is reported, a work is in one of two dictionaries. ``dict.pop`` gives
an entry to one caller only, and so decides every race:

- ``_queued`` has the works that have not begun. The thread that takes one from the
  queue removes it to run it; ``cancel`` removes it to drop it; ``shutdown`` with a
  grace removes them all. Whoever comes second finds nothing, and leaves the work alone.
  A cancelled work stays in the queue itself; the thread that comes to it skips it.
- ``_running`` has, under each thread's name, the work that the thread runs. The thread
  removes it to report the outcome; ``shutdown`` removes it to give the thread up, after
  the grace. Whoever comes second does nothing, so nothing is reported after
  ``shutdown``.

*How many threads.* One is started when there is something to run and no thread is
idle, until there are as many as ``workers``. ``_idle`` has a token for a thread that
looks for its next work while none is queued; who queues a work takes one, or starts a
thread. So there are never more tokens than threads that will come to the queue, less
what is in it, and no work waits behind a long one while a thread could be started for
it. There may be fewer, which costs a thread too many: where another thread was quicker
to take what this one had seen, and where an exception has torn a loop.

*Works with a priority, and works that ask for amounts,* wait in the heap ``_ranked``,
by priority and then in the order in which they came. In the queue there is a ``_NEXT``
for each thread that one of them takes. That is a right to begin what is first in the
heap by then, which may have come later. While there is something in the heap, all works
go there; and before the first one does, those that are in the queue do (``_rank_all``).
So the order is that of the heap alone, and a program whose works ask for nothing has
no part in any of this.

There are never fewer rights than works in the heap ask for. There may be more, if a
work was cancelled; whoever finds the heap empty goes on. What an exception tears that
was thrown into a thread is made good by that thread itself: it looks into the heap
before it goes on, as if it had a right (``_work``).

*Works that ask for amounts* have a ``Turn`` each. If one asks for the cores of three
workers, it takes three threads: the first two that come to it wait, and the third runs
it. Meanwhile it is in ``_gathering``, and nothing else begins by a right, since two
works that gather threads could each hold those that the other one waits for. All other
amounts are taken before a work gets into the heap; until there are enough, it waits in
a line with all that ask for the same. ``_turns`` has the turns that have not ended.
Whoever removes one of them, under the lock, gives back what it had: the thread that has
run the work, or ``cancel``.

*Idle threads attend the kernel.* A thread that finds nothing queued offers itself, by
``ExecutorContext.attend``. Who calls ``_wake_up`` then puts ``_ATTEND`` into the queue,
and the thread that takes it works off what has come (``_attend``). A work that is
submitted meanwhile on that very thread is not queued: the thread runs it next, which
saves one wake-up of two. An offer must not stand while all threads run works. So who
takes a work withdraws it, if ``_offered`` says that there may be one. That is set
*after* the offer was made, on the thread that made it, and cleared *before* it is
withdrawn or served. So it may be set for nothing, but whenever there is an offer it is
set, or will be before the thread that made the offer can take a work.

Each outcome is reported at once. If a thread kept one back to report it with the next,
it would wait as long as the next task runs; and for short tasks that was not faster.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import os
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread, current_thread
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from jackfield.abc import Capabilities, Executor, Work
from jackfield.clock import monotonic
from jackfield.errors import ExecutorError, one_line
from jackfield.hookspecs import hookimpl
from jackfield.states import WorkerEvent
from jackfield_executors.checking import FROM_1, checked_values
from jackfield_executors.processes import resources
from jackfield_executors.shares import (
    CORES,
    Shares,
    checked_amounts,
    fits,
    give_back,
    take,
)
from jackfield_system.measuring import this_host
from jackfield_system.works import run_work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jackfield.abc import ExecutorContext, Outcome
    from jackfield.events import Running
    from jackfield_executors.shares import Demand

log: logging.Logger = logging.getLogger("jackfield.executors.threads")

MOST_DEFAULT_WORKERS: Final = 32
"""How many threads there are at most if the option is not set."""

LAST_REPORT_S: Final = 1.0
"""Seconds that threads have to end after ``grace``, if they run no task any more."""

NAP_S: Final = 1.0
"""Seconds that one wait for a thread takes at most; see ``_join``."""

JACKFIELD_SHOWN = ("workers",)


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> ThreadsExecutor | None:
    """Make the executor for a configuration's table with ``plugin = "threads"``."""
    if kind != "threads":
        return None
    return ThreadsExecutor(*_workers_and_amounts(label, options))


@hookimpl
def jackfield_check_options(name: str, options: Mapping[str, Any]) -> bool:
    """Check an executor's table."""
    _workers_and_amounts(name, options)
    return True


def _workers_and_amounts(
    label: str, options: Mapping[str, Any]
) -> tuple[int, dict[str, float]]:
    """Return how many works run at once, and what they share."""
    checks = {"workers": _optional_count, "resources": checked_amounts}
    checked = checked_values("threads", label, options, checks)
    amounts = resources.available() | checked.get("resources", {})
    return checked.get("workers") or _default_workers(), amounts


def _optional_count(value: Any) -> int | None:
    return None if value is None else FROM_1(value)


def _default_workers() -> int:
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(MOST_DEFAULT_WORKERS, cores + 4)


_ATTEND: Final[Any] = object()
"""In the queue: have the kernel attended."""

_NEXT: Final[Any] = object()
"""In the queue: begin what is first in the heap."""

Place: TypeAlias = tuple[int, int, Work]
"""A work in a heap: its priority, negative; a number that rises; the work."""


class Turn:
    """What a work has that asks for amounts.

    Attributes:
        demand: What it takes apart from cores.
        slots: How many threads it takes.
        missing: How many of these have not come to it yet.
        admitted: Whether it has what it asks for, apart from cores.
        ended: Set when they need not wait any more.
    """

    __slots__ = ("admitted", "demand", "ended", "missing", "slots")

    def __init__(self, demand: Demand, slots: int) -> None:
        self.demand: Demand = demand
        self.slots: int = slots
        self.missing: int = slots
        self.admitted: bool = False
        self.ended: Event = Event()


class ThreadsExecutor(Executor):
    """Daemon threads on one queue, started when there is work for them.

    If one of the threads calls ``shutdown``, within a report, it waits for the other
    threads only.
    """

    capabilities: Capabilities = Capabilities(
        isolated=False, cancels_running=False, walltime="soft", priorities=True
    )

    def __init__(
        self, workers: int, amounts: Mapping[str, float] | None = None
    ) -> None:
        self._workers = workers
        amounts = resources.available() if amounts is None else amounts
        self.capabilities: Capabilities = self.capabilities._replace(resources=amounts)
        self._shares = Shares(amounts, workers)
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._queued: dict[Work, bool] = {}
        self._running: dict[str, Work] = {}
        # Guards the attributes below. It also keeps the `None` that ends the
        # threads behind all works in the queue, and a closed executor from getting
        # more.
        self._lock = Lock()
        self._threads: list[Thread] = []
        self._idle: list[None] = []
        self._closed = False
        self._offered = False
        self._attending: set[str] = set()  # names of threads that are in `_attend`
        self._turns: dict[Work, Turn] = {}
        self._lines: dict[Demand, list[Place]] = {}  # heaps
        self._free = dict(amounts)
        self._ranked: list[Place] = []  # a heap
        self._numbers = itertools.count()
        self._gathering: Work | None = None
        self._forks = _forks[0]

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        return self._workers

    def start(self, context: ExecutorContext) -> None:
        """Remember where to report; threads start with the first works."""
        self._label = context.label
        self._report = context.report
        self._tell = context.tell
        self._offer = context.attend
        self._serve_kernel = context.serve

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue works.

        Raises:
            ExecutorError: After ``shutdown``, or where no thread can be started.
        """
        with self._lock:
            if self._closed:
                raise ExecutorError(self._label, "it takes no works after shutdown")
            if self._attending and self._keeps(batch):
                return
            if len(self._threads) < self._workers:
                self._grow(len(batch))
            # First here, then into the queue: a thread that takes a work which is not
            # in `_queued` yet would skip it as cancelled.
            queued, put, plain = self._queued, self._queue.put, not self._ranked
            for work in batch:
                queued[work] = True
                if work.resources or work.priority:
                    plain = False
            if plain:
                for work in batch:
                    put(work)
                return
            refused = self._submit_ranked(batch)
        if refused:
            self._report(refused)

    def _keeps(self, batch: Sequence[Work]) -> bool:
        """Keep a work for this thread if it attends the kernel. The lock is held."""
        name = current_thread().name
        if name not in self._attending or name in self._running:
            return False
        if len(batch) != 1 or self._ranked:
            return False
        (work,) = batch
        if work.resources or work.priority < 0:
            return False
        self._queued[work] = True
        self._running[name] = work
        return True

    def _submit_ranked(self, batch: Sequence[Work]) -> list[Outcome]:
        """Put works where those wait that may pass others. The lock is held.

        So none of them is begun before all are where they belong.

        Returns:
            Outcomes of those that ask for more than there is.
        """
        self._rank_all()
        refused: list[Outcome] = []
        new_first = False
        for work in batch:
            place = -work.priority, next(self._numbers), work
            if not work.resources:
                self._rank(place)
                continue
            error = self._shares.refusal(self._label, work.resources)
            if error is not None:
                del self._queued[work]
                refused.append((work, error, None))
                continue
            demand = dict(self._shares.demand(work.resources))
            one = dict(self._shares.plain).get(CORES, 1.0)
            slots = demand.pop(CORES, one) / one
            rest = tuple(demand.items())
            self._turns[work] = Turn(rest, max(1, math.ceil(slots - 1e-6)))
            line = self._lines.setdefault(rest, [])
            heapq.heappush(line, place)
            new_first = new_first or line[0] is place
        if new_first:
            self._admit()
        return refused

    def _rank_all(self) -> None:
        """Move the works that are in the queue into the heap. The lock is held.

        Threads may take some of them meanwhile; these have begun. If the heap is not
        empty, there is none in the queue.
        """
        if self._ranked:
            return
        queue, others = self._queue, []
        with suppress(Empty):
            while True:
                item = queue.get_nowait()
                if isinstance(item, Work):
                    heapq.heappush(self._ranked, (0, next(self._numbers), item))
                    item = _NEXT
                others.append(item)
        for item in others:
            queue.put(item)

    def _rank(self, place: Place, threads: int = 1) -> None:
        """Have so many threads come to a work, in its turn. The lock is held."""
        heapq.heappush(self._ranked, place)
        for _ in range(threads):
            self._queue.put(_NEXT)

    def _choose(self, name: str) -> Work | None:
        """Return the work that comes next, for a thread that has a right to begin it.

        If that takes more threads than have come to it, wait until it has ended.
        """
        with self._lock:
            if self._gathering is None:
                if not self._ranked:
                    return None
                # It is there before it leaves the heap, so that it is not lost if an
                # exception comes between the two. The one that is left is skipped.
                self._gathering = self._ranked[0][2]
                heapq.heappop(self._ranked)
            work = self._gathering
            turn = self._turns.get(work)  # none if it was cancelled, as well
            if turn is None or turn.missing == 1:
                self._running[name] = work  # as above
                self._gathering = None
                return work
            turn.missing -= 1
        turn.ended.wait()
        return None

    def _admit(self) -> None:
        """Let works for which there is enough into the heap. The lock is held.

        For the first that does not fit, what it asks for is kept free.
        """
        kept: Demand = ()
        for demand, line in sorted(self._lines.items(), key=_first_place):
            take(self._free, kept)
            while line and (fits(demand, self._free) or line[0][2] not in self._turns):
                self._admit_one(heapq.heappop(line))
            give_back(self._free, kept)
            if not line:
                del self._lines[demand]
            kept = kept or demand if line else kept
        if self._closed and not self._lines:
            self._queue.put(None)

    def _admit_one(self, place: Place) -> None:
        """Let a work into the heap, unless it was cancelled. The lock is held."""
        turn = self._turns.get(place[2])
        if turn is not None:
            take(self._free, turn.demand)
            turn.admitted = True
            self._grow(turn.slots)
            turn.missing = min(turn.slots, len(self._threads))
            self._rank_all()
            self._rank(place, turn.missing)

    def _end_turn(self, work: Work) -> None:
        """Give back what a work has had, once. On any thread."""
        with self._lock:
            turn = self._turns.pop(work, None)
            if turn is None:
                return
            turn.ended.set()
            if turn.admitted:
                give_back(self._free, turn.demand)
            if not self._turns:  # sums of fractions may be off a little
                self._free = dict(self._shares.amounts)
            if self._lines:
                self._admit()

    def _grow(self, wanted: int) -> None:
        """Have ``wanted`` more threads come to the queue. The lock is held.

        Those that are idle do; for the others, threads are started while there may be
        more. If the system refuses, the executor goes on with those that it has.

        Raises:
            ExecutorError: There is not a single one.
        """
        threads = self._threads
        idle = self._idle
        while wanted and idle:
            idle.pop()
            wanted -= 1
        for n in range(len(threads), min(self._workers, len(threads) + wanted)):
            name = f"jackfield-{self._label}-{n}"
            thread = Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                if not threads:
                    reason = f"no thread can be started: {error}"
                    raise ExecutorError(self._label, reason) from error
                log.warning(
                    "Executor %r goes on with %d threads of %d: %s",
                    self._label, len(threads), self._workers, error,
                )  # fmt: skip
                return
            threads.append(thread)
            self._tell_of(name, alive=True)

    def _tell_of(self, thread: str, *, alive: bool, reason: str = "") -> None:
        """Tell observers of a thread that has come or gone."""
        name, now = thread.removeprefix("jackfield-"), monotonic()
        self._tell(
            WorkerEvent(self._label, name, this_host(), os.getpid(), alive, reason, now)
        )

    def cancel(self, work: Work) -> bool:
        """Drop a work that no thread has begun; false if one has."""
        dropped = self._queued.pop(work, False)
        if dropped and work in self._turns:
            self._end_turn(work)
        return dropped

    def running(self) -> list[Running]:
        """Return what each thread runs; since when, if observers have it measured.

        A thread that has taken a work and not begun it is told too, without a time. If
        the work was cancelled just before that, it is told once, although it never
        runs.
        """
        from jackfield.events import Running  # only observers need it

        host, pid, found = this_host(), os.getpid(), []
        for name, work in self._running.copy().items():
            worker, begun = name.removeprefix("jackfield-"), work.begun
            began = None if begun is None else begun[3]
            found.append(
                Running(work.id, work.attempt, work.name, worker, host, pid, began)
            )
        return found

    def _work(self) -> None:
        """Run works until the end. This is all that a thread does."""
        name = current_thread().name
        torn = False
        while True:
            try:
                self._serve(name, torn=torn)
                self._tell_of(name, alive=False)
                return
            except BaseException as error:
                # `run_work` never raises, and neither may `report`. So somebody has
                # thrown an exception into this thread from outside, and it has arrived
                # when the task it was meant for had ended; or `report` has a defect.
                # The thread goes on either way.
                torn = True
                self._fail_running(name, error)

    def _serve(self, name: str, *, torn: bool) -> None:
        queue, queued, running = self._queue, self._queued, self._running
        report, threads, idle = self._report, self._threads, self._idle
        offer, wake = self._offer, self._wake_up
        forks, before, turns = _forks, self._forks, self._turns
        # An exception that another thread throws into this one arrives when CPython
        # looks for it: after a call of a function and at the end of a loop's round.
        # `iter` calls `queue.get` from C, so there is no such point between taking a
        # work and noting it in `running`, and none is lost between the two.
        #
        # It is noted in `running` before it is removed from `_queued`, so that it is in
        # at least one of them when `shutdown` looks.
        items: Iterator[Work] = iter(queue.get, None)
        if torn:  # it may have had a right to what is in the heap
            items = itertools.chain((_NEXT,), items)
        work: Work | None
        for taken in items:
            if taken is _ATTEND:
                self._attend(name)
                work = running.get(name)  # the one that was kept, or none
            elif taken is _NEXT:
                if self._offered:
                    self._withdraw()
                work = self._choose(name)
            else:
                work = running[name] = taken
                if self._offered:
                    self._withdraw()
            del taken
            if work is not None and queued.pop(work, False):
                outcome = run_work(work)
                if forks[0] != before:
                    _end_child(outcome)
                if turns:
                    self._end_turn(work)
                if running.pop(name, None) is not None:
                    report((outcome,))
                del outcome
            else:
                running.pop(name, None)  # it was cancelled, or there was none
            # A thread that waits must not keep arguments and results alive.
            del work
            if not queued:
                if len(threads) < self._workers:
                    idle.append(None)
                offer(wake)
                self._offered = True
        self._withdraw()
        queue.put(None)  # there is one for all threads: pass it on to the next

    def _wake_up(self) -> None:
        """Have a thread attend the kernel. Called on any thread; see ``attend``."""
        self._queue.put(_ATTEND)

    def _attend(self, name: str) -> None:
        """Work off what has come to the kernel, and maybe keep a work for this thread.

        If so, it is in ``_running`` and in ``_queued``, as if it had been taken.
        """
        self._offered = False
        if self._idle:  # no longer this thread, which may be held up by a plugin
            with suppress(IndexError):  # another thread was quicker
                self._idle.pop()
        self._attending.add(name)
        try:
            self._serve_kernel()
        finally:
            self._attending.discard(name)

    def _withdraw(self) -> None:
        """Withdraw the offer, if there is one."""
        self._offered = False
        self._offer(None)

    def _fail_running(self, name: str, error: BaseException) -> None:
        """Report the work that a thread had taken when an exception tore its loop.

        If the work is not in ``_running`` any more, it has been reported, or given up.
        Only an exception that somebody throws in the instant between its removal and
        its report can lose the outcome. The kernel's own, at a walltime, cannot: it
        arrives within ``run_work`` or not at all.
        """
        self._withdraw()  # it may have been woken to attend the kernel
        work = self._running.pop(name, None)
        if work is not None:
            self._queued.pop(work, None)
            self._end_turn(work)
            reason = f"its thread was interrupted by {one_line(error)}"
            failure = ExecutorError(self._label, reason)
            failure.__cause__ = error
            self._report(((work, failure, None),))
        # At last, because a traceback is made by code of the error's class, too.
        with suppress(BaseException):
            log.error("Thread %s was interrupted", name, exc_info=error)

    def shutdown(self, *, grace: float | None = None) -> None:
        """End. Threads whose tasks go on after ``grace`` are left running and logged.

        Without a grace this waits for everything that was submitted.
        """
        with self._lock:
            self._closed = True
            if grace is not None:
                self._drop_queued()
            if not self._lines:  # else `_admit` does it, after the last of them
                self._queue.put(None)
        self._withdraw()
        me = current_thread()
        threads = [thread for thread in self._threads if thread is not me]
        join_within(threads, grace)
        if grace is None:
            return
        stuck = self._abandon(threads)
        self._threads = [thread for thread in threads if thread.name not in stuck]
        join_within(self._threads, LAST_REPORT_S)

    def _drop_queued(self) -> None:
        """Drop the works that no thread has begun. The lock is held."""
        self._queued.clear()
        self._lines.clear()
        self._ranked.clear()
        self._gathering = None
        for turn in self._turns.values():
            turn.ended.set()  # threads that wait for others are to end
        try:
            while True:
                self._queue.get_nowait()
        except Empty:
            return

    def _abandon(self, threads: Sequence[Thread]) -> set[str]:
        """Give up the works that still run, and return the names of their threads."""
        stuck = set()
        for thread in threads:
            work = self._running.pop(thread.name, None)
            if work is not None:
                stuck.add(thread.name)
                log.warning(
                    "Executor %r leaves thread %s, which still runs task %d (%s): "
                    "a thread cannot be stopped",
                    self._label, thread.name, work.id, work.name,
                )  # fmt: skip
                reason = f"it is left, and still runs task {work.id} ({work.name})"
                self._tell_of(thread.name, alive=False, reason=reason)
        return stuck


_forks: Final = [0]
"""How often a process was forked on the way from the first one to this one."""


def _count_fork() -> None:
    _forks[0] += 1


os.register_at_fork(after_in_child=_count_fork)


def _end_child(outcome: Outcome) -> NoReturn:
    """End the child of a task that has forked, where the child returns as well.

    Only the parent may report, and the child's thread would wait for works for ever.
    """
    os._exit(0 if outcome[1] is None else 1)


def _first_place(line: tuple[Demand, list[Place]]) -> Place:
    """Return the place of the first work in a line."""
    return line[1][0]


def join_within(threads: Sequence[Thread], limit: float | None) -> None:
    """Wait for threads to end: at most ``limit`` seconds for all of them together.

    It waits a second at a time. A Ctrl-C that comes just before a wait does not end
    that wait, and a wait without end would keep Python from handling it for ever.
    """
    deadline = math.inf if limit is None else monotonic() + limit
    for thread in threads:
        while thread.is_alive() and (left := deadline - monotonic()) > 0.0:
            thread.join(min(left, NAP_S))
