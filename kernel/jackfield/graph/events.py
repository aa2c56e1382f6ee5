"""The event stream: changes of state, for observers, off the tasks' path."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from jackfield.errors import one_line
from jackfield.futures.locks import join
from jackfield.states import TaskEvent, TransferEvent

if TYPE_CHECKING:
    from logging import Logger

    from jackfield.graph.task import Task
    from jackfield.staging.progress import Progress

CAPACITY: Final = 100_000
"""Events kept for observers that are slower than the tasks; then the oldest go."""

PERIOD_S: Final = 0.1
"""Seconds between two deliveries."""


class Observation:
    """The streams on which tasks and transfers are told, where somebody listens.

    Attributes:
        tasks: Where tasks' changes of state are told.
        transfers: Where transfers' steps are told.
    """

    __slots__ = ("tasks", "transfers")

    def __init__(self) -> None:
        self.tasks: EventStream | None = None
        self.transfers: EventStream | None = None


class EventStream:
    """Collects events on any thread and delivers them in batches from its own."""

    def __init__(
        self,
        deliver: Callable[[Sequence[TaskEvent], Sequence[TransferEvent]], None],
        log: Logger,
    ) -> None:
        self._deliver: Callable[
            [Sequence[TaskEvent], Sequence[TransferEvent]], None
        ] = deliver
        self._log: Logger = log
        self._waiting: deque[TaskEvent | TransferEvent] = deque()
        self._stop: threading.Event = threading.Event()
        self.dropped: int = 0
        self.thread: threading.Thread = threading.Thread(
            target=self._run, name="jackfield-events", daemon=True
        )

    def note(self, tasks: Iterable[Task], error: BaseException | None = None) -> None:
        """Record that tasks have entered their present state."""
        wall, monotonic = time.time(), time.monotonic()
        for task in tasks:
            # Not the error itself, which holds the frames that it came through.
            told = None if error is None else task.reason or one_line(error)
            label = None if task.entry is None else task.entry.label
            name, state, attempt = task.spec.name, task.state, task.attempt
            self._keep(
                TaskEvent._make(
                    (task.id, name, state, attempt, label, wall, monotonic, told)
                )
            )

    def note_transfer(self, number: int, url: str, direction: str, step: Progress) -> None:
        """Record a step of a transfer."""
        self._keep(
            TransferEvent(
                number,
                url,
                direction,
                step.stage,
                step.attempt,
                step.moved,
                step.size,
                step.rate,
                step.verified,
                time.time(),
                time.monotonic(),
                None if step.error is None else one_line(step.error),
            )
        )

    def _keep(self, event: TaskEvent | TransferEvent) -> None:
        if len(self._waiting) >= CAPACITY:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(event)

    def start(self) -> None:
        """Start delivering."""
        self.thread.start()

    def stop(self, timeout: float | None) -> None:
        """Deliver what is left, then end; wait for ``timeout`` seconds at most."""
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
        self._flush()

    def _flush(self) -> None:
        tasks: list[TaskEvent] = []
        transfers: list[TransferEvent] = []
        while self._waiting:
            event = self._waiting.popleft()
            if isinstance(event, TaskEvent):
                tasks.append(event)
            else:
                transfers.append(event)
        if tasks or transfers:
            self._deliver(tasks, transfers)
