"""Which works wait, which worker holds which, and what becomes of them.

State, guarded by ``lock``:

- ``queue``: works that are not sent, in order; and some that are cancelled;
- ``waiting``: those in the queue that are still wanted;
- ``workers``: ``{number: WorkerHandle}``, from the request to start one until it is
  reaped;
- ``idle``: the workers among them that are ready and hold nothing;
- ``packing``: how many threads have taken works and not sent them yet;
- ``cancelled``: works held by a worker whose outcome is to be dropped;
- ``outcomes``: what is to be reported; only the loop's thread reports;
- ``overflow``: whether a socket has not taken all that was to be sent;
- ``short``: whether a worker has ended, or will, so that another may be wanted;
- ``next_deadline``, ``next_check``: when to look at walltimes, and at workers that
  should have ended, in ``time.monotonic()``;
- ``closing``: whether nothing more is taken.

How much is sent ahead to a worker is bounded by time: ``WINDOW_S``, by what calls of
each function have taken so far. A function that is not known goes to a worker that
holds nothing, and one call at a time. What is sent ahead nevertheless waits little
longer than that behind a slow task, because the worker gives it back.

``stops`` and ``deaths`` have the rest of what is done with this state.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import repeat
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from jackfield import serialize
from jackfield.errors import ExecutorError
from jackfield_executors.processes.messages import FunctionTable, Message, build_message
from jackfield_executors.processes.wire import Kind, frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jackfield.abc import Outcome, Work
    from jackfield_executors.processes.handle import WorkerHandle

WINDOW_S: Final = 0.01
"""How many seconds of work a worker may hold, beyond a single task."""

MOST_AT_ONCE: Final = 500
"""Works in one message, so that packing one does not take long."""

STOP_S: Final = 5.0
"""How long a worker may take to end when it has been told to, and has nothing to do."""


class Pool:
    """The bookkeeping of one executor; see the module's text."""

    def __init__(self, label: str, max_tasks: int | None) -> None:
        self.label: str = label
        self.lock: Lock = Lock()
        self.queue: deque[Work] = deque()
        self.waiting: set[Work] = set()
        self.workers: dict[int, WorkerHandle] = {}
        self.idle: dict[WorkerHandle, None] = {}
        self.senders: int = 0
        self.cancelled: set[Work] = set()
        self.outcomes: list[Outcome] = []
        self.unsent_data: bool = False
        self.worker_missing: bool = False
        self.next_deadline: float = math.inf
        self.next_check: float = math.inf
        self.closing: bool = False
        self._max_tasks = max_tasks or math.inf
        self._functions = FunctionTable()

    # -- Sending ---------------------------------------------------------------------

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue works. Called on any thread.

        Raises:
            ExecutorError: The executor is closing.
        """
        with self.lock:
            if self.closing:
                raise ExecutorError(self.label, "it has been shut down")
            self.queue.extend(batch)
            self.waiting.update(batch)

    def feed_idle(self) -> bool:
        """Send what idle workers can take. Called on any thread; returns like feed."""
        wake = False
        if self.queue:
            # The worker that was busy last comes first: its core and caches are awake.
            for worker in reversed(list(self.idle)):
                wake |= self.feed(worker)
                if not self.queue:
                    break
        return wake

    def feed(self, worker: WorkerHandle) -> bool:
        """Send a worker as much as it may hold. Called on any thread.

        Returns:
            Whether the loop has to be woken: there are outcomes, something is due
            earlier, or something is to be sent when the socket takes it.
        """
        wake = False
        while True:
            with self.lock:
                works = self._take(worker)
                if not works:
                    self.note_idle(worker)
                    return wake
                ahead = len(works) > 1 or bool(self.queue)
            message = self._pack(works, worker, ahead=ahead)
            with self.lock:
                wake |= self._send(worker, message, ahead=ahead)

    def _pack(self, works: list[Work], worker: WorkerHandle, *, ahead: bool) -> Message:
        try:
            return build_message(
                works, worker, self.workers, self._functions, ahead=ahead
            )
        except BaseException as error:  # nothing of it has been sent
            failure = ExecutorError(self.label, f"sending failed: {error!r}")
            message = Message(ahead=ahead)
            message.failed = [(work, _copy(failure, error), None) for work in works]
            return message

    def _take(self, worker: WorkerHandle) -> list[Work]:
        """Take from the queue what a worker gets next; the caller packs it."""
        queue = self.queue
        if not queue or not worker.takes_work:
            return []
        holds = bool(worker.held)
        if holds and (not worker.ahead or worker.load > WINDOW_S / 2):
            return []
        room = WINDOW_S - worker.load
        fair = len(queue) // len(self.workers) + 1
        most = min(MOST_AT_ONCE, fair, self._max_tasks - worker.assigned)
        taken: list[Work] = []
        function: Any = None
        cost: float | None = None
        while queue and len(taken) < most:
            if queue[0].function is not function:
                function = queue[0].function
                cost = self._functions.cost(function)
            if (taken or holds) and (cost is None or cost > room):
                break
            work = queue.popleft()
            if work in self.waiting:  # else it was cancelled
                self.waiting.remove(work)
                taken.append(work)
                room = 0.0 if cost is None else room - cost
        if taken:
            worker.load = WINDOW_S - room
            worker.being_sent = taken
            worker.assigned += len(taken)
            self.senders += 1
            self.idle.pop(worker, None)
        return taken

    def _send(self, worker: WorkerHandle, message: Message, *, ahead: bool) -> bool:
        worker.being_sent = []
        self.senders -= 1
        self.outcomes += self._wanted(message.failed)
        worker.assigned -= len(message.failed)
        if worker.dead:  # it has died while we packed
            self.requeue(message.works)
            return True
        worker.held.extend(message.works)
        worker.ahead = ahead
        worker.send(message.parts)
        if not self.cancelled.isdisjoint(message.works):
            worker.recall()  # cancelled while we packed
        if worker.assigned >= self._max_tasks:
            self.stop(worker)
        self.unsent_data |= bool(worker.outbox)
        self.note_idle(worker)
        due = self._set_deadline(worker, message.works)
        return due or bool(message.failed or worker.outbox or worker.stopping)

    def _set_deadline(self, worker: WorkerHandle, works: Iterable[Work]) -> bool:
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
        """Tell a worker to end when it has done what it holds. The lock is held."""
        if not worker.stopping:
            worker.stopping = monotonic()
            worker.send([frame(Kind.STOP)])
            self.next_check = min(self.next_check, worker.stopping + STOP_S)
            self.worker_missing = True
            self.idle.pop(worker, None)

    # -- Receiving -------------------------------------------------------------------

    def settle(
        self,
        worker: WorkerHandle,
        values: Sequence[Any],
        durations: Sequence[tuple[int, int, int]] = (),
        *,
        packed: bool,
    ) -> None:
        """Turn what a worker has sent into outcomes. Called by the loop only.

        Args:
            worker: Which one.
            values: Plain values, or tuples as ``serialize`` packs them.
            durations: ``(function, calls, nanoseconds)``.
            packed: Whether there are such tuples.

        Raises:
            ValueError: These are more than it had tasks.
        """
        with self.lock:
            works = self._answered(worker, len(values))
            self._functions.learn(durations)
        outcomes: list[Outcome]
        if packed:
            outcomes = [
                _outcome(work, v) for work, v in zip(works, values, strict=True)
            ]
        else:
            outcomes = list(zip(works, repeat(None), values, strict=False))
        self.report(outcomes)

    def settle_large(self, worker: WorkerHandle, value: Any, seconds: float) -> None:
        """Turn a large result, which comes alone, into an outcome.

        Raises:
            ValueError: The worker had no task.
        """
        with self.lock:
            (work,) = self._answered(worker, 1)
            self._functions.learn_one(work.function, seconds)
        self.report([_outcome(work, value)])

    def _answered(self, worker: WorkerHandle, count: int) -> list[Work]:
        held = worker.held
        before = len(held)
        if count > before:
            raise ValueError(f"{count} outcomes of {before} tasks")
        works = [held.popleft() for _ in range(count)]
        worker.received += count
        worker.load = worker.load * len(held) / before if held else 0.0
        worker.stuck = False
        if not held:
            self._now_empty(worker)
        return works

    def _now_empty(self, worker: WorkerHandle) -> None:
        worker.deadline = math.inf
        if worker.recalled:
            worker.end_recall()
        if worker.stopping:  # the time to end begins now
            worker.stopping = monotonic()
            self.next_check = min(self.next_check, worker.stopping + STOP_S)
        self.note_idle(worker)

    def report(self, outcomes: list[Outcome]) -> None:
        """Queue outcomes for the report, except for those that nobody wants."""
        with self.lock:
            self.outcomes += self._wanted(outcomes)

    def _wanted(self, outcomes: list[Outcome]) -> list[Outcome]:
        if not self.cancelled:
            return outcomes
        return [outcome for outcome in outcomes if not self._unwanted(outcome[0])]

    def _unwanted(self, work: Work) -> bool:
        unwanted = work in self.cancelled
        self.cancelled.discard(work)
        return unwanted

    def take_back(self, worker: WorkerHandle, first: int, count: int) -> None:
        """Queue again what a worker returns: ``count`` works from its ``first`` on."""
        with self.lock:
            begin = max(0, first - worker.received)
            held = list(worker.held)
            worker.held = deque(held[:begin] + held[begin + count :])
            worker.assigned -= count
            worker.load = 0.0
            worker.end_recall()
            worker.stuck = begin > 0
            self.requeue(held[begin : begin + count])
            self.note_idle(worker)

    def requeue(self, works: Iterable[Work]) -> None:
        """Put works that were not begun first in the queue. The lock is held."""
        wanted = [work for work in works if not self._unwanted(work)]
        self.queue.extendleft(reversed(wanted))
        self.waiting.update(wanted)

    # -- Failing ---------------------------------------------------------------------

    def fail_queue(self, error: ExecutorError) -> None:
        """Fail everything that waits."""
        with self.lock:
            works = [work for work in self.queue if work in self.waiting]
            self.queue.clear()
            self.waiting.clear()
        self.report([(work, _copy(error, error.__cause__), None) for work in works])

    def fail_all(self, error: ExecutorError) -> None:
        """Fail everything that is not settled."""
        with self.lock:
            for worker in self.workers.values():
                self.requeue(worker.held)
                worker.held.clear()
        self.fail_queue(error)


def _copy(error: ExecutorError, cause: BaseException | None) -> ExecutorError:
    """An error of its own for each task: raising one adds to its traceback."""
    copy = ExecutorError(*error.args)
    copy.__cause__ = cause
    return copy


def _outcome(work: Work, value: Any) -> Outcome:
    if type(value) is not tuple:
        return work, None, value
    error, result = serialize.load_outcome(work.name, value)
    return work, error, result
