"""The kernel's transfer threads: so many files at a time, so many of them per host."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Condition, Thread, current_thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Capabilities, Executor, run_work
from jackfield.errors import ExecutorError
from jackfield.futures.locks import join
from jackfield.staging import monitor

if TYPE_CHECKING:
    from jackfield.abc import ExecutorContext, Work
    from jackfield.staging.remote import Stop

log: Final = logging.getLogger("jackfield.staging")

LAST_REPORT_S: Final = 1.0

LOOK_S: Final = 0.2
"""Seconds between an idle thread's looks while files wait for a connection."""


@dataclass(frozen=True, slots=True)
class Movement:
    """What a work of this executor calls.

    Attributes:
        action: Moves the file.
        host: To or from where.
        connections: How many files may be moved to or from there at a time.
        stop: Ends it.
    """

    action: Callable[[], Any]
    host: str
    connections: int
    stop: Stop

    def __call__(self) -> Any:
        """Move it."""
        return self.action()


class TransferExecutor(Executor):
    """Daemon threads, started when there are files to move.

    A host that answers slowly holds up to its own limit of threads, so there should
    be more threads than that; files of other hosts pass those that wait for it.
    """

    capabilities: Capabilities = Capabilities(cancels_running=True, walltime="none")

    def __init__(self, threads: int) -> None:
        self._workers: int = threads
        self._changed: Condition = Condition()
        self._queues: dict[str, deque[Work]] = {}
        self._busy: dict[str, int] = {}
        self._running: dict[Work, None] = {}
        self._threads: list[Thread] = []
        self._idle: int = 0
        self._closed: bool = False

    @property
    def workers(self) -> int:
        """The number that was configured."""
        return self._workers

    def start(self, context: ExecutorContext) -> None:
        """Remember where to report."""
        self._label = context.label
        self._report = context.report

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue works, each behind those of its host.

        Raises:
            ExecutorError: After ``shutdown``.
        """
        with self._changed:
            if self._closed:
                raise ExecutorError(self._label, "it takes no works after shutdown")
            for work in batch:
                self._queues.setdefault(_movement(work).host, deque()).append(work)
            wanted = self._ready() + 1  # one more, to look again while others report
            missing = min(wanted - self._idle, self._workers - len(self._threads))
            for _ in range(missing):
                self._grow()
            self._changed.notify(wanted)

    def _ready(self) -> int:
        """Return how many works could begin if there were threads for them."""
        ready = 0
        for host, queue in self._queues.items():
            if queue:
                free = _movement(queue[0]).connections - self._busy.get(host, 0)
                ready += min(len(queue), max(free, 0))
        return ready

    def _grow(self) -> None:
        name = f"jackfield-{self._label}-{len(self._threads)}"
        thread = Thread(target=self._work, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._threads:
                reason = f"no thread can be started: {error}"
                raise ExecutorError(self._label, reason) from error
            return
        self._threads.append(thread)

    def cancel(self, work: Work) -> bool:
        """Take a work back that waits, or have its transfer stopped."""
        movement = _movement(work)
        with self._changed:
            queue = self._queues.get(movement.host, ())
            if work in queue:
                queue.remove(work)  # type: ignore[union-attr]  # not the empty tuple
                return True
            if work not in self._running:
                return False
            del self._running[work]  # its report is not wanted
        movement.stop.stop()
        return True

    def _work(self) -> None:
        """Serve until the end; a thread's whole life."""
        while True:
            work = self._next()
            if work is None:
                return
            outcome = run_work(work)
            if self._done(work):
                self._report((outcome,))
            del work, outcome  # a thread that waits must not keep them alive

    def _next(self) -> Work | None:
        with self._changed:
            while True:
                for host, queue in self._turns():
                    work = queue.popleft()
                    self._busy[host] = self._busy.get(host, 0) + 1
                    self._running[work] = None
                    return work
                if self._closed and not self._queues:
                    return None
                self._idle += 1
                try:
                    self._changed.wait(LOOK_S if self._queues else None)
                finally:
                    self._idle -= 1

    def _turns(self) -> Iterator[tuple[str, deque[Work]]]:
        """Give the hosts that have a file and a connection left, each in turn."""
        for host in list(self._queues):
            queue = self._queues.pop(host)
            if queue:
                self._queues[host] = queue  # last in turn next time
                if self._busy.get(host, 0) < _movement(queue[0]).connections:
                    yield host, queue

    def _done(self, work: Work) -> bool:
        """Give a connection back; tell whether the work is to be reported.

        Nobody is woken for it: this thread takes the next work itself, so that a file
        does not go through two threads' hands. If its report takes long, an idle thread
        finds the work when it looks again.
        """
        host = _movement(work).host
        with self._changed:
            self._busy[host] -= 1
            if not self._busy[host]:
                del self._busy[host]
            wanted = work in self._running
            self._running.pop(work, None)
            if self._closed:
                self._changed.notify_all()
        return wanted

    def shutdown(self, *, grace: float | None = None) -> None:
        """End. With a ``grace``, transfers are stopped at once: none is half wanted."""
        with self._changed:
            self._closed = True
            running = list(self._running)
            if grace is not None:
                self._queues.clear()
                self._running.clear()
            self._changed.notify_all()
        if grace is not None:
            for work in running:
                _movement(work).stop.stop()
        self._join(grace)
        monitor.close()

    def _join(self, grace: float | None) -> None:
        limit = None if grace is None else monotonic() + grace + LAST_REPORT_S
        for thread in self._threads:
            if thread is current_thread():
                continue
            join(thread, None if limit is None else limit - monotonic())
            if thread.is_alive():
                log.warning(
                    "A transfer does not end when it is stopped: thread %s is left",
                    thread.name,
                )


def _movement(work: Work) -> Movement:
    movement = work.function
    assert isinstance(movement, Movement)
    return movement
