"""A thread for users' done-callbacks, so that they hold up nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from jackfield.futures import KernelFuture, run_callback

Batch = tuple[KernelFuture[Any], list[Callable[[Any], object]]]


class CallbackRunner:
    """Calls done-callbacks in order, on one thread that starts on first use."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._lock: threading.RLock = threading.RLock()  # a signal may come in between
        self.thread: threading.Thread | None = None

    def put(
        self, future: KernelFuture[Any], callbacks: list[Callable[[Any], object]]
    ) -> None:
        """Have callbacks called with a future that has ended."""
        self._queue.put((future, callbacks))
        if self.thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self.thread is not None:
                return
            self.thread = threading.Thread(
                target=self._run, name="jackfield-callbacks", daemon=True
            )
            try:
                self.thread.start()
            except RuntimeError:  # none is to be had, as at the interpreter's exit
                self.thread = None
            else:
                return
        self._queue.put(None)
        self._run()

    def stop(self, timeout: float | None) -> bool:
        """Let the thread end after what is queued; tell whether it has.

        Args:
            timeout: Seconds to wait for it; a callback may block for ever.
        """
        thread = self.thread
        if thread is None:
            return True
        self._queue.put(None)
        if thread is not threading.current_thread():
            thread.join(timeout)
        return not thread.is_alive()

    def _run(self) -> None:
        while True:
            batch = self._queue.get()
            if batch is None:
                return
            future, callbacks = batch
            for callback in callbacks:
                run_callback(future, callback)
            del batch, future, callbacks
