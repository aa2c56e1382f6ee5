"""Frames: what the driver and a worker send each other over their socket.

A frame is a header (its kind, the number of its buffers, one number whose meaning
depends on the kind, the length of its body), then the lengths of the buffers, the body
and the buffers. The buffers are the large memory blocks of pickled objects, such as a
NumPy array's data, which pickle leaves out of the body (protocol 5, "out of band").

Several small frames usually arrive in one ``recv`` and are cut out of it. A large frame
is received straight into the memory in which it stays, so that its bytes, except for
its beginning, are copied only once, by the operating system.

Frames do not name tasks. A worker runs and answers its tasks in the order in which they
were sent, so each side knows by counting which task is meant.
"""

from __future__ import annotations

import io
import socket
from array import array
from collections import deque
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER: Final = Struct("<IIQQ")
RECEIVE_SIZE: Final = 65_536
LARGE: Final = 65_536
"""From this size on, a value travels in a frame of its own; one with buffers always."""

SHORT: Final = 1_000
"""Strings and bytes up to this length are put into the frame's list directly; other
values are pickled first, one by one."""

SCALARS: Final = frozenset({int, float, bool, type(None)})
STRINGS: Final = frozenset({str, bytes})

_EXTRA: Final = socket.CMSG_SPACE(8 * array("i").itemsize)
"""Room for the descriptors of one ``recvmsg``: those of one frame at most."""

_CLOEXEC: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

MOST_PARTS: Final = 64
"""How many pieces one ``sendmsg`` or ``recvmsg`` gets; systems allow some 1,000."""

Data: TypeAlias = bytes | bytearray | memoryview

Ran: TypeAlias = tuple[int, int, float | None, int | None]
"""How a worker ran a task: begin and end in nanoseconds of the monotonic clock, which
all processes of a machine share; seconds of processor time; bytes of memory."""


class Kind(IntEnum):
    """What a frame is for. In brackets: what its number means, if it has a meaning."""

    SETUP = 1
    """To a worker: a pickled ``Setup``, by which it gets ready."""
    FUNCTION = 2
    """To a worker: a serialized function [the number that stands for it]."""
    FORGET = 3
    """To a worker: a function that no later call will name [its number]."""
    TASKS = 4
    """To a worker: a pickled list of small calls, ``(function's number, arguments)``
    [1 if the worker has to run its watchdog]."""
    CALL = 5
    """To a worker: one large call [twice the function's number, plus 1 if the worker
    has to run its watchdog]."""
    STOP = 6
    """To a worker: exit when all tasks before this are done."""
    PATH = 7
    """To a worker: what ``sys.path`` is from now on, a pickled list."""
    DIRECTORY = 8
    """To a worker: where tasks run from now on, a pickled path."""
    MEASURE = 9
    """To a worker: what to measure of tasks from now on [0: nothing, 1: when they run,
    2: also processor time and memory]."""
    GPUS = 10
    """To a worker: what ``CUDA_VISIBLE_DEVICES`` is from now on. It has none yet."""

    READY = 11
    """From a worker: it is set up."""
    UNFIT = 12
    """From a worker: it could not be set up; the body is the error's text."""
    RESULTS = 13
    """From a worker: pickled results, durations, and when and how the results' tasks
    ran, as ``Pool.settle`` takes them [1 if any result is a tuple]."""
    VALUE = 14
    """From a worker: one large result that the kernel has to look at, pickled [how long
    it took, in nanoseconds]."""
    BYTES = 15
    """From a worker: one large result that is ``bytes``, as it is [like ``VALUE``]."""
    GIVEN_BACK = 16
    """From a worker: it will not run some tasks, which are now the driver's again. A
    pickled pair ``(first, count)``, as ``Pool.take_back`` takes it."""
    LOG = 17
    """From a worker: the attributes of a log record, a pickled dict."""
    RAN = 18
    """From a worker: how the task ran whose large result follows, pickled."""
    KEPT = 19
    """From a worker: one large result that may stay packed [like ``VALUE``]."""
    SHARED = 20
    """From a worker: the same, in a segment whose descriptor comes with this frame. The
    body is a pickled pair: what it is known by, see ``shared.identity``, and its first
    part if it is not written yet, or nothing [like ``VALUE``]."""
    ATTACH = 21
    """To a worker: a segment, whose descriptor comes with this frame; the body is what
    it is known by, pickled [its number]."""
    DETACH = 22
    """To a worker: a segment that no later call will name [its number]."""
    SPOILT = 23
    """From a worker: it runs no task any more, since one has changed what cannot be put
    back; the body is the error's text."""


