"""An attempt at moving one file, as providers get it: it counts, checks and writes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from jackfield import clock
from jackfield.errors import RemoteChangedError, TransferError
from jackfield.staging import transfer
from jackfield.staging.remote import UNKNOWN, RemoteInfo

if TYPE_CHECKING:
    from pathlib import Path

BLOCK: Final = 1 << 20
"""Bytes that are read and written at a time."""

WRITEBACK: Final = 8 << 20
"""Bytes of a file that is arriving after which the system is asked to write them out,
so that little is left to wait for when the whole file is synced."""


class Transfer(transfer.Transfer):
    """One attempt at moving one file; see ``jackfield.Transfer``."""

    def receive(
        self,
        source: BinaryIO | Iterable[bytes],
        info: RemoteInfo = UNKNOWN,
        *,
        start: int = 0,
    ) -> RemoteInfo:
        """Write all bytes of ``source`` to ``path``; return ``info``."""
        self._begin(info, start)
        handle = _open_private(self.path, start)
        begun = start
        try:
            for block in _blocks(source):
                self.check()
                self._check_size(self.moved + len(block))
                _write(handle, block)
                self.advance(len(block))
                if self.sync and self.moved - begun >= WRITEBACK:
                    _start_writeback(handle, begun, self.moved - begun)
                    begun = self.moved
        finally:
            os.close(handle)
        self.check()
        return info

    def advance(self, moved: int) -> None:
        """Count bytes as moved: ``receive`` and ``open`` do that by themselves."""
        self.counted = True
        self.moved += moved
        self.active = clock.monotonic()

    def open(self) -> BinaryIO:
        """Open the file to send; reading it counts and may raise."""
        return _OutgoingFile(self, io.FileIO(self.path, "rb"))  # type: ignore[return-value]  # a RawIOBase is read like one

    def _begin(self, info: RemoteInfo, start: int) -> None:
        if start not in (0, self.offset):
            raise ValueError(f"start is {start}; expected 0 or {self.offset}.")
        if start:
            difference = self.known.differs(info)
            if difference is not None:
                raise RemoteChangedError(str(self), difference)
        self.counted: bool = True
        self.moved: int = start
        self.known = info
        self.active: float = clock.monotonic()
        self._check_size(info.size or 0)

    def _check_size(self, size: int) -> None:
        """Raise if ``size`` bytes are more than allowed or more than declared."""
        if self.max_bytes is not None and size > self.max_bytes:
            reason = f"it has more than max_bytes = {self.max_bytes} bytes"
            raise TransferError(str(self), reason)
        if self.known.size is not None and size > self.known.size:
            reason = f"more than the {self.known.size} bytes arrive that were declared"
            raise TransferError(str(self), reason, transient=True)


def _blocks(source: Any) -> Iterator[bytes]:
    read = getattr(source, "read", None)
    if read is None:
        yield from source
        return
    while block := read(BLOCK):
        yield block


def _write(handle: int, block: bytes) -> None:
    """Write a whole block; one ``os.write`` may take less, as on a full disk."""
    written = os.write(handle, block)
    while written < len(block):
        block = block[written:]
        written = os.write(handle, block)


def _start_writeback(handle: int, start: int, size: int) -> None:
    """Ask the system to begin writing bytes of a file to the disk; do not wait.

    The advice "these bytes are not needed any more" makes Linux do so. It drops from
    memory only what is on the disk already, so nothing is lost.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # advice may fail; the sync will raise what matters
            os.posix_fadvise(handle, start, size, os.POSIX_FADV_DONTNEED)


def _open_private(path: Path, start: int) -> int:
    """Open a file for writing: the one of an earlier attempt if ``start``, else anew.

    It may be read by its owner alone, and must not be a symbolic link.
    """
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    if start:
        handle = os.open(path, flags)
        os.lseek(handle, start, os.SEEK_SET)
        return handle
    with suppress(FileExistsError):  # left by an attempt that cannot be resumed
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    return os.open(path, flags | os.O_TRUNC)


class _OutgoingFile(io.RawIOBase):
    """What ``Transfer.open`` returns: the local file, with its progress counted."""

    def __init__(self, transfer: Transfer, file: io.FileIO) -> None:
        self._transfer: Transfer = transfer
        self._file: io.FileIO = file  # open: Python closes even a half-made object
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
