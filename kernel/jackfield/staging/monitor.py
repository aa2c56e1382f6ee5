"""Watching transfers while they run: progress, and what moves no more."""

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
"""Seconds between two looks."""

MARGIN_S: Final = 2.0
"""Seconds beyond the idle timeout: a provider that keeps it itself has better words."""

_lock = threading.Lock()
_watched: dict[Transfer, Callable[[Transfer], object]] = {}
_thread: threading.Thread | None = None
_changed = threading.Event()


@contextmanager
def watched(transfer: Transfer, told: Callable[[Transfer], object]) -> Iterator[None]:
    """Look after a transfer while the block runs.

    Args:
        transfer: If nothing moves for its idle timeout and a little more, what may
            break its blocking call is called, again and again.
        told: Called about each half second, on a thread of this module.
    """
    global _thread  # noqa: PLW0603  (one thread for all transfers of the process)
    with _lock:
        _watched[transfer] = told
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
    """End this module's thread, if it watches nothing."""
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
            if not _watched:
                _thread = None
                return
            watched = list(_watched.items())
        for transfer, told in watched:
            _look(transfer, told)


def _look(transfer: Transfer, told: Callable[[Transfer], object]) -> None:
    if not (transfer.counted or transfer.outgoing):
        written = size_of(transfer.path)
        if written != transfer.moved:  # by a provider that writes the file itself
            transfer.moved = written
            transfer.active = time.monotonic()
    idle = time.monotonic() - transfer.active
    begun = transfer.counted or transfer.moved > 0
    if begun and idle > transfer.timeouts.idle + MARGIN_S:
        transfer.stalled = True
        transfer.stop.interrupt()
    told(transfer)


def _after_fork() -> None:
    global _thread, _lock, _changed
    _thread, _lock, _changed = None, threading.Lock(), threading.Event()
    _watched.clear()


os.register_at_fork(after_in_child=_after_fork)