class Frame(NamedTuple):
    """One received frame.

    The bodies of small frames are views of ``bytes`` that they share. Nobody changes
    them. The ``buffers`` are this frame's alone.
    """

    kind: int
    number: int
    body: Data
    buffers: Sequence[Data] = ()


def small_frame(kind: Kind, body: Data = b"", number: int = 0) -> bytes:
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
    """Return what is left of pieces when the first ``sent`` bytes are taken away."""
    for index, view in enumerate(views):
        if sent < len(view):
            return [view[sent:], *views[index + 1 :]]
        sent -= len(view)
    return []


class FrameReader:
    """Cuts what a socket brings into frames.

    Works with blocking and non-blocking sockets; used by one thread at a time.

    Attributes:
        descriptors: Those that have come with frames, in order. A descriptor comes with
            the first byte of its frame, so it is here when the frame is.
    """

    __slots__ = ("_rest", "_sock", "_unfinished", "descriptors")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest: bytes | memoryview = b""
        self._unfinished: _BufferedFrame | None = None
        self.descriptors: deque[int] = deque()

    def read(self) -> list[Frame]:
        """Call ``recv`` once, and return the frames that are complete now.

        That may be none: of a frame that has arrived in part, the part is kept.

        Raises:
            EOFError: The other end is closed.
            BlockingIOError: Nothing has come, on a non-blocking socket.
            OSError: The connection is broken.
        """
        if self._unfinished is not None:
            return self._continue(self._unfinished)
        data: Data
        data, extra, _, _ = self._sock.recvmsg(RECEIVE_SIZE, _EXTRA, _CLOEXEC)
        for _, _, descriptors in extra:
            self.descriptors.extend(array("i", descriptors))
        if not data:
            raise EOFError
        if self._rest:
            data = b"".join((self._rest, data))
        return self._cut(memoryview(data))

    def _continue(self, frame: _BufferedFrame) -> list[Frame]:
        """Receive more of a frame. Nothing that comes after it is taken."""
        frame.receive(self._sock)
        if frame.missing:
            return []
        self._unfinished = None
        return [frame.finish()]

    def _cut(self, data: memoryview) -> list[Frame]:
        """Return the frames in ``data``, and keep the incomplete rest."""
        frames: list[Frame] = []
        position = 0
        end = len(data)
        while end - position >= HEADER.size:
            kind, count, number, length = HEADER.unpack_from(data, position)
            body = position + HEADER.size + 8 * count
            if body > end:
                break
            if count or length >= LARGE:
                sizes = Struct(f"<{count}Q").unpack_from(data, body - 8 * count)
                frame = _BufferedFrame(kind, number, length, sizes)
                position = body + frame.fill(data[body:])
                if frame.missing:  # so it has taken all there is
                    self._unfinished = frame
                    break
                frames.append(frame.finish())
                continue
            if body + length > end:
                break
            position = body + length
            frames.append(Frame(kind, number, data[body:position]))
        self._rest = data[position:]
        return frames


class _BufferedFrame:
    """A frame that is large or has buffers, being received into its final memory."""

    def __init__(
        self, kind: int, number: int, length: int, sizes: Sequence[int]
    ) -> None:
        self._kind = kind
        self._number = number
        # The body has to end up as `bytes`, which nobody can receive into. CPython's
        # BytesIO helps: it uses the bytes object that it is made from as its buffer,
        # since nobody else has it, and returns that very object from `getvalue`.
        self._bytes = io.BytesIO(bytes(length))
        self._body = self._bytes.getbuffer()
        self._buffers = [bytearray(size) for size in sizes]
        self._views = [self._body[:], *(memoryview(part) for part in self._buffers)]
        self.missing: int = sum(map(len, self._views))

    def fill(self, data: memoryview) -> int:
        """Take what belongs to this frame, and return how many bytes that were."""
        taken = 0
        while self._views and taken < len(data):
            size = min(len(self._views[0]), len(data) - taken)
            self._views[0][:size] = data[taken : taken + size]
            taken += size
            self._advance(size)
        return taken

    def receive(self, sock: socket.socket) -> None:
        """Call ``recv`` once, for what is still missing.

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
        """Return the frame; to be called once, when nothing is missing."""
        self._views.clear()
        self._body.release()
        body = self._bytes.getvalue()
        return Frame(self._kind, self._number, body, self._buffers)
