"""Stage out: takes one local file to its URL, and checks that it is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jackfield.errors import TransferError
from jackfield.files import redact
from jackfield.staging.remote import RemoteInfo, Stop
from jackfield_transfers.attempts import ask_to_move, move
from jackfield_transfers.host_site import OnProgress, ignore_progress
from jackfield_transfers.local import expect, mismatch
from jackfield_transfers.site import Site, look
from jackfield_transfers.transfer import Transfer

if TYPE_CHECKING:
    from jackfield.files import File


def send(
    file: File, site: Site, stop: Stop, on_progress: OnProgress = ignore_progress
) -> File:
    """Take a file from its local path to its URL; return it.

    Arguments as for ``fetch``.

    Raises:
        NoProviderError: No plugin takes the URL.
        TransferCancelledError: The transfer was stopped.
        TransferError: The file is not there; a provider may raise any other exception
            for that.
    """
    path = Path(file.filepath)
    expect(file.url, path)
    wrong = mismatch(file, path)
    if wrong is not None:
        raise TransferError(redact(file.url), wrong)

    def attempt(number: int) -> str:
        before = expect(file.url, path)
        transfer = Transfer(
            url=file.url,
            path=path,
            stop=stop,
            known=RemoteInfo(size=before.st_size),
            outgoing=True,
            **site.common(),
        )
        hooks = site.provider.stage_out
        info = ask_to_move(site, hooks, transfer, on_progress, number)
        _check_unchanged(transfer, before)
        return _verify(site, transfer, info, before.st_size)

    move(file, site, stop, on_progress, attempt, path)
    return file


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
        seen = look(site, transfer)
        there = seen.size if seen is not None else None
    if there is None:
        return "none"
    if there != size:
        reason = f"{there} bytes are there now; {size} were sent"
        raise TransferError(str(transfer), reason, transient=True)
    return "size"
