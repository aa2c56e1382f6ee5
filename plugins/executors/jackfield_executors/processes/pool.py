"""Which works wait, which worker holds which, and what becomes of them.

``Pool`` is plain bookkeeping: it starts no process and waits for nothing. The loop's
thread changes it, and so does any thread that submits or cancels; a thread that submits
also sends works to idle workers itself. All of them do it under the one ``lock``. No
code of users, and therefore no pickling, runs while it is held.

Where a work is at any moment:

1. In ``queue`` and ``waiting``. A cancelled work leaves ``waiting`` at once, because
   that is quick, and stays in ``queue`` until somebody takes it out there.
2. In ``being_sent`` of one worker, while a thread turns it into bytes.
3. In ``held`` of that worker, from the moment when its bytes are given to the socket.
4. In ``outcomes``, until the loop's thread reports it.

In ``queue`` works of a higher priority come first (``Line``). For them, nothing is
taken back that a worker has been sent.

A work that asks for amounts of cores, memory and the like waits in a line of its own
with all that ask for the same, in ``asking``, instead of ``queue``. A worker has a
*lease* on such amounts from the moment when it takes a work of a line until it holds
nothing; ``_choose`` tells which line is next.

From 2 and 3 it can go back to 1: its worker died before it began the work, or gave it
back. ``cancelled`` has the works in 2 and 3 whose outcome nobody wants any more.

*Sending ahead.* A worker that got one task at a time would be idle for a round trip to
the driver after each of them, which takes longer than a short task. So it is sent
several tasks at once, and more before it has answered all of them. The danger is that a
short task then sits behind a long one while another worker has nothing to do. Four
rules keep that small:

- What a worker holds is expected to take at most ``WINDOW_S`` together. How long a call
  takes is estimated from earlier calls of the same function.
- Of a function without an estimate, a worker gets a single call, and only if it holds
  nothing.
- A worker takes no more than its share of the queue, so that the end of a run of tasks
  is spread over all workers.
- Estimates can be wrong. Whoever gets more than one task is told to run its watchdog
  (see ``worker``), which returns what waits behind a task that takes long;
  ``take_back`` puts it first in the queue. A worker whose watchdog sleeps is sent
  nothing behind its task.

``cancellation`` stops tasks, and ``exits`` settles what a dead worker held; both work
on this state too.
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import suppress
from itertools import chain, islice, repeat
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import jackfield_serialize as serialize
from jackfield.clock import monotonic
from jackfield.errors import ExecutorError
from jackfield_executors.each_its_own import all_failed
from jackfield_executors.processes.kept import PackedResult
from jackfield_executors.processes.messages import (
    FunctionTable,
    Message,
    Share,
    build_message,
    nothing_shared,
)
from jackfield_executors.processes.wire import Kind, small_frame
from jackfield_executors.ranked import Line, in_turn
from jackfield_executors.shares import Shares, fits, lacking, take

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jackfield.abc import Outcome, Work
    from jackfield_executors.processes.handle import WorkerHandle
    from jackfield_executors.processes.kept import Packed
    from jackfield_executors.processes.shared import Segment
    from jackfield_executors.processes.wire import Ran
    from jackfield_executors.shares import Demand

WINDOW_S: Final = 0.01
"""Seconds that all tasks together are expected to take that a worker holds.

