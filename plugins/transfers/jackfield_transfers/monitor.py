"""Watching transfers while they run: tells progress, breaks off those that stall.

A thread that moves a file sits in a blocking call of a provider and can do neither. So
one thread for the whole process looks at all transfers twice a second. It starts with
the first transfer and ends when there is none.

The threads share the table of watched transfers, which is read and written with the
lock ``_lock`` held. To look at a transfer calls other people's code, so it is done
without that lock, after the table was copied. The transfer may end between the copy and
the look. A late look must not do anything: it would break the blocking call of the next
attempt, which has the same ``Stop``, or tell progress after the end. So each watch has
a lock of its own, held during a look and when the watch ends: a look comes either
before the end, which waits for it, or sees that the watch is over.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jackfield import clock
from jackfield_transfers.local import size_of

if TYPE_CHECKING:
    from jackfield_transfers.transfer import Transfer

log: Final = logging.getLogger("jackfield.staging")

PERIOD_S: Final = 0.5
"""Seconds between two looks at a transfer."""

MARGIN_S: Final = 2.0
"""Seconds that a stalled transfer gets beyond its idle timeout: a provider that keeps
the timeout itself raises in this time, with a better message."""


class _Watch:
    """One transfer that is watched.

    Attributes:
        transfer: The transfer.
        on_look: Called at each look.
        over: Whether the watch has ended. Read and written with ``lock`` held.
        lock: Held during a look.
    """

    __slots__ = ("lock", "on_look", "over", "transfer")

    def __init__(
        self, transfer: Transfer, on_look: Callable[[Transfer], object]
    ) -> None:
        self.transfer: Transfer = transfer
        self.on_look: Callable[[Transfer], object] = on_look
        self.over: bool = False
        self.lock: threading.Lock = threading.Lock()


_lock = threading.Lock()
_watches: dict[_Watch, None] = {}
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
    watch = _Watch(transfer, on_look)
    with _lock:
        _watches[watch] = None
        if _thread is None:
            _thread = threading.Thread(
                target=_run, name="jackfield-transfers", daemon=True
            )
            _thread.start()
    try:
        yield
    finally:
        with _lock:
            _watches.pop(watch, None)
        with watch.lock:  # waits for a look that has begun
            watch.over = True


def close() -> None:
    """End the monitor's thread, unless a transfer is watched, and wait for its end."""
    with _lock:
        thread = None if _watches else _thread
        _changed.set()
    if thread is not None:
        thread.join(PERIOD_S)


def _run() -> None:
    """Look at all transfers again and again; the monitor's thread."""
    global _thread  # noqa: PLW0603  (as above)
    while True:
        _changed.wait(PERIOD_S)
        with _lock:
            _changed.clear()
            # Looked at and forgotten in one hold of the lock: ``watched`` either has
            # put its transfer in before, or finds no thread and starts another.
            if not _watches:
                _thread = None
                return
            watches = list(_watches)
        for watch in watches:
            with watch.lock:
                if not watch.over:
                    _look(watch.transfer, watch.on_look)
        del watches  # a thread that sleeps must not keep transfers alive


def _look(transfer: Transfer, on_look: Callable[[Transfer], object]) -> None:
    """Break a transfer's blocking call if it stalls, then call ``on_look``.

    What the one or the other raises must not end the thread that watches all transfers.
    """
    if not (transfer.counted or transfer.outgoing):
        # A provider that writes the file itself does not count; its file grows.
        written = size_of(transfer.path)
        if written != transfer.moved:
            transfer.moved = written
            transfer.active = clock.monotonic()
    idle = clock.monotonic() - transfer.active
    # Until something has moved, only the provider's own timeouts count.
    begun = transfer.counted or transfer.moved > 0
    try:
        if begun and idle > transfer.timeouts.idle + MARGIN_S:
            transfer.stalled = True
            transfer.stop.interrupt()
        on_look(transfer)
    except BaseException:
        log.exception("Watching the transfer of %s raised", transfer)


def _after_fork() -> None:
    # In the child the thread is gone, and the lock may be held for ever by a thread
    # that lives in the parent only.
    global _thread, _lock, _changed
    _thread, _lock, _changed = None, threading.Lock(), threading.Event()
    _watches.clear()


os.register_at_fork(after_in_child=_after_fork)
