"""SFTP and WebDAV: a file is sent under another name, and renamed when it is whole."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from contextlib import suppress
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import unquote

from jackfield_staging._any_files import READ_SIZE, Blocking, pieces
from jackfield_staging._core_files import check_moved, part_name

if TYPE_CHECKING:
    from jackfield import Remote, RemoteInfo, Transfer

SFTP_BLOCK: Final = 1 << 15  # bytes that SFTP servers send in one answer
AHEAD: Final = 256  # such blocks that are asked for at once: 8 MB on the way


class _Renaming(Blocking):
    def write(self, transfer: Transfer, path: str) -> None:
        """Write under a name that nobody looks for; rename when it is all there."""
        place = PurePosixPath(path)
        part = str(place.with_name(part_name(place.name)))
        size = transfer.path.stat().st_size
        try:
            with transfer.open() as file:
                self.pour(file, part, size)
            check_moved(transfer, self.fs.info(part)["size"])
            transfer.check()
            self.rename(part, path)
        except BaseException:
            with suppress(Exception):
                self.fs.rm_file(part)
            raise

    @abstractmethod
    def pour(self, file: BinaryIO, part: str, size: int) -> None:
        """Write a file's bytes under a name."""

    @abstractmethod
    def rename(self, part: str, path: str) -> None:
        """Give a file another name, and so replace what has it, in one step."""


class SFTPFiles(_Renaming):
    """fsspec's SFTP, to hosts that are known, with many blocks on the way at once."""

    def is_alive(self, remote: Remote, idle_s: float) -> bool:
        del remote, idle_s
        transport = self.fs.client.get_transport()
        return transport is not None and bool(transport.is_active())

    def read(self, path: str, info: RemoteInfo, start: int) -> Generator[bytes]:
        """Give a file's bytes, asking for a window of many blocks at once.

        paramiko's ``prefetch`` would ask for all there is, whatever fits into memory.
        """
        if info.size is None:
            yield from super().read(path, info, start)
            return
        with self.fs.open(path, "rb") as file:
            for window in range(start, info.size, AHEAD * SFTP_BLOCK):
                end = min(window + AHEAD * SFTP_BLOCK, info.size)
                starts = range(window, end, SFTP_BLOCK)
                blocks = [(one, min(SFTP_BLOCK, end - one)) for one in starts]
                arriving = iter(file.readv(blocks))
                while piece := b"".join(islice(arriving, READ_SIZE // SFTP_BLOCK)):
                    yield piece

    def pour(self, file: BinaryIO, part: str, size: int) -> None:
        del size
        with self._created(part) as target:
            target.set_pipelined(True)  # or each block waits for the answer to the last
            while block := file.read(READ_SIZE):
                target.write(block)

    def _created(self, part: str) -> Any:
        try:
            return self.fs.open(part, "wb")
        except FileNotFoundError:
            self.fs.makedirs(str(PurePosixPath(part).parent), exist_ok=True)
            return self.fs.open(part, "wb")

    def rename(self, part: str, path: str) -> None:
        self.fs.mv(part, path)


class WebDAVFiles(_Renaming):
    """webdav4's filesystem, whose client sends paths as it is given them."""

    def listed_as(self, path: str) -> str:
        return unquote(path)

    def read(self, path: str, info: RemoteInfo, start: int) -> Generator[bytes]:
        """Read, where the filesystem's own file looks again by a name in quotes."""
        from webdav4.stream import IterStream

        del info
        client = self.fs.client
        with IterStream(client, client.join_url(path), READ_SIZE) as file:
            yield from pieces(file, start)

    def pour(self, file: BinaryIO, part: str, size: int) -> None:
        self.fs.upload_fileobj(file, part, size=size)

    def rename(self, part: str, path: str) -> None:
        self.fs.client.move(part, path, overwrite=True)  # ``mv`` copies and deletes
