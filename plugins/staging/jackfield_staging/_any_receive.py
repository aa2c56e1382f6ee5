"""Reading a file through fsspec."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from jackfield_staging import _loop
from jackfield_staging._any_access import WEBDAV
from jackfield_staging._any_errors import explained
from jackfield_staging._any_info import look
from jackfield_staging._any_pool import ask

if TYPE_CHECKING:
    from jackfield import RemoteInfo, Transfer
    from jackfield_staging._any_pool import Lease

READ_SIZE: Final = 1 << 18
LEAST_RANGE: Final = 1 << 20
MOST_RANGE: Final = 1 << 24
QUICK_S: Final = 0.5
"""Seconds; ranges grow while they take less, so that few are asked for on a fast
line, and a slow one still shows progress."""

SFTP_BLOCK: Final = 1 << 15
"""Bytes that SFTP servers send in one answer."""

AHEAD: Final = 256
"""Such blocks that are asked for at once: 8 MB on the way."""


def receive(lease: Lease, transfer: Transfer, path: str) -> RemoteInfo:
    """Look at a file, and write it to the transfer's path."""
    info = look(lease, transfer, path)
    start = _start(transfer, info)
    read = _ranges if lease.shared else _stream
    if transfer.scheme == "memory":
        read = _memory
    return transfer.receive(read(lease, transfer, path, info, start), info, start=start)


def _start(transfer: Transfer, info: RemoteInfo) -> int:
    """Go on from what is there if it is known to be of the same file."""
    known = transfer.known.etag
    return transfer.offset if known is not None and info.etag == known else 0


def _memory(
    lease: Lease, transfer: Transfer, path: str, info: RemoteInfo, start: int
) -> Iterator[bytes]:
    """Give what is in memory: all who open a file there share one position."""
    for offset in range(start, info.size or 0, LEAST_RANGE):
        end = offset + LEAST_RANGE
        yield ask(lease, transfer, "cat_file", path, start=offset, end=end)


def _ranges(
    lease: Lease, transfer: Transfer, path: str, info: RemoteInfo, start: int
) -> Iterator[bytes]:
    """Give what an asynchronous filesystem has, asking for one range ahead."""
    if info.size is None or info.size - start <= LEAST_RANGE:
        if info.size != start:
            yield ask(lease, transfer, "cat_file", path, start=start or None)
        return
    read = _reader(lease.filesystem, path, start, info.size)
    with explained(transfer):
        ahead = _loop.blocks(transfer, read)
        while block := next(ahead, b""):
            yield block


def _reader(
    filesystem: Any, path: str, start: int, size: int
) -> Callable[[], Coroutine[Any, Any, bytes]]:
    position, width = start, LEAST_RANGE

    async def read() -> bytes:
        nonlocal position, width
        if position >= size:
            return b""
        began = time.monotonic()
        end = min(position + width, size)
        data: bytes = await filesystem._cat_file(path, start=position, end=end)
        position += len(data)
        quick = time.monotonic() - began < QUICK_S
        width = min(2 * width, MOST_RANGE) if quick else LEAST_RANGE
        return data

    return read


def _stream(
    lease: Lease, transfer: Transfer, path: str, info: RemoteInfo, start: int
) -> Iterator[bytes]:
    """Give what a synchronous filesystem has, read on its own thread."""
    file = lease.call(transfer, lambda: _open(lease.filesystem, transfer, path, start))
    pieces = _pieces(file, info.size, start)
    try:
        while block := lease.call(transfer, lambda: next(pieces, b"")):
            yield bytes(block)
    finally:
        if lease.usable:
            lease.call(transfer, file.close)


def _open(filesystem: Any, transfer: Transfer, path: str, start: int) -> Any:
    if transfer.scheme in WEBDAV:
        # The filesystem's own file looks again, by a name that it does not decode.
        from webdav4.stream import IterStream

        client = filesystem.client
        file = IterStream(client, client.join_url(path), READ_SIZE).__enter__()
    else:
        file = filesystem.open(path, "rb")
    if start:
        file.seek(start)
    return file


def _pieces(file: Any, size: int | None, start: int) -> Iterator[bytes]:
    if size is not None and hasattr(file, "readv"):
        yield from _windows(file, size, start)
    else:
        while block := file.read(READ_SIZE):
            yield block


def _windows(file: Any, size: int, start: int) -> Iterator[bytes]:
    """Read over SFTP, asking for many blocks at once.

    paramiko's ``prefetch`` would ask for all there is, whatever fits into memory.
    """
    for window in range(start, size, AHEAD * SFTP_BLOCK):
        end = min(window + AHEAD * SFTP_BLOCK, size)
        blocks = [
            (offset, min(SFTP_BLOCK, end - offset))
            for offset in range(window, end, SFTP_BLOCK)
        ]
        arriving = iter(file.readv(blocks))
        while piece := b"".join(islice(arriving, READ_SIZE // SFTP_BLOCK)):
            yield piece
