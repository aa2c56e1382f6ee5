"""The index of a log: a hash table in a file, from key to offset.

A table of *levels*, each four times as large as the one before, so that it grows
without being rewritten. A level consists of buckets of ``SLOTS`` slots and a checksum;
a slot is 64 bits of a hash of the key, and where the key's last frame begins. Full
buckets overflow into the next. A key has one slot in all levels together.

The index holds no truth. The log is written first and the index after it, then the
header says up to where the log is covered: what a crash leaves out lies behind that
offset and is entered again. Whatever is found is checked against the log. After a
crash of the machine nothing is known of the order in which pages reached the disk, so
an index that was not flushed in an orderly way counts for one boot of the machine only.

Only who holds the log's lock writes. Readers take no lock: a bucket that is just being
written has a wrong checksum, and is read again.
"""

from __future__ import annotations

import os
import struct
import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

MAGIC: Final = b"JKidx\x001\n"
SLOT: Final = struct.Struct("<QQ")
SLOTS: Final = 31
BUCKET: Final = 512
USED: Final = SLOTS * SLOT.size
FULL: Final = 0.6
FIRST_BUCKETS: Final = 256
FIRST_BUCKET: Final = 4096
"""Offset of level 0 in the file."""

DELETED: Final = 1 << 63
"""Bit of a location: the frame there deletes the key."""

_HEADER: Final = struct.Struct("<8sQQQQQ16sIIQI")
_EMPTY: Final = bytes(BUCKET)
_NO_SUM: Final = crc32(bytes(USED))
_MOST: Final = 2**30
_RETRIES: Final = 20
_RETRY_S: Final = 0.001


class StaleIndexError(Exception):
    """The index is damaged, or of another state of the log: it must be rebuilt."""


class RetiredIndexError(Exception):
    """The log has been rewritten; both files must be opened again."""


@dataclass(slots=True)
class Header:
    """The state of an index.

    Attributes:
        log: Identity of the log.
        covered: Offset up to which the log is entered.
        frames: Frames entered.
        live: Keys that have a value.
        dead: Bytes in the log that deletions have made useless.
        boot: Of the machine, when this was written; zeros: flushed in an orderly way.
        first: Buckets of level 0.
        levels: How many there are.
        used: Slots in use in the last level.
        retired: Not 0: another pair of files has taken the place of this one.
    """

    log: int
    covered: int
    frames: int = 0
    live: int = 0
    dead: int = 0
    boot: bytes = bytes(16)
    first: int = FIRST_BUCKETS
    levels: int = 1
    used: int = 0
    retired: int = 0

    def pack(self) -> bytes:
        """Return it as it is written, with its checksum."""
        data = _HEADER.pack(
            MAGIC,
            self.log,
            self.covered,
            self.frames,
            self.live,
            self.dead,
            self.boot,
            self.first,
            self.levels,
            self.used,
            self.retired,
        )
        return data + crc32(data).to_bytes(4, "little")


def _parse_header(data: bytes) -> Header | None:
    if len(data) < _HEADER.size + 4 or not data.startswith(MAGIC):
        return None
    bare = data[: _HEADER.size]
    if crc32(bare).to_bytes(4, "little") != data[_HEADER.size : _HEADER.size + 4]:
        return None
    return Header(*_HEADER.unpack(bare)[1:])