A worker that holds nothing may get one task that is expected to take longer."""

MOST_AT_ONCE: Final = 500
"""Works in one message: pickling one message must not take long."""

SAMPLE: Final = 1_000
"""Works of the queue that are looked at to tell how long all of them will take."""

STOP_S: Final = 5.0
"""Seconds that a worker has to exit after it was told to and has done its tasks."""


class Pool:
    """The bookkeeping of one executor. All attributes are guarded by ``lock``.

    Attributes:
        label: The executor's label, for messages.
        lock: Held to change anything here or in a ``WorkerHandle``.
        queue: Works that are to be sent, in order, and some that were cancelled since.
        asking: The same, of works that ask for amounts, by what they ask for. No line
            is empty.
        sharing: Whether some work asks for amounts that is waiting or running. As long
            as none does, nothing is counted.
        waiting: The works in ``queue`` and ``asking`` that were not cancelled.
        workers: ``{number: worker}``, from the request to start one until the fork
            server has reaped its process.
        idle: The workers that could begin a task now; a dictionary, for its order.
        sending: The workers for which a thread has taken works that it has not sent
            yet. A worker that dies meanwhile leaves ``workers``, but not ``sending``.
        cancelled: Works in ``held`` or ``being_sent`` whose outcome is to be dropped.
        outcomes: What is to be reported. Only the loop's thread reports.
        unsent_data: Whether some worker's socket has not taken all of its data. The
            loop then has to wait until there is room in it.
        worker_missing: Whether a worker has ended or will end, so that the loop has to
            find out whether another one is needed.
        next_deadline: When to look at a worker's running task next, for its walltime
            or because it may be a cancelled one. This and ``next_check`` are in
            ``clock.monotonic()``, and infinite for never.
        next_check: When to look for workers that should have exited, or to try again
            to start one.
        closing: Whether ``submit`` refuses works.
        share: Puts large arguments into memory that is shared; set before any work.
    """

    def __init__(self, label: str, max_tasks: int | None, shares: Shares) -> None:
        self.label: str = label
        self.lock: Lock = Lock()
        self.queue: Line = Line()
        self.asking: dict[Demand, Line] = {}
        self.sharing: bool = False
        self.waiting: set[Work] = set()
        self.workers: dict[int, WorkerHandle] = {}
        self.idle: dict[WorkerHandle, None] = {}
        self.sending: dict[WorkerHandle, None] = {}
        self.cancelled: set[Work] = set()
        self.outcomes: list[Outcome] = []
        self.unsent_data: bool = False
        self.worker_missing: bool = False
        self.next_deadline: float = math.inf
        self.next_check: float = math.inf
        self.closing: bool = False
        self._max_tasks = max_tasks or math.inf
        self._functions = FunctionTable()
        self._shares = shares
        self.share: Share = nothing_shared

    # -- Sending ---------------------------------------------------------------------

    @property
    def has_queued(self) -> bool:
        """Whether some work is to be sent; it may be one that was cancelled since."""
        return bool(self.queue or self.asking)

    def submit(self, batch: Sequence[Work]) -> bool:
        """Queue works; true if there are outcomes to report. Called on any thread.

        Raises:
            ExecutorError: The executor is closing.
        """
        refused: list[Outcome] = []
        with self.lock:
            if self.closing:
                raise ExecutorError(self.label, "it has been shut down")
            if any([work.resources or work.priority for work in batch]):  # noqa: C419  (a list is faster)
                refused = self._submit_asking(batch)
                self.outcomes += refused
            else:
                self.queue.plain.extend(batch)
                self.waiting.update(batch)
        return bool(refused)

    def _submit_asking(self, batch: Sequence[Work]) -> list[Outcome]:
        """Queue works of which some ask for something; return what can never run."""
        refused: list[Outcome] = []
        for work in batch:
            error = self._shares.refusal(self.label, work.resources)
            if error is None:
                self._line_of(work).append(work)
                self.waiting.add(work)
            else:
                refused.append((work, error, None))
        return refused

    def _line_of(self, work: Work) -> Line:
        """Return where a work waits. The lock is held."""
        if work.resources:
            demand = self._shares.demand(work.resources)
            if demand != self._shares.plain:
                self.sharing = True
                return self.asking.setdefault(demand, Line())
        return self.queue

    def to_do(self) -> tuple[int, int, int, float]:
        """Return how many works wait, how many are unfinished, and what they will take.

        Of those that are unfinished: how many of which nobody knows how long they take,
        and the seconds that all others are expected to take. In a long queue the first
        ones stand for the rest.
        """
        with self.lock:
            queued = len(self.waiting)
            lines = chain(self.queue, *self.asking.values())
            first = [work for work in islice(lines, SAMPLE) if work in self.waiting]
            begun = [
                work
                for worker in {*self.workers.values(), *self.sending}
                for work in (*worker.held, *worker.being_sent)
            ]
        costs = [self._functions.cost(work.function) for work in (*first, *begun)]
        unknown = costs.count(None)
        seconds = sum(cost for cost in costs if cost is not None)
        more = (queued + len(begun)) / len(costs) if costs else 1.0
        return queued, queued + len(begun), math.ceil(unknown * more), seconds * more

    def feed_idle(self) -> bool:
        """Send idle workers what they can take. Called on any thread.

        Returns:
            Whether the loop has to be woken, as ``feed`` does.
        """
        # This looks without the lock, and still no work waits while a worker is idle.
        # Whoever submits puts works into `queue` first and looks at `idle` afterwards.
        # Whoever finds a worker idle puts it into `idle` first and looks at `queue`
        # afterwards: the loop at the end of each step, `feed` in its next turn. So at
        # least one of them sees both. If two see the same worker, both call `feed`, and
        # the lock decides which of them gets it.
        wake = False
        if self.queue or self.asking:
            # The worker that was busy last comes first: its core and caches are awake.
            for worker in self._most_fit():
                wake |= self.feed(worker)
                if not self.queue and not self.asking:
                    break
                if self.sharing and worker in self.idle:
                    break  # nothing fits, and it would for no other one
        return wake

    def _most_fit(self) -> list[WorkerHandle]:
        """Return the idle workers, those first that have what comes next at hand.

        That is a hint: another thread may take what stands first in the queue.
        """
        idle = list(self.idle)[::-1]
        if len(idle) > 1:
            with suppress(IndexError), self.lock:  # the queue may be empty by now
                kept = self.queue.first()[0].kept
                idle.sort(key=lambda worker: not any(map(worker.has, kept)))
        return idle

    def feed(self, worker: WorkerHandle) -> bool:
        """Send a worker as much as it may hold. Called on any thread.

        Three steps, again and again until there is nothing to take: take works under
        the lock, pickle them without the lock, send them under the lock.

        Returns:
            Whether the loop has to be woken: there are outcomes to report, something
            is due earlier than it knows, or a socket has not taken everything.
        """
        wake = False
        while True:
            with self.lock:
                works = self._take(worker)
                if not works:
                    self.note_idle(worker)
                    return wake or bool(worker.stopping)
                watchdog = len(works) > 1 or self.has_queued
            # This runs code of users, which may take long, submit, cancel or shut down.
            # Other threads may do the same, or more, before we have the lock again:
            #
            # - Call this for the same worker. `being_sent` is not empty, so they get
            #   nothing. Their works stay in the queue, and we look there again.
            # - See the worker die, or tell it to exit. `_send` finds that noted in the
            #   worker, and puts the works back into the queue.
            # - Cancel one of the works, which puts it into `cancelled`. `_send` finds
            #   it there, and sends it with a recall, so that it comes back unbegun.
            message = self._pickle(works, worker, watchdog=watchdog)
            with self.lock:
                wake |= self._send(worker, message, watchdog=watchdog)

    def _pickle(
        self, works: list[Work], worker: WorkerHandle, *, watchdog: bool
    ) -> Message:
        try:
            return build_message(
                works, worker, self.workers, self._functions, self.share,
                watchdog=watchdog,
            )  # fmt: skip
        except BaseException as error:
            # A defect of ours: users' errors are in `Message.failed`. Nothing has been
            # sent, so all works can fail.
            failure = ExecutorError(self.label, f"sending failed: {error!r}")
            failure.__cause__ = error
            message = Message(worker, watchdog=watchdog)
            message.failed = all_failed(works, failure)
            return message

    def _take(self, worker: WorkerHandle) -> list[Work]:
        """Take what a worker gets next out of the queue. The lock is held.

        The rules are those on sending ahead in the module's text. ``room`` is how many
        seconds of work the worker may still get.
        """
        line = self.queue
        if not (line or self.asking) or not worker.takes_work:
            return []
        holds = bool(worker.held)
        # Half of the window has to be free, or each answer would bring a tiny message.
        if holds and (not worker.watchdog or worker.load > WINDOW_S / 2):
            return []
        if self.sharing:
            line = self._choose(worker)
        room = WINDOW_S - worker.load
        share = len(line) // len(self.workers) + 1
        most = min(MOST_AT_ONCE, share, self._max_tasks - worker.assigned)
        taken: list[Work] = []
        function: Any = None
        cost: float | None = None
        queue, ranked = line.first(), line.ranked
        while queue and len(taken) < most:
            if queue[0].function is not function:
                function = queue[0].function
                cost = self._functions.cost(function)
            if (taken or holds) and (cost is None or cost > room):
                break
            if ranked:
                work = line.popleft()
                queue = line.first()
            else:
                work = queue.popleft()
            if work in self.waiting:  # else it was cancelled
                self.waiting.remove(work)
                taken.append(work)
                # Nothing goes behind a call of which nobody knows how long it takes.
                room = 0.0 if cost is None else room - cost
        if taken:
            worker.load = WINDOW_S - room
            worker.being_sent = taken
            worker.assigned += len(taken)
            self.sending[worker] = None
            self.idle.pop(worker, None)
        return taken

    def _choose(self, worker: WorkerHandle) -> Line:
        """Return the line that a worker takes works from. The lock is held.

        Lines are looked at in the order of their first works, by priority and age. For
        the first one that does not fit, what it asks for is kept free, so that it
        cannot starve. A worker that holds works may take more of the same line, under
        the same lease, unless an older work waits for what the lease has, or for a
        worker.

        Returns:
            The line; an empty one if nothing fits.
        """
        shares = self._shares
        nothing = Line()
        busy = [
            one
            for one in {*self.workers.values(), *self.sending}
            if one.held or one.being_sent
        ]
        if not self.asking and not any(one.lease for one in busy):
            self.sharing = False
            for one in self.workers.values():
                one.lease = None
            return self.queue
        free = shares.free(one.lease or shares.plain for one in busy)
        kept = False
        for line, demand in self._lines():
            if worker.held:
                mine = worker.lease or shares.plain
                if demand == mine:
                    return line
                names = lacking(demand, free)
                if not names or any(name in names for name, _ in mine):
                    return nothing
            elif fits(demand, free) and self._has_devices(worker, demand, busy):
                worker.lease = None if line is self.queue else demand
                return nothing if worker.stopping else line
            elif not kept:
                take(free, demand)
                kept = True
        return nothing

    def _lines(self) -> list[tuple[Line, Demand]]:
        """Return the lines, in the order of their first works. The lock is held."""
        lines = [(self.queue, self._shares.plain)]
        lines += [(line, demand) for demand, line in self.asking.items()]
        for line, demand in lines:
            while line and line.first()[0] not in self.waiting:
                line.popleft()  # it was cancelled
            if not line:
                self.asking.pop(demand, None)
        filled = [one for one in lines if one[0]]
        return sorted(filled, key=lambda one: in_turn(one[0].first()[0]))

    def _has_devices(
        self, worker: WorkerHandle, demand: Demand, busy: Iterable[WorkerHandle]
    ) -> bool:
        """Give a worker the GPUs of a demand, if they are free. The lock is held.

        A process that has used some GPUs cannot change to others: libraries look at
        the variable once. So a worker that has had others is told to exit.
        """
        taken = [(one.gpus, one.lease) for one in busy if one.lease and one.gpus]
        gpus = self._shares.devices(demand, taken, worker.gpus)
        if gpus and worker.gpus and gpus != worker.gpus:
            self.stop(worker)
        elif gpus:
            worker.gpus = gpus
        return gpus is not None

    def _send(self, worker: WorkerHandle, message: Message, *, watchdog: bool) -> bool:
        """Send what was taken and pickled. The lock is held; returns like ``feed``."""
        worker.being_sent = []
        del self.sending[worker]
        self.outcomes += self._wanted(message.failed)
        worker.assigned -= len(message.failed)
        if worker.dead or worker.stopping:
            # It has died or was told to exit while we pickled, so it will not read
            # this. It did not know of the works; they go back.
            self.requeue(message.works)
            return True
        worker.held.extend(message.works)
        worker.watchdog = watchdog
        if not self.cancelled.isdisjoint(message.works):
            # One was cancelled while we pickled. The recall comes before the data, so
            # that the worker cannot begin the work without seeing it.
            worker.recall()
        worker.send(message.parts)
        if worker.assigned >= self._max_tasks:
            self.stop(worker)
        self.unsent_data |= bool(worker.outbox)
        self.note_idle(worker)
        due = self._set_deadline(worker, message.works)
        return due or bool(message.failed or worker.outbox or worker.stopping)

    def _set_deadline(self, worker: WorkerHandle, works: Iterable[Work]) -> bool:
        """Note when to look at walltimes; true if that is earlier than so far.

        Nobody tells the driver when a task begins, so this assumes that the shortest
        walltime begins now. Whoever looks then reads the real time in the shared page.
        """
        limits = [work.walltime for work in works if work.walltime is not None]
        if limits:
            worker.deadline = min(worker.deadline, monotonic() + min(limits))
        nearer = worker.deadline < self.next_deadline
        if nearer:
            self.next_deadline = worker.deadline
        return nearer

    def note_idle(self, worker: WorkerHandle) -> None:
        """List a worker as idle if it is. The lock is held."""
        if not worker.held and worker.takes_work:
            self.idle[worker] = None

    def stop(self, worker: WorkerHandle) -> None:
        """Tell a worker to exit after the tasks that it holds. The lock is held."""
        if not worker.stopping:
            worker.stopping = monotonic()
            worker.send([small_frame(Kind.STOP)])
            self.next_check = min(self.next_check, worker.stopping + STOP_S)
            self.worker_missing = True
            self.idle.pop(worker, None)

    # -- Receiving -------------------------------------------------------------------

    def settle(
        self,
        worker: WorkerHandle,
        values: Sequence[Any],
        durations: Sequence[tuple[int, int, int]] = (),
        rans: Sequence[Ran] = (),
        *,
        packed: bool,
    ) -> None:
        """Turn results that a worker has sent into outcomes. On the loop's thread.

        Results carry no names: a worker answers in the order in which it was sent
        its tasks, so they are those of the first works in ``held``.

        Args:
            worker: The worker.
            values: A result is a plain value, or a tuple as ``serialize`` packs it.
            durations: How long calls took: ``(function's number, calls, nanoseconds)``.
            rans: How each of the tasks ran; empty if that was not measured.
            packed: Whether there is any tuple among ``values``.

        Raises:
            ValueError: There are more results than the worker had tasks.
        """
        with self.lock:
            works = self._answered(worker, len(values))
            self._functions.learn(durations)
        for work, ran in zip(works, rans, strict=False):
            work.ran = worker.place(ran, work.measure)
        # Without the lock, because unpickling runs code of users. The works are nowhere
        # now, so a `cancel` that comes in between answers that it is too late.
        outcomes: list[Outcome]
        if packed:
            outcomes = [
                _outcome(work, v) for work, v in zip(works, values, strict=True)
            ]
        else:
            outcomes = list(zip(works, repeat(None), values, strict=False))
        self.report(outcomes)

    def settle_large(self, worker: WorkerHandle, value: Any, seconds: float) -> None:
        """Turn a large result, which comes in a frame of its own, into an outcome.

        Raises:
            ValueError: The worker had no task.
        """
        self.report([_outcome(self._answered_large(worker, seconds), value)])

    def settle_kept(
        self, worker: WorkerHandle, packed: Packed | Segment, seconds: float
    ) -> None:
        """Report a large result that stays packed until somebody reads it."""
        work = self._answered_large(worker, seconds)
        kept = PackedResult(self.label, work.name, packed, worker.number)
        self.report([(work, None, kept)])

    def _answered_large(self, worker: WorkerHandle, seconds: float) -> Work:
        """Take the work that a large result answers, and note how it ran."""
        with self.lock:
            (work,) = self._answered(worker, 1)
            self._functions.learn_one(work.function, seconds)
        if worker.ran is not None:
            work.ran = worker.place(worker.ran, work.measure)
            worker.ran = None
        return work

    def _answered(self, worker: WorkerHandle, count: int) -> list[Work]:
        """Take the works out of ``held`` that have been answered. The lock is held."""
        held = worker.held
        before = len(held)
        if count > before:
            raise ValueError(f"{count} outcomes of {before} tasks")
        works = [held.popleft() for _ in range(count)]
        worker.received += count
        # Which of the works were the long ones is not noted: assume all alike.
        worker.load = worker.load * len(held) / before if held else 0.0
        worker.stuck = False
        if not held:
            self._now_empty(worker)
        return works

    def _now_empty(self, worker: WorkerHandle) -> None:
        """Note that a worker has answered everything. The lock is held."""
        worker.deadline = math.inf
        if worker.recalled:  # it has nothing that it could return
            worker.end_recall()
        if worker.stopping:  # only now its time to exit begins to run
            worker.stopping = monotonic()
            self.next_check = min(self.next_check, worker.stopping + STOP_S)
        self.note_idle(worker)

    def report(self, outcomes: list[Outcome]) -> None:
        """Queue outcomes for the report, except for those that nobody wants."""
        with self.lock:
            self.outcomes += self._wanted(outcomes)

    def _wanted(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Leave out what was cancelled, and forget that it was. The lock is held."""
        if not self.cancelled:
            return outcomes
        return [outcome for outcome in outcomes if not self._unwanted(outcome[0])]

    def _unwanted(self, work: Work) -> bool:
        unwanted = work in self.cancelled
        self.cancelled.discard(work)
        return unwanted

    def take_back(self, worker: WorkerHandle, first: int, count: int) -> None:
        """Queue works again that a worker returns. On the loop's thread.

        The worker may have been sent more since it wrote this answer. That stays in
        ``held``, behind the works that are taken out.

        Args:
            worker: The worker.
            first: How many works of all that the worker was ever sent, and has not
                returned, come before those that it returns now.
            count: How many it returns. With 0 it says that it has seen a recall.
        """
        with self.lock:
            begin = max(0, first - worker.received)
            held = list(worker.held)
            worker.held = deque(held[:begin] + held[begin + count :])
            worker.assigned -= count
            worker.load = 0.0
            # If something comes before these works, the worker is in a task that takes
            # long: nothing is sent behind that until its answer has come.
            worker.stuck = begin > 0
            self.requeue(held[begin : begin + count])
            # A cancelled work may still have been on its way when the worker looked at
            # the recall. The recall then stands until that work is returned, too.
            if self.cancelled.isdisjoint(worker.held):
                worker.end_recall()
            else:
                worker.recall()
            self.note_idle(worker)

    def requeue(self, works: Iterable[Work]) -> None:
        """Put works at the front of the queue again, except for cancelled ones.

        The lock is held. They were submitted before everything that is in the queue.
        """
        wanted = [work for work in works if not self._unwanted(work)]
        for work in reversed(wanted):
            self._line_of(work).appendleft(work)
        self.waiting.update(wanted)

    # -- Failing ---------------------------------------------------------------------

    def fail_queue(self, error: ExecutorError) -> None:
        """Fail everything that waits."""
        with self.lock:
            works = self._drop_waiting()
        self._fail(works, error)

    def fail_all(self, error: ExecutorError) -> None:
        """Fail everything that has no outcome yet.

        In one go under the lock, so that no other thread can send works that have been
        taken from one place and not yet from the next.
        """
        with self.lock:
            works = self._drop_waiting()
            for worker in self.workers.values():
                works += worker.held
                worker.held.clear()
            for worker in self.sending:
                works += worker.being_sent
        self._fail(works, error)

    def _drop_waiting(self) -> list[Work]:
        lines = chain(self.queue, *self.asking.values())
        works = [work for work in lines if work in self.waiting]
        self.clear()
        return works

    def clear(self) -> None:
        """Forget all works that wait. The lock is held."""
        self.queue.clear()
        self.asking.clear()
        self.waiting.clear()

    def _fail(self, works: Iterable[Work], error: ExecutorError) -> None:
        self.report(all_failed(works, error))


def _outcome(work: Work, value: Any) -> Outcome:
    """Unpack one result; a value that cannot be unpickled becomes an error."""
    if type(value) is not tuple:
        return work, None, value
    error, result = serialize.load_outcome(work.name, value)
    return work, error, result
