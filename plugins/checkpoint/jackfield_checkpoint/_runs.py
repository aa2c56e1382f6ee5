"""The index of a segment, in *runs*: sorted tables, each of one stretch of the segment.

A run is written once and never changed. For each key it has 64 bits of a hash, and a
*stamp*: the order of the key's newest frame in that stretch, whether that is a
deletion, and its offset. Entries are sorted and cut into blocks with checksums; the
first hash of each block is in memory, so that a look-up reads one block. Blocks are
read, not mapped: a mapped file, if cut short or on a failing disk, kills its reader.

A run holds no truth: where one is missing or damaged, its stretch is scanned. It is
written when what it covers is on the disk, so that it never speaks of what was lost.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from hashlib import blake2b
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Final, TypeAlias
from zlib import crc32

from jackfield_checkpoint import _guard
from jackfield_checkpoint._frames import DELETE, Head, read_at, scan
from jackfield_checkpoint._notices import log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jackfield_checkpoint._options import Options

DELETED: Final = 1 << 63  # bit of a stamp; above it is the order
OFFSET: Final = DELETED - 1  # bits of a stamp

_HASH: Final = 8  # bytes of an entry; the stamp follows
_ORDER: Final = _HASH + 8  # bytes of an entry up to where the order ends
_ENTRY: Final = _HASH + 16
_HEADER: Final = struct.Struct("<8sQQQQQI")
_MAGIC: Final = b"JKrun\x002\n"
_PER_BLOCK: Final = 42
_BLOCK: Final = _PER_BLOCK * _ENTRY + 4

Stamps: TypeAlias = dict[bytes, int]  # for each hash of a key


class File:
    """A descriptor, closed when no thread refers to it any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


def hash_of(key: bytes) -> bytes:
    """Return the bytes that stand for a key; they are spread evenly."""
    return blake2b(key, digest_size=_HASH).digest()


def enter(stamps: Stamps, head: Head) -> None:
    """Note a frame, unless a newer one of its key is known."""
    stamp = head.order << 64 | (DELETED if head.kind == DELETE else 0) | head.start
    hashed = hash_of(head.key)
    if stamp > stamps.get(hashed, 0):
        stamps[hashed] = stamp


def _between(stamps: Stamps, low: bytes, high: bytes) -> list[bytes]:
    return [
        hashed + stamp.to_bytes(_ENTRY - _HASH, "big")
        for hashed, stamp in list(stamps.items())
        if low <= hashed < high
    ]


