"""Move files from and to FTP servers, in the clear or with TLS. Schemes: ftp, ftps.

What is after the host is a path from the server's root, as users see it after login:
``ftp://host/data/x`` is ``/data/x``. (RFC 1738 would begin at the login directory; on a
server that shows users that directory only, it is the same.) ``ftp://host/~/x`` begins
at the login directory. Percent signs are decoded, ``?`` and ``#`` belong to the name,
and ``;type=i`` at the end is understood.

Who logs in: the named credentials ``user`` and ``password``, or those of the URL, or
``anonymous``. Options: ``FtpOptions``. ``ftps`` is explicit TLS with a verified
certificate for commands and data, and fails where the server offers less.

A file that arrives is looked at before and after, with ``MLST`` or with ``SIZE`` and
``MDTM``. FTP has no etag; one is made of size and time, so that a transfer that was
interrupted can go on. A file that was replaced by another of the same size within the
same second is not noticed; ``File(url, sha256=...)`` would. Of a server that tells
neither size nor time, it is only known that it called the transfer complete.
"""

from __future__ import annotations

import ftplib
import secrets
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from jackfield import RemoteInfo, hookimpl
from jackfield.errors import (
    RemoteChangedError,
    RemoteForbiddenError,
    TransferError,
)
from jackfield_staging._ftp_address import place_of
from jackfield_staging._ftp_data import data, settle
from jackfield_staging._ftp_line import Line
from jackfield_staging._ftp_listing import list_below
from jackfield_staging._ftp_look import look, resolved
from jackfield_staging._ftp_pool import close_idle, lent, refusal, refused_as

if TYPE_CHECKING:
    import socket

    from jackfield import DataFlowKernel, Remote, Transfer
    from jackfield_staging._ftp_address import Account, Place

BLOCK: Final = 1 << 18
"""Bytes that are read or sent at a time."""

NO_NAME: Final = ("550", "553")
"""Replies to a file that cannot be made, perhaps for want of a directory."""

SETTLE_S: Final = 0.5
"""Seconds to wait for a server to see that an upload was broken off."""

CLEANUP_S: Final = 2.0
"""Seconds to wait for each answer on a connection that is made only to remove what a
failed upload has left."""


@hookimpl
def jackfield_stage_in(transfer: Transfer) -> RemoteInfo | None:
    """Fetch one file by ``RETR``."""
    place = place_of(transfer)
    if place is None:
        return None
    with lent(transfer, place.account) as line:
        path = resolved(line, place.path)
        before = look(line, path)
        # It is there: who does not give it does not want to.
        with refused_as(transfer, RemoteForbiddenError):
            _fetch(line, transfer, path, before)
        _check_size(transfer, before.size, "arrive")
        if before.etag is None:
            return before
        difference = before.differs(look(line, path))
        if difference is not None:
            raise RemoteChangedError(str(transfer), difference)
        return replace(before, settled=True)


@hookimpl
def jackfield_stage_out(transfer: Transfer) -> RemoteInfo | None:
    """Send one file by ``STOR`` to another name, and rename it when it is whole."""
    place = place_of(transfer)
    if place is None:
        return None
    with (
        lent(transfer, place.account) as line,
        refused_as(transfer, RemoteForbiddenError),
    ):
        final = resolved(line, place.path)
        if final.endswith("/"):
            raise TransferError(str(transfer), "it names a directory; expected a file")
        if place.options.atomic:
            return _send_aside(line, transfer, final, place)
        return _send(line, transfer, final, place)


@hookimpl
def jackfield_stat_file(remote: Remote) -> RemoteInfo | None:
    """Look at one file by ``MLST``, or ``SIZE`` and ``MDTM``."""
    place = place_of(remote)
    if place is None:
        return None
    with lent(remote, place.account) as line:
        return look(line, resolved(line, place.path))


@hookimpl
def jackfield_list_files(remote: Remote) -> dict[str, RemoteInfo] | None:
    """List by ``MLSD``, or by ``LIST`` as far as it can be understood."""
    place = place_of(remote)
    if place is None:
        return None
    with lent(remote, place.account) as line:
        try:
            found = list_below(line, resolved(line, place.path))
        except ValueError as error:
            raise TransferError(str(remote), str(error)) from error
    return {
        remote.url + quote(name, errors="surrogateescape"): info
        for name, info in found.items()
    }


@hookimpl
def jackfield_kernel_closing(kernel: DataFlowKernel) -> None:
    """Close the connections that nobody uses."""
    del kernel
    close_idle()


# -- In


