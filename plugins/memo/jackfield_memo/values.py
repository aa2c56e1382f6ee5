"""The identity of a value: bytes that say its type and its content.

``Encoder`` gives equal bytes for values that may stand for each other, in every
process, and different bytes for any others. Types count: 1, 1.0 and True differ, and
so do ``[1]`` and ``(1,)``. Order counts where the type has one; in sets it does not,
and in plain dicts only if code reads them.

A value is encoded as the tree of its parts: a container from the encodings of its
items. So it does not matter whether two equal parts are one object or two. A value that
contains itself has no such tree, which shows when a container is met inside itself.
Then the whole value is encoded once more, with its containers numbered in the order in
which they are met; where one is met again, its number stands for it.

What is met in a value but is no data (functions, classes, files, types that plugins
know, what has no identity at all) is encoded as a ``Policy`` says.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import is_, itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from jackfield_memo.atoms import (
    ATOMS,
    PACKED,
    CycleError,
    UnknownValueError,
    packed,
    sized,
)
from jackfield_memo.objects import encode_object
from jackfield_memo.policy import Unordered

if TYPE_CHECKING:
    from jackfield_memo.policy import Policy

_WORTH_KEEPING: Final = 64
"""The encoding of a container with this many parts, its parts' parts included, is kept
until the whole value is encoded: if the same container is met again, it is not looked
at again. With a smaller number, a list of a million pairs would have a million
encodings kept for nothing. With a larger one, a structure that holds the same part
twice on each of many levels would be looked at again and again."""


class Encoder:
    """Encodes values under one policy; for one thread, for a short time.

    Attributes:
        policy: What it does with what is no data.
        looked_at: How many parts it has looked at, roughly.
    """

    __slots__ = ("_active", "_done", "_kept", "_numbers", "looked_at", "policy")

    def __init__(self, policy: Policy, *, numbered: bool = False) -> None:
        self.policy: Policy = policy
        self.looked_at: int = 0
        # All by the ``id`` of a container. Those that are being encoded now: one that
        # is met inside itself has no tree. Those that are encoded, if worth keeping.
        self._active: set[int] = set()
        self._done: dict[int, bytes] = {}
        # The containers whose ``id`` is in use here: Python may give the ``id`` of one
        # that has been freed, such as a state that was made for pickling, to another.
        self._kept: list[object] = []
        # Only if a value contains itself: container to the order in which it was met.
        self._numbers: dict[int, int] | None = {} if numbered else None

    def identity(self, value: object) -> bytes:
        """Encode a whole value, in 129 bytes at most.

        Raises:
            UnknownValueError: It, or a part of it, has no identity.
        """
        try:
            return self.encode(value)
        except CycleError:
            return b"O" + Encoder(self.policy, numbered=True).encode(value)
        except RecursionError as error:
            raise UnknownValueError("it is nested too deeply.") from error
        except UnknownValueError:
            raise
        except Exception as error:  # it changed meanwhile, was released, ...
            reason = f"looking at it raised {type(error).__name__}: {error}"
            raise UnknownValueError(reason) from error

    def encode(self, value: Any) -> bytes:
        """Encode a part of a value."""
        kind = type(value)
        atom = ATOMS.get(kind)
        if atom is not None:
            return atom(value)
        key = id(value)
        known = self._met(key, value)
        if known is not None:
            return known
        before = self.looked_at
        self.looked_at = before + 1
        self._active.add(key)
        try:
            encoded = _ENCODINGS.get(kind, encode_object)(self, value)
        finally:
            self._active.discard(key)
        if self._numbers is None and self.looked_at - before >= _WORTH_KEEPING:
            self._done[key] = encoded
            self._kept.append(value)
        return encoded

    def _met(self, key: int, value: object) -> bytes | None:
        """Return the encoding of a container that was met before, or ``None``.

        Raises:
            CycleError: The container is being encoded: the value contains itself.
        """
        numbers = self._numbers
        if numbers is None:
            if key in self._active:
                raise CycleError
            return self._done.get(key)
        if key in numbers:
            return b"^%d;" % numbers[key]
        numbers[key] = len(numbers)
        self._kept.append(value)
        return None

    def sequence(self, values: Iterable[Any]) -> bytes:
        """Encode items in their order, one behind the other."""
        parts: list[bytes] = []
        encode, append = self.encode, parts.append
        try:
            for value in values:
                append(encode(value))
        except UnknownValueError as error:
            error.path.append(f"[{len(parts)}]")
            raise
        self.looked_at += len(parts)
        return b"".join(parts)

    def attributes(self, parts: Mapping[str, Any]) -> bytes:
        """Encode attributes, in the order of their names."""
        return self._named(dict(parts), ".{}")

    def items(self, parts: Mapping[Any, Any]) -> bytes:
        """Encode the items of a mapping; their order counts if the policy says so."""
        ordered = self.policy.ordered and type(parts) is not Unordered
        parts = dict(parts)  # which other threads do not change
        if set(map(type, parts)) <= {str}:
            order = _order(parts, sorted(parts)) if ordered else b""
            return self._named(parts, "[{!r}]") + order
        encoded = []
        ranked = self._ranked(parts.items())
        for _, key, value in ranked:
            try:
                encoded.append(self._apart(key) + self.encode(value))
            except UnknownValueError as error:
                error.path.append(f"[{_shown(key)}]")
                raise
        self.looked_at += len(encoded)
        if ordered:
            encoded.append(_order(parts, [key for _, key, _ in ranked]))
        return b"".join(encoded)

    def unordered(self, values: AbstractSet[Any]) -> bytes:
        """Encode the items of a set."""
        items = list(values)  # which other threads do not change
        if len(items) >= PACKED and set(map(type, items)) in _SORTABLE:
            body = packed(sorted(items))
            if body is not None:
                return body
        self.looked_at += len(items)
        return b"".join(self._apart(item) for item in self._in_order(items))

    def _named(self, parts: Mapping[str, Any], mark: str) -> bytes:
        encoded: list[bytes] = []
        text = ATOMS[str]
        for name in sorted(parts):
            try:
                encoded.append(text(name) + self.encode(parts[name]))
            except UnknownValueError as error:
                error.path.append(mark.format(name))
                raise
        self.looked_at += len(encoded)
        return b"".join(encoded)

    def _in_order(self, values: Iterable[Any]) -> list[Any]:
        rank = self.policy.rank or self._apart
        return sorted(values, key=rank)

    def _ranked(self, pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any, Any]]:
        """Order a mapping's items by their keys; those with equal ones by value."""
        rank = self.policy.rank or self._apart
        ranked = sorted(((rank(key), key, value) for key, value in pairs), key=_first)
        if len({one[0] for one in ranked}) < len(ranked):
            ranked.sort(key=lambda one: (one[0], rank(one[2])))
        return ranked

    def _apart(self, value: Any) -> bytes:
        """Encode an item of a set, or a key, independently of what comes before it."""
        if self._numbers is None:
            return self.encode(value)
        encoder = Encoder(self.policy)
        encoder._active = self._active
        try:
            return encoder.encode(value)
        except CycleError:
            raise UnknownValueError(
                "it is in a set, or is a key, and contains what contains it: nothing "
                "says in which order such things come."
            ) from None


