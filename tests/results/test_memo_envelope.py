"""Stored results are signed and bound to their keys; if not, a miss with a reason."""

from __future__ import annotations

import os
import struct
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from jackfield_results.envelope import (
    Envelope,
    Miss,
    Reason,
    Value,
    load_value,
    open_envelope,
    pack,
    resign,
    unpack,
)
from jackfield_results.signing import SigningKey, Trust
from jackfield_serialize import dumps

MEMO_KEY = bytes(range(32))
OURS = SigningKey(b"o" * 32)
THEIRS = SigningKey(b"t" * 32)
TRUSTS: list[Trust] = ["signed", "owner", "any"]


def pack_value(
    key: bytes, value: object, signer: SigningKey | None, **more: Any
) -> bytes:
    return pack(key, dumps(value), signer, **more)


def reason_of(answer: object) -> Reason:
    assert isinstance(answer, Miss), answer
    return answer.reason


class Runs:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class Refuses:
    """Pickles, but does not unpickle."""

    error: Exception = ValueError("broken state")

    def __reduce__(self) -> tuple[Any, ...]:
        return _raise, (type(self).error,)


class RefusesOddly(Refuses):
    error = AttributeError("of its own making")


def _raise(error: Exception) -> None:
    raise error


def _leave() -> None:
    raise SystemExit(3)


