"""The executor for transfers: threads for all hosts, and connections for each host.

The kernel asks for ``plugin = "transfers"`` when the first file is to be moved. It
moves
files on an executor of their own, because a transfer waits more than it
computes, and because a server must not get too many connections at once. So there are
two limits: the number of threads, which is the number of files on their way, and for
each host a number of *connections*, which is how many of these files may be of that
host. A file whose host has no connection left waits in its host's queue, and files of
other hosts pass it.

All fields are read and written with the lock of ``_changed`` held; the lock is never
held while a file is moved or an outcome is reported. Four kinds of threads meet here:

- Whoever submits puts works into the queues, starts threads if there are too few, and
  wakes threads that sleep.
- A transfer thread (``_work``) takes a work whose host has a connection left, moves the
  file, gives the connection back and reports, in this order.
- Whoever cancels takes a work out of its queue, or out of ``_running``. To be in
  ``_running`` means that the work will be reported.
- Whoever shuts down sets ``_closed``. From then on no work comes in, so threads end
  when the queues are empty.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from threading import Thread, current_thread
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Capabilities, Executor
from jackfield.clock import monotonic
from jackfield.errors import ConfigurationError, ExecutorError
from jackfield.futures.locks import Condition, join
from jackfield.hookspecs import hookimpl
from jackfield_system.works import run_work
from jackfield_transfers import monitor
from jackfield_transfers.movement import Movement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackfield.abc import ExecutorContext, Work

log: Final = logging.getLogger("jackfield.staging")

LAST_REPORT_S: Final = 1.0
"""Seconds beyond the grace that a thread gets at the end, for its last report."""

LOOK_S: Final = 0.2
"""Seconds between an idle thread's looks while files wait for a connection."""


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | None:
    """Make the executor of a kind ``"transfers"``; its option is ``workers``."""
    if kind != "transfers":
        return None
    workers = options.get("workers")
    if set(options) != {"workers"} or not isinstance(workers, int) or workers < 1:
        raise ConfigurationError(
            f"Executor {label!r}: the plugin 'transfers' takes one option, workers, "
            f"which is a number from 1 up; it was given {dict(options)!r}."
        )
    return TransferExecutor(workers)


