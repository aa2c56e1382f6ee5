"""How the facts about a value are written down, and what the checksum covers."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

if TYPE_CHECKING:
    from jackfield.abc import CheckpointRecord

_encode: Final[Callable[[Any], str]] = json.JSONEncoder(separators=(",", ":")).encode
_CREATED: Final = struct.Struct("<d")


def shown(app: str) -> str:
    """Return an app's name as it can be encoded, whatever it holds."""
    return app.encode("utf-8", "backslashreplace").decode()


def to_json(value: Any) -> bytes:
    """Write plain data compactly, in ASCII."""
    return _encode(value).encode("ascii")


def to_manifest(data: bytes) -> Mapping[str, str]:
    """Undo ``to_json`` for a manifest.

    Raises:
        ValueError: It is none.
    """
    manifest = json.loads(data) if data else {}
    if not isinstance(manifest, dict):
        raise ValueError("not a manifest")  # noqa: TRY004  (callers catch one class)
    return manifest


def checksum(
    key: bytes, app: bytes, created: float, manifest: bytes, value: Any
) -> int:
    """Return the CRC-32 of a whole record; it finds rot, not malice."""
    total = crc32(_CREATED.pack(created), crc32(app, crc32(key)))
    return crc32(value, crc32(manifest, total))


def check_record(record: CheckpointRecord) -> None:
    """Refuse what is no record, before anything is written.

    Raises:
        TypeError: The key is not 32 bytes, or the value is not bytes.
    """
    if type(record.key) is not bytes or len(record.key) != 32:
        raise TypeError(f"a memo key is 32 bytes, not {record.key!r:.80}")
    if not isinstance(record.value, bytes):
        what = type(record.value).__name__
        raise TypeError(f"a stored value is bytes, not {what}; pack it first")