_first: Final = itemgetter(0)
_SORTABLE: Final = ({int}, {str}, {bytes})


def _shown(key: object) -> str:
    return repr(key)[:60] if type(key) in ATOMS else f"<{type(key).__name__}>"


def _order(keys: Iterable[Any], ranked: Sequence[Any]) -> bytes:
    """Return in which order keys stand that have an order of their own, if another."""
    keys = list(keys)
    if all(map(is_, keys, ranked)):
        return b""
    places = {id(key): place for place, key in enumerate(ranked)}
    return sized(b"<", repr([places[id(key)] for key in keys]).encode())


def _list(encoder: Encoder, value: list[Any]) -> bytes:
    return sized(b"l", packed(value) or encoder.sequence(value))


def _tuple(encoder: Encoder, value: tuple[Any, ...]) -> bytes:
    return sized(b"t", packed(value) or encoder.sequence(value))


def _dict(encoder: Encoder, value: dict[Any, Any]) -> bytes:
    return sized(b"d", encoder.items(value))


def _set(encoder: Encoder, value: set[Any]) -> bytes:
    return sized(b"S", encoder.unordered(value))


def _frozenset(encoder: Encoder, value: frozenset[Any]) -> bytes:
    return sized(b"Z", encoder.unordered(value))


def _bytearray(_: Encoder, value: bytearray) -> bytes:
    return sized(b"B", value)


def _array(_: Encoder, value: array[Any]) -> bytes:
    view = memoryview(value).cast("B")
    return sized(b"A", value.typecode.encode() + sized(b"b", view))


def _memoryview(_: Encoder, value: memoryview) -> bytes:
    head = repr((value.format, value.shape)).encode()
    whole = value if value.c_contiguous else memoryview(value.tobytes())
    return sized(b"M", head + sized(b"b", whole.cast("B") if whole.nbytes else b""))


def _mapping_proxy(encoder: Encoder, value: MappingProxyType[Any, Any]) -> bytes:
    return sized(b"D", encoder.items(value))


_ENCODINGS: Final[dict[type, Callable[[Encoder, Any], bytes]]] = {
    list: _list,
    tuple: _tuple,
    dict: _dict,
    Unordered: _dict,
    set: _set,
    frozenset: _frozenset,
    bytearray: _bytearray,
    array: _array,
    memoryview: _memoryview,
    MappingProxyType: _mapping_proxy,
}
"""Exact type to the function that encodes its values."""
