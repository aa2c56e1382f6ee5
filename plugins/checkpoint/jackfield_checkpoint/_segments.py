"""One segment: a file to which one writer at a time appends frames.

Its writer holds a lock on the file for as long as it lives (``flock``): a lock that can
be had means that the writer has closed the store or died. Nobody waits for one. Three
rules make it safe to read a segment without a lock while it is written:

- Only the holder of the lock changes the file.
- A whole frame stays as it is and where it is, even if the write around it has failed.
- A frame that is not whole, at the end, is cut off by the next writer. Until then it
  may still become whole: a reader stops before it, and judges it only when it gets the
  lock, and as long as it has that. Who wants to write just then takes another segment.
"""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from zlib import crc32

from jackfield.errors import CheckpointError
from jackfield_checkpoint import _frames, _guard, _runs
from jackfield_checkpoint._frames import HEAD, Frame, Head
from jackfield_checkpoint._notices import Notices, log
from jackfield_checkpoint._runs import File, Run, Stamps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from jackfield_checkpoint._options import Options

NAMES: Final = f"{'[0-9a-f]' * 16}.log"  # by numbers that are drawn by chance
RUN_SUFFIX: Final = ".run"

FIRST_READ: Final = 2048  # bytes for a frame: most are shorter
TAIL: Final = 2**15  # keys in memory before the writer makes a run of them

# A new run takes in the one before it unless that is large, and so many times as large:
# so there are few runs, and an entry is seldom written anew.
_LARGE: Final = 2**11
_RATIO: Final = 4

_UNREAD: Final = -2  # the length of a file of which not all has been read


