"""Passing on what workers print and log.

Each worker has two pipes, for its standard output and its standard error, so nothing of
one worker can come into the middle of another's line. One thread reads them all, puts
whole lines together, and writes them to whatever ``sys.stdout`` and ``sys.stderr`` are
at that time. Log records arrive in the worker's socket. The loop hands them over to
this thread, so that a slow terminal or handler holds up no results.

The loop and this thread meet in three queues: ``_new`` pipes, ``_ended`` workers'
pipes, and ``_records``. The loop appends to a queue, then writes a byte into the
wake-up pipe; this thread reads the byte, then takes what is in the queues. So an item
that comes too late to be seen has its byte still in the pipe, which ends the next wait
at once. Records that it leaves for the next time have no byte any more: while there are
any, this thread does not wait.

A pipe's descriptor is closed by this thread only, and not by the loop: as long as it is
open here, the system cannot give its number to something else, which we would then
read.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import logging
import os
import pickle
import selectors
import sys
import termios
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from jackfield.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackfield_executors.processes.wire import Data

log: Final = logging.getLogger("jackfield.executors.processes")

READ_SIZE: Final = 65_536

PARTIAL_S: Final = 0.2
"""Seconds until the beginning of a line is shown that has no end yet.

It may be a progress bar."""

MOST_RECORDS: Final = 10_000
"""How many log records may wait for slow handlers; more are dropped and counted."""

RECORDS_S: Final = 0.1
"""Seconds for which log records are handled before pipes are looked at again."""

LAST_WORDS_S: Final = 2.0
"""Seconds that the end of an executor waits for its workers' output to be shown."""


class _Stream:
    """One pipe of one worker.

    ``partial`` is the beginning of a line of which no end has come, and ``since`` when
    its first bytes came. ``decoder`` keeps the first bytes of a character whose others
    have not come.
    """

    __slots__ = ("decoder", "fd", "partial", "since", "target")

    def __init__(self, fd: int, target: str) -> None:
        self.fd = fd
        self.target = target
        self.decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self.partial = b""
        self.since = 0.0


def write(target: str, text: str) -> None:
    """Write what workers have printed to this process's ``"stdout"`` or ``"stderr"``.

    The driver may have no such stream, or have closed it.
    """
    with contextlib.suppress(Exception):
        stream = getattr(sys, target)
        stream.write(text)
        stream.flush()


def handle(data: bytes) -> None:
    """Have a log record of a worker handled by this process's loggers."""
    try:
        record = logging.makeLogRecord(pickle.loads(data))
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except Exception:
        log.exception("A log record of a worker could not be handled")


class Output:
    """Passes workers' output on, by a thread of its own.

    Args:
        label: The executor's label.
        write: Takes what is printed, as the function above does.
        handle: Takes log records.
    """

    def __init__(
        self,
        label: str,
        write: Callable[[str, str], None] = write,
        handle: Callable[[bytes], None] = handle,
    ) -> None:
        self._write = write
        self._handle = handle
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._records: deque[bytes] = deque()
        # Two numbers, because `n += 1` on two threads at once may count only one: the
        # loop counts what it drops, and the thread what it has warned of.
        self._dropped = 0
        self._warned = 0
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

    def add_record(self, record: Data) -> None:
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
        for fd in (*self._streams, self._wake_read, self._wake_write):
            os.close(fd)

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"\0")
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
        hurry = closing or self._records
        for key, _ in self._selector.select(0 if hurry else self._timeout()):
            if key.fd == self._wake_read:
                os.read(self._wake_read, 4096)
            else:
                self._read(key.data)
        # A worker's pipes are queued before its end. So we count the ends first; the
        # pipes of those are then in `_new` or `_streams`.
        ended = len(self._ended)
        for _ in range(len(self._new)):
            stream = self._new.popleft()
            self._streams[stream.fd] = stream
            self._selector.register(stream.fd, selectors.EVENT_READ, stream)
        for _ in range(ended):
            for fd in self._ended.popleft():
                self._finish(fd)
        self._show_partial()
        self._handle_records(everything=closing)
        return closing

    def _timeout(self) -> float | None:
        """Return how long to wait: for ever, unless the beginning of a line is kept."""
        waiting = any(stream.partial for stream in self._streams.values())
        return PARTIAL_S if waiting else None

    def _read(self, stream: _Stream) -> int:
        """Read once, and show whole lines. Returns how many bytes there were."""
        try:
            data = os.read(stream.fd, READ_SIZE)
        except BlockingIOError:
            return 0
        if not data:  # the worker and its children have all closed it
            self._selector.unregister(stream.fd)
            return 0
        lines, mark, rest = (stream.partial + data).rpartition(b"\n")
        if mark:
            self._show(stream, lines + mark)
        if not stream.partial or mark:
            stream.since = monotonic()
        stream.partial = rest
        return len(data)

    def _finish(self, fd: int) -> None:
        """Show the rest of what is in an ended worker's pipe, and close it.

        A program that the task has started may have the pipe open still, and write
        faster than we read. So we do not wait for an end, and not until the pipe is
        empty: we read as many bytes as it holds now, which the worker's last words are
        among.
        """
        stream = self._streams.pop(fd)
        if fd in self._selector.get_map():
            left = _readable(fd)
            while left > 0 and (size := self._read(stream)):
                left -= size
        if fd in self._selector.get_map():
            self._selector.unregister(fd)
        self._show(stream, stream.partial, final=True)
        os.close(fd)

    def _show_partial(self) -> None:
        for stream in self._streams.values():
            if stream.partial and monotonic() - stream.since > PARTIAL_S:
                self._show(stream, stream.partial)
                stream.partial = b""

    def _show(self, stream: _Stream, data: bytes, *, final: bool = False) -> None:
        text = stream.decoder.decode(data, final)
        if text:
            self._write(stream.target, text)

    def _handle_records(self, *, everything: bool) -> None:
        """Handle the records that there are, or some of them if handlers are slow.

        New records may come as fast as they are handled. So this stops after those that
        were there at its beginning, or earlier when its time is over: the pipes shall
        be read, too. If any are left, the next step does not wait.
        """
        end = monotonic() + RECORDS_S
        for _ in range(len(self._records)):
            self._handle(self._records.popleft())
            if monotonic() > end and not everything:
                break
        dropped = self._dropped - self._warned
        # Not in each step: under a flood, the warnings would be one themselves.
        if dropped >= MOST_RECORDS or (dropped and not self._records):
            self._warned += dropped
            log.warning("%d log records of workers came too fast", dropped)


def _readable(fd: int) -> int:
    """Return how many bytes a pipe holds."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
