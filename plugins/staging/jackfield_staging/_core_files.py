"""What the core asks of a filesystem: the contract that every scheme keeps.

A filesystem here is one of fsspec's and ``Files`` besides, or ``Files`` alone, where
the files are of this machine. fsspec's own methods do not do for a transfer: they write
to the final name, take the rest of a file from another version than its beginning, and
run on when nobody waits. So the core uses four others.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from jackfield import TransferError
from jackfield.errors import RemoteChangedError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from jackfield import Remote, RemoteInfo, Transfer

BLOCK: Final = 1 << 20  # bytes that are handed over between two threads at a time

# A listing that has more than one of these is broken off with an error. Otherwise a
# server that never stops listing would fill the memory.
MOST_LISTED: Final = {"files": 1_000_000, "directories": 100_000, "bytes": 256 << 20}


class Runs(Enum):
    """Where a filesystem's methods run, and how a transfer gets away from them."""

    LOOP = "as coroutines on fsspec's thread, for many transfers; they are cancelled"
    CALLER = "on the thread of the one transfer; ``cut`` breaks what blocks"
    APART = "on threads that stay where they hang, until the connection is closed"


class Head(NamedTuple):
    """What comes before the bytes of one version of a file.

    Attributes:
        info: What the other side tells of the whole file.
        start: At which byte the bytes begin.
    """

    info: RemoteInfo
    start: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Place:
    """A file or directory, on a filesystem that is made when it is needed.

    Attributes:
        key: Equal where one filesystem serves both. It may hold secrets.
        path: What the methods of the filesystem are given.
        make: Makes the filesystem, without a word to the other side.
    """

    key: Hashable
    path: Any
    make: Callable[[], Files]


class Files:
    """What a filesystem offers to the core, besides what fsspec wants of it.

    The first four methods are coroutines where it runs on the loop. They raise the
    kernel's errors, or those of their libraries, which ``explain`` translates.
    """

    runs: ClassVar[Runs]

    def look(self, remote: Remote, path: Any) -> Any:
        """Return the ``RemoteInfo`` of what is there now."""
        raise NotImplementedError

    def stream(self, transfer: Any, path: Any) -> Any:
        """Give a ``Head``, then lists of blocks: from ``transfer.offset`` if it can be.

        A generator, on the loop an asynchronous one. It may look again when all has
        arrived, and give last what is known of the file then, as a ``RemoteInfo``.
        """
        raise NotImplementedError

    def send(self, file: Any, path: Any) -> Any:
        """Take a file there, seen whole or not at all; return its ``RemoteInfo``.

        It is given the ``Transfer``, or on the loop an ``Outgoing``.
        """
        raise NotImplementedError

    def below(self, remote: Remote, path: Any) -> Any:
        """Find all files below: what to add to the URL, to what is known of each."""
        raise NotImplementedError

    def listed(self, call: Callable[..., Any], remote: Remote, path: Any) -> Any:
        """Do what ``below`` does, on the transfer's own thread.

        ``call`` calls a function where the filesystem's have to run. What takes long
        without waiting for anybody, such as reading a page, is done here instead.
        """
        return call(self.below, remote, path)

    def log_in(self) -> None:
        """Connect. Called once and first, but not where it runs on the loop."""

    def explain(self, remote: Remote, error: Exception) -> None:
        """Raise what an error means, or return if it says that itself."""

    def cut(self) -> None:
        """Break what blocks, now and later. On any thread; for ``CALLER`` only."""

    def is_quiet(self) -> bool:
        """Whether the last transfer has left it in a state that another can use."""
        return True

    def is_alive(self, remote: Remote, idle_s: float) -> bool:
        """Whether it still works after so many seconds; prepare it for ``remote``."""
        del remote, idle_s
        return True

    def leave(self) -> Any:
        """Close its connections. A coroutine where it runs on the loop."""

    def abandon(self) -> None:
        """Close them in a forked child, without a word to the other side."""


def get_loop() -> AbstractEventLoop:
    """Return fsspec's loop. Files of this machine do without, and import no fsspec."""
    from fsspec import asyn

    loop: AbstractEventLoop = asyn.get_loop()
    return loop


class Tally:
    """Counts what a listing finds; raises where that is more than it may have."""

    def __init__(self, remote: Remote, **limits: int) -> None:
        self._remote = remote
        self._limits = {**MOST_LISTED, **limits}
        self._counts: Counter[str] = Counter()

    def add(self, what: str, number: int = 1) -> None:
        """Count some more; raise, too, if nobody wants the listing any more."""
        self._remote.check()
        self._counts[what] += number
        if self._counts[what] > self._limits[what]:
            reason = f"its listing has more than {self._limits[what]} {what}"
            raise TransferError(str(self._remote), reason)


def check_same(remote: Remote, before: RemoteInfo, after: RemoteInfo) -> None:
    """See that a file is still the one that it was, else raise RemoteChangedError."""
    difference = before.differs(after)
    if difference is not None:
        raise RemoteChangedError(str(remote), difference)


def start_of(transfer: Transfer, info: RemoteInfo) -> int:
    """Return where to go on: after what is here if it is known to be of this file."""
    known = transfer.known.etag
    return transfer.offset if known is not None and info.etag == known else 0


def check_moved(transfer: Transfer, there: int | None) -> None:
    """See that the other side has as many bytes as have moved, if that is known."""
    if there is not None and there != transfer.moved:
        reason = f"{transfer.moved} bytes have moved, but the other side has {there}"
        raise TransferError(str(transfer), reason, transient=True)


def part_name(name: str) -> str:
    """Return a name beside another, for a file to have until it is whole."""
    # Shortened, so that the longest name still has room for the marks; but not within a
    # character of several bytes that are written with percent signs.
    short = re.sub(r"(%[0-9A-Fa-f]{0,2})+$", "", name[:40])
    return f".{short}.{secrets.token_hex(6)}.part"


def escape(name: str) -> str:
    """Return a name as it is, but for what has a meaning in a URL, or goes lost."""
    return re.sub(r"[%?#*\x00-\x1f\x7f]", lambda one: f"%{ord(one[0]):02X}", name)
