"""What a worker process does: run the tasks it is sent, in order, one at a time.

The main thread reads frames, runs tasks and sends outcomes. Outcomes of short tasks
are gathered and sent together, after at most ``FLUSH_NS``. Until then they stand in
the progress page, where the driver finds them if this process is killed.

A second thread, ``_Watchdog``, sleeps until several tasks are held. It sends what the
main thread has gathered if a task takes longer than expected, and gives back to the
driver what waits behind that task.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import threading
from collections import deque
from queue import SimpleQueue
from time import monotonic_ns, sleep
from typing import TYPE_CHECKING, Any, Final

from jackfield import serialize
from jackfield_executors.processes import progress, setup
from jackfield_executors.processes.progress import (
    BEGUN,
    FINISHED,
    FIRST,
    LENGTH,
    RECALL,
    RECORDS,
    SINCE,
)
from jackfield_executors.processes.wire import (
    LARGE,
    SCALARS,
    SHORT,
    STRINGS,
    Frame,
    FrameReader,
    Kind,
    frame,
    large_frame,
    send_all,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FLUSH_NS: Final = 2_000_000
"""An outcome waits no longer than this for others to travel with it."""

OVERDUE_NS: Final = 10_000_000
"""A task that runs longer than this does not keep others waiting."""

_SENT: Final = object()


def main(sock_fd: int, page_fd: int, stdout_fd: int, stderr_fd: int) -> None:
    """Run as a worker until told to stop, or until the driver is gone."""
    setup.take_streams(stdout_fd, stderr_fd)
    page = progress.Page(page_fd)
    os.close(page_fd)
    sock = socket.socket(fileno=sock_fd)
    try:
        _Worker(sock, page).run()
    except (EOFError, ConnectionError):  # the driver has closed the connection
        return


class _Worker:
    """The state that the two threads share."""

    def __init__(self, sock: socket.socket, page: progress.Page) -> None:
        self._sock = sock
        self._reader = FrameReader(sock)
        self._page = page
        self._position = RECORDS
        self._serialized: dict[int, bytes] = {}
        self._functions: dict[int, Callable[..., Any]] = {}
        self._forgotten: list[int] = []
        self._stopping = False
        self._forked = False
        self._durations: list[tuple[int, int, int]] = []
        """``(function, tasks, nanoseconds)``, for the driver to learn from."""

        self.tasks: deque[tuple[int, Any]] = deque()
        """``(function, arguments)``: a tuple, or pickled, or a large frame."""

        self.results: list[Any] = []
        """Outcomes to be sent: a plain value, or a tuple as ``serialize`` packs it."""

        self.flushed: int = 0
        """When outcomes were last sent."""

        self.sending: threading.Lock = threading.Lock()
        """Held to send; one frame is never inside another."""

        self.reading: threading.Lock = threading.Lock()
        """Held to receive."""

    def run(self) -> None:
        """Set up, then run tasks until a ``STOP`` frame.

        Raises:
            EOFError: The driver is gone.
            ConnectionError: Likewise.
        """
        os.register_at_fork(after_in_child=self._note_fork)
        watchdog = _Watchdog(self)
        while not self._stopping:
            with self.reading:
                watched = self.receive()
            if watched:
                watchdog.wake()
            if self.tasks:
                self._run_tasks()
            watchdog.rest()

    # -- Frames ----------------------------------------------------------------------

    def receive(self) -> bool:
        """Receive once; return whether the driver means to send ahead."""
        watched = False
        for received in self._reader.read():
            if received.kind == Kind.TASKS:
                self.tasks.extend(pickle.loads(received.body))
                watched = received.number != 0
            else:
                self._on_frame(received)
        return watched

    def readable(self) -> bool:
        """Whether ``receive`` would return at once."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def _on_frame(self, received: Frame) -> None:
        kind, number, body, _ = received
        if kind == Kind.CALL:
            self.tasks.append((number, received))
        elif kind == Kind.FUNCTION:
            self._serialized[number] = bytes(body)
        elif kind == Kind.FORGET:
            self._forgotten.append(number)
        elif kind == Kind.STOP:
            self._stopping = True
        elif kind == Kind.PATH:
            setup.follow_path(pickle.loads(body))
        elif kind == Kind.SETUP:
            self._set_up(body)

    def _set_up(self, body: bytes | bytearray | memoryview) -> None:
        try:
            setup.apply(pickle.loads(body), self.send_log)
        except BaseException as error:
            text = serialize.pack_error(error)[-1]
            self.send(frame(Kind.UNFIT, text.encode(errors="replace")))
            self._stopping = True
        else:
            self.send(frame(Kind.READY))

    def send(self, data: bytes) -> None:
        """Send one frame."""
        with self.sending:
            self._sock.sendall(data)

    def send_log(self, data: bytes) -> bool:
        """Send a log record, if this is the process that the driver knows."""
        if not self._forked:
            self.send(frame(Kind.LOG, data))
        return not self._forked

    # -- Tasks -----------------------------------------------------------------------

    def _run_tasks(self) -> None:
        tasks = self.tasks
        words = self._page.words
        begun: int = words[BEGUN]
        now = self.flushed = monotonic_ns()
        since, function, count = now, -1, 0
        while tasks:
            if words[RECALL]:
                break
            try:
                number, args = tasks.popleft()
            except IndexError:  # the other thread gave it back
                break
            words[SINCE] = now
            begun += 1
            words[BEGUN] = begun
            value = self._outcome(number, args)
            args = None
            now = monotonic_ns()
            if number != function:
                self._note_duration(function, count, words[SINCE] - since)
                since, function, count = words[SINCE], number, 0
            count += 1
            if value is not _SENT:
                self.results.append(value)
                if tasks and self._keep(value) and now - self.flushed < FLUSH_NS:
                    words[FINISHED] = begun
                    continue
            self._note_duration(function, count, now - since)
            since, count = now, 0
            self._flush(begun)
        if words[RECALL]:
            self._note_duration(function, count, now - since)
            self._flush(begun)
            self.return_tasks()
        for number in self._forgotten:
            self._functions.pop(number, None)
            self._serialized.pop(number, None)
        self._forgotten.clear()

    def _outcome(self, number: int, args: Any) -> Any:
        """Run one task; return its value, if it is a plain one, or a packed outcome."""
        function = self._functions.get(number)
        if function is None:
            try:
                function = self._functions[number] = self._load(number)
            except BaseException as error:
                return serialize.pack_unloadable("its function", error)
        if type(args) is tuple:
            kwargs: dict[str, Any] = {}
        else:
            try:
                args, kwargs = _load_call(args)
            except BaseException as error:
                return serialize.pack_unloadable("its arguments", error)
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            if self._forked:
                os._exit(1)
            return serialize.pack_error(error)
        if self._forked:  # the task has forked, and the child has come back here
            os._exit(0)
        kind = type(value)
        if kind in SCALARS or (kind in STRINGS and len(value) <= SHORT):
            return value
        return self._pack(value)

    def _load(self, number: int) -> Callable[..., Any]:
        function = serialize.load_function(self._serialized[number])
        del self._serialized[number]
        return function

    def _pack(self, value: Any) -> Any:
        if type(value) is bytes and len(value) >= LARGE:
            return self._send_large(Kind.BYTES, [value], [])
        buffers: serialize.Buffers = []
        try:
            parts = serialize.dump_parts(value, buffers)
        except BaseException as error:
            return serialize.pack_unpicklable(value, error)
        if buffers or sum(map(len, parts)) >= LARGE:
            return self._send_large(Kind.VALUE, parts, buffers)
        return "ok", b"".join(parts)

    def _send_large(self, kind: Kind, parts: list[bytes], buffers: Any) -> object:
        words = self._page.words
        begun = words[BEGUN]
        self._flush(begun - 1)
        took = monotonic_ns() - words[SINCE]
        with self.sending:
            send_all(self._sock, large_frame(kind, parts, buffers, took))
        words[FIRST] = begun
        words[FINISHED] = begun
        return _SENT

    def _keep(self, value: Any) -> bool:
        """Write an outcome to the page; false if there is no room for it."""
        record = pickle.dumps(value, 5)
        start = self._position + LENGTH.size
        end = start + len(record)
        if end > progress.SIZE:
            return False
        data = self._page.data
        LENGTH.pack_into(data, self._position, len(record))
        data[start:end] = record
        self._position = end
        return True

    def _note_duration(self, function: int, count: int, duration: int) -> None:
        if count:
            self._durations.append((function, count, duration))

    def _flush(self, finished: int) -> None:
        """Send all outcomes, which are those of ``finished`` tasks since the start."""
        setup.flush_streams()
        self.send_results()
        words = self._page.words
        self._position = RECORDS
        words[FIRST] = finished
        words[FINISHED] = finished

    def send_results(self) -> None:
        """Send the outcomes that there are. Called by both threads."""
        with self.sending:
            results = self.results[:]
            if not results:
                return
            durations = self._durations[:]
            body = pickle.dumps((results, durations), 5)
            packed = any(type(value) is tuple for value in results)
            self._sock.sendall(frame(Kind.RESULTS, body, packed))
            # The main thread may have appended to both in the meantime.
            del self.results[: len(results)]
            del self._durations[: len(durations)]
            self.flushed = monotonic_ns()

    def return_tasks(self) -> None:
        """Return to the driver what is not begun. Called by both threads."""
        tasks = self.tasks
        returned = 0
        while tasks:
            try:
                tasks.pop()
            except IndexError:  # the other thread was faster
                break
            returned += 1
        first = self._page.words[BEGUN]
        self.send(frame(Kind.RETURNED, pickle.dumps((first, returned), 5)))

    def overdue(self) -> bool:
        """Whether the main thread is in a task that takes long."""
        words = self._page.words
        begun: int = words[BEGUN]
        finished: int = words[FINISHED]
        return begun > finished and monotonic_ns() - words[SINCE] > OVERDUE_NS

    def _note_fork(self) -> None:
        self._forked = True


