"""The second thread of a worker, which acts when a task takes long.

It runs while the main thread has tasks and the driver has asked for it; otherwise it
sleeps, so that an idle worker uses no processor time. What the two threads share is the
worker's; its module tells how they meet there.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from time import sleep
from typing import Any, Final, Protocol


class Watched(Protocol):
    """What the watchdog uses of a worker."""

    tasks: Any
    reading: threading.Lock

    def send_due_results(self) -> None:
        """Send the results if the first of them has waited long."""

    def overdue(self) -> bool:
        """Tell whether the main thread is in a task that takes long."""
        ...

    def readable(self) -> bool:
        """Tell whether ``receive`` would return at once."""
        ...

    def receive(self) -> bool:
        """Receive once, under ``reading``."""
        ...

    def return_tasks_while_reading(self) -> None:
        """Return all tasks that are not taken to the driver."""


class Watchdog:
    """The thread, started when it is first woken."""

    PERIOD_S: Final = 0.002
    """Seconds between two looks at the main thread."""

    LONG_PERIOD_S: Final = 0.02
    """Seconds more until the next look, if the main thread is in a long task."""

    def __init__(self, worker: Watched) -> None:
        self._worker = worker
        self._busy = False
        self._asleep = False
        self._alarms: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Begin to watch. Called by the main thread, before it runs tasks."""
        self._busy = True  # before the look at `_asleep`; see `_run`
        if self._asleep:
            self._asleep = False
            self._alarms.put(None)
        elif self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="jackfield-watchdog", daemon=True
            )
            self._thread.start()

    def rest(self) -> None:
        """Let it fall asleep. Called by the main thread, when it has no task."""
        self._busy = False

    def _run(self) -> None:
        try:
            while True:
                # Going to sleep and being woken must not miss each other. We set
                # `_asleep`, then read `_busy`; `wake` sets `_busy`, then reads
                # `_asleep`. Whichever way these four steps interleave, one of the two
                # sees what the other has set: we stay awake, or `wake` puts a token
                # into `_alarms`, which ends the `get`. If both see it, the token stays
                # there, and we look once more for nothing.
                self._asleep = True
                if not self._busy:
                    self._alarms.get()
                self._asleep = False
                self._look()
        except (EOFError, OSError):  # the driver is gone; the main thread will see it
            return

    def _look(self) -> None:
        worker = self._worker
        sleep(self.PERIOD_S)
        worker.send_due_results()
        # If the main thread has `reading`, it is not in a task any more. If it comes
        # out of the task just now, it may run what it finds in `tasks`, or wait for us
        # before it receives; what we have received and it has not taken is returned.
        if worker.overdue() and worker.reading.acquire(blocking=False):
            try:
                while worker.readable():
                    worker.receive()
                if worker.tasks:
                    worker.return_tasks_while_reading()
            finally:
                worker.reading.release()
            sleep(self.LONG_PERIOD_S)
