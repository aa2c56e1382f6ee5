"""Frames: what goes over the socket between the driver and a worker.

A frame is a header (kind, number of buffers, one number whose meaning depends on
the kind, length of the body), the lengths of the buffers, the body, the buffers.
Small frames are cut out of what one ``recv`` brought; a large one is received
straight into the memory that keeps it, so that its bytes are copied once, by the
kernel.

Both ends name tasks by position only: a worker runs and answers them in the order
in which they were sent.
"""

from __future__ import annotations

import io
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

HEADER: Final = Struct("<IIQQ")
RECEIVE_SIZE: Final = 65_536
LARGE: Final = 65_536
"""From this size on, a value travels in a frame of its own."""

SHORT: Final = 1_000
"""Strings up to this length travel as they are, without a pickle of their own."""

SCALARS: Final = frozenset({int, float, bool, type(None)})
STRINGS: Final = frozenset({str, bytes})

MOST_PARTS: Final = 64
"""How many pieces are given to one system call."""

Data: TypeAlias = bytes | bytearray | memoryview


class Kind(IntEnum):
    """What a frame is; in brackets, what its number means."""

    SETUP = 1
    """To a worker: how to get ready, a pickled dict."""
    FUNCTION = 2
    """To a worker: a serialized function [its number]."""
    FORGET = 3
    """To a worker: a function that will not be used again [its number]."""
    TASKS = 4
    """To a worker: a pickled list of small calls."""
    CALL = 5
    """To a worker: one large call [its function's number]."""
    STOP = 6
    """To a worker: end when everything before this is done."""
    PATH = 7
    """To a worker: what ``sys.path`` is from now on, a pickled list."""

    READY = 11
    """From a worker: it is set up."""
    UNFIT = 12
    """From a worker: setting up failed; the body is the text of the error."""
    RESULTS = 13
    """From a worker: outcomes and durations [1 if some outcomes are packed]."""
    VALUE = 14
    """From a worker: one large pickled result."""
    BYTES = 15
    """From a worker: one large result that is ``bytes``, not pickled."""
    RETURNED = 16
    """From a worker: tasks that it will not begin [twice their number, plus 1 if
    it is running one]; they are the first that it held, after the running one."""
    LOG = 17
    """From a worker: a log record's attributes."""


class Frame(NamedTuple):
    """One received frame; ``body`` and ``buffers`` belong to whoever gets it."""

    kind: int
    number: int
    body: Data
    buffers: Sequence[Data] = ()


def frame(kind: Kind, body: Data = b"", number: int = 0) -> bytes:
    """Return a small frame as one piece."""
    return HEADER.pack(kind, 0, number, len(body)) + body


def large_frame(
    kind: Kind, parts: Sequence[Data], buffers: Sequence[Any] = (), number: int = 0
) -> list[Data]:
    """Return a frame as pieces to be sent in order, none of them copied."""
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    sizes = [view.nbytes for view in views]
    length = sum(map(len, parts))
    header = HEADER.pack(kind, len(sizes), number, length)
    return [header + Struct(f"<{len(sizes)}Q").pack(*sizes), *parts, *views]


def send_all(sock: socket.socket, parts: Sequence[Data]) -> None:
    """Send pieces over a blocking socket.

    Raises:
        OSError: The other end is closed.
    """
    views = [memoryview(part) for part in parts if len(part)]
    while views:
        views = unsent(views, sock.sendmsg(views[:MOST_PARTS]))


def unsent(views: list[memoryview], sent: int) -> list[memoryview]:
    """What is left of pieces after ``sent`` bytes of them."""
    for index, view in enumerate(views):
        if sent < len(view):
            return [view[sent:], *views[index + 1 :]]
        sent -= len(view)
    return []


class FrameReader:
    """Cuts what a socket brings into frames.

    Works with blocking and non-blocking sockets; used by one thread at a time.
    """

    __slots__ = ("_large", "_rest", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest: bytes | memoryview = b""
        self._large: _LargeFrame | None = None

    def read(self) -> list[Frame]:
        """Receive once, and return the frames that are complete by that.

        Raises:
            EOFError: The other end is closed.
            BlockingIOError: Nothing has come, on a non-blocking socket.
            OSError: The connection is broken.
        """
        if self._large is None:
            data: Data = self._sock.recv(RECEIVE_SIZE)
            if not data:
                raise EOFError
            if self._rest:
                data = b"".join((self._rest, data))
            return self._cut(memoryview(data), [])
        self._large.receive(self._sock)
        return self._complete(memoryview(b""), [])

    def _cut(self, data: memoryview, frames: list[Frame]) -> list[Frame]:
        position = 0
        end = len(data)
        while end - position >= HEADER.size:
            kind, count, number, length = HEADER.unpack_from(data, position)
            body = position + HEADER.size + 8 * count
            if body > end:
                break
            if count or length >= LARGE:
                sizes = Struct(f"<{count}Q").unpack_from(data, body - 8 * count)
                self._large = _LargeFrame(kind, number, length, sizes)
                return self._complete(data[body:], frames)
            if body + length > end:
                break
            position = body + length
            frames.append(Frame(kind, number, data[body:position]))
        self._rest = data[position:]
        return frames

    def _complete(self, data: memoryview, frames: list[Frame]) -> list[Frame]:
        assert self._large is not None
        rest = self._large.fill(data)
        self._rest = b""
        if self._large.missing:
            return frames
        frames.append(self._large.finish())
        self._large = None
        return self._cut(rest, frames)


class _LargeFrame:
    """A frame that is being received into its final memory."""

    def __init__(
        self, kind: int, number: int, length: int, sizes: Sequence[int]
    ) -> None:
        self._kind = kind
        self._number = number
        # CPython's BytesIO takes a new bytes object for its buffer, and hands it out
        # again, without copying it.
        self._bytes = io.BytesIO(bytes(length))
        self._body = self._bytes.getbuffer()
        self._buffers = [bytearray(size) for size in sizes]
        self._views = [self._body[:], *(memoryview(part) for part in self._buffers)]
        self.missing: int = sum(map(len, self._views))

    def fill(self, data: memoryview) -> memoryview:
        """Take what belongs to this frame, and return the rest."""
        while self._views and data:
            size = min(len(self._views[0]), len(data))
            self._views[0][:size] = data[:size]
            data = data[size:]
            self._advance(size)
        return data

    def receive(self, sock: socket.socket) -> None:
        """Receive once.

        Raises:
            EOFError: The other end is closed.
            OSError: Nothing has come, or the connection is broken.
        """
        size = sock.recvmsg_into(self._views[:MOST_PARTS])[0]
        if not size:
            raise EOFError
        self._advance(size)

    def _advance(self, size: int) -> None:
        self.missing -= size
        self._views = unsent(self._views, size)

    def finish(self) -> Frame:
        """Return the whole frame."""
        self._views.clear()
        self._body.release()
        body = self._bytes.getvalue()
        return Frame(self._kind, self._number, body, self._buffers)
