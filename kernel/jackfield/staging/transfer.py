"""One file to move: the object between a staging provider and the engine."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from jackfield.errors import RemoteChangedError, TransferError
from jackfield.files import redact
from jackfield.staging.remote import UNKNOWN, Remote, RemoteInfo

if TYPE_CHECKING:
    from pathlib import Path

BLOCK: Final = 1 << 20
"""Bytes that are moved at a time."""

STRIDE: Final = 8 << 20
"""Bytes after which the disk is set to work, so that little is left for the sync."""


@dataclass(eq=False, kw_only=True)
class Transfer(Remote):
    """One attempt at moving one file.

    Attributes:
        path: Stage in: a name that nobody else knows, to write to, in a directory of
            its own. The kernel verifies the file and gives it its final name. Stage
            out: the file to read, which must not be changed.
        offset: Stage in: how many bytes an earlier attempt has left in ``path``, from
            which this one may go on; else 0.
        known: What the other side told of the file: in the attempt that left those
            bytes, or before this one. A resumed request asks for this very version.
        max_bytes: Stage in: at how many bytes to give up, or ``None``.
        sync: Stage in: whether the kernel will see that the file is on the disk.
        moved: Bytes moved so far, those of ``offset`` included.
        active: When the last of them did, by ``time.monotonic()``.
        outgoing: Whether it is a stage-out.
        counted: Whether ``moved`` is counted; else the kernel looks at the file's
            size. From the first count on, what moves no more is broken off.
        stalled: Whether it was broken off because nothing moved.
    """

    path: Path
    offset: int = 0
    known: RemoteInfo = UNKNOWN
    max_bytes: int | None = None
    sync: bool = False
    moved: int = 0
    active: float = field(default_factory=time.monotonic)
    outgoing: bool = False
    counted: bool = False
    stalled: bool = False

    def receive(
        self,
        source: BinaryIO | Iterable[bytes],
        info: RemoteInfo = UNKNOWN,
        *,
        start: int = 0,
    ) -> RemoteInfo:
        """Write what comes from ``source`` to ``path``; return ``info``.

        Looks between blocks whether the transfer is cancelled, and counts progress.

        Args:
            source: Something with ``read(n)``, or the blocks themselves.
            info: What the other side tells of the whole file.
            start: At which byte the source begins: 0, or ``offset`` where the other
                side agreed to go on from there.

        Raises:
            TransferError: The file is larger than allowed or than declared.
            RemoteChangedError: ``start`` is not 0, and the file is another one than
                the bytes that are there are from.
            TransferCancelledError: Nobody wants the file any more.
        """
        self._begin(info, start)
        handle = _open_private(self.path, start)
        begun = start
        try:
            for block in _blocks(source):
                self.check()
                self._check_room(self.moved + len(block))
                _write(handle, block)
                self.advance(len(block))
                if self.sync and self.moved - begun >= STRIDE:
                    _begin_to_store(handle, begun, self.moved - begun)
                    begun = self.moved
        finally:
            os.close(handle)
        self.check()
        return info

    def advance(self, moved: int) -> None:
        """Count bytes as moved, where ``receive`` or ``open`` do not."""
        self.counted = True
        self.moved += moved
        self.active = time.monotonic()

    def open(self) -> BinaryIO:
        """Open the file to send. Reading counts progress, and ends when cancelled.

        It can be sought: what is read again counts again from there.
        """
        return _Sent(self)  # type: ignore[return-value]  # a RawIOBase is read like one

    def _begin(self, info: RemoteInfo, start: int) -> None:
        if start not in (0, self.offset):
            raise ValueError(f"start is {start}; expected 0 or {self.offset}.")
        if start:
            difference = self.known.differs(info)
            if difference is not None:
                raise RemoteChangedError(str(self), difference)
        self.counted = True
        self.moved = start
        self.known = info
        self.active = time.monotonic()
        self._check_room(info.size or 0)

    def _check_room(self, size: int) -> None:
        """See that ``size`` bytes are neither more than declared nor than allowed."""
        if self.max_bytes is not None and size > self.max_bytes:
            reason = f"it has more than max_bytes = {self.max_bytes} bytes"
            raise TransferError(str(self), reason)
        if self.known.size is not None and size > self.known.size:
            reason = f"more than the {self.known.size} bytes arrive that were declared"
            raise TransferError(str(self), reason, transient=True)

    def __str__(self) -> str:
        """The URL without secrets."""
        return redact(self.url)

    def __repr__(self) -> str:
        return f"<Transfer {redact(self.url)} {self.moved} bytes>"


def _blocks(source: Any) -> Iterator[bytes]:
    read = getattr(source, "read", None)
    if read is None:
        yield from source
        return
    while block := read(BLOCK):
        yield block


def _write(handle: int, block: bytes) -> None:
    """Write a whole block: on a disk that fills up, a part may be taken first."""
    written = os.write(handle, block)
    while written < len(block):
        block = block[written:]
        written = os.write(handle, block)


def _begin_to_store(handle: int, start: int, size: int) -> None:
    """Have bytes go to the disk while others arrive; wait for nothing.

    Linux takes the advice for that. What is still to be written stays in memory, too.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # it is advice: the sync tells what is wrong
            os.posix_fadvise(handle, start, size, os.POSIX_FADV_DONTNEED)


def _open_private(path: Path, start: int) -> int:
    """Open a file that nobody else has, or go on with the one that is there."""
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    if start:
        handle = os.open(path, flags)
        os.lseek(handle, start, os.SEEK_SET)
        return handle
    with suppress(FileExistsError):  # of an answer that is not gone on from
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    return os.open(path, flags | os.O_TRUNC)


class _Sent(io.RawIOBase):
    """The file of a stage-out, as the provider reads it."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer: Transfer = transfer
        self._file: io.FileIO = io.FileIO(transfer.path, "rb")
        transfer.counted, transfer.moved = True, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int:
        self._transfer.check()
        number = self._file.readinto(buffer) or 0
        self._transfer.advance(number)
        return number

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = self._file.seek(offset, whence)
        self._transfer.moved = position
        return position

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
