"""What a worker process does: run the tasks that it is sent, in order, one at a time.

Two threads share the work, so that a task that takes long holds up nobody:

- The main thread receives frames, runs the tasks, and sends their results. Results of
  short tasks are sent together, at most ``FLUSH_NS`` after the first. A result that is
  not sent yet stands in the progress page, where the driver finds it if this process is
  killed.
- The watchdog thread (``watchdog``) sleeps unless the driver has asked for it, which
  the driver does when it sends more than one task. While the main thread is in a task
  that takes long, the watchdog sends the results of the tasks before it, and returns
  the tasks behind it to the driver, which has other workers for them.

They meet in four places.

*Taking a task.* Both take from ``tasks``: the main thread on the left, to run a task;
the watchdog on the right, to return it. ``deque`` gives each task to one of them, and
raises ``IndexError`` in the other if it was the last.

*Saying which tasks are returned.* The driver knows tasks by their position, so the
frame ``GIVEN_BACK`` says how many tasks come before the returned ones. That must not be
read from ``BEGUN``: the main thread may have taken a task and be interrupted before it
has counted it there, and then the driver would take the wrong tasks back, and give
results to the wrong tasks. What is taken on the right is always the end of what was
received. So ``accepted`` counts received tasks, less returned ones, and the returned
ones come after the rest of these. This holds if nothing is received meanwhile, and if
no later task is answered before the frame is sent; so both are done under ``reading``,
and without that lock the main thread gets no later task.

*Sending results.* Both send ``results``, under ``sending``, which also keeps one frame
out of the middle of another. The main thread appends to ``results`` without that lock.
Whoever sends copies the list and afterwards deletes as many as it has copied: what was
appended in between is behind these, and stays for the next time.

*Waking the watchdog*: see ``watchdog``.

Where a thread takes both locks, it takes ``reading`` first.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import sys
import threading
from collections import deque
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, NoReturn

import jackfield_serialize as serialize
from jackfield.clock import monotonic_ns
from jackfield.files import File
from jackfield_executors.processes import progress, setup, shared
from jackfield_executors.processes.holding import Holder, Later
from jackfield_executors.processes.leaving import leave
from jackfield_executors.processes.leftovers import Leftovers, SpoiltError
from jackfield_executors.processes.progress import (
    BEGUN,
    CALLED,
    FINISHED,
    FIRST,
    LENGTH,
    RECALL,
    RECORDS,
    ROOM,
    SINCE,
    WANTED,
)
from jackfield_executors.processes.watchdog import Watchdog
from jackfield_executors.processes.wire import (
    LARGE,
    SCALARS,
    SHORT,
    STRINGS,
    Frame,
    FrameReader,
    Kind,
    Ran,
    large_frame,
    send_all,
    small_frame,
)
from jackfield_executors.shares import VISIBLE
from jackfield_executors.surroundings import Surroundings
from jackfield_system import measuring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackfield_executors.processes.wire import Data

FLUSH_NS: Final = 2_000_000
"""A result is sent after at most this time, if the next task is not a long one."""

OVERDUE_NS: Final = 10_000_000
"""A task that runs longer than this takes long: the watchdog acts."""

_RESOURCES: Final = 2
"""The number of ``Kind.MEASURE`` that asks for processor time and memory too."""

LOOK_MS: Final = 5
"""After this time, one looks after the next task what tasks have left behind."""

_SENT: Final = object()
"""Stands for a result that is sent already."""


def main(sock_fd: int, page_fd: int, stdout_fd: int, stderr_fd: int) -> NoReturn:
    """Run as a worker until told to stop, or until the driver is gone."""
    setup.take_streams(stdout_fd, stderr_fd)
    page = progress.Page(page_fd)
    os.close(page_fd)
    sock = socket.socket(fileno=sock_fd)
    with suppress(EOFError, ConnectionError):  # the driver has closed the connection
        _Worker(sock, page).run()
    leave()


class _Worker:
    """The state that the two threads share; the module's text tells how."""

    def __init__(self, sock: socket.socket, page: progress.Page) -> None:
        self._sock = sock
        self._reader = FrameReader(sock)
        self._page = page
        self._position = RECORDS
        self._serialized: dict[int, bytes] = {}
        self._functions: dict[int, Callable[..., Any]] = {}
        self._forgotten: list[int] = []
        self._detached: list[int] = []
        self._holder = Holder(lambda: page.words[WANTED])
        self._surroundings = Surroundings()
        self._leftovers: Leftovers | None = None  # until it is set up
        self._tidied = 0
        """How many tasks had begun when one looked last what they have left."""
        self._look_at = 0
        """When one looks again, in ``clock.monotonic_ns()``."""
        self._suspects: dict[int, Callable[..., Any]] = {}
        """Functions after whose calls one looks at once: new ones, and those that have
        left something. They are not in ``_functions``. See ``leftovers``."""
        self._spoilt = False
        self._stopping = False
        self._forked = False
        self._durations: list[tuple[int, int, int]] = []
        """``(function's number, calls, nanoseconds)``: the driver estimates by that."""

        self.tasks: deque[tuple[int, Any]] = deque()
        """What is to be run: ``(function's number, arguments)``. The arguments are a
        tuple, or pickled, or a frame that has them as its body."""

        self.accepted: int = 0
        """How many tasks were received and not returned. Guarded by ``reading``."""

        self._measure: int = 0
        """What is measured of tasks; see ``Kind.MEASURE``."""

        self._before: float | None = None
        """Seconds of processor time before the present task, if they are measured."""

        self.rans: list[Ran] = []
        """How the tasks ran whose results are in ``results``, as far as these were
        measured; appended to before that list is."""

        self.results: list[Any] = []
        """What is to be sent: plain values, or tuples as ``serialize`` packs them."""

        self.flushed: int = 0
        """When results were last sent, in ``clock.monotonic_ns()``."""

        self.sending: threading.Lock = threading.Lock()
        """Held to send."""

        self.reading: threading.Lock = threading.Lock()
        """Held to receive, and to return tasks."""

    def run(self) -> None:
        """Run tasks until a ``STOP`` frame; the first frame sets the process up.

        Raises:
            EOFError: The driver has closed the connection.
            ConnectionError: The connection is broken.
        """
        os.register_at_fork(after_in_child=self._note_fork)
        watchdog = Watchdog(self)
        while not self._stopping:
            with self.reading:
                watch = self.receive()
            if watch:
                watchdog.wake()
            if self.tasks:
                self._run_tasks()
            if self._detached:
                self._detach()
            watchdog.rest()
            # In a while, so that it delays no task that comes soon.
            untidy = self._tidied != self._page.words[BEGUN]
            if untidy and not self._stopping and not self.readable(LOOK_MS):
                self._tidy_up()
        self._holder.share_all()

    # -- Frames ----------------------------------------------------------------------

    def receive(self) -> bool:
        """Receive once, under ``reading``; return whether to run the watchdog."""
        watch = False
        for received in self._reader.read():
            if received.kind == Kind.TASKS:
                calls = pickle.loads(received.body)
                self.accepted += len(calls)
                self.tasks.extend(calls)
                watch |= received.number != 0
            elif received.kind == Kind.CALL:
                self.accepted += 1
                self.tasks.append((received.number >> 1, received))
                watch |= received.number & 1 != 0
            else:
                self._on_frame(received)
        return watch

    def readable(self, milliseconds: int = 0) -> bool:
        """Tell whether ``receive`` would return at once, or within some time."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(milliseconds))

    def _on_frame(self, received: Frame) -> None:
        kind, number, body, _ = received
        if kind == Kind.FUNCTION:
            self._serialized[number] = bytes(body)
        elif kind == Kind.FORGET:  # later: tasks before this may still call it
            self._forgotten.append(number)
        elif kind == Kind.STOP:
            self._stopping = True
        elif kind == Kind.PATH:
            assert self._leftovers
            self._leftovers.follow_path(pickle.loads(body))
        elif kind == Kind.DIRECTORY:
            self._surroundings.follow(pickle.loads(body))
        elif kind == Kind.MEASURE:
            self._measure = number
        elif kind == Kind.GPUS:
            self._surroundings.set_variable(VISIBLE, bytes(body).decode())
        elif kind == Kind.ATTACH:
            self._attach(number, pickle.loads(body))
        elif kind == Kind.DETACH:  # later: as above
            self._detached.append(number)
        elif kind == Kind.SETUP:
            self._set_up(body)

    def _attach(self, number: int, known: shared.Identity) -> None:
        """Map a segment; without a descriptor or memory for it, end the process.

        So the tasks behind it go to another worker. To raise would not do: on the
        watchdog's thread, that would lose the frames which have come with this one.
        """
        try:
            fd = shared.received(self._reader.descriptors, known)
            if self._holder.attach(number, known):
                os.close(fd)
            else:
                shared.attach(number, fd, known[2])
        except OSError as error:
            sys.stderr.write(f"A worker cannot map shared memory: {error}\n")
            os._exit(os.EX_OSERR)

    def _set_up(self, body: bytes | bytearray | memoryview) -> None:
        try:
            told = pickle.loads(body)
            self._surroundings.follow(told["directory"])
            self._surroundings.restore()
            setup.apply(told, self.send_log)
            self._surroundings.settle()
            self._leftovers = Leftovers()
        except BaseException as error:
            text = serialize.pack_error(error)[-1]
            self.send(small_frame(Kind.UNFIT, text.encode(errors="replace")))
            self._stopping = True
        else:
            self.send(small_frame(Kind.READY, str(os.getpid()).encode()))

    def send(self, data: bytes) -> None:
        """Send one frame."""
        with self.sending:
            self._sock.sendall(data)

    def send_log(self, data: bytes) -> bool:
        """Send a log record; false in a child that a task has forked.

        The child has a copy of the connection. It must not write into it.
        """
        if not self._forked:
            self.send(small_frame(Kind.LOG, data))
        return not self._forked

    # -- Tasks -----------------------------------------------------------------------

    def _run_tasks(self) -> None:
        """Run the tasks that are there, and send their results."""
        tasks, words = self.tasks, self._page.words
        begun: int = words[BEGUN]
        now = self.flushed = monotonic_ns()
        # Calls of one function in a row are measured together: `count` calls of
        # `function` since the time `since`.
        since, function, count = now, -1, 0
        # ``rans`` and ``results`` grow together: an item of ``rans`` says how the
        # result at the same place was made. Both are empty here, since all earlier
        # results were sent; so this is where another measure may begin.
        measure, self._before = self._measure, None
        # The driver may set the recall just after our look. If it wants the task
        # stopped that we begin then, it will find it begun in the page, and kill us.
        while tasks and not words[RECALL] and not self._spoilt:
            try:
                number, args = tasks.popleft()
            except IndexError:  # the watchdog has returned the last one
                break
            # The times first: the driver reads them of a task that it finds begun.
            words[SINCE] = now
            words[CALLED] = now
            begun += 1
            words[BEGUN] = begun
            if measure == _RESOURCES:
                self._before = measuring.cpu_time(now / 1e9)
            value = self._outcome(number, args)
            if measure and value is not _SENT:
                self.rans.append(self._ran())
            args = None  # or they would live until the next task
            now = monotonic_ns()
            if now > self._look_at:
                self._tidy_up(number)
                now = monotonic_ns()
            if number != function:
                self._note_duration(function, count, words[SINCE] - since)
                since, function, count = words[SINCE], number, 0
            count += 1
            if value is not _SENT:
                self.results.append(value)
                # If another task follows, this result need not be sent alone. A kill
                # may come between any two instructions, so the task counts as finished
                # only when its result stands whole in the page. Before that it counts
                # as running, and fails with the worker.
                if tasks and self._keep(value) and now - self.flushed < FLUSH_NS:
                    words[FINISHED] = begun
                    continue
            self._note_duration(function, count, now - since)
            since, count = now, 0
            self._flush(begun)
        self._note_duration(function, count, now - since)
        self._answer_rest(begun)
        self._forget_functions()

    def _answer_rest(self, begun: int) -> None:
        """Send what is not sent, and answer a recall.

        A result may have been kept for the next one to go with it, and then a recall
        has come, or the watchdog has returned the next task. Nothing may be left over:
        the driver sends nothing new before it has this answer.
        """
        recalled = self._page.words[RECALL] or self._spoilt
        if recalled or self.results:
            self._flush(begun)
        if recalled:
            self.return_tasks()

    def _detach(self) -> None:
        """Forget segments that no task names any more."""
        with self.reading:  # or the watchdog might receive tasks that were sent before
            while self._detached and not self.tasks:
                self._holder.detach(self._detached.pop())

    def _forget_functions(self) -> None:
        # Tasks that were sent before a FORGET frame are done or returned by now. The
        # watchdog may receive another such frame meanwhile, and append to the list.
        while self._forgotten:
            number = self._forgotten.pop()
            self._suspects.pop(number, None)
            self._functions.pop(number, None)
            self._serialized.pop(number, None)

    def _tidy_up(self, number: int = -1) -> None:
        """Put back what tasks have left, the last of which called function ``number``.

        If that cannot be done, no task is run here any more, and the driver is told.
        """
        self._tidied = self._page.words[BEGUN]
        self._look_at = monotonic_ns() + LOOK_MS * 1_000_000
        try:
            if self._leftovers and not self._leftovers.undo():
                function = self._suspects.pop(number, None)
                if function is not None:
                    self._functions[number] = function
        except SpoiltError as error:
            if not self._spoilt and not self._forked:
                self._spoilt = True
                self.send(small_frame(Kind.SPOILT, str(error).encode()))

    def _outcome(self, number: int, args: Any) -> Any:
        """Run one task, and return its result: a plain value, a tuple, or ``_SENT``."""
        surroundings = self._surroundings
        if surroundings.changed:
            try:
                surroundings.restore()
            except OSError as error:
                return serialize.pack_error(error)
        function = self._functions.get(number)
        if function is not None and type(args) is tuple:
            kwargs: dict[str, Any] = {}
        else:
            try:
                function, args, kwargs = self._loaded(number, args)
            except _Unloadable as unloadable:
                return unloadable.outcome
        try:
            # Each task runs in a context of its own. So no later task finds the values
            # that this one gives to context variables.
            value = copy_context().run(function, *args, **kwargs)
        except BaseException as error:
            if self._forked:  # as below
                os._exit(1)
            return serialize.pack_error(error)
        if self._forked:
            # The task has forked, and this is the child, which has returned from the
            # task's function as its parent does. Only the parent may answer.
            os._exit(0)
        kind = type(value)
        if kind in SCALARS or (kind in STRINGS and len(value) <= SHORT):
            return value
        return self._pack(value)

    def _loaded(
        self, number: int, args: Any
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Load what is not loaded yet. A walltime begins afterwards.

        Raises:
            _Unloadable: One of them cannot be loaded.
        """
        words = self._page.words
        words[CALLED] = 0
        what = "its function"
        try:
            function = self._functions.get(number)
            if function is None:
                function = self._suspect(number)
            modules = len(sys.modules)
            what = "its arguments"
            args, kwargs = (args, {}) if type(args) is tuple else _load_call(args)
            if self._surroundings.changed:
                self._surroundings.adopt_imports()
            if self._leftovers and len(sys.modules) != modules:
                self._leftovers.take()
        except BaseException as error:
            raise _Unloadable(serialize.pack_unloadable(what, error)) from error
        words[CALLED] = monotonic_ns()
        return function, args, kwargs

    def _suspect(self, number: int) -> Callable[..., Any]:
        """Return a function after which one looks what it has left; load a new one."""
        function = self._suspects.get(number)
        if function is None:
            if self._tidied + 1 != self._page.words[BEGUN]:  # this task has begun, too
                self._tidy_up()
            self._look_at = 0  # after this task, even if the function cannot be loaded
            modules = len(sys.modules)
            function = serialize.load_function(self._serialized[number])
            if self._leftovers and len(sys.modules) != modules:
                self._leftovers.take()
            self._suspects[number] = function
            del self._serialized[number]
        self._look_at = 0
        return function

    def _pack(self, value: Any) -> Any:
        """Pickle a value; if that makes it large, send it at once."""
        if type(value) is bytes and len(value) >= LARGE:
            return self._send_large(Kind.BYTES, [value], [])
        later = type(value) is Later
        if later:
            value = value.value
        buffers: serialize.Buffers = []
        try:
            parts = serialize.dump_parts(value, buffers)
        except BaseException as error:
            return serialize.pack_unpicklable(value, error)
        if buffers or sum(map(len, parts)) >= LARGE:
            if _begins_with_file(value):
                return self._send_large(Kind.VALUE, parts, buffers)
            return self._send_apart(parts, buffers, later=later)
        return "ok", b"".join(parts)

    def _send_apart(
        self, parts: list[bytes], buffers: serialize.Buffers, *, later: bool
    ) -> object:
        """Send a large result in a segment; through the socket if that cannot be."""
        sizes = [sum(map(len, parts)), *(memoryview(one).nbytes for one in buffers)]
        room: int = self._page.words[ROOM]
        if room and sum(sizes) >= shared.SHARED_FROM:
            try:
                fd, head = -1, b""
                if later:
                    fd, head = self._holder.hold(parts, buffers, room - 1)
                if fd < 0:
                    pieces: list[Sequence[Data]] = [parts]
                    pieces += [[memoryview(one)] for one in buffers]
                    fd = shared.write(pieces, sizes, room - 1)
            except OSError:  # nothing is lost: the socket is slower, and always there
                return self._send_large(Kind.KEPT, parts, buffers)
            return self._send_shared(fd, sizes, head)
        return self._send_large(Kind.KEPT, parts, buffers)

    def _send_shared(self, fd: int, sizes: list[int], head: bytes) -> object:
        """Send a result that is in a segment, or will be: its descriptor.

        With ``head``, its first part, it is not written yet.
        """
        body = pickle.dumps((shared.identity(fd, sizes), head), 5)
        try:
            return self._send_large(Kind.SHARED, [body], [], fd)
        finally:
            os.close(fd)

    def _send_large(
        self, kind: Kind, parts: list[bytes], buffers: Any, fd: int = -1
    ) -> object:
        """Send a result in a frame of its own, after those of the tasks before.

        With ``fd``, that descriptor goes with it.
        """
        words = self._page.words
        begun = words[BEGUN]
        self._flush(begun - 1)
        took = monotonic_ns() - words[SINCE]
        if self._measure:
            self.send(small_frame(Kind.RAN, pickle.dumps(self._ran(), 5)))
        # After a kill within the frame, the task counts as running: the driver drops a
        # frame of which a part is missing. After a kill between the frame and the words
        # below, it counts as finished: the driver goes by what it has received, too.
        with self.sending:
            frame = large_frame(kind, parts, buffers, took)
            if fd >= 0:
                data = b"".join(frame)
                frame = [data[self._sock.sendmsg([data], shared.rights(fd)) :]]
            send_all(self._sock, frame)
        words[FIRST] = begun
        words[FINISHED] = begun
        return _SENT

    def _ran(self) -> Ran:
        """Return how the present task ran, whose function has returned."""
        words, cpu, memory = self._page.words, None, None
        began, ended = words[CALLED] or words[SINCE], monotonic_ns()
        if self._before is not None:
            cpu, memory = measuring.spent(self._before, began / 1e9, ended / 1e9)
        return began, ended, cpu, memory

    def _keep(self, value: Any) -> bool:
        """Write a result into the page; false if there is no room for it."""
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
        """Send all results. Then ``finished`` tasks are answered since the start."""
        setup.flush_streams()
        self.send_results()
        # Empty the page, in this order: after a kill between the two lines, `FIRST` is
        # not below `FINISHED`, so that the page has no results; all have been sent.
        words = self._page.words
        self._position = RECORDS
        words[FIRST] = finished
        words[FINISHED] = finished

    def send_results(self) -> None:
        """Send the results that there are. Called by both threads."""
        with self.sending:
            results = self.results[:]
            if not results:
                return
            durations = self._durations[:]
            rans = self.rans[: len(results)]
            body = pickle.dumps((results, durations, rans), 5)
            packed = any(type(value) is tuple for value in results)
            self._sock.sendall(small_frame(Kind.RESULTS, body, packed))
            # While this thread sent the copies, the main thread may have appended to
            # the lists. Nobody has removed anything: whoever does must hold `sending`,
            # as we do. So the items that were sent still stand first, and are removed
            # by count.
            del self.results[: len(results)]
            del self.rans[: len(results)]
            del self._durations[: len(durations)]
            self.flushed = monotonic_ns()

    def send_due_results(self) -> None:
        """Send the results if the first of them has waited long. For the watchdog."""
        if self.results and monotonic_ns() - self.flushed > FLUSH_NS:
            self.send_results()

    def return_tasks(self) -> None:
        """Return all tasks that are not taken, and say that a recall has been seen.

        Called by both threads; the module's text tells why under ``reading``.
        """
        with self.reading:
            self.return_tasks_while_reading()

    def return_tasks_while_reading(self) -> None:
        """Do it for a caller that holds ``reading``."""
        tasks = self.tasks
        returned = 0
        while tasks:
            try:
                tasks.pop()
            except IndexError:  # the main thread has taken the last one to run it
                break
            returned += 1
        # What was popped on the right came last of all that was received. Not `BEGUN`:
        # the main thread may be between `popleft` and counting.
        self.accepted -= returned
        self.send(
            small_frame(Kind.GIVEN_BACK, pickle.dumps((self.accepted, returned), 5))
        )

    def overdue(self) -> bool:
        """Tell whether the main thread is in a task that takes long."""
        words = self._page.words
        begun: int = words[BEGUN]
        finished: int = words[FINISHED]
        return begun > finished and monotonic_ns() - words[SINCE] > OVERDUE_NS

    def _note_fork(self) -> None:
        self._forked = True
        self._holder.forget_in_child()


class _Unloadable(Exception):  # noqa: N818  (it carries an outcome out of `_loaded`)
    def __init__(self, outcome: serialize.Packed) -> None:
        self.outcome: serialize.Packed = outcome


def _begins_with_file(value: Any) -> bool:
    """Tell whether a result is one in which the kernel looks for files to stage."""
    return type(value) in {list, tuple} and bool(value) and isinstance(value[0], File)


def _load_call(args: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if type(args) is bytes:
        return serialize.load_call(args)
    return serialize.load_call(args.body, args.buffers)