class TransferExecutor(Executor):
    """Runs ``Movement`` works on daemon threads, started when there are files to move.

    Args:
        threads: How many files are moved at the same time. A host that answers slowly
            keeps as many threads busy as it has connections, so there should be more
            threads than that.
    """

    capabilities: Capabilities = Capabilities(cancels_running=True, walltime="none")

    def __init__(self, threads: int) -> None:
        self._workers: int = threads
        self._changed: Condition = Condition()
        self._queues: dict[str, deque[Work]] = {}  # host to works that wait
        self._busy: dict[str, int] = {}  # host to connections in use, at least 1
        self._running: dict[Work, None] = {}  # works on their way that are reported
        self._threads: list[Thread] = []
        self._idle: int = 0  # threads that sleep, or were woken and do not run yet
        self._closed: bool = False

    @property
    def workers(self) -> int:
        """The number of threads that was configured."""
        return self._workers

    def start(self, context: ExecutorContext) -> None:
        """Remember where to report; threads start with the first file."""
        self._label = context.label
        self._report = context.report

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue works, each behind those of its host.

        Raises:
            ExecutorError: After ``shutdown``, or if no thread can be started.
        """
        with self._changed:
            if self._closed:
                raise ExecutorError(self._label, "it takes no works after shutdown")
            for work in batch:
                self._queues.setdefault(_movement(work).host, deque()).append(work)
            # ``_startable`` counts works again that no thread has taken yet, and
            # ``_idle`` counts the threads again that were woken for them: so it comes
            # out right. One more is woken to look for connections; see ``_give_back``.
            wanted = self._startable() + 1
            missing = min(wanted - self._idle, self._workers - len(self._threads))
            try:
                for _ in range(missing):
                    self._grow()
            except ExecutorError:
                # The kernel fails these works, so a thread that can be started later
                # must not find them.
                for work in batch:
                    self._queues[_movement(work).host].remove(work)
                raise
            self._changed.notify(wanted)

    def _startable(self) -> int:
        """Return how many works could begin if there were threads for them."""
        number = 0
        for host, queue in self._queues.items():
            if queue:
                free = _movement(queue[0]).connections - self._busy.get(host, 0)
                number += min(len(queue), max(free, 0))
        return number

    def _grow(self) -> None:
        """Start another thread; do with those that there are if none can be had.

        Raises:
            ExecutorError: There is no thread at all.
        """
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
        """Take a work back that waits, or stop its transfer.

        Returns:
            Whether it is cancelled; then it is not reported.
        """
        movement = _movement(work)
        with self._changed:
            queue = self._queues.get(movement.host, ())
            if work in queue:
                queue.remove(work)  # type: ignore[union-attr]  # not the empty tuple
                return True
            # The transfer thread looks into ``_running`` when the file has been moved,
            # and takes the work out, with the lock held. If it has done so, it reports,
            # and we are too late. If we are first, it finds nothing, and there is no
            # report, even if the file has been moved to its end.
            if work not in self._running:
                return False
            del self._running[work]
        movement.stop.stop()  # without the lock: it calls a provider's code
        return True

    def _work(self) -> None:
        """Move one file after the other until the end; a thread's whole life."""
        while True:
            work = self._next()
            if work is None:
                return
            outcome = run_work(work)
            if self._give_back(work):
                self._report((outcome,))
            # A thread that waits for its next work must not keep alive what the last
            # one has returned.
            del work, outcome

    def _next(self) -> Work | None:
        """Wait for a work and take it with one of its host's connections.

        ``None`` at the end.
        """
        with self._changed:
            while True:
                for host, queue in self._hosts_in_turn():
                    work = queue.popleft()
                    self._busy[host] = self._busy.get(host, 0) + 1
                    self._running[work] = None
                    return work
                # The generator has run to its end, so only hosts with works are left
                # in ``_queues``: they wait for a connection.
                if self._closed and not self._queues:
                    return None
                self._idle += 1
                try:
                    self._changed.wait(LOOK_S if self._queues else None)
                finally:
                    self._idle -= 1

    def _hosts_in_turn(self) -> Iterator[tuple[str, deque[Work]]]:
        """Give each host that has a work and a connection left.

        A host that was looked at goes to the end, so that the next thread begins with
        another one. A host without works is forgotten.
        """
        for host in list(self._queues):
            queue = self._queues.pop(host)
            if queue:
                self._queues[host] = queue
                if self._busy.get(host, 0) < _movement(queue[0]).connections:
                    yield host, queue

    def _give_back(self, work: Work) -> bool:
        """Give a connection back; tell whether the work is to be reported."""
        # Nobody is woken, though another file may wait for this connection: this thread
        # comes back for it itself, so that usually a file does not wait until another
        # thread has woken up. But first it reports, and that may take long, because the
        # kernel may go on with its tasks there. For that case ``submit`` has woken one
        # thread more than there were works to begin. It has found nothing to do, but
        # while works wait in a queue, it looks again every ``LOOK_S`` seconds.
        host = _movement(work).host
        with self._changed:
            self._busy[host] -= 1
            if not self._busy[host]:
                del self._busy[host]
            wanted = work in self._running  # else it was cancelled
            self._running.pop(work, None)
            if self._closed:  # the others may be able to end now
                self._changed.notify_all()
        return wanted

    def shutdown(self, *, grace: float | None = None) -> None:
        """End the threads.

        Args:
            grace: ``None`` moves first what was submitted. With a number, transfers are
                stopped at once, because half a file is of no use, and nothing is
                reported any more; the threads get so many seconds to notice.
        """
        with self._changed:
            self._closed = True
            # Works that a thread takes after this are not in the list; but with a grace
            # none are left to take, and without one none is stopped.
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
        """Wait for the threads; leave those behind that do not end in time."""
        limit = None if grace is None else monotonic() + grace + LAST_REPORT_S
        for thread in self._threads:  # no more are added once it is closed
            if thread is current_thread():  # the kernel ends within a report
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