def hash_of(key: bytes) -> int:
    """Return the 64 bits that stand for a key, never all zero."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "little") or 1


def boot_id() -> bytes:
    """Return 16 bytes that change when the machine starts; zeros where unknown."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
        return bytes.fromhex(text.strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


# -- Finding


class Place(NamedTuple):
    """A slot.

    Attributes:
        offset: Of its bucket in the file.
        bucket: The bucket as it was read.
        position: Of the slot in the bucket.
        location: What it holds; 0: it is free.
    """

    offset: int
    bucket: bytes
    position: int
    location: int


class Index:
    """An open index file. Closed when nobody refers to it any more.

    Args:
        descriptor: The file.
        private: Whether it is a temporary one without a name, of this process alone.
    """

    def __init__(self, descriptor: int, *, private: bool = False) -> None:
        self.descriptor: int = descriptor
        self._private: bool = private

    def __del__(self) -> None:
        os.close(self.descriptor)

    def header(self) -> Header:
        """Read the state.

        Raises:
            StaleIndexError: It is damaged.
        """
        for _ in range(_RETRIES):
            header = _parse_header(os.pread(self.descriptor, 128, 0))
            if header is not None:
                return header
            time.sleep(_RETRY_S)
        raise StaleIndexError("its header is damaged")

    def _current_header(self) -> Header:
        """Read the state, unless others have gone on with another file."""
        header = self.header()
        gone = not self._private and os.fstat(self.descriptor).st_nlink == 0
        if header.retired or gone:
            raise RetiredIndexError
        return header

    def find(self, key: bytes) -> int | None:
        """Return the location of a key's last frame, with ``DELETED`` or without.

        Raises:
            StaleIndexError: A part that was needed is damaged.
            RetiredIndexError: Another index has taken its place.
        """
        header = self._current_header()
        wanted = hash_of(key)
        for level in reversed(range(header.levels)):
            place = self.walk(header, level, wanted)
            if place is not None and place.location:
                return place.location
        return None

    def locations(self) -> array[int]:
        """Return the offsets of all frames that hold a value, in order.

        Raises:
            StaleIndexError: A part of it is damaged.
            RetiredIndexError: Another index has taken its place.
        """
        header = self._current_header()
        found: array[int] = array("Q")
        for number in range(_buckets(header, header.levels)):
            bucket = self.bucket(FIRST_BUCKET + number * BUCKET)
            for hashed, location in SLOT.iter_unpack(bucket[:USED]):
                if hashed and not location & DELETED:
                    found.append(location)
        return array("Q", sorted(found))

    def bucket(self, offset: int) -> bytes:
        """Read a bucket whose checksum is right."""
        for _ in range(_RETRIES):
            data = os.pread(self.descriptor, BUCKET, offset)
            if _is_sound(data):
                return data
            time.sleep(_RETRY_S)
        raise StaleIndexError(f"the bucket at {offset} is damaged")

    def walk(self, header: Header, level: int, wanted: int) -> Place | None:
        """Return a hash's slot in a level, else the free one where it would be."""
        count = header.first << (2 * level)
        base = FIRST_BUCKET + _buckets(header, level) * BUCKET
        needle = wanted.to_bytes(8, "little")
        for step in range(count):
            offset = base + (wanted + step) % count * BUCKET
            data = self.bucket(offset)
            position = _slot_of(data, needle)
            if position >= 0:
                location = SLOT.unpack_from(data, position)[1]
                return Place(offset, data, position, location)
            position = _slot_of(data, bytes(8))
            if position >= 0:
                return Place(offset, data, position, 0)
        return None


def _slot_of(data: bytes | bytearray, needle: bytes, start: int = 0) -> int:
    """Return where in a bucket the slot begins whose hash is ``needle``, or -1."""
    position = data.find(needle, start, start + USED)
    while position >= 0 and (position - start) % SLOT.size:
        position = data.find(needle, position + 1, start + USED)
    return position


def _buckets(header: Header, levels: int) -> int:
    """Return how many buckets the first so many levels have."""
    return int(header.first * ((4**levels - 1) // 3))


def _is_sound(data: bytes) -> bool:
    if data == _EMPTY:
        return True
    expected = int.from_bytes(data[USED : USED + 4], "little")
    return len(data) == BUCKET and crc32(data[:USED]) ^ _NO_SUM == expected


def _sealed(slots: bytes | bytearray) -> bytes:
    total = (crc32(slots) ^ _NO_SUM).to_bytes(4, "little")
    return bytes(slots) + total + bytes(BUCKET - USED - 4)


# -- Entering. Only under the lock of the log.


def enter(
    index: Index, header: Header, frames: Iterable[tuple[bytes, int, int]]
) -> Header:
    """Enter frames, in the order of the log.

    Args:
        index: The index.
        header: Its state.
        frames: Key, location, and where the frame ends.

    Returns:
        The new state, which is not written yet.

    Raises:
        StaleIndexError: A part that was needed is damaged.
        OSError: It cannot be written.
    """
    header = replace(header)
    for key, location, end in frames:
        wanted = hash_of(key)
        place = _place(index, header, wanted)
        if place is None:
            _grow(index, header)
            place = _place(index, header, wanted)
            assert place is not None
        _fill(index, header, place, wanted, location)
        header.covered = end
    return header


def _place(index: Index, header: Header, wanted: int) -> Place | None:
    """Return a hash's slot, else a free one in the last level, unless that is full."""
    free = None
    for level in reversed(range(header.levels)):
        place = index.walk(header, level, wanted)
        if place is not None and place.location:
            return place
        if level == header.levels - 1:
            free = place
    full = header.used >= _room(header.first << (2 * (header.levels - 1)))
    return None if full else free


def _fill(
    index: Index, header: Header, place: Place, wanted: int, location: int
) -> None:
    slots = bytearray(place.bucket[:USED])
    SLOT.pack_into(slots, place.position, wanted, location)
    write_at(index.descriptor, _sealed(slots), place.offset)
    before = place.location
    header.used += not before
    header.frames += before != location
    header.live += (not location & DELETED) - (bool(before) and not before & DELETED)


def _grow(index: Index, header: Header) -> None:
    """Add a level, empty whatever an interrupted process has left there."""
    os.ftruncate(index.descriptor, size_of(header))
    header.levels += 1
    header.used = 0
    os.ftruncate(index.descriptor, size_of(header))


def _room(buckets: int) -> int:
    return int(buckets * SLOTS * FULL)


def size_of(header: Header) -> int:
    """Return how long the file is."""
    return FIRST_BUCKET + _buckets(header, header.levels) * BUCKET


def build(
    descriptor: int,
    log: int,
    covered: int,
    hashes: array[int],
    locations: array[int],
) -> Header:
    """Write a whole index of one level into an empty file.

    Args:
        descriptor: The file.
        log: Identity of the log.
        covered: Up to where the log is entered.
        hashes: ``hash_of`` the frames' keys, in the order of the log.
        locations: Where the frames are.

    Returns:
        The state, written.
    """
    first = FIRST_BUCKETS
    while _room(first) < len(hashes):
        first *= 2
    table = bytearray(first * BUCKET)
    for hashed, location in zip(hashes, locations, strict=True):
        _drop_into(table, first, hashed, location)
    header = Header(log, covered, frames=len(hashes), first=first)
    for start in range(0, len(table), BUCKET):
        slots = table[start : start + USED]
        if any(slots):
            table[start : start + BUCKET] = _sealed(slots)
            pairs = [pair for pair in SLOT.iter_unpack(slots) if pair[0]]
            header.used += len(pairs)
            header.live += sum(not location & DELETED for _, location in pairs)
    write_at(descriptor, table, FIRST_BUCKET)
    write_at(descriptor, header.pack(), 0)
    return header


def _drop_into(table: bytearray, buckets: int, hashed: int, location: int) -> None:
    needle = hashed.to_bytes(8, "little")
    for step in range(buckets):
        start = (hashed + step) % buckets * BUCKET
        position = _slot_of(table, needle, start)
        if position < 0:
            position = _slot_of(table, bytes(8), start)
        if position >= 0:
            SLOT.pack_into(table, position, hashed, location)
            return


def write_at(descriptor: int, data: bytes | bytearray, offset: int) -> None:
    """Write all of it, or raise ``OSError``."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest[:_MOST], offset)
        rest, offset = rest[written:], offset + written
