"""A thread that calls users' done-callbacks, so that they hold up nothing else.

Any thread may end a future and put its callbacks into the queue; one thread, started
with the first of them, calls them in that order. When the kernel ends, this thread ends
too, but futures may still end a little later, on a thread that was late. Their
callbacks are then called by whoever puts them in. So that none is lost between the two,
both sides write first and look then: ``put`` puts its batch into the queue and then
looks at ``_ended``; the thread sets ``_ended`` and then empties the queue once more.
Whichever comes second sees what the other has written.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from time import sleep
from typing import Any

from jackfield.futures.future import KernelFuture, run_callback
from jackfield.futures.locks import Latch, join

Batch = tuple[KernelFuture[Any] | None, list[Callable[[Any], object]]]
"""A future that has ended, with its callbacks; or none, with what ``flush`` calls."""


class CallbackRunner:
    """Calls done-callbacks in order, on one thread that starts on first use.

    Attributes:
        thread: The thread; ``None`` until it is started.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()  # ``None`` is the end
        # Held to start the thread or to decide that none is started. Reentrant, because
        # a signal handler may end a future on a thread that is here.
        self._lock: threading.RLock = threading.RLock()
        self._ended: bool = False  # the thread calls nothing any more, or never began
        self.thread: threading.Thread | None = None

    def put(
        self, future: KernelFuture[Any] | None, callbacks: list[Callable[[Any], object]]
    ) -> None:
        """Have callbacks called with a future that has ended."""
        self._queue.put((future, callbacks))
        if self._ended:  # looked at after the put; see the module
            self._drain()
        elif self.thread is None:
            self._start()

    def _start(self) -> None:
        """Start the thread; if there can be none, call what is queued here."""
        with self._lock:
            if self.thread is not None:
                return
            if not self._ended:
                self.thread = threading.Thread(
                    target=self._run, name="jackfield-callbacks", daemon=True
                )
                try:
                    self.thread.start()
                except RuntimeError:  # as at the interpreter's exit
                    self.thread = None
                else:
                    return
        self._drain()

    def flush(self, begun: Callable[[], bool]) -> None:
        """Wait until certain callbacks have returned, unless this is their thread.

        ``begun`` tells whether the last ones have been begun. They may not be in the
        queue yet when their futures have ended, so it is asked again until they are.
        """
        all_begun = threading.current_thread() is self.thread
        while not all_begun:
            # First ask, then queue an entry of our own. It stands behind every callback
            # that had been queued when we asked, and the queue is worked off in order:
            # so when our entry is called, all of them have returned.
            all_begun = begun()
            latch = Latch()
            self.put(None, [partial(_open, latch)])
            latch.wait(None)
            if not all_begun:
                sleep(0.001)

    def stop(self, timeout: float | None) -> bool:
        """Have the thread end when it has called what is queued; tell whether it has.

        It is waited for ``timeout`` seconds at most: a callback may block for ever.
        """
        with self._lock:  # so that no thread is started between the look and the mark
            thread = self.thread
            if thread is None:
                self._ended = True
        if thread is None:
            self._drain()
            return True
        self._queue.put(None)
        if thread is not threading.current_thread():
            join(thread, timeout)
        return not thread.is_alive()

    def _run(self) -> None:
        while True:
            batch = self._queue.get()
            if batch is None:
                self._ended = True  # first this, then the queue; see the module
                self._drain()
                return
            _call(*batch)
            del batch  # a thread that waits must not keep a future and its result alive

    def _drain(self) -> None:
        """Call what is queued on this thread."""
        with contextlib.suppress(Empty):
            while True:
                batch = self._queue.get_nowait()
                if batch is not None:
                    _call(*batch)


def _open(latch: Latch, _: None) -> None:
    latch.open()


def _call(
    future: KernelFuture[Any] | None, callbacks: list[Callable[[Any], object]]
) -> None:
    for callback in callbacks:
        run_callback(future, callback)
