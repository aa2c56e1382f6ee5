"""Writing a file through fsspec, so that it is seen whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from fsspec.callbacks import Callback

from jackfield import TransferError
from jackfield_staging._any_access import SFTP, WEBDAV
from jackfield_staging._any_info import look
from jackfield_staging._any_pool import ask

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from jackfield import RemoteInfo, Transfer
    from jackfield_staging._any_pool import Lease

WRITE_SIZE: Final = 1 << 18


def send(lease: Lease, transfer: Transfer, path: str) -> RemoteInfo:
    """Send the transfer's file; return what is there then."""
    filesystem = lease.filesystem
    if transfer.scheme in SFTP:
        _renamed(lease, transfer, path, _write_sftp, filesystem.mv)
    elif transfer.scheme in WEBDAV:
        _renamed(lease, transfer, path, _write_webdav, _move_webdav(filesystem))
    elif transfer.scheme == "memory":
        # A file that is opened to be written is seen from the start; this is not.
        with transfer.open() as file:
            ask(lease, transfer, "pipe_file", path, file.read())
    else:
        progress = _Progress(transfer)
        ask(lease, transfer, "put_file", str(transfer.path), path, callback=progress)
    return look(lease, transfer, path)


def _renamed(
    lease: Lease,
    transfer: Transfer,
    path: str,
    write: Callable[[AbstractFileSystem, Transfer, str], None],
    rename: Callable[[str, str], object],
) -> None:
    """Write under a name that nobody looks for; rename when it is all there."""
    place = PurePosixPath(path)
    part = str(place.with_name(f".{place.name[:100]}.{secrets.token_hex(8)}.part"))

    def act() -> None:
        filesystem = lease.filesystem
        try:
            write(filesystem, transfer, part)
            _check_size(filesystem, transfer, part)
            transfer.check()
            rename(part, path)
        except BaseException:
            with contextlib.suppress(Exception):
                filesystem.rm_file(part)
            raise

    lease.call(transfer, act)


def _check_size(filesystem: AbstractFileSystem, transfer: Transfer, part: str) -> None:
    there, ours = filesystem.info(part)["size"], transfer.path.stat().st_size
    if there != ours:
        reason = f"{there} bytes arrived there of {ours}"
        raise TransferError(str(transfer), reason, transient=True)


def _write_sftp(filesystem: AbstractFileSystem, transfer: Transfer, part: str) -> None:
    with transfer.open() as file, _create(filesystem, part) as target:
        target.set_pipelined(True)  # or each block waits for the answer to the last
        while block := file.read(WRITE_SIZE):
            target.write(block)


def _create(filesystem: AbstractFileSystem, part: str) -> Any:
    try:
        return filesystem.open(part, "wb")
    except FileNotFoundError:
        filesystem.makedirs(str(PurePosixPath(part).parent), exist_ok=True)
        return filesystem.open(part, "wb")


def _write_webdav(filesystem: Any, transfer: Transfer, part: str) -> None:
    with transfer.open() as file:
        filesystem.upload_fileobj(file, part, size=transfer.path.stat().st_size)


def _move_webdav(filesystem: Any) -> Callable[[str, str], object]:
    """Return what moves in one step; webdav4's ``mv`` copies and deletes."""
    return lambda old, new: filesystem.client.move(old, new, overwrite=True)


class _Progress(Callback):  # type: ignore[misc]  # fsspec has no types
    """Tells a transfer what fsspec tells of a file on its way."""

    def __init__(self, transfer: Transfer) -> None:
        super().__init__()
        self._transfer: Transfer = transfer

    def relative_update(self, inc: int = 1) -> None:
        self._transfer.check()
        self._transfer.advance(inc)

    def absolute_update(self, value: int) -> None:
        self.relative_update(value - self._transfer.moved)
