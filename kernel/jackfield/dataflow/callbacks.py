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
        self._lock: threading.Lock = threading.Lock()
        self.thread: threading.Thread | None = None

    def put(
        self, future: KernelFuture[Any], callbacks: list[Callable[[Any], object]]
    ) -> None:
        """Have callbacks called with a future that has ended."""
        with self._lock:
            if self.thread is None:
                self.thread = threading.Thread(
                    target=self._run, name="jackfield-callbacks", daemon=True
                )
                self.thread.start()
        self._queue.put((future, callbacks))

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