class Leaves:
    """Ends the interpreter when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _leave, ()


@pytest.mark.parametrize("value", [None, 0, "ä", b"x" * 100_000, {"a": [1, (2,)]}])
def test_a_value_comes_back(value: object) -> None:
    signed, unsigned = (pack_value(MEMO_KEY, value, key) for key in (OURS, None))

    for trust in TRUSTS:
        assert load_value(MEMO_KEY, signed, OURS, trust) == Value(value)
    assert load_value(MEMO_KEY, unsigned, OURS, "owner") == Value(value)
    assert load_value(MEMO_KEY, unsigned, None, "any") == Value(value)


def test_it_tells_what_it_was_made_with() -> None:
    envelope = open_envelope(pack_value(MEMO_KEY, 1, OURS, versions={"numpy": "2.1"}))

    assert isinstance(envelope, Envelope)
    assert envelope.key_id == OURS.id
    assert envelope.header["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert envelope.header["serializer"] == "pickle"
    assert envelope.header["versions"] == {"numpy": "2.1"}
    assert envelope.header["jackfield"]


@pytest.mark.parametrize("trust", TRUSTS)
def test_no_flipped_bit_passes(trust: Trust) -> None:
    data = pack_value(MEMO_KEY, ["value"], OURS)

    for place in range(len(data) * 8):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        answer = load_value(MEMO_KEY, bytes(changed), OURS, trust)
        # Without "signed", what claims another key or none passes unverified; the
        # store's checksum is what finds rot there.
        assert isinstance(answer, Miss) or (trust != "signed" and 16 <= place // 8 < 24)


def test_nothing_cut_passes() -> None:
    data = pack_value(MEMO_KEY, ["value"], OURS)

    for size in range(len(data)):
        assert isinstance(load_value(MEMO_KEY, data[:size], OURS, "any"), Miss)
    assert reason_of(unpack(MEMO_KEY, data + b"x", OURS, "any")) is Reason.DAMAGED


def test_a_value_under_another_key_does_not_pass() -> None:
    data = pack_value(MEMO_KEY, 1, OURS)

    answer = load_value(bytes(32), data, OURS, "signed")

    assert reason_of(answer) is Reason.DAMAGED
    assert "tampered" in str(answer)


def test_another_keys_signature_does_not_pass() -> None:
    answer = load_value(MEMO_KEY, pack_value(MEMO_KEY, 1, THEIRS), OURS, "signed")

    assert reason_of(answer) is Reason.OTHER_KEY
    assert THEIRS.id.hex() in str(answer)
    assert OURS.id.hex() in str(answer)


def test_what_claims_our_key_falsely_does_not_pass_even_if_all_is_trusted() -> None:
    forged = bytearray(pack_value(MEMO_KEY, 1, THEIRS))
    forged[16:24] = OURS.id

    for trust in TRUSTS:
        answer = load_value(MEMO_KEY, bytes(forged), OURS, trust)
        assert reason_of(answer) is Reason.DAMAGED


@pytest.mark.parametrize("key", [THEIRS, None])
def test_a_foreign_pickle_is_not_run(key: SigningKey | None, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    data = pack_value(MEMO_KEY, Runs(trace), key)

    answer = load_value(MEMO_KEY, data, OURS, "signed")

    assert reason_of(answer) in {Reason.OTHER_KEY, Reason.UNSIGNED}
    assert not trace.exists()
    assert isinstance(load_value(MEMO_KEY, data, OURS, "any"), Value)
    assert trace.exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x05K\x01.", b"JKen", os.urandom(500)],
    ids=["nothing", "a pickle", "cut short", "anything"],
)
def test_what_is_no_envelope_is_a_miss(data: bytes) -> None:
    assert reason_of(load_value(MEMO_KEY, data, OURS, "any")) is Reason.FOREIGN


def test_a_newer_format_is_a_miss_that_says_so() -> None:
    data = bytearray(pack_value(MEMO_KEY, 1, OURS))
    data[4] = 3

    answer = load_value(MEMO_KEY, bytes(data), OURS, "signed")

    assert reason_of(answer) is Reason.NEWER
    assert "newer format 3" in str(answer)


def test_code_of_another_python_is_a_miss() -> None:
    data = pack_value(MEMO_KEY, lambda: 1, OURS)
    envelope = open_envelope(data)
    assert isinstance(envelope, Envelope)
    assert envelope.header["serializer"] == "cloudpickle"
    older = _with_header(data, b'{"python":"3.7","serializer":"cloudpickle"}')
    plain = _with_header(pack_value(MEMO_KEY, 1, OURS), b'{"python":"3.7"}')

    answer = load_value(MEMO_KEY, older, OURS, "signed")

    assert reason_of(answer) is Reason.OTHER_PYTHON
    assert "3.7" in str(answer)
    assert load_value(MEMO_KEY, plain, OURS, "signed") == Value(1)


def _with_header(data: bytes, header: bytes) -> bytes:
    """Replace the header, and sign what comes of it."""
    magic, version, flags, size, length, key_id = struct.unpack_from("<4sBBHQ8s", data)
    payload = data[56 + size :]
    prefix = struct.pack(
        "<4sBBHQ8s", magic, version, flags, len(header), length, key_id
    )
    signature = OURS.sign(prefix, MEMO_KEY, header, payload)
    return prefix + signature + header + payload


@pytest.mark.parametrize("header", [b"", b"[]", b"\xff\xff", b"{"])
def test_a_header_that_makes_no_sense_is_a_miss(header: bytes) -> None:
    data = _with_header(pack_value(MEMO_KEY, 1, OURS), header)

    assert reason_of(load_value(MEMO_KEY, data, OURS, "signed")) is Reason.DAMAGED


@pytest.mark.parametrize("gone", ["class", "module"])
def test_a_class_that_is_gone_is_named(
    gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("lab_of_last_year")
    module.Thing = type("Thing", (), {"__module__": module.__name__})  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, module.__name__, module)
    import pickle

    data = pack(MEMO_KEY, pickle.dumps([module.Thing()]), OURS)
    if gone == "class":
        del module.Thing
    else:
        monkeypatch.delitem(sys.modules, module.__name__)

    answer = load_value(MEMO_KEY, data, OURS, "signed")

    assert reason_of(answer) is Reason.GONE
    assert "lab_of_last_year.Thing" in str(answer)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Refuses(), "ValueError: broken state"),
        (RefusesOddly(), "AttributeError: of its own making"),
        (Leaves(), "SystemExit: 3"),
    ],
)
def test_what_does_not_unpickle_is_a_miss(value: object, told: str) -> None:
    answer = load_value(MEMO_KEY, pack_value(MEMO_KEY, value, OURS), OURS, "signed")

    assert reason_of(answer) is Reason.UNREADABLE
    assert told in str(answer)


def test_what_does_not_pickle_raises() -> None:
    with pytest.raises(TypeError, match="lock"):
        pack_value(MEMO_KEY, threading.Lock(), OURS)


def test_signing_anew_keeps_the_rest() -> None:
    data = pack_value(MEMO_KEY, [1], THEIRS, versions={"numpy": "2.1"})

    again = resign(MEMO_KEY, data, OURS)

    assert isinstance(again, bytes)
    assert load_value(MEMO_KEY, again, OURS, "signed") == Value([1])
    before, after = open_envelope(data), open_envelope(again)
    assert isinstance(before, Envelope)
    assert isinstance(after, Envelope)
    assert after.header == before.header
    assert reason_of(resign(MEMO_KEY, b"no envelope", OURS)) is Reason.FOREIGN
