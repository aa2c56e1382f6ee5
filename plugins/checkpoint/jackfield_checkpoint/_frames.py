"""The log: a header, then one frame after another, each a put or a deletion.

A frame is a fixed head (``HEAD``), then the facts about the value as JSON, then the
value. The head has a checksum of the body, and one of itself that starts with the
frame's offset: bytes of a log inside a value do not pass for frames of this one.

What is damaged is found by checksums, and left behind by searching for the next whole
frame: a length in a head is believed only if the body that it spans has its checksum.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

from jackfield_checkpoint._meta import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.abc import CheckpointRecord

PUT: Final = 1
DELETE: Final = 2

MAGIC: Final = b"\xabJKf"
HEAD: Final = struct.Struct("<4sB3xIQd32sII")
"""Magic, kind, length of the facts, of the value, created, key, both checksums."""

_WINDOW: Final = 2**20
_MOST: Final = 2**30
"""Bytes of one read; systems have their limits near twice that."""


class Head(NamedTuple):
    """The head of a frame.

    Attributes:
        kind: ``PUT`` or ``DELETE``.
        facts: Length of the facts in bytes.
        size: Length of the value in bytes.
        created: Seconds since the epoch.
        key: The memo key.
        checksum: CRC-32 of the body.
        start: Offset of the frame.
        end: Offset of the next one.
    """

    kind: int
    facts: int
    size: int
    created: float
    key: bytes
    checksum: int
    start: int
    end: int


class Damage(NamedTuple):
    """A stretch of the log that is no frame.

    Attributes:
        start: Its first byte.
        end: The byte after it.
        torn: Whether it is the beginning of a frame, or nothing but zeros, at the
            log's end: what an interrupted write leaves.
    """

    start: int
    end: int
    torn: bool


def frame_of(record: CheckpointRecord, offset: int) -> list[bytes]:
    """Return the pieces of the frame that puts a record at an offset."""
    facts = to_json([_shown(record.app), dict(record.manifest)])
    total = crc32(record.value, crc32(facts))
    head = _head(
        PUT, len(facts), len(record.value), record.created, record.key, total, offset
    )
    return [head + facts, record.value]


def facts_begin(app: str) -> bytes:
    """Return what the facts of an app's records begin with, and no others'."""
    return to_json([_shown(app)])[:-1] + b","


def _shown(app: str) -> str:
    return app.encode("utf-8", "backslashreplace").decode()


def deletion_of(key: bytes, offset: int) -> bytes:
    """Return the frame that deletes a key."""
    return _head(DELETE, 0, 0, 0.0, key, 0, offset)


def moved(head: Head, offset: int) -> bytes:
    """Return the head as it must be at another offset."""
    return _head(*head[:6], offset)


def _head(
    kind: int,
    facts: int,
    size: int,
    created: float,
    key: bytes,
    checksum: int,
    offset: int,
) -> bytes:
    bare = HEAD.pack(MAGIC, kind, facts, size, created, key, checksum, 0)[:-4]
    return bare + crc32(bare, offset & 0xFFFFFFFF).to_bytes(4, "little")


def parse_head(data: Any, offset: int) -> Head | None:
    """Return the head that begins ``data``, if there is one for this offset."""
    if len(data) < HEAD.size:
        return None
    magic, kind, facts, size, created, key, checksum, own = HEAD.unpack_from(data)
    bare = data[: HEAD.size - 4]
    if magic != MAGIC or crc32(bare, offset & 0xFFFFFFFF) != own:
        return None
    end = offset + HEAD.size + facts + size
    return Head(kind, facts, size, created, key, checksum, offset, end)


def read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Read so many bytes, or as many as there are."""
    data = os.pread(descriptor, min(size, _MOST), offset)
    if len(data) == size or not data:
        return data
    pieces = [data]
    have = len(data)
    while have < size:
        data = os.pread(descriptor, min(size - have, _MOST), offset + have)
        if not data:
            break
        pieces.append(data)
        have += len(data)
    return b"".join(pieces)


class Window:
    """Reads a log from front to back without a system call for each frame."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int = descriptor
        self._start: int = 0
        self._data: bytes = b""

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes, fewer only at the file's end."""
        begin = offset - self._start
        if begin < 0 or begin + size > len(self._data):
            self._data = read_at(self._descriptor, offset, max(size, _WINDOW))
            self._start, begin = offset, 0
        return self._data[begin : begin + size]

    def sound(self, head: Head) -> bool:
        """Whether the body of a frame is there and has its checksum."""
        total, offset = 0, head.start + HEAD.size
        while offset < head.end:
            data = self.read(offset, min(head.end - offset, _WINDOW))
            if not data:
                return False
            total = crc32(data, total)
            offset += len(data)
        return total == head.checksum


def scan(descriptor: int, start: int, end: int) -> Iterator[Head | Damage]:
    """Give all sound frames of a part of the log in order, and what is none."""
    window = Window(descriptor)
    offset = start
    while offset < end:
        head = parse_head(window.read(offset, HEAD.size), offset)
        if head is not None and head.end <= end and window.sound(head):
            yield head
            offset = head.end
            continue
        following = _next_frame(window, offset + 1, end)
        yield Damage(offset, following, _is_torn(window, head, offset, following, end))
        offset = following


def _next_frame(window: Window, offset: int, end: int) -> int:
    """Return the offset of the next sound frame, or ``end``."""
    while offset < end:
        data = window.read(offset, min(_WINDOW, end - offset))
        found = data.find(MAGIC)
        if found < 0:
            offset += max(1, len(data) - len(MAGIC) + 1)
            continue
        offset += found
        head = parse_head(window.read(offset, HEAD.size), offset)
        if head is not None and head.end <= end and window.sound(head):
            return offset
        offset += 1
    return end


def _is_torn(
    window: Window, head: Head | None, offset: int, following: int, end: int
) -> bool:
    if following < end:
        return False
    if head is not None:
        return head.end > end
    rest = window.read(offset, min(end - offset, _WINDOW))
    if len(rest) < HEAD.size:
        return MAGIC.startswith(rest[: len(MAGIC)]) or not any(rest)
    return not any(rest)


# -- The log's own header

LOG_MAGIC: Final = b"jackfield log\r\n\x1a"
FORMAT: Final = 1
START: Final = 64
"""Offset of the first frame."""

_LOG_HEADER: Final = struct.Struct("<16sIxxxxQ28xI")


def log_header(identity: int) -> bytes:
    """Return the header of a log with a number of its own."""
    bare = _LOG_HEADER.pack(LOG_MAGIC, FORMAT, identity, 0)[:-4]
    return bare + crc32(bare).to_bytes(4, "little")


def parse_log_header(data: bytes) -> tuple[int, int] | None:
    """Return format and identity, or ``None`` if it is damaged or none of ours."""
    if len(data) < START:
        return None
    magic, version, identity, own = _LOG_HEADER.unpack(data)
    ours = magic.startswith(LOG_MAGIC) and crc32(data[:-4]) == own
    return (version, identity) if ours else None
