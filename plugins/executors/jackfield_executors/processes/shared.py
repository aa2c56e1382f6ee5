"""Memory that driver and workers share: large data is written once and never copied.

A *segment* is such a piece of memory. It has no name: it is known by descriptors, which
the processes hand each other over their sockets (``SCM_RIGHTS``), and the operating
system frees it with the last of them and the last mapping. So nothing can be left
behind, however a process ends.

Who makes a segment writes it, at once or a little later (``holding``), and seals it:
from then on nobody can change it, and each worker maps it once and gives its tasks
objects over that mapping, read-only. The driver maps it copy-on-write when somebody
reads a result there; what the script changes is its own copy.

The driver owns a segment, whoever has made it. When nothing refers to the ``Segment``
any more, it closes its descriptor, and the workers that have mapped it are told to
forget it. In a worker the mapping lives on as long as an object uses it.

*The bound.* ``Store`` counts the bytes of all segments. What would be more than
``max_shared`` goes into a nameless file in the run's directory instead, by the same
way; and where there is no descriptor left, or no room on the disk, through the socket.
Workers find in their pages how much they may still use (see ``progress.ROOM``). Each
may overlook what another is writing at the moment.
"""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import socket
from array import array
from collections import OrderedDict, deque
from pickle import PickleBuffer
from threading import Lock
from time import sleep
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

import jackfield_serialize as serialize
from jackfield.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackfield_executors.processes.wire import Data

SHARED_FROM: Final = 524_288
"""Bytes from which data goes into a segment. Below, the socket is faster."""

ALIGNMENT: Final = 64
"""Where parts of a segment begin: at multiples of this, as numeric libraries like."""

RECENT: Final = 4
"""How many arguments are remembered."""

MOST_PIECES: Final = 512
"""Pieces that one ``writev`` gets; systems allow some 1,000."""


def available() -> bool:
    """Tell whether this system can share memory by descriptors."""
    return hasattr(os, "memfd_create") and hasattr(socket, "MSG_CMSG_CLOEXEC")


def places(sizes: Sequence[int]) -> list[int]:
    """Return where parts of these sizes begin, and at last where they all end."""
    found, position = [], 0
    for size in sizes:
        found.append(position)
        position += -(-size // ALIGNMENT) * ALIGNMENT
    return [*found, position]


def write(
    parts: Sequence[Sequence[Data]], sizes: Sequence[int], room: float = math.inf
) -> int:
    """Write a segment; return a descriptor of it that only reads.

    Args:
        parts: Each part, as pieces of bytes.
        sizes: How many bytes each has.
        room: Bytes up to which it may be in memory; above, it is a file.

    Raises:
        OSError: There is no descriptor, no memory or no room on the disk for it.
    """
    in_memory = places(sizes)[-1] <= room
    fd = new_memory() if in_memory else _file()
    try:
        fill(fd, parts, sizes)
        if in_memory:
            seal(fd)
        return reading(fd)
    finally:
        os.close(fd)


def new_memory() -> int:
    """Return a descriptor of memory that is still empty."""
    return os.memfd_create("jackfield-data", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


spill_directory: str | None = None
"""Where a worker makes files for what is too much for the memory; set at its start."""


def _file() -> int:
    import tempfile  # takes time, and only large data need it

    with tempfile.TemporaryFile(dir=spill_directory) as file:
        return os.dup(file.fileno())


def fill(fd: int, parts: Sequence[Sequence[Data]], sizes: Sequence[int]) -> None:
    """Write the parts of a segment; see ``write``."""
    os.ftruncate(fd, places(sizes)[-1])
    os.lseek(fd, 0, os.SEEK_SET)
    pieces: list[Data] = []
    for part, size in zip(parts, sizes, strict=True):
        pieces += [memoryview(piece).cast("B") for piece in part]
        pieces.append(bytes(-size % ALIGNMENT))
    _write_all(fd, [piece for piece in pieces if len(piece)])


def reading(fd: int) -> int:
    """Return another descriptor of a segment, which only reads.

    So nobody can write into a file, which cannot be sealed. And before Linux 6.7, what
    is sealed could be shared by such a descriptor alone.
    """
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


def seal(fd: int) -> None:
    """Have nobody change what is there."""
    import fcntl

    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_SEAL)


def _write_all(fd: int, pieces: list[Data]) -> None:
    views = [memoryview(piece) for piece in pieces]
    while views:
        written = os.writev(fd, views[:MOST_PIECES])
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]


# -- The driver's side


class Writer(Protocol):
    """The worker that is to write a segment.

    Attributes:
        dead: Whether it has ended.
    """

    dead: bool

    def ask_to_share(self) -> None:
        """Have it write what it holds."""
        ...


