"""The attempts at moving one file, in or out: begun, watched, tried again, told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jackfield import clock
from jackfield.errors import TransferCancelledError, TransferError
from jackfield.files import redact
from jackfield.staging.mover import Progress
from jackfield.staging.remote import RemoteInfo, Stop
from jackfield_transfers import monitor
from jackfield_transfers.retrying import call_with_retries, is_transient
from jackfield_transfers.site import Site, ask, unserved

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield.files import File
    from jackfield.staging.mover import Hook
    from jackfield_transfers.host_site import OnProgress
    from jackfield_transfers.transfer import Transfer


def move(
    file: File,
    site: Site,
    stop: Stop,
    on_progress: OnProgress,
    attempt: Callable[[int], str],
    local: Path,
) -> str:
    """Attempt to move a file until it is moved or another try is not worth it.

    ``attempt`` is called with 1, 2, ... and returns how the file was verified, which
    this returns too. ``local`` is where it is on this machine, once it is moved.

    Raises:
        TransferCancelledError: The transfer was stopped, whatever came of that.
        Exception: What the last attempt raised.
    """
    begun = 0

    def counted(number: int) -> str:
        nonlocal begun
        begun = number
        return attempt(number)

    try:
        verified = call_with_retries(counted, site.rules, stop, on_progress)
    except BaseException as error:
        cancelled = stop.event.is_set()
        on_progress(
            Progress("cancelled" if cancelled else "failed", begun, error=error)
        )
        if cancelled and not isinstance(error, TransferCancelledError):
            raise TransferCancelledError(redact(file.url)) from None
        raise
    size = local.stat().st_size
    on_progress(Progress("done", begun, size, size, verified=verified))
    return verified


def ask_to_move(
    site: Site,
    hooks: tuple[Hook, ...],
    transfer: Transfer,
    on_progress: OnProgress,
    number: int,
) -> RemoteInfo:
    """Have the provider move a file, watched by the monitor, in one attempt."""
    began, known = clock.monotonic(), transfer.known.size
    on_progress(Progress("started", number, transfer.offset, known))
    try:
        with monitor.watched(
            transfer, lambda one: on_progress(_progress_of(one, number, began))
        ):
            info = ask(site, hooks, transfer, RemoteInfo)
    except Exception as error:
        # When the monitor breaks a call, the provider raises anything, such as
        # "bad file descriptor". What has happened is a timeout, which is transient.
        if transfer.stalled and not is_transient(error):
            reason = f"nothing moved for {transfer.timeouts.idle:g} s (idle_timeout)"
            raise TransferError(str(transfer), reason, transient=True) from error
        raise
    if info is None:
        raise unserved(site.provider, transfer.url)
    return info


def _progress_of(transfer: Transfer, attempt: int, began: float) -> Progress:
    """Return how far an attempt is that began at a time of ``clock.monotonic()``."""
    seconds = max(clock.monotonic() - began, 1e-6)
    rate = (transfer.moved - transfer.offset) / seconds
    size = transfer.known.size
    return Progress("progress", attempt, transfer.moved, size, rate)