class Segment:
    """A segment as one store knows it.

    Any thread may read; all else needs the store's mutex. ``known`` has the runs,
    without a gap between them, and what comes after; it is replaced as a whole.
    """

    def __init__(self, path: Path, options: Options, notices: Notices) -> None:
        self.path: Path = path
        self.owned: bool = False  # by this store: it holds the lock
        self.seen: int = _UNREAD  # length of the file up to which ``known`` has it
        self.newest: int = 0  # order
        self.dead: int = 0  # bytes that deletions here made useless, wherever
        self.known: tuple[tuple[Run, ...], Stamps] = ((), {})
        self._options: Options = options
        self._notices: Notices = notices
        self._end: int = 0
        _guard.check_file(path, options)
        self._file: File = File(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        self._load()

    def find(self, hashed: bytes) -> int:
        """Return the stamp of the newest frame for a hash, or 0."""
        runs, tail = self.known
        stamp = tail.get(hashed, 0)
        for run in reversed(runs):
            stamp = stamp or run.find(hashed)
        return stamp

    def frame(self, offset: int) -> tuple[Head, memoryview] | None:
        """Return a frame that is known to be here; if it is damaged, that is told."""
        data = self.read(offset, FIRST_READ)
        if (head := self.head(offset, data)) is None:
            return None
        if head.end - offset > len(data):
            data = self.read(offset, head.end - offset)
        body = memoryview(data)[HEAD.size : head.end - offset]
        if crc32(body) != head.checksum:
            self._tell_damage(offset)
            return None
        return head, body

    def head(self, offset: int, data: bytes = b"") -> Head | None:
        """Return the head of a frame, which is read if it is not given."""
        head = _frames.parse_head(data or self.read(offset, HEAD.size), offset)
        if head is None:
            self._tell_damage(offset)
        return head

    def _tell_damage(self, offset: int) -> None:
        where = f"at offset {offset} of {self.path.name}"
        self._notices.damaged(f"the record {where} is damaged")

    def read(self, offset: int, size: int) -> bytes:
        """Read so many bytes, or as many as can be read."""
        file = self._file  # stays open while it is read, whatever takes its place
        try:
            return _frames.read_at(file.descriptor, offset, size)
        except OSError as error:  # of this record, not of the store
            log.warning("%s: cannot read at %d: %s", self.path, offset, error)
            return b""

    def size(self) -> int:
        """Return how long the file is."""
        file = self._file
        return os.fstat(file.descriptor).st_size

    def has_news(self) -> bool:
        """Whether not all is known that has been written."""
        return self.seen == _UNREAD or (not self.owned and self.size() != self.seen)

    def catch_up(self) -> None:
        """See what another process has appended since."""
        size, (_, tail) = self.size(), self.known
        if self.seen == _UNREAD or len(tail) > TAIL:
            self._load()  # there will be a run of that by now
        else:
            whole = self._follow(tail, size)
            self.seen = size  # not before: a ``get`` on another thread trusts in it
            if not whole:
                self._mend()

    def _load(self) -> None:
        """Read all anew: the runs, and what comes after them."""
        self.seen = _UNREAD  # it stays so if this fails half-way
        runs, size = tuple(self._chain()), self.size()
        self._end, self.newest = (runs[-1].end, runs[-1].newest) if runs else (0, 0)
        self.dead = sum(run.dead for run in runs)
        tail: Stamps = {}
        whole = self._follow(tail, size)
        self.known = (runs, tail)
        self.seen = size
        if not whole or len(tail) > _LARGE:
            self._mend()

    def _chain(self) -> Iterator[Run]:
        """Open the runs that follow each other from the beginning on."""
        end = 0
        with suppress(OSError, ValueError):  # it is missing or damaged
            while True:
                run = self._run(end)
                if run.end > self.size():
                    self._notices.damaged(f"{self.path.name} has been cut short")
                    if not self._options.read_only:
                        self._run_path(end).unlink()
                    return
                yield run
                end = run.end

    def _run(self, start: int) -> Run:
        return Run(self._run_path(start), int(self.path.stem, 16), self._file)

    def _run_path(self, start: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.{start:x}{RUN_SUFFIX}")

    def _follow(self, tail: Stamps, size: int) -> bool:
        """Enter what comes next; return whether that was whole frames only.

        What is no frame is judged at the end by who has the lock, before a whole frame
        by all: nobody writes there any more. It is read anew, as it may just have come.
        """
        whole = True
        for piece in _frames.scan(self._file.descriptor, self._end, size):
            if isinstance(piece, Head):
                self._enter(tail, piece)
                continue
            whole, at_end = False, piece[1] == size
            if at_end and not self.owned:
                break
            if piece != next(_frames.scan(self._file.descriptor, piece[0], size)):
                return self._follow(tail, size)
            self._step_over(*piece, at_end=at_end)
        return whole

    def _enter(self, tail: Stamps, head: Head) -> None:
        _runs.enter(tail, head)
        self._end = head.end
        self.newest = max(self.newest, head.order)
        if head.kind == _frames.DELETE:
            self.dead += head.size

    def _step_over(self, start: int, end: int, *, at_end: bool) -> None:
        where = f"of {self.path.name} from offset {start} on"
        self._notices.damaged(f"{end - start} bytes {where} are no whole record")
        data = _frames.read_at(self._file.descriptor, start, HEAD.size)
        torn = len(data) < HEAD.size or _frames.parse_head(data, start) is not None
        if at_end and torn:
            os.ftruncate(self._file.descriptor, start)
        else:
            self._end = end

    def _mend(self) -> None:
        """Judge what is no record, and seal, unless a writer is there to do that."""
        if not self.owned and not self._options.read_only:
            with suppress(OSError):  # there are no locks, or it cannot be written
                try:
                    if self.lock():
                        self.seal()
                finally:
                    self.unlock()

    def lock(self) -> bool:
        """Make it this store's to write, unless it is another's or has been removed."""
        with suppress(FileNotFoundError, BlockingIOError):
            file = File(os.open(self.path, os.O_RDWR | os.O_CLOEXEC))
            fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.descriptor).st_nlink:
                self.seen = _UNREAD  # before ``owned``: now what is here may be cut off
                self._file, self.owned = file, True
                self._load()
                self.remove(all_of_it=False)  # what a writer left that died
        return self.owned

    def unlock(self) -> None:
        """Leave it to whoever wants to write."""
        if self.owned:
            self.owned = False
            fcntl.flock(self._file.descriptor, fcntl.LOCK_UN)

    def append(self, frames: Iterable[Frame]) -> None:
        """Write frames, or raise ``OSError``: those that are there as a whole count."""
        if not os.fstat(self._file.descriptor).st_nlink:
            self.unlock()
            raise CheckpointError("it has been removed.", str(self.path))
        start = end = self._end
        pieces: list[bytes | memoryview] = []
        heads: list[Head] = []
        for fields, body in frames:
            begin, end = end, end + HEAD.size + sum(map(len, body))
            pieces += (_frames.pack_head(fields, begin), *body)
            heads.append(Head._make((*fields, begin, end)))
        _, tail = self.known
        try:
            _frames.write_at(self._file.descriptor, pieces, start)
            for head in heads:
                self._enter(tail, head)
        except BaseException:
            with suppress(OSError):  # or whoever takes it next cuts it off
                whole = [head.end for head in heads if head.end <= self.size()]
                os.ftruncate(self._file.descriptor, max([start, *whole]))
            # Others may have seen more than is left. So it is given up: who takes it
            # next, be it this store, goes on from its orders, and announces it first.
            self.unlock()
            raise
        if len(tail) > TAIL:
            self.seal()

    def flush(self) -> None:
        """Bring it to the disk. If that fails, a second attempt may seem to succeed."""
        if sys.platform == "darwin":  # whose fsync stops at the disk's own cache
            fcntl.fcntl(self._file.descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(self._file.descriptor)

    def seal(self) -> None:
        """Bring it to the disk, and make a run of what is in memory only."""
        self.flush()
        runs, tail = self.known
        if not tail or not self.owned:
            return
        kept, count = len(runs), len(tail)
        while kept and runs[kept - 1].count <= max(_LARGE, _RATIO * count):
            kept -= 1
            count += runs[kept].count
        start, dead = 0, self.dead
        for run in runs[:kept]:
            start, dead = run.end, dead - run.dead
        facts = (int(self.path.stem, 16), start, self._end, self.newest, dead)
        entries = (entry for entry, _ in _runs.newest([(runs[kept:], tail)]))
        try:
            _runs.write_run(self._run_path(start), self._options, facts, entries)
            self.known = ((*runs[:kept], self._run(start)), {})
        except (OSError, ValueError) as error:  # it will be scanned
            log.warning("%s: no index of it can be written: %s", self.path, error)
        self.remove(all_of_it=False)

    def remove(self, *, all_of_it: bool = True) -> None:
        """Remove it, the runs first, or those not in use; who has them reads on."""
        used = {self.path, *(self._run_path(run.start) for run in self.known[0])}
        for path in sorted(self.path.parent.glob(f"{self.path.stem}.*")):
            if all_of_it or path not in used:
                path.unlink(missing_ok=True)