def _fetch(line: Line, transfer: Transfer, path: str, info: RemoteInfo) -> None:
    """Receive the file, from where an earlier attempt has ended if it is the same."""
    start = _resumable(transfer, info)
    if start and start == info.size:
        transfer.receive((), info, start=start)
        return
    try:
        with data(line, f"RETR {path}", start) as connection:
            transfer.receive(_blocks(connection), info, start=start)
    except ftplib.error_perm:
        if not start or "REST" not in line.lacks:
            raise
        with data(line, f"RETR {path}") as connection:
            transfer.receive(_blocks(connection), info)


def _resumable(transfer: Transfer, info: RemoteInfo) -> int:
    same = info.etag is not None and info.etag == transfer.known.etag
    return transfer.offset if same and transfer.offset <= (info.size or 0) else 0


def _blocks(connection: socket.socket) -> Iterator[bytes]:
    while block := connection.recv(BLOCK):
        yield block


def _check_size(transfer: Transfer, size: int | None, verb: str) -> None:
    if size is not None and size != transfer.moved:
        reason = f"{transfer.moved} bytes {verb}, but the server has {size}"
        raise TransferError(str(transfer), reason, transient=True)


# -- Out


def _send_aside(line: Line, transfer: Transfer, final: str, place: Place) -> RemoteInfo:
    """Send to a name that nobody knows, beside the final one, then rename."""
    directory, _, name = final.rpartition("/")
    # Shortened, so that the longest name still has room for the marks.
    aside = f"{directory}/.{name[:40]}.{secrets.token_hex(6)}.part"
    info = _send(line, transfer, aside, place)
    try:
        transfer.check()
        _rename(line, transfer, (aside, final), place.options.delete_before_rename)
    except BaseException:
        _discard(line, place.account, aside)
        raise
    return info


def _send(line: Line, transfer: Transfer, path: str, place: Place) -> RemoteInfo:
    """Send under this name; where its directory is missing, make it."""
    try:
        return _store(line, transfer, path, place.account)
    except ftplib.error_perm as error:
        if not place.options.create_directories or str(error)[:3] not in NO_NAME:
            raise
    _make_directories(line, path)
    return _store(line, transfer, path, place.account)


def _store(line: Line, transfer: Transfer, path: str, account: Account) -> RemoteInfo:
    """Send, and see that all has arrived; leave nothing where it has not.

    Raises:
        ftplib.error_perm: The server did not begin.
    """
    begun = False
    try:
        with data(line, f"STOR {path}") as connection:
            begun = True
            _pour(transfer, connection)
        info = look(line, path)
        _check_size(transfer, info.size, "were sent")
    except BaseException as error:
        if not begun:
            raise
        _discard(line, account, path)
        if isinstance(error, ftplib.error_perm):
            raise refusal(transfer, error, RemoteForbiddenError) from error
        raise
    return replace(info, settled=True)


def _pour(transfer: Transfer, connection: socket.socket) -> None:
    with transfer.open() as file:
        while block := file.read(BLOCK):
            rest = memoryview(block)
            while rest:
                rest = rest[connection.send(rest) :]
                transfer.advance(0)  # it was counted when it was read; it moves now


def _make_directories(line: Line, path: str) -> None:
    parts = path.split("/")
    for number in range(2, len(parts)):
        with suppress(ftplib.error_perm):  # it is there; else storing tells
            line.mkd("/".join(parts[:number]))


def _rename(
    line: Line, transfer: Transfer, names: tuple[str, str], delete_before: bool
) -> None:
    try:
        try:
            line.rename(*names)
        except ftplib.error_perm:
            if not delete_before:
                raise
            _delete(line, names[1])
            line.rename(*names)
    except ftplib.error_perm as error:
        reason = (
            f"all has arrived, but the server does not rename it: {error}. If it "
            "renames nothing over an old file, set delete_before_rename = true; if it "
            "renames nothing at all, atomic = false"
        )
        raise RemoteForbiddenError(str(transfer), reason) from error


def _discard(line: Line, account: Account, path: str) -> None:
    """Remove what a failed upload has left, if the server can still be reached."""
    with suppress(Exception):
        line.patience(SETTLE_S, SETTLE_S)
        settle(line)
        _delete(line, path)
        return
    with suppress(Exception), closing(Line(account, CLEANUP_S, CLEANUP_S)) as fresh:
        fresh.open()
        _delete(fresh, path)


def _delete(line: Line, path: str) -> None:
    with suppress(ftplib.error_perm):  # there is nothing
        line.delete(path)
