"""A thread for users' done-callbacks, so that they hold up nothing else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from jackfield.futures.future import KernelFuture, run_callback
from jackfield.futures.locks import join

Batch = tuple[KernelFuture[Any], list[Callable[[Any], object]]]


class CallbackRunner:
    """Calls done-callbacks in order, on one thread that starts on first use."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._lock: threading.RLock = threading.RLock()  # a signal may come in between
        self._ended: bool = False
        self.thread: threading.Thread | None = None

    def put(
        self, future: KernelFuture[Any], callbacks: list[Callable[[Any], object]]
    ) -> None:
        """Have callbacks called with a future that has ended."""
        self._queue.put((future, callbacks))
        if self._ended:  # a thread that was late when the kernel ended
            self._drain()
        elif self.thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self.thread is not None:
                return
            if not self._ended:
                self.thread = threading.Thread(
                    target=self._run, name="jackfield-callbacks", daemon=True
                )
                try:
                    self.thread.start()
                except RuntimeError:  # none is to be had, as at the interpreter's exit
                    self.thread = None
                else:
                    return
        self._drain()

    def stop(self, timeout: float | None) -> bool:
        """Let the thread end after what is queued; tell whether it has.

        Args:
            timeout: Seconds to wait for it; a callback may block for ever.
        """
        with self._lock:
            thread = self.thread
            self._ended = thread is None
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
                self._ended = True  # first: who puts looks at this afterwards
                self._drain()
                return
            _call(*batch)
            del batch

    def _drain(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                batch = self._queue.get_nowait()
                if batch is not None:
                    _call(*batch)


def _call(future: KernelFuture[Any], callbacks: list[Callable[[Any], object]]) -> None:
    for callback in callbacks:
        run_callback(future, callback)
