"""Stage out: takes one local file to its URL, and checks that it is there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jackfield.errors import TransferCancelledError, TransferError
from jackfield.files import redact
from jackfield.staging import monitor
from jackfield.staging.progress import (
    OnProgress,
    Progress,
    ignore_progress,
    progress_of,
)
from jackfield.staging.remote import RemoteInfo, Stop
from jackfield.staging.retrying import call_with_retries, is_transient
from jackfield.staging.site import Site, ask
from jackfield.staging.transfer import Transfer

if TYPE_CHECKING:
    from jackfield.files import File


def send(
    file: File, site: Site, stop: Stop, on_progress: OnProgress = ignore_progress
) -> File:
    """Take a file from its local path to its URL; return it.

    Args:
        file: The file, which has a local path.
        site: Where it goes.
        stop: Ends the transfer.
        on_progress: Called with how far it is.

    Raises:
        NoProviderError: No plugin takes the URL.
        TransferCancelledError: The transfer was stopped.
        TransferError: The file is not there; a provider may raise any other exception
            for that.
    """
    attempts = 0

    def attempt(number: int) -> str:
        nonlocal attempts
        attempts = number
        return _attempt(file, site, stop, on_progress, number)

    def retry(number: int, error: BaseException, delay: float) -> None:
        on_progress(Progress("retrying", number, error=error, delay=delay))

    try:
        verified = call_with_retries(attempt, site.rules, stop, retry)
    except BaseException as error:
        cancelled = stop.event.is_set()
        on_progress(
            Progress("cancelled" if cancelled else "failed", attempts, error=error)
        )
        if cancelled and not isinstance(error, TransferCancelledError):
            raise TransferCancelledError(redact(file.url)) from None
        raise
    size = Path(file.filepath).stat().st_size
    on_progress(Progress("done", attempts, size, size, verified=verified))
    return file


def _attempt(
    file: File, site: Site, stop: Stop, on_progress: OnProgress, number: int
) -> str:
    path = Path(file.filepath)
    before = path.stat()
    transfer = Transfer(
        url=file.url,
        path=path,
        stop=stop,
        known=RemoteInfo(size=before.st_size),
        outgoing=True,
        **site.common(),
    )
    began = time.monotonic()
    on_progress(Progress("started", number, 0, before.st_size))
    with monitor.watched(
        transfer, lambda one: on_progress(progress_of(one, number, began))
    ):
        info = _ask(site, transfer)
    _check_unchanged(transfer, before)
    return _verify(site, transfer, info, before.st_size)


def _ask(site: Site, transfer: Transfer) -> RemoteInfo:
    """Have the provider send the file."""
    try:
        info = ask(site, site.provider.stage_out, transfer, RemoteInfo)
    except Exception as error:
        # The monitor has broken the call, whatever the provider made of that.
        if transfer.stalled and not is_transient(error):
            reason = f"nothing moved for {transfer.timeouts.idle:g} s (idle_timeout)"
            raise TransferError(str(transfer), reason, transient=True) from error
        raise
    if info is None:
        raise site.unserved(transfer.url)
    return info


def _check_unchanged(transfer: Transfer, before: os.stat_result) -> None:
    """Raise if somebody has written to the local file while it was sent."""
    after = transfer.path.stat()
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        reason = f"{str(transfer.path)!r} was changed while it was sent"
        raise TransferError(str(transfer), reason)


def _verify(site: Site, transfer: Transfer, info: RemoteInfo, size: int) -> str:
    """Compare the size of the file that is there now; return how it was verified."""
    there = info.size
    if there is None:
        seen = ask(site, site.provider.stat, transfer, RemoteInfo)
        there = seen.size if seen is not None else None
    if there is None:
        return "none"
    if there != size:
        reason = f"{there} bytes are there now; {size} were sent"
        raise TransferError(str(transfer), reason, transient=True)
    return "size"
