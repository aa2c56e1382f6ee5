"""What the encoding of values leaves open, and what it offers to rules for objects.

``values`` has the encoder, ``objects`` the rules for everything that is no built-in
container. The encoder calls the rules and the rules call the encoder; both know only
what stands here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield.memo_keys import ValueHook

ValueHooks: TypeAlias = Callable[[type], "tuple[ValueHook, ...]"]
"""Gives the plugins to ask about values of a type, in order."""


class Policy(NamedTuple):
    """What an encoder does with what is no data.

    Attributes:
        refer: Encodes a function, a class, a module or a C function.
        unknown: Encodes a value that has no identity, for a reason; or raises
            ``UnknownValueError``.
        hooks: The plugins to ask about values of a type.
        file: Encodes a ``File``.
        rank: Orders the items of sets, where the encoding of an item depends on what
            was encoded before it (as references do that are written as numbers): an
            encoding that does not depend on it. ``None``: none depends on it.
        ordered: Whether the order of a plain dict counts: of one that code reads it
            does, because the code may go through it; of an argument it does not.
    """

    refer: Callable[[Any], bytes]
    unknown: Callable[[object, str], bytes]
    hooks: ValueHooks
    file: Callable[[File], bytes]
    rank: Callable[[object], bytes] | None = None
    ordered: bool = False


class Unordered(dict[Any, Any]):
    """A dict of our own making, of which the order never counts."""

    __slots__ = ()


class PartEncoder(Protocol):
    """What a rule for one type may ask of the encoder that has called it."""

    @property
    @abstractmethod
    def policy(self) -> Policy:
        """What to do with what is no data."""

    @abstractmethod
    def encode(self, value: Any, /) -> bytes:
        """Encode a part."""

    @abstractmethod
    def sequence(self, values: Iterable[Any], /) -> bytes:
        """Encode items in their order, one behind the other."""

    @abstractmethod
    def attributes(self, parts: Mapping[str, Any], /) -> bytes:
        """Encode attributes, in the order of their names."""

    @abstractmethod
    def items(self, parts: Mapping[Any, Any], /) -> bytes:
        """Encode the items of a mapping; their order counts if the policy says so."""

    @abstractmethod
    def unordered(self, values: AbstractSet[Any], /) -> bytes:
        """Encode the items of a set."""