def _load_call(args: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if type(args) is bytes:
        return serialize.load_call(args)
    return serialize.load_call(args.body, args.buffers)


class _Watchdog:
    """The second thread; see the module's text."""

    PERIOD_S: Final = 0.002
    LONG_PERIOD_S: Final = 0.02

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker
        self._busy = False
        self._asleep = False
        self._alarms: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Begin to watch. Called by the main thread, before it runs tasks."""
        self._busy = True
        if self._asleep:
            self._asleep = False
            self._alarms.put(None)
        elif self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="jackfield-watch", daemon=True
            )
            self._thread.start()

    def rest(self) -> None:
        """Let the watch fall asleep: the main thread goes to wait for frames."""
        self._busy = False

    def _run(self) -> None:
        try:
            while True:
                # In this order: one of us sees what the other one has just set.
                self._asleep = True
                if not self._busy:
                    self._alarms.get()
                self._asleep = False
                self._look()
        except (EOFError, OSError):  # the driver is gone; the main thread will see
            return

    def _look(self) -> None:
        worker = self._worker
        sleep(self.PERIOD_S)
        if worker.results and monotonic_ns() - worker.flushed > FLUSH_NS:
            worker.send_results()
        if worker.overdue() and worker.reading.acquire(blocking=False):
            try:
                while worker.readable():
                    worker.receive()
            finally:
                worker.reading.release()
            if worker.tasks:
                worker.return_tasks()
            sleep(self.LONG_PERIOD_S)
