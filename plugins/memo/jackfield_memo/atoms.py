"""The encodings of values without parts, and of long sequences of one kind of them.

Every encoding begins with a tag for the type and shows where it ends, so encodings
can be put one behind the other and never mean two things. One that would be longer
than 127 bytes is its SHA-256 instead: encodings stay small, whatever they encode.
"""

from __future__ import annotations

import hashlib
import operator
import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final

_SHORT: Final = 128
"""Bodies of fewer bytes stand in an encoding as they are, with one byte of length."""
_LENGTHS: Final = [bytes((length,)) for length in range(_SHORT)]
_DIGEST: Final = b"\xff"
"""Stands where the length would, if a digest stands for the body."""

PACKED: Final = 16
"""A sequence with at least this many items, all of one atomic type, is encoded as a
whole, which is many times faster than item by item."""


class UnknownValueError(Exception):
    """A value has no identity.

    Attributes:
        reason: Why, in a sentence.
        path: Where it is, from the inside out: ``[".lock", "[3]"]``.
    """

    def __init__(self, reason: str) -> None:
        self.reason: str = reason
        self.path: list[str] = []
        super().__init__(reason)

    @property
    def place(self) -> str:
        """Where it is, as Python would say it: ``"[3].lock"``."""
        return "".join(reversed(self.path))


class CycleError(Exception):
    """A value contains itself; caught where its encoding began."""


def sized(tag: bytes, body: bytes | bytearray | memoryview) -> bytes:
    """Return an encoding: tag, length and body, or tag and digest."""
    if len(body) < _SHORT:
        return tag + _LENGTHS[len(body)] + body
    return tag + _DIGEST + hashlib.sha256(body).digest()


def _text(value: str) -> bytes:
    return sized(b"s", value.encode("utf-8", "surrogatepass"))


def _bytes(value: bytes) -> bytes:
    return sized(b"b", value)


def _int(value: int) -> bytes:
    length = (value.bit_length() >> 3) + 1
    return sized(b"i", value.to_bytes(length, "little", signed=True))


def _bool(value: bool) -> bytes:
    return b"T" if value else b"F"


def _float(value: float) -> bytes:
    """Encode by bits, so 0.0 unlike -0.0; but one NaN like any other."""
    return b"f" + _pack_double(value) if value == value else b"n"


def _complex(value: complex) -> bytes:
    return b"c" + _float(value.real) + _float(value.imag)


_pack_double: Final = struct.Struct("<d").pack

ATOMS: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda _: b"N",
    type(...): lambda _: b"E",
    type(NotImplemented): lambda _: b"I",
    bool: _bool,
    int: _int,
    float: _float,
    complex: _complex,
    str: _text,
    bytes: _bytes,
}
"""Exact type to the function that encodes its values."""


def packed(values: Sequence[Any]) -> bytes | None:
    """Encode the items of a long sequence at once, if all are of one plain type.

    Returns:
        The body of the sequence's encoding, or ``None`` if it does not apply.
    """
    if len(values) < PACKED:
        return None
    kinds = set(map(type, values))
    if len(kinds) != 1:
        return None
    pack = _PACKS.get(kinds.pop())
    return None if pack is None else pack(values)


def _packed_ints(values: Sequence[int]) -> bytes | None:
    try:
        return b"\x01" + array("q", values).tobytes()
    except OverflowError:
        return None


def _packed_floats(values: Sequence[float]) -> bytes | None:
    if any(map(operator.ne, values, values)):  # a NaN
        return None
    return b"\x02" + array("d", values).tobytes()


def _packed_texts(values: Sequence[str]) -> bytes:
    text = "".join(values).encode("utf-8", "surrogatepass")
    return b"\x03" + _lengths(values) + text


def _packed_bytes(values: Sequence[bytes]) -> bytes:
    return b"\x04" + _lengths(values) + b"".join(values)


def _lengths(values: Sequence[str] | Sequence[bytes]) -> bytes:
    """Encode how many items there are, and how long each of them is."""
    return array("q", (len(values), *map(len, values))).tobytes()


_PACKS: Final[dict[type, Callable[[Any], bytes | None]]] = {
    int: _packed_ints,
    float: _packed_floats,
    str: _packed_texts,
    bytes: _packed_bytes,
}
