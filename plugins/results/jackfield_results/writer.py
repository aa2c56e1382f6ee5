"""The thread that writes results into a checkpoint store, many at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield import clock
from jackfield.errors import CheckpointError, one_line
from jackfield.futures.locks import NAP_S, Latch, join

if TYPE_CHECKING:
    from jackfield.abc import CheckpointRecord, CheckpointStore
    from jackfield.keeping import Done

GROUP: Final = 5_000
"""Records in one commit at most."""


class Saving(NamedTuple):
    """A result on its way to the store, and whom to tell when it is there, if any."""

    record: CheckpointRecord
    done: Done | None


def again(error: CheckpointError) -> CheckpointError:
    """Return an error anew: raised twice, one object would collect both tracebacks."""
    fresh = CheckpointError(error.reason, error.path)
    fresh.__cause__ = error
    return fresh


class CheckpointWriter:
    """Puts records into a store from a thread of its own, in groups.

    Args:
        store: Where to.
        mode: When to write: ``"task_exit"`` at once, ``"periodic"`` each ``period``
            seconds, ``"dfk_exit"`` at the end, ``"manual"`` when ``flush`` is called.
        failed: Called once, with the first error of the store; from then on nothing
            is written. Like the ``done`` of ``put``, it never raises.
        fails_tasks: Whether tasks that wait for their record get that error.
        gathering: Entered while the tasks of one group are told.

    Attributes:
        error: What the store could not do, once it has failed.
    """

    def __init__(
        self,
        store: CheckpointStore,
        mode: str,
        period: float,
        failed: Callable[[CheckpointError], None],
        *,
        fails_tasks: bool = False,
        gathering: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._store: CheckpointStore = store
        self._mode: str = mode
        self._period: float = period
        self._failed: Callable[[CheckpointError], None] = failed
        self._fails_tasks: bool = fails_tasks
        self._gathering: Callable[[], AbstractContextManager[object]] = gathering
        self.error: CheckpointError | None = None
        self._queue: SimpleQueue[Saving | Latch | None] = SimpleQueue()
        self._waiting: list[Saving] = []
        self.thread: threading.Thread = threading.Thread(
            target=self._run, name="jackfield-checkpoints", daemon=True
        )
        self.thread.start()

    def put(self, record: CheckpointRecord, done: Done) -> None:
        """Have a record written; ``done`` is called when the task may end.

        In mode ``"task_exit"`` that is when it is written, in the others at once. The
        store may break just after this method has seen no error. Then the record is in
        the queue all the same; the thread that writes takes it, writes nothing any
        more, and calls ``done`` with the error.
        """
        waits = self._mode == "task_exit"
        if not waits:
            done(None)
        if self.error is None:
            self._queue.put(Saving(record, done if waits else None))
        elif waits:
            done(self._verdict())

    def flush(self) -> None:
        """Write what has come so far, and wait until it is written.

        Raises:
            RuntimeError: Called on the thread that writes, which would wait for itself.
        """
        if threading.current_thread() is self.thread:
            raise RuntimeError("The thread that writes checkpoints cannot wait for it.")
        written = Latch()
        self._queue.put(written)
        while not written.wait(NAP_S) and self.thread.is_alive():
            pass

    def close(self) -> None:
        """Write what is to be written at the end, and end the thread."""
        if self._mode != "manual":
            self._queue.put(Latch())
        self._queue.put(None)
        if threading.current_thread() is not self.thread:
            join(self.thread, None)

    # -- The thread

    def _run(self) -> None:
        due = clock.monotonic() + self._period
        while True:
            timeout = None
            if self._mode == "periodic":
                timeout = max(0.0, due - clock.monotonic())
            try:
                item = self._queue.get(timeout=timeout)
            except Empty:
                self._write()
                due = clock.monotonic() + self._period
                continue
            if item is None:
                return
            self._take(item)

    def _take(self, item: Saving | Latch) -> None:
        """Take what is in the queue, up to a group; write it if it is time.

        While a group is being committed, further records queue up: they are the next
        group. So the slower the store, the larger its groups.
        """
        now = self._mode == "task_exit"
        flushed: Latch | None = None
        while True:
            if isinstance(item, Latch):
                flushed = item
                break
            self._waiting.append(item)
            if len(self._waiting) >= GROUP or self._queue.empty():
                break
            following = self._queue.get()
            if following is None:  # the end: leave it for the loop
                self._queue.put(None)
                break
            item = following
        if now or flushed is not None:
            self._write()
        if flushed is not None:
            flushed.open()

    def _write(self) -> None:
        savings, self._waiting = self._waiting, []
        if savings and self.error is None:
            try:
                self._store.put_many([saving.record for saving in savings])
            except BaseException as error:  # tasks wait for this thread: it stays
                self._break(error)
        with self._gathering():
            for saving in savings:
                if saving.done is not None:
                    saving.done(self._verdict())

    def _verdict(self) -> CheckpointError | None:
        """Return what a task gets whose record is not, or was to be, written."""
        if self.error is None or not self._fails_tasks:
            return None
        return again(self.error)

    def _break(self, error: BaseException) -> None:
        if not isinstance(error, CheckpointError):
            cause, error = error, CheckpointError(one_line(error))
            error.__cause__ = cause
        self.error = error
        self._failed(error)
