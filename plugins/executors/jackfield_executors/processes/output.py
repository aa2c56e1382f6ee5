"""Passing on what workers print and log.

Each worker has two pipes, for its standard output and its standard error, so nothing of
one worker can come into the middle of another's line. One thread reads them all, puts
whole lines together, and writes them to whatever ``sys.stdout`` and ``sys.stderr`` are
at that time. Log records arrive in the worker's socket. The loop hands them over to
this thread, so that a slow terminal or handler holds up no results.

The loop and this thread meet in three queues: ``_new`` pipes, ``_ended`` workers'
pipes, and ``_records``. The loop appends to a queue, then writes a byte into the
wake-up pipe; this thread reads the byte, then empties the queues. So an item that comes
too late to be seen has its byte still in the pipe, which ends the next wait at once.

A pipe's descriptor is closed by this thread only, and not by the loop: as long as it is
open here, the system cannot give its number to something else, which we would then
read.
"""

from __future__ import annotations

import logging
import os
import pickle
import selectors
import sys
import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jackfield_executors.processes.wire import Data

log: Final = logging.getLogger("jackfield.executors.processes")

READ_SIZE: Final = 65_536

PARTIAL_S: Final = 0.2
"""Seconds until the begin of a line is shown that has no end yet.

It may be a progress bar."""

MOST_RECORDS: Final = 10_000
"""How many log records may wait for slow handlers; more are dropped and counted."""

LAST_WORDS_S: Final = 2.0
"""Seconds that the end of an executor waits for its workers' output to be shown."""


class _Stream:
    """One pipe of one worker.

    ``partial`` is the begin of a line of which no end has come, and ``since`` when it
    came.
    """

    __slots__ = ("fd", "partial", "since", "target")

    def __init__(self, fd: int, target: str) -> None:
        self.fd = fd
        self.target = target
        self.partial = b""
        self.since = 0.0


class Output:
    """The thread that passes workers' output on."""

    def __init__(self, label: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_fd, self._signal_fd = os.pipe()
        for fd in (self._wake_fd, self._signal_fd):
            os.set_blocking(fd, False)
        self._selector.register(self._wake_fd, selectors.EVENT_READ)
        self._records: deque[bytes] = deque()
        self._dropped = 0
        self._new: deque[_Stream] = deque()
        self._streams: dict[int, _Stream] = {}
        self._ended: deque[tuple[int, int]] = deque()
        self._closing = False
        # It starts here and not with the first worker: that may come while the
        # interpreter ends, when no thread can be started any more.
        self._thread = threading.Thread(
            target=self._run, name=f"{label}-output", daemon=True
        )
        self._thread.start()

    def open(self) -> tuple[int, int, tuple[int, int]]:
        """Make the two pipes of a new worker, and have them read.

        Returns:
            The ends for the worker's standard output and standard error, which the
            caller closes, and a pair for ``end``.

        Raises:
            OSError: The process may open no more descriptors.
        """
        out_read, out_write = os.pipe()
        try:
            err_read, err_write = os.pipe()
        except OSError:
            os.close(out_read)
            os.close(out_write)
            raise
        for fd, target in ((out_read, "stdout"), (err_read, "stderr")):
            os.set_blocking(fd, False)
            self._new.append(_Stream(fd, target))
        self._wake()
        return out_write, err_write, (out_read, err_read)

    def end(self, pipes: tuple[int, int]) -> None:
        """Have the rest of an ended worker's output shown, and its pipes closed."""
        self._ended.append(pipes)
        self._wake()

    def log(self, record: Data) -> None:
        """Have a log record of a worker handled by the driver's loggers."""
        if len(self._records) >= MOST_RECORDS:
            self._dropped += 1
            return
        self._records.append(bytes(record))
        self._wake()

    def close(self) -> None:
        """Show the rest, and end the thread.

        If whoever reads our output has stopped, the thread hangs in a write, and cannot
        be ended. It is a daemon, and is left with its descriptors.
        """
        if self._closing:
            return
        self._closing = True
        self._wake()
        self._thread.join(LAST_WORDS_S)
        if self._thread.is_alive():
            return
        self._selector.close()
        for fd in (*self._streams, self._wake_fd, self._signal_fd):
            os.close(fd)

    def _wake(self) -> None:
        try:
            os.write(self._signal_fd, b"\0")
        except BlockingIOError:  # it is full, so the thread will wake
            return

    # -- On the thread ---------------------------------------------------------------

    def _run(self) -> None:
        while not self._step():
            pass

    def _step(self) -> bool:
        """Deal with what there is; true if that was the last time.

        ``_closing`` is read first. All that was handed over before it was set is then
        dealt with in this step or an earlier one.
        """
        closing = self._closing
        for key, _ in self._selector.select(0 if closing else self._timeout()):
            if key.fd == self._wake_fd:
                os.read(self._wake_fd, 4096)
            else:
                self._read(key.data)
        # Counted before the new pipes are taken in. A worker's pipes are handed over
        # before its end, so those of the counted ones are among the pipes by then.
        ended = len(self._ended)
        while self._new:
            stream = self._new.popleft()
            self._streams[stream.fd] = stream
            self._selector.register(stream.fd, selectors.EVENT_READ, stream)
        for _ in range(ended):
            for fd in self._ended.popleft():
                self._finish(fd)
        self._show_partial()
        self._handle_records()
        return closing

    def _timeout(self) -> float | None:
        """Return how long to wait: for ever, unless the begin of a line is kept."""
        waiting = any(stream.partial for stream in self._streams.values())
        return PARTIAL_S if waiting else None

    def _read(self, stream: _Stream) -> bool:
        """Read once, and show whole lines; false if there was nothing to read."""
        try:
            data = os.read(stream.fd, READ_SIZE)
        except BlockingIOError:
            return False
        if not data:  # the worker and its children have all closed it
            self._selector.unregister(stream.fd)
            return False
        lines, mark, rest = (stream.partial + data).rpartition(b"\n")
        if mark:
            _show(stream.target, lines + mark)
        if not stream.partial or mark:
            stream.since = monotonic()
        stream.partial = rest
        return True

    def _finish(self, fd: int) -> None:
        """Show the rest of what is in an ended worker's pipe, and close it.

        A program that the task has started may have it open still, so that its end
        would never come; what is there now has to do.
        """
        stream = self._streams.pop(fd)
        if fd in self._selector.get_map():
            while self._read(stream):
                pass
        if fd in self._selector.get_map():
            self._selector.unregister(fd)
        if stream.partial:
            _show(stream.target, stream.partial)
        os.close(fd)

    def _show_partial(self) -> None:
        for stream in self._streams.values():
            if stream.partial and monotonic() - stream.since > PARTIAL_S:
                _show(stream.target, stream.partial)
                stream.partial = b""

    def _handle_records(self) -> None:
        while self._records:
            try:
                record = logging.makeLogRecord(pickle.loads(self._records.popleft()))
                logger = logging.getLogger(record.name)
                if logger.isEnabledFor(record.levelno):
                    logger.handle(record)
            except Exception:
                log.exception("A log record of a worker could not be handled")
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            log.warning("%d log records of workers came too fast", dropped)


def _show(target: str, data: bytes) -> None:
    stream = getattr(sys, target)
    try:
        stream.write(data.decode(errors="backslashreplace"))
        stream.flush()
    except Exception:  # the driver has no such stream, or has closed it
        return