class Segment:
    """A segment that the driver owns, until nothing refers to this object.

    Attributes:
        number: Its number in this executor. No other segment ever gets it.
        fd: A descriptor of it.
        sizes: The sizes of its parts.
        size: How many bytes it takes.
        head: Its first part, if it may not be written yet: it has come beforehand.
        writer: Who writes it then.
    """

    __slots__ = ("_store", "fd", "head", "number", "size", "sizes", "writer")

    def __init__(self, store: Store, number: int, fd: int, sizes: list[int]) -> None:
        self.number: int = number
        self.fd: int = fd
        self.sizes: list[int] = sizes
        self.size: int = places(sizes)[-1]
        self.head: bytes | None = None
        self.writer: Writer | None = None
        self._store = store

    def __del__(self) -> None:
        # On any thread, at any instruction, with any lock held: so it takes none.
        os.close(self.fd)
        self._store.gone(self.number, self.size)

    def written(self) -> bool | None:
        """Tell whether it is there; ``None`` if it will be, false if it is lost."""
        writer = self.writer  # another thread may find it written meanwhile
        if writer is None:
            return True
        # In this order: it may be written between the two looks, then the worker ends.
        # A dead worker's lock may live on in a child that C code has forked.
        dead = writer.dead
        there = written(self.fd)
        if there:
            self.head = self.writer = None
        return False if dead and there is None else there

    def ask(self) -> None:
        """Have it written, if it is not."""
        writer = self.writer
        if writer is not None:
            writer.ask_to_share()

    def private(self) -> list[memoryview]:
        """Map it for this process alone, which may change its copy; return the parts.

        The segment lives as long as somebody has one of them.
        """
        mapped = _Mapping(self.fd, self.size, access=mmap.ACCESS_COPY)
        mapped.segment = self
        return cut(memoryview(mapped), self.sizes)


class _Mapping(mmap.mmap):
    """A mapping that keeps its segment alive."""

    segment: Segment