class Run:
    """An open run; ``OSError`` or ``ValueError`` if it cannot be used."""

    def __init__(self, path: Path, number: int, segment: File) -> None:
        self._path: Path = path
        self._segment: File = segment
        self._scanned: Stamps | None = None
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._file: File = File(descriptor)
        header = read_at(descriptor, 0, _HEADER.size)
        blocks = (os.fstat(descriptor).st_size - len(header)) // (_BLOCK + _HASH)
        firsts = read_at(descriptor, _HEADER.size + blocks * _BLOCK, blocks * _HASH)
        checksum = crc32(firsts, crc32(header[:-4])).to_bytes(4, "little")
        mine = _MAGIC + number.to_bytes(8, "little")
        if not header.startswith(mine) or header[-4:] != checksum:
            raise ValueError("it is damaged, or of another segment")
        _, _, *facts, _ = _HEADER.unpack(header)
        # The highest order up to its end; bytes that deletions in it have made useless.
        self.start, self.end, self.newest, self.dead = facts
        self.count: int = blocks * _PER_BLOCK
        self._firsts: array[int] = array("Q", firsts)
        if sys.byteorder == "little":
            self._firsts.byteswap()

    def find(self, hashed: bytes) -> int:
        """Return the stamp of a hash, or 0."""
        number = bisect_right(self._firsts, int.from_bytes(hashed, "big")) - 1
        data = self._blocks(number, number + 1) if number >= 0 else b""
        if data is None:
            return self._stamps().get(hashed, 0)
        place = data.find(hashed)
        while place >= 0 and place % _ENTRY:
            place = data.find(hashed, place + 1)
        stamp = data[place + _HASH : place + _ENTRY] if place >= 0 else b""
        return int.from_bytes(stamp, "big")

    def between(self, low: bytes, high: bytes) -> list[bytes]:
        """Return the entries from one hash up to another."""
        first = max(bisect_right(self._firsts, int.from_bytes(low, "big")) - 1, 0)
        end = bisect_left(self._firsts, int.from_bytes(high, "big"))
        data = self._blocks(first, max(first, end))
        if data is None:
            return _between(self._stamps(), low, high)
        entries = [data[n : n + _ENTRY] for n in range(0, len(data), _ENTRY)]
        return entries[bisect_left(entries, low) : bisect_left(entries, high)]

    def _blocks(self, first: int, end: int) -> bytes | None:
        """Read blocks, without their checksums; ``None`` if one is damaged."""
        begin, size = _HEADER.size + first * _BLOCK, (end - first) * _BLOCK
        try:
            data = os.pread(self._file.descriptor, size, begin)
        except OSError:
            return None
        blocks = []
        for number in range(first, end):
            start = (number - first) * _BLOCK
            block = data[start : start + _BLOCK - 4]
            checksum = data[start + _BLOCK - 4 : start + _BLOCK]
            if crc32(block, number).to_bytes(4, "little") != checksum:
                return None
            blocks.append(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def _stamps(self) -> Stamps:
        """Return what the run should hold, from the segment."""
        if self._scanned is None:
            log.info("%s: is damaged; what it covers is scanned", self._path)
            stamps: Stamps = {}
            for piece in scan(self._segment.descriptor, self.start, self.end):
                if isinstance(piece, Head):
                    enter(stamps, piece)
            self._scanned = stamps
        return self._scanned


def newest(
    sources: Sequence[tuple[Sequence[Run], Stamps]],
) -> Iterator[tuple[bytes, int]]:
    """Give the newest entry of each hash, sorted, with the number of its source."""
    # All possible hashes are cut into parts of which each fits into memory.
    total = sum(len(tail) + sum(run.count for run in runs) for runs, tail in sources)
    count = total // 2**15 + 1
    edges = [((n << 64) // count).to_bytes(9, "big")[1:] for n in range(count)]
    edges.append(b"\xff" * (_HASH + 1))
    for low, high in pairwise(edges):
        found: dict[bytes, tuple[bytes, int, bytes]] = {}
        for number, (runs, tail) in enumerate(sources):
            some = (run.between(low, high) for run in runs)
            for entry in chain(_between(tail, low, high), *some):
                hashed, one = entry[:_HASH], (entry[:_ORDER], number, entry)
                found[hashed] = max(one, found.get(hashed, one))
        yield from ((found[one][2], found[one][1]) for one in sorted(found))


def write_run(
    path: Path, options: Options, facts: tuple[int, ...], entries: Iterator[bytes]
) -> None:
    """Write a run: its facts are the segment's number, start, end, newest and dead."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # of a process that died, or a disk that was full
    firsts = bytearray()
    with os.fdopen(_guard.make_file(new, options), "wb") as file:
        file.seek(_HEADER.size)
        while some := list(islice(entries, _PER_BLOCK)):
            block = b"".join(some).ljust(_BLOCK - 4, b"\xff")
            checksum = crc32(block, len(firsts) // _HASH)
            file.write(block + checksum.to_bytes(4, "little"))
            firsts += some[0][:_HASH]
        header = _HEADER.pack(_MAGIC, *facts, 0)[:-4]
        checksum = crc32(firsts, crc32(header))
        file.write(firsts)
        file.seek(0)
        file.write(header + checksum.to_bytes(4, "little"))
    new.replace(path)
