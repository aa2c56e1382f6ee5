"""Watching transfers while they run: tells progress, breaks off those that stall.

A thread that moves a file sits in a blocking call of a provider and can do neither. So
one thread for the whole process looks at all transfers twice a second. It starts with
the first transfer and ends when there is none.

All that the threads share is the table of watched transfers, read and written with the
lock held. The monitor's thread copies it and looks at the transfers without the lock,
because to look calls other people's code. So a transfer may end between the copy and
the look, and its last progress may be told after its end.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jackfield.staging.local import size_of

if TYPE_CHECKING:
    from jackfield.staging.transfer import Transfer

PERIOD_S: Final = 0.5
"""Seconds between two looks at a transfer."""

MARGIN_S: Final = 2.0
"""Seconds that a stalled transfer gets beyond its idle timeout: a provider that keeps
the timeout itself raises in this time, with a better message."""

_lock = threading.Lock()
_watched: dict[Transfer, Callable[[Transfer], object]] = {}
_thread: threading.Thread | None = None
_changed = threading.Event()


@contextmanager
def watched(
    transfer: Transfer, on_look: Callable[[Transfer], object]
) -> Iterator[None]:
    """Watch a transfer while the block runs.

    Args:
        transfer: If nothing of it moves for its idle timeout and ``MARGIN_S``, its
            blocking call is broken (``Stop.interrupt``), twice a second until the block
            ends: a provider may go from one blocking call into the next.
        on_look: Called with the transfer twice a second, on the monitor's thread.
    """
    global _thread  # noqa: PLW0603  (one thread for all transfers of the process)
    with _lock:
        _watched[transfer] = on_look
        if _thread is None:
            _thread = threading.Thread(
                target=_run, name="jackfield-transfers", daemon=True
            )
            _thread.start()
    try:
        yield
    finally:
        with _lock:
            _watched.pop(transfer, None)


def close() -> None:
    """End the monitor's thread, unless a transfer is watched, and wait for its end."""
    with _lock:
        thread = None if _watched else _thread
        _changed.set()
    if thread is not None:
        thread.join(PERIOD_S)


def _run() -> None:
    global _thread  # noqa: PLW0603  (as above)
    while True:
        _changed.wait(PERIOD_S)
        with _lock:
            _changed.clear()
            # Looked at and forgotten in one hold of the lock: ``watched`` either has
            # put its transfer in before, or finds no thread and starts another.
            if not _watched:
                _thread = None
                return
            watched = list(_watched.items())
        for transfer, on_look in watched:
            _look(transfer, on_look)


def _look(transfer: Transfer, on_look: Callable[[Transfer], object]) -> None:
    if not (transfer.counted or transfer.outgoing):
        # A provider that writes the file itself does not count; its file grows.
        written = size_of(transfer.path)
        if written != transfer.moved:
            transfer.moved = written
            transfer.active = time.monotonic()
    idle = time.monotonic() - transfer.active
    # Until something has moved, only the provider's own timeouts count.
    begun = transfer.counted or transfer.moved > 0
    if begun and idle > transfer.timeouts.idle + MARGIN_S:
        transfer.stalled = True
        transfer.stop.interrupt()
    on_look(transfer)


def _after_fork() -> None:
    # In the child the thread is gone, and the lock may be held for ever by a thread
    # that lives in the parent only.
    global _thread, _lock, _changed
    _thread, _lock, _changed = None, threading.Lock(), threading.Event()
    _watched.clear()


os.register_at_fork(after_in_child=_after_fork)