def cut(view: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    """Return the parts of a segment."""
    begins = places(sizes)
    return [view[at : at + size] for at, size in zip(begins, sizes, strict=False)]


class Store:
    """All segments of one executor, as far as their number and size go.

    ``share`` and ``gone`` are called on any thread, everything else on the loop's.

    It also remembers the last arguments that it has put into segments, until nothing
    is left to run: a large argument of many tasks is written once. Whether the script
    has changed it since is found out by comparing it.

    Args:
        most: How many bytes they may have in memory; 0 for nothing shared at all.

    Attributes:
        news: Becomes readable when segments are gone.
        recent: The last arguments: their object's ``id`` and size, the segment, and a
            mapping of it.
    """

    def __init__(self, most: int) -> None:
        self._most = most if available() else 0
        self._used = 0
        self._numbers = 0
        self._alive = 0
        self._lock = Lock()
        self._gone: deque[tuple[int, int]] = deque()
        self.recent: OrderedDict[tuple[int, int], tuple[Segment, memoryview]]
        self.recent = OrderedDict()
        self._most_alive = _descriptors() // 4
        self.news: socket.socket
        self.news, self._bell = socket.socketpair()
        for end in (self.news, self._bell):
            end.setblocking(False)

    def room(self) -> int:
        """Return how many bytes may still be shared in memory."""
        return max(0, self._most - self._used)

    @property
    def open(self) -> bool:
        """Whether there may be one segment more."""
        return self._most > 0 and self._alive < self._most_alive

    def add(self, fd: int, sizes: list[int]) -> Segment:
        """Own a segment."""
        with self._lock:
            self._numbers += 1
            segment = Segment(self, self._numbers, fd, sizes)
            self._used += segment.size
            self._alive += 1
        return segment

    def share(self, buffer: PickleBuffer) -> Segment | None:
        """Return a segment that has what a buffer has now; ``None`` for none.

        The caller holds the segment until its message is given to the socket: only
        then a word that workers are to forget it comes behind the message.
        """
        view = memoryview(buffer).cast("B")
        if view.nbytes < SHARED_FROM or not self.open:
            return None
        key = id(memoryview(buffer).obj), view.nbytes
        known = self.recent.get(key)
        if known is not None and _equal(view, known[1]):
            return known[0]
        if view.nbytes > self.room():
            self.recent.clear()  # what they have is free when the loop has looked
            return None
        try:
            segment = self.add(write([[view]], [view.nbytes]), [view.nbytes])
            mapped = mmap.mmap(segment.fd, segment.size, access=mmap.ACCESS_READ)
        except OSError:  # the socket is always there
            return None
        self.recent[key] = segment, cut(memoryview(mapped), segment.sizes)[0]
        while len(self.recent) > RECENT:
            with contextlib.suppress(KeyError):  # another thread has cleared it
                self.recent.popitem(last=False)
        return segment

    def gone(self, number: int, size: int) -> None:
        """Note that nothing refers to a segment any more."""
        self._gone.append((number, size))
        with contextlib.suppress(OSError):  # it is full, so it rings; or all has ended
            self._bell.send(b"\0")

    def take_gone(self) -> list[int]:
        """Return the segments that are gone, once."""
        with contextlib.suppress(BlockingIOError):
            self.news.recv(4096)
        numbers = []
        while self._gone:
            number, size = self._gone.popleft()
            with self._lock:
                self._used -= size
                self._alive -= 1
            numbers.append(number)
        return numbers

    def close(self) -> None:
        """End. Segments that somebody still has stay readable in the driver."""
        self.recent.clear()
        self.news.close()
        self._bell.close()


def _equal(one: memoryview, other: memoryview) -> bool:
    """Compare bytes, eight at a time: that is how to have it done quickly."""
    whole = len(one) // 8 * 8
    same = one[:whole].cast("Q") == other[:whole].cast("Q")
    return same and one[whole:] == other[whole:]


def _descriptors() -> int:
    """Return how many descriptors this process may have."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def default_most() -> int:
    """Return the bytes to share if nobody has said: a quarter of the memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (ValueError, OSError):
        return 1 << 30


# -- Handing over


Identity: TypeAlias = "tuple[int, int, list[int]]"
"""What a segment is known by: device and inode, which tell it from all others, and the
sizes of its parts."""


def identity(fd: int, sizes: list[int]) -> Identity:
    """Return what a segment is known by to whoever gets its descriptor."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, sizes


def received(descriptors: deque[int], known: Identity) -> int:
    """Return the descriptor of the segment that a frame is about.

    If a process has no descriptor left, the system drops what it is sent. The next one
    must not be taken for it.

    Raises:
        OSError: It has not come.
    """
    if not descriptors or identity(descriptors[0], known[2]) != known:
        raise OSError(errno.EMFILE, "a descriptor has not arrived")
    return descriptors.popleft()


def written(fd: int) -> bool | None:
    """Tell whether a segment is there; ``None`` if it will be, false if it is lost.

    ``holding`` tells how that is known.
    """
    import fcntl

    try:
        if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE:
            return True
    except OSError:  # it is a file, which is written before it is handed on
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return None
    fcntl.flock(fd, fcntl.LOCK_UN)
    # It may have been written between the two looks.
    return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE)


class Part:
    """Stands for a segment in a pickle: who unpickles it there gets its first part."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[int], Data], tuple[int]]:
        return part, (self._number,)


class Nested:
    """A pickle within another one: who unpickles that gets the value of this.

    Args:
        data: The pickle.
        buffers: Its buffers, some of which may be a ``Part``.
    """

    def __init__(self, data: Data, buffers: Sequence[Any]) -> None:
        self._packed = data, buffers

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        data, buffers = self._packed
        return serialize.loads, (
            PickleBuffer(data),
            [one if isinstance(one, Part) else PickleBuffer(one) for one in buffers],
        )


class Handed(NamedTuple):
    """A frame, with the segment whose descriptor goes with its first byte."""

    frame: bytes
    segment: Segment


def rights(fd: int) -> list[tuple[int, int, Any]]:
    """Return what ``sendmsg`` gets to send a descriptor."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))]


# -- The worker's side

_mapped: Final[dict[int, Sequence[Data] | Coming]] = {}
"""The parts of the segments that this process has, by number."""

GONE: Final = object()
"""In the place of a value: its segment is lost. Only what was held can be."""

COMES_S: Final = 30.0
"""Seconds after which a segment is taken for lost that was to be written: a function
in C keeps the interpreter there."""


class Coming:
    """A segment that has come before it was written. It is mapped afterwards."""

    def __init__(self, fd: int, sizes: Sequence[int]) -> None:
        self._fd = fd
        self._sizes = sizes

    def __del__(self) -> None:
        os.close(self._fd)

    def parts(self) -> list[memoryview] | None:
        """Wait until it is there, and return its parts; ``None`` if it is lost."""
        deadline, pause = monotonic() + COMES_S, 0.001
        while (there := written(self._fd)) is None and monotonic() < deadline:
            sleep(pause)
            pause = min(2 * pause, 0.02)
        return _map(self._fd, self._sizes) if there else None


def attach(number: int, fd: int, sizes: Sequence[int]) -> None:
    """Map a segment that has come over the socket; closes the descriptor."""
    if written(fd):
        try:
            _mapped[number] = _map(fd, sizes)
        finally:
            os.close(fd)
    else:
        _mapped[number] = Coming(fd, sizes)


def _map(fd: int, sizes: Sequence[int]) -> list[memoryview]:
    size = places(sizes)[-1]
    mapped = mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    return cut(memoryview(mapped), sizes)


def give(number: int, parts: Sequence[Data]) -> None:
    """Have a segment's parts found as what this process has of them."""
    _mapped[number] = parts


def has(number: int) -> bool:
    """Tell whether a segment is here."""
    return number in _mapped


def detach(number: int) -> None:
    """Forget a segment. It stays mapped as long as an object uses it."""
    _mapped.pop(number, None)


def part(number: int) -> Data:
    """Return the first part of a segment."""
    return _parts(number)[0]


def value_of(number: int) -> Any:
    """Unpickle what a segment has: the pickle, and its buffers.

    If it is lost, that is ``GONE``.
    """
    found = _parts(number)
    if not found:
        return GONE
    data, *buffers = found
    return serialize.loads(data, buffers)


def _parts(number: int) -> Sequence[Data]:
    found = _mapped[number]
    if isinstance(found, Coming):
        parts = found.parts()
        if parts is None:
            return ()
        found = _mapped[number] = parts
    return found
