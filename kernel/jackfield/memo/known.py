"""What is known of functions and classes, while they live and stay as they are.

Kept by ``id`` beside a weak reference: quicker than a dictionary with weak keys, and
it does not call the ``__eq__`` of a metaclass. No lock is held while code is looked
at, because that runs ``__reduce__`` methods of users; at worst two threads do the
same work.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from jackfield.memo.graph import Graph, GraphBuilder, Hashers

if TYPE_CHECKING:
    from jackfield.files import File

T = TypeVar("T")

_CODE: Final = (
    types.FunctionType,
    type,
    types.ModuleType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
)


def is_code(thing: object) -> bool:
    """Tell whether a thing has a graph; any other callable is a value."""
    if isinstance(thing, types.BuiltinFunctionType):
        return thing.__self__ is None or isinstance(thing.__self__, types.ModuleType)
    return isinstance(thing, _CODE)


class Known(Generic[T]):
    """What is known of one function or class.

    Attributes:
        made: What was made of it.
    """

    __slots__ = ("_build", "_graph", "_reference", "made")

    def __init__(self, build: Callable[[Any], Graph]) -> None:
        self._build: Callable[[Any], Graph] = build
        self._graph: Graph | None = None
        self.made: dict[Any, T] = {}
        self._reference: weakref.ref[Any] | None = None

    def graph(self, thing: Any) -> Graph:
        """Return what the thing reaches; found out when it is first asked for."""
        if self._graph is None:
            self._graph = self._build(thing)
        return self._graph

    def refer(self, thing: Any, forget: Callable[[Any], None]) -> None:
        """Refer to the thing itself; raises ``TypeError`` if that cannot be."""
        self._reference = weakref.ref(thing, forget)

    def holds_for(self, thing: object) -> bool:
        """Tell whether this is about ``thing``, and still so."""
        return (
            self._reference is not None
            and self._reference() is thing
            and (self._graph is None or not self._graph.watch.changed())
        )


class KnownCode(Generic[T]):
    """Looks up what functions and classes are."""

    def __init__(self, hashers: Hashers, file: Callable[[File], bytes]) -> None:
        self._hashers: Hashers = hashers
        self._file: Callable[[File], bytes] = file
        self._known: dict[int, Known[T]] = {}

    def look_up(self, thing: Any) -> Known[T]:
        """Return what is known of a function, class or module; or find it out."""
        place = id(thing)
        known = self._known.get(place)
        if known is not None and known.holds_for(thing):
            return known
        fresh: Known[T] = Known(self._build)
        book = self._known

        def forget(_: Any) -> None:
            if book.get(place) is fresh:
                del book[place]

        try:
            fresh.refer(thing, forget)
        except TypeError:  # some of C's functions cannot be referred to
            return fresh
        book[place] = fresh
        return fresh

    def _build(self, thing: Any) -> Graph:
        return GraphBuilder(self._hashers, self._file).build(thing)
