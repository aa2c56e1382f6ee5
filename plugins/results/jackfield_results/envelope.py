"""Envelopes: what the kernel hands to a store in place of a bare pickle.

With them, results are protected alike in every store, and a store that knows nothing of
Python can carry them::

    magic, format, flags, lengths   24 bytes with the key's id
    signature                       over all the rest and the memo key
    header                          JSON: versions, serializer
    payload                         the pickled result

Nothing is unpickled before the signature is verified. Whatever is wrong is a ``Miss``
that says what: no exception, as the result can be computed again.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final

from jackfield.version import installed_version
from jackfield_results.copies import ChangedCodeError, result_value
from jackfield_results.signing import DIGEST_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackfield.keeping import IdentifyCode
    from jackfield_results.signing import SigningKey, Trust

MAGIC: Final = b"JKen"
FORMAT: Final = 1
_PREFIX: Final = struct.Struct("<4sBBHQ8s")
"""Magic, format, flags, length of the header, of the payload, id of the key."""

_SIGNED: Final = 1
_NO_KEY: Final = bytes(8)
_START: Final = _PREFIX.size + DIGEST_SIZE


class Reason(Enum):
    """Why a stored result cannot be used."""

    FOREIGN = "foreign"
    """It is no envelope."""

    NEWER = "newer"
    """Its format is one of a later Jackfield."""

    DAMAGED = "damaged"
    """It is cut, or changed, and nobody could have signed it so."""

    OTHER_KEY = "other-key"
    """It is signed with another key."""

    UNSIGNED = "unsigned"
    """It is not signed at all."""

    OTHER_PYTHON = "other-python"
    """It holds code of another Python, which could crash this one."""

    GONE = "gone"
    """A class or function that it names does not exist any more."""

    UNREADABLE = "unreadable"
    """It does not unpickle."""


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a stored result was not used.

    Attributes:
        reason: The kind of trouble.
        detail: The rest of the sentence "the stored result ...".
    """

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"the stored result {self.detail}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a stored result says of itself without being unpickled.

    Attributes:
        header: ``python``, ``jackfield``, ``serializer`` and ``versions``.
        payload: The pickle.
        key_id: Of the key that is said to have signed it, or ``b""``.
    """

    header: Mapping[str, Any]
    payload: memoryview
    key_id: bytes


@dataclass(frozen=True, slots=True)
class Value:
    """A result that came back."""

    value: Any


# -- Packing


def pack(
    key: bytes,
    payload: bytes,
    signing_key: SigningKey | None,
    versions: Mapping[str, str] | None = None,
) -> bytes:
    """Put a pickle into an envelope.

    The signature binds it to the memo key; without a signing key it gets a plain
    digest. ``versions`` has those of the distributions that the result may depend on.
    """
    serializer = "cloudpickle" if b"cloudpickle" in payload else "pickle"
    header = _header(serializer, tuple(sorted((versions or {}).items())))
    return _seal(key, header, payload, signing_key)


def resign(key: bytes, data: bytes, signing_key: SigningKey) -> bytes | Miss:
    """Sign what is in an envelope anew, whoever has signed it before.

    That is to vouch for a program: whoever calls it trusts where ``data`` came from.
    """
    envelope = open_envelope(data)
    if isinstance(envelope, Miss):
        return envelope
    header = _to_json(envelope.header)
    return _seal(key, header, envelope.payload, signing_key)


def _seal(
    key: bytes,
    header: bytes,
    payload: bytes | memoryview,
    signing_key: SigningKey | None,
) -> bytes:
    flags, key_id = (0, _NO_KEY) if signing_key is None else (_SIGNED, signing_key.id)
    prefix = _PREFIX.pack(MAGIC, FORMAT, flags, len(header), len(payload), key_id)
    signature = _digest(signing_key, prefix, key, header, payload)
    return b"".join((prefix, signature, header, payload))


def _digest(signing_key: SigningKey | None, *parts: bytes | memoryview) -> bytes:
    if signing_key is not None:
        return signing_key.sign(*parts)
    state = blake2b(digest_size=DIGEST_SIZE)
    for part in parts:
        state.update(part)
    return state.digest()


@lru_cache(maxsize=64)
def _header(serializer: str, versions: tuple[tuple[str, str], ...]) -> bytes:
    return _to_json(
        {
            "python": _python(),
            "jackfield": installed_version(),
            "serializer": serializer,
            "versions": dict(versions),
        }
    )


def _to_json(header: Mapping[str, Any]) -> bytes:
    return json.dumps(header, separators=(",", ":")).encode("ascii")


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


# -- Unpacking


def open_envelope(data: bytes) -> Envelope | Miss:
    """Read an envelope without verifying it: to show it, not to use it."""
    if len(data) < _START or not data.startswith(MAGIC):
        return Miss(Reason.FOREIGN, "is none that Jackfield has packed")
    _, version, flags, header_size, size, key_id = _PREFIX.unpack_from(data)
    if version > FORMAT:
        return Miss(Reason.NEWER, f"has the newer format {version}; upgrade Jackfield")
    if len(data) != _START + header_size + size:
        return Miss(Reason.DAMAGED, "is damaged: its length is wrong")
    header = _from_json(data[_START : _START + header_size])
    if header is None:
        return Miss(Reason.DAMAGED, "is damaged: its header makes no sense")
    payload = memoryview(data)[_START + header_size :]
    return Envelope(header, payload, key_id if flags & _SIGNED else b"")


def _from_json(data: bytes) -> Mapping[str, Any] | None:
    try:
        header = json.loads(data)
    except ValueError:
        return None
    return header if isinstance(header, dict) else None


def unpack(
    key: bytes, data: bytes, signing_key: SigningKey | None, trust: Trust
) -> Envelope | Miss:
    """Verify an envelope, and open it.

    ``key`` is the memo key that it was found under, ``signing_key`` this user's, or the
    team's. With the trust ``"signed"``, only what that key has signed passes. Else,
    what it has not signed passes; what claims to be signed with it must be in any case.
    """
    envelope = open_envelope(data)
    if isinstance(envelope, Miss):
        return envelope
    miss = _untrusted(envelope, signing_key, trust)
    return miss or _changed(key, data, envelope, signing_key) or envelope


def _untrusted(
    envelope: Envelope, signing_key: SigningKey | None, trust: Trust
) -> Miss | None:
    if trust != "signed":
        return None
    if not envelope.key_id:
        return Miss(
            Reason.UNSIGNED, "is not signed, so that anybody could have written it"
        )
    if signing_key is None or envelope.key_id != signing_key.id:
        ours = "there is none here" if signing_key is None else signing_key.id.hex()
        return Miss(
            Reason.OTHER_KEY,
            f"is signed with another key ({envelope.key_id.hex()}; yours: {ours})",
        )
    return None


def _changed(
    key: bytes, data: bytes, envelope: Envelope, signing_key: SigningKey | None
) -> Miss | None:
    """Check the signature, as far as there is a key for it."""
    signed = bool(envelope.key_id)
    if signed and (signing_key is None or signing_key.id != envelope.key_id):
        return None
    view = memoryview(data)
    parts = (view[: _PREFIX.size], key, view[_START:])
    expected = _digest(signing_key if signed else None, *parts)
    if compare_digest(expected, view[_PREFIX.size : _START]):
        return None
    what = "has been tampered with or is damaged: its signature is wrong"
    return Miss(Reason.DAMAGED, what if signed else "is damaged: its digest is wrong")


def load_value(
    key: bytes,
    data: bytes,
    signing_key: SigningKey | None,
    trust: Trust,
    identify: IdentifyCode | None = None,
) -> Value | Miss:
    """Verify an envelope and unpickle what is in it; never raises.

    Runs code of the result's classes, on the calling thread. Without ``identify``, code
    of the script that a result refers to counts as changed.
    """
    envelope = unpack(key, data, signing_key, trust)
    if isinstance(envelope, Miss):
        return envelope
    python = envelope.header.get("python")
    if envelope.header.get("serializer") == "cloudpickle" and python != _python():
        return Miss(
            Reason.OTHER_PYTHON,
            f"holds code of Python {python}, and this is {_python()}",
        )
    try:
        return Value(result_value(envelope.payload, identify))
    except ChangedCodeError as error:
        return Miss(Reason.GONE, str(error))
    except (ImportError, AttributeError) as error:
        return _explain(envelope.payload, error)
    except (Exception, SystemExit) as error:
        return _unreadable(error)


def _unreadable(error: BaseException) -> Miss:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # of a class's own __str__
        text = type(error).__name__
    return Miss(Reason.UNREADABLE, f"does not unpickle: {text}")


class _Explaining(pickle.Unpickler):
    """Remembers what it looked for in vain."""

    missing: str = ""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return super().find_class(module_name, global_name)
        except (ImportError, AttributeError):
            self.missing = f"{module_name}.{global_name}"
            raise


def _explain(payload: memoryview, error: BaseException) -> Miss:
    """Unpickle once more, to see which name is at fault, if it is one."""
    unpickler = _Explaining(io.BytesIO(payload))
    try:
        unpickler.load()
    except (Exception, SystemExit) as again:
        error = again
    if not unpickler.missing:
        return _unreadable(error)
    return Miss(
        Reason.GONE,
        f"needs {unpickler.missing}, which is gone: renamed, moved or not installed",
    )
