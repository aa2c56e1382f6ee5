"""The event stream: it tells observers of changes without holding up the tasks.

Threads that change a task's state, or move a file, only append an event to a queue.
One thread empties the queue ten times a second and gives observers, which are plugins,
all that it has found. So an observer that takes long holds up nothing but later events.
If it is so slow that the queue is full, the oldest events are dropped and counted.

The queue is a ``deque`` without a lock, because its ``append`` and ``popleft`` are each
one step of the interpreter. But another thread may come between a look at its length
and the step that follows: the stream's thread may have emptied a queue that was full,
and a thread that drops the oldest event may take the last one from under the stream's
thread. So whoever pops is ready to find nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jackfield import clock
from jackfield.errors import one_line
from jackfield.futures.locks import join
from jackfield.states import TaskEvent, TransferEvent

if TYPE_CHECKING:
    from logging import Logger

    from jackfield.graph.task import Task
    from jackfield.staging.progress import Progress

CAPACITY: Final = 100_000
"""Events that wait at most; when there are more, the oldest are dropped."""

PERIOD_S: Final = 0.1
"""Seconds between two deliveries."""


class Observation:
    """The streams to which events of tasks and of transfers go.

    Plugins may be registered while tasks run, so this is looked at for each event.

    Attributes:
        tasks: The stream for changes of tasks' states; ``None`` while no plugin
            observes them.
        transfers: The stream for the progress of transfers; ``None`` while no plugin
            observes it. If there are both, they are the same stream.
    """

    __slots__ = ("tasks", "transfers")

    def __init__(self) -> None:
        self.tasks: EventStream | None = None
        self.transfers: EventStream | None = None


class EventStream:
    """Collects events from any thread and delivers them in batches on its own.

    Args:
        deliver: Tells the observers: of tasks' events, then of transfers'.
        log: The run's log.

    Attributes:
        thread: The thread that delivers.
        dropped: How many events were dropped, about: threads that drop at the same
            time may count as one.
    """

    def __init__(
        self,
        deliver: Callable[[Sequence[TaskEvent], Sequence[TransferEvent]], None],
        log: Logger,
    ) -> None:
        self._deliver = deliver
        self._log: Logger = log
        self._waiting: deque[TaskEvent | TransferEvent] = deque()
        self._stop: threading.Event = threading.Event()
        self.dropped: int = 0
        self.thread: threading.Thread = threading.Thread(
            target=self._run, name="jackfield-events", daemon=True
        )

    def note(self, tasks: Iterable[Task], error: BaseException | None = None) -> None:
        """Note that tasks have just entered the state that they are in.

        ``error`` is why they failed, if they did.
        """
        wall, monotonic = time.time(), clock.monotonic()
        for task in tasks:
            # As text: the error itself would keep alive the frames that it came
            # through, with all their variables, until the event is delivered.
            text = None if error is None else task.reason or one_line(error)
            label = None if task.entry is None else task.entry.label
            name, state, attempt = task.spec.name, task.state, task.attempt
            self._keep(
                TaskEvent._make(
                    (task.id, name, state, attempt, label, wall, monotonic, text)
                )
            )

    def note_transfer(
        self, number: int, url: str, direction: str, progress: Progress
    ) -> None:
        """Note how far a transfer is; see ``TransferEvent`` for the arguments."""
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
            )
        )

    def _keep(self, event: TaskEvent | TransferEvent) -> None:
        if len(self._waiting) >= CAPACITY:
            with suppress(IndexError):  # delivered since the look at the length
                self._waiting.popleft()
                self.dropped += 1
        self._waiting.append(event)

    def start(self) -> None:
        """Start the thread that delivers."""
        self.thread.start()

    def stop(self, timeout: float | None) -> None:
        """Have the thread deliver what is left and end.

        It is waited for ``timeout`` seconds at most: an observer may never return.
        """
        self._stop.set()
        if self.thread.is_alive() and self.thread is not threading.current_thread():
            join(self.thread, timeout)
            if self.thread.is_alive():
                left = len(self._waiting)
                self._log.warning("An observer does not return; %d events wait", left)
        if self.dropped:
            self._log.warning("Observers were too slow: %d events lost", self.dropped)

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self._flush()
        self._flush()  # what came between the last delivery and the stop

    def _flush(self) -> None:
        """Deliver what waits."""
        tasks: list[TaskEvent] = []
        transfers: list[TransferEvent] = []
        with suppress(IndexError):  # the queue is empty
            while True:
                event = self._waiting.popleft()
                if isinstance(event, TaskEvent):
                    tasks.append(event)
                else:
                    transfers.append(event)
        if tasks or transfers:
            self._deliver(tasks, transfers)
