"""Stage out: one local file to its remote place, and the proof that it is there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jackfield.errors import TransferCancelledError, TransferError
from jackfield.files import redact
from jackfield.staging import monitor
from jackfield.staging.remote import RemoteInfo, Stop
from jackfield.staging.retrying import is_transient, persist
from jackfield.staging.site import Site, ask
from jackfield.staging.steps import Step, Told, nobody, progress
from jackfield.staging.transfer import Transfer

if TYPE_CHECKING:
    from jackfield.files import File


def send(file: File, site: Site, stop: Stop, told: Told = nobody) -> File:
    """Take a file from its local path to its URL; return it.

    Raises:
        NoProviderError: No plugin takes the URL.
        TransferCancelledError: It was stopped.
        TransferError: Or whatever else a provider raised: it is not there.
    """
    attempts = 0

    def attempt(number: int) -> str:
        nonlocal attempts
        attempts = number
        return _attempt(file, site, stop, told, number)

    def retry(number: int, error: BaseException, delay: float) -> None:
        told(Step("retrying", number, error=error, delay=delay))

    try:
        verified = persist(attempt, site.rules, stop, retry)
    except BaseException as error:
        cancelled = stop.event.is_set()
        told(Step("cancelled" if cancelled else "failed", attempts, error=error))
        if cancelled and not isinstance(error, TransferCancelledError):
            raise TransferCancelledError(redact(file.url)) from None
        raise
    size = Path(file.filepath).stat().st_size
    told(Step("done", attempts, size, size, verified=verified))
    return file


def _attempt(file: File, site: Site, stop: Stop, told: Told, number: int) -> str:
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
    told(Step("started", number, 0, before.st_size))
    with monitor.watched(transfer, lambda one: told(progress(one, number, began))):
        info = _ask(site, transfer)
    _check_unchanged(transfer, before)
    return _verify(site, transfer, info, before.st_size)


def _ask(site: Site, transfer: Transfer) -> RemoteInfo:
    try:
        info = ask(site, site.provider.stage_out, transfer, RemoteInfo)
    except Exception as error:
        if transfer.stalled and not is_transient(error):
            reason = f"nothing moved for {transfer.timeouts.idle:g} s (idle_timeout)"
            raise TransferError(str(transfer), reason, transient=True) from error
        raise
    if info is None:
        raise site.unserved(transfer.url)
    return info


def _check_unchanged(transfer: Transfer, before: os.stat_result) -> None:
    after = transfer.path.stat()
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        reason = f"{str(transfer.path)!r} was changed while it was sent"
        raise TransferError(str(transfer), reason)


def _verify(site: Site, transfer: Transfer, info: RemoteInfo, size: int) -> str:
    """Say how it is known that the file is there."""
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
