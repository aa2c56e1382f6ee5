"""What a staging provider gets for one attempt at moving one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jackfield import clock
from jackfield.files import redact
from jackfield.staging.remote import UNKNOWN, Remote, RemoteInfo

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO


@dataclass(eq=False, kw_only=True)
class Transfer(Remote, ABC):
    """One attempt at moving one file. The mover makes it, and counts what is moved.

    Attributes:
        path: Stage in: where to write, under a name that nobody else knows, in a
            directory of its own. The mover verifies the file and gives it its final
            name. Stage out: the file to read, which must not be changed.
        offset: Stage in: how many bytes an earlier attempt has left in ``path``. This
            one may fetch only the rest. 0 if there are none.
        known: Stage in: what the server said of the file in the attempt that left those
            bytes; a request for the rest must ask for this very version. Stage out: the
            size of the local file.
        sha256: Stage in: the digest that the content is going to be compared with, if
            the user has declared one. Then nobody need look at the file once more.
        max_bytes: Stage in: the number of bytes beyond which to give up, or ``None``.
        sync: Stage in: whether the mover syncs the file to the disk in the end.
        moved: How many bytes have been moved so far, those of ``offset`` included.
        active: When the last of them were moved, by ``clock.monotonic()``.
        outgoing: Whether it is a stage-out.
        counted: Whether somebody counts ``moved``: ``receive`` and ``open`` do, and a
            provider that calls ``advance``. Otherwise the mover looks at the file's
            size. From the first bytes on, a transfer that stalls is broken off.
        stalled: Whether this attempt was broken off because nothing moved.
    """

    path: Path
    offset: int = 0
    known: RemoteInfo = UNKNOWN
    sha256: str | None = None
    max_bytes: int | None = None
    sync: bool = False
    moved: int = 0
    active: float = field(default_factory=clock.monotonic)
    outgoing: bool = False
    counted: bool = False
    stalled: bool = False

    @abstractmethod
    def receive(
        self,
        source: BinaryIO | Iterable[bytes],
        info: RemoteInfo = UNKNOWN,
        *,
        start: int = 0,
    ) -> RemoteInfo:
        """Write all bytes of ``source`` to ``path``; return ``info``.

        Counts the progress, and looks between two blocks whether it is cancelled.

        Args:
            source: Something with ``read(n)``, or an iterable of blocks.
            info: What the server says of the whole file.
            start: The position in the file at which the source begins: ``offset`` if
                the server sends the rest only, else 0.

        Raises:
            TransferError: The file is larger than allowed or than declared.
            RemoteChangedError: ``start`` is not 0, and the server has another version
                than the one that the earlier bytes are of.
            TransferCancelledError: Nobody wants the file any more.
        """

    @abstractmethod
    def advance(self, moved: int) -> None:
        """Count bytes as moved: ``receive`` and ``open`` do that by themselves."""

    @abstractmethod
    def open(self) -> BinaryIO:
        """Open the file to send.

        Reading counts the progress, and raises ``TransferCancelledError`` when the
        transfer is cancelled. After a ``seek``, such as for a second try of the same
        request, counting goes on from the new position.
        """

    def __repr__(self) -> str:
        return f"<Transfer {redact(self.url)} {self.moved} bytes>"
