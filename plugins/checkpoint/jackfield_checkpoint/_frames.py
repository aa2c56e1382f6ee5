"""What a segment consists of: one frame after another, each a put or a deletion.

A frame is a fixed head (``HEAD``), then the facts about the value as JSON, then the
value. The head has a checksum of the body, and one of itself that starts with the
frame's offset: bytes of a segment inside a value do not pass for frames of this one. A
sound head is believed about its length: nobody reads values in order to follow what
another process writes. A body is checked when it is read. Where a head is damaged, the
next sound frame is searched for: a damaged byte costs one record.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from zlib import crc32

from jackfield_checkpoint._meta import shown, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jackfield.abc import CheckpointRecord

PUT: Final = 1
DELETE: Final = 2

HEAD: Final = struct.Struct("<4sB3xIQd32sQII")  # magic, fields, checksum of both
_MAGIC: Final = b"\xabJKf"
_WINDOW: Final = 2**16
_JOINED: Final = 2**24  # bytes that are joined to be written at once; more are not
_MOST: Final = 2**30  # bytes of one system call; systems' limits are near twice that

Piece: TypeAlias = bytes | memoryview
Fields: TypeAlias = tuple[Any, ...]  # of a head, up to ``checksum``
Frame: TypeAlias = tuple[Fields, tuple[Piece, ...]]  # and its body


class Head(NamedTuple):
    """The head of a frame."""

    kind: int  # PUT or DELETE
    facts: int  # length of the facts in bytes
    size: int  # length of the value; of a deletion, the bytes that it made useless
    created: float  # seconds since the epoch
    key: bytes
    order: int  # of two frames of one key, the one with the higher order counts
    checksum: int  # CRC-32 of the body
    start: int  # offset of the frame
    end: int  # offset of the next one


def frame_of(record: CheckpointRecord, order: int) -> Frame:
    """Return the frame that puts a record."""
    facts = to_json([shown(record.app), dict(record.manifest)])
    size, total = len(record.value), crc32(record.value, crc32(facts))
    fields = (PUT, len(facts), size, record.created, record.key, order, total)
    return fields, (facts, record.value)


def deletion_of(key: bytes, head: Head | None, order: int) -> Fields:
    """Return the fields of a deletion, of a frame with this head if it is readable."""
    size = HEAD.size + (head.end - head.start if head else 0)
    return DELETE, 0, size, 0.0, key, order, 0


def pack_head(fields: Fields, offset: int) -> bytes:
    """Return a head as it is written at an offset."""
    bare = HEAD.pack(_MAGIC, *fields, 0)[:-4]
    return bare + crc32(bare, offset & 0xFFFFFFFF).to_bytes(4, "little")


def parse_head(data: bytes, offset: int) -> Head | None:
    """Return the head that begins ``data``, if there is one for this offset."""
    if len(data) < HEAD.size or not data.startswith(_MAGIC):
        return None
    _, *fields, own = HEAD.unpack_from(data)
    if crc32(data[: HEAD.size - 4], offset & 0xFFFFFFFF) != own:
        return None
    kind, facts, size = fields[:3]
    end = offset + HEAD.size + facts + (size if kind == PUT else 0)
    return Head._make((*fields, offset, end))


def read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Read so many bytes, or as many as there are."""
    data = os.pread(descriptor, min(size, _MOST), offset)
    if 0 < len(data) < size:
        data += read_at(descriptor, offset + len(data), size - len(data))
    return data


def write_at(descriptor: int, pieces: Sequence[Piece], offset: int) -> None:
    """Write all of it, or raise ``OSError`` and leave a part of it written."""
    if sum(map(len, pieces)) <= _JOINED:
        pieces = [b"".join(pieces)]
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            written = os.pwrite(descriptor, rest[:_MOST], offset)
            rest, offset = rest[written:], offset + written


def scan(descriptor: int, start: int, end: int) -> Iterator[Head | tuple[int, int]]:
    """Give the frames of a part of a segment in order, and what is none: from, to."""
    good = offset = begin = start
    data = b""
    while offset < end:
        if offset + HEAD.size > begin + len(data):
            data, begin = read_at(descriptor, offset, _WINDOW), offset
        head = parse_head(data[offset - begin : offset - begin + HEAD.size], offset)
        # Where no head has to be, something in a value may look like one.
        if head and head.end <= end and (offset == good or _is_sound(descriptor, head)):
            if good < offset:
                yield good, offset
            yield head
            good = offset = head.end
        else:
            found = data.find(_MAGIC, offset - begin + 1)
            skipped = max(len(data) - len(_MAGIC) + 1, offset - begin + 1)
            offset = begin + (found if found >= 0 else skipped)
    if good < end:
        yield good, end


def _is_sound(descriptor: int, head: Head) -> bool:
    body = read_at(descriptor, head.start, head.end - head.start)[HEAD.size :]
    return crc32(body) == head.checksum
