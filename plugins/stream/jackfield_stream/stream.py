"""The event stream: it tells observers of a run without holding up the tasks.

Threads that change a task's state, or move a file, only append what has happened to a
queue. One thread empties the queues ten times a second, or earlier when they fill up,
makes of it what observers get, and gives it to them. So an observer that takes long
holds up nothing but later news. There are two queues, for two sorts of observers:

- Changes of single tasks and steps of transfers are tuples in ``_events``.
- For ``jackfield_run_events``, whoever holds the scheduler's role appends one ``Notes``
  for each step, which lists the tasks that the step has registered, tried or ended.

If an observer is so slow that a queue is full, its oldest items are dropped and
counted; unless a monitor wants the history to be complete: then nothing is dropped, and
submitters wait.

A ``deque`` needs no lock, because its ``append`` and ``popleft`` are each one step of
the interpreter. But another thread may come between a look at its length and the step
that follows: the stream's thread may have emptied a queue that was full, and a thread
that drops the oldest item may take the last one from under the stream's thread. So
whoever pops is ready to find nothing. What was dropped is counted exactly: each count
has one writer, or a lock, which is taken only where something is dropped.

At the end of a run ``stop`` waits while batches go through, and gives up on an observer
that does not return. What is counted as lost then must never be told, and what is told
not be counted. So the stream's thread takes a batch in hand, and ``stop`` gives up,
under one lock: whichever comes first, the other one sees it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from jackfield import clock, hookimpl
from jackfield.abc import current_work
from jackfield.errors import one_line
from jackfield.futures.locks import join
from jackfield.states import TaskEvent, TransferEvent
from jackfield.stream import EventStream
from jackfield_stream.records import CALLS, History

if TYPE_CHECKING:
    from jackfield.events import Batch, News
    from jackfield.staging.mover import Progress
    from jackfield.stream import NotedTask, Notes, StreamContext

CAPACITY: Final = 100_000
"""Items of a queue that wait at most; when there are more, the oldest are dropped."""

PERIOD_S: Final = 0.1
"""Seconds between two deliveries."""

SLICE: Final = 20_000
"""Events and records of one batch, about: so a late observer is seen to go on."""

STALLED_S: Final = 1.0
"""Seconds after which an observer is so slow that arguments are not kept for it."""


@hookimpl
def jackfield_create_stream(around: StreamContext) -> EventStream:
    """Tell observers in batches, on a thread of their own."""
    return Stream(around)


class Stream(EventStream):
    """Collects events from any thread and delivers them in batches on its own.

    Attributes:
        thread: The thread that delivers.
        dropped: How many events of tasks and transfers were dropped.
    """

    def __init__(self, around: StreamContext) -> None:
        self._around: StreamContext = around
        self.dropped: int = 0
        self._news: deque[News] = deque()
        self._events: deque[Any] = deque()
        self._dropping: threading.RLock = threading.RLock()
        self._steps: deque[Notes] = deque()
        # Three counts of records in all of the run: put into ``_steps``, dropped from
        # it because it was full, taken out of it to be told. Whoever holds the role
        # writes the first two, the stream's thread the third, so none has two writers.
        # What waits is the first less the other two.
        self._put: int = 0
        self._lost: int = 0
        self._taken: int = 0
        self._told_lost: int = 0
        self.calls: int = CALLS
        self._last: float = clock.monotonic()
        self._history: History = History(around.loads)
        self._stopping: bool = False
        # The thread takes what waits under this lock, and ``stop`` gives up under it.
        self._taking: threading.Lock = threading.Lock()
        self._in_hand: int = 0
        self._batches: int = 0
        self._given_up: bool = False
        self._wake: threading.Event = threading.Event()
        self._room: threading.Event = threading.Event()
        self.thread: threading.Thread = threading.Thread(
            target=self._run, name="jackfield-events", daemon=True
        )

    # -- changes of single tasks, and transfers

    def note(
        self, tasks: Iterable[NotedTask], error: BaseException | None = None
    ) -> None:
        """See ``EventStream``."""
        wall, monotonic = time.time(), clock.monotonic()
        for task in tasks:
            # As text: the error itself would keep alive the frames that it came
            # through, with all their variables, until the event is delivered.
            text = None if error is None else task.reason or one_line(error)
            label = None if task.entry is None else task.entry.label
            name, state, attempt = task.spec.name, task.state, task.attempt
            self._keep((task.id, name, state, attempt, label, wall, monotonic, text))

    def note_transfer(
        self, number: int, url: str, direction: str, progress: Progress
    ) -> None:
        """See ``EventStream``."""
        work = current_work()
        self._keep(
            TransferEvent(
                number,
                url,
                direction,
                progress.stage,
                progress.attempt,
                progress.moved,
                progress.size,
                progress.rate,
                progress.verified,
                time.time(),
                clock.monotonic(),
                None if progress.error is None else one_line(progress.error),
                None if work is None else work.id,
            )
        )

    def _keep(self, event: Any) -> None:
        waiting = len(self._events)
        if waiting >= CAPACITY // 2:
            self._wake.set()
            if waiting >= CAPACITY and not self._around.complete:
                with self._dropping, suppress(IndexError):  # delivered since the look
                    self._events.popleft()
                    self.dropped += 1
        self._events.append(event)

    # -- records

    def note_news(self, news: News) -> None:
        """See ``EventStream``."""
        self._news.append(news)

    def put(self, notes: Notes) -> None:
        """Put what was noted of a step into the queue, if it is anything."""
        size = len(notes)
        if not size:
            return
        now = notes.monotonic = clock.monotonic()
        self.calls -= len(notes.ended) // 4
        self._put += size
        waiting = self._put - self._lost - self._taken
        if waiting > CAPACITY // 2:
            self._wake.set()
            if not self._around.complete:
                self._drop(waiting - CAPACITY)
        if self.calls > 0 and now - self._last > STALLED_S:
            self.calls = 0
            self._let_go()
        self._steps.append(notes)

    def _drop(self, more: int) -> None:
        """Drop the oldest steps until so many records are gone."""
        with suppress(IndexError):  # taken since the look at the counts
            while more > 0:
                size = len(self._steps.popleft())
                self._lost += size
                more -= size

    def _let_go(self) -> None:
        """Let go of arguments, which nobody else may need any more."""
        with suppress(RuntimeError):  # taken while we look
            for notes in self._steps:
                notes.let_go()

    def is_own_thread(self) -> bool:
        """See ``EventStream``."""
        return threading.current_thread() is self.thread

    @property
    def crowded(self) -> bool:
        """Whether submitters are to wait: the history is to be complete, and late."""
        late = self._around.complete and self._put - self._taken > CAPACITY // 2
        return late and not self.is_own_thread()

    def wait_for_room(self) -> None:
        """Wait until observers have taken what waits, or the stream ends."""
        while self.crowded and not self._stopping:
            self._wake.set()
            self._room.clear()
            self._room.wait(PERIOD_S)

    # -- the thread

    def start(self) -> None:
        """Start the thread that delivers."""
        self.thread.start()

    def stop(self, timeout: float | None) -> None:
        """Have the thread deliver what is left and end.

        It is waited for as long as it goes on, but for one batch ``timeout`` seconds at
        most: an observer may never return. After that nothing more is told, and what
        waits is counted as lost.
        """
        self._stopping = True
        self._wake.set()
        lost = 0
        if self.thread.is_alive() and self.thread is not threading.current_thread():
            before = -1
            while timeout != 0 and self.thread.is_alive() and before != self._batches:
                before = self._batches
                join(self.thread, timeout)
            if self.thread.is_alive():
                lost = self._give_up()
        lost += self.dropped + self._lost
        if lost:
            self._around.log.warning("Observers were too slow: %d events lost", lost)

    def _give_up(self) -> int:
        """Have the thread take nothing more in hand; return how much it leaves."""
        with self._taking:
            self._given_up = True
            held = self._in_hand
            left = self._put - self._lost - self._taken
            left += len(self._events) + len(self._news)
        if held:
            text = "An observer does not return; it was being told of %d events"
            self._around.log.warning(text, held)
        return left

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(PERIOD_S)
            self._wake.clear()
            self._flush()
        while self._flush(last=True):  # what came between the last one and the stop
            pass

    def _flush(self, *, last: bool = False) -> bool:
        """Deliver what waits, if there is anything; tell whether there was."""
        with self._taking:
            if self._given_up:
                return False
            events = _taken(self._events, SLICE)
            steps, records = self._taken_steps()
            news = _taken(self._news, CAPACITY)
            self._in_hand = len(events) + records + len(news)
        tasks: list[TaskEvent] = []
        moved: list[TransferEvent] = []
        for event in events:
            if type(event) is tuple:
                tasks.append(TaskEvent._make(event))
            else:
                moved.append(event)
        batch = self._batch(steps, news, moved, last=last)
        some = bool(tasks or moved or batch)
        if some:
            self._around.deliver(tasks, moved, batch)
        self._in_hand = 0
        self._batches += 1
        return some

    def _taken_steps(self) -> tuple[list[Notes], int]:
        """Take about as many notes as make a batch; return how many records, too."""
        steps: list[Notes] = []
        before = self._taken
        with suppress(IndexError):  # it is empty
            while self._taken < before + SLICE:
                steps.append(self._steps.popleft())
                self._taken += len(steps[-1])
        return steps, self._taken - before

    def _batch(
        self,
        steps: list[Notes],
        news: list[News],
        moved: list[TransferEvent],
        *,
        last: bool,
    ) -> Batch | None:
        """Make a batch of what was noted, if it is anything."""
        late = bool(self._steps)
        if late or self._events:
            self._wake.set()
        self._last = clock.monotonic()
        self.calls = CALLS
        self._room.set()
        lost = self._lost - self._told_lost
        self._told_lost += lost
        return self._history.batch(steps, news, moved, lost, late=late, last=last)


def _taken(queue: deque[Any], most: int) -> list[Any]:
    """Take what is in a queue, and return it in order."""
    items: list[Any] = []
    with suppress(IndexError):  # it is empty
        items.extend(queue.popleft() for _ in range(most))
    return items
