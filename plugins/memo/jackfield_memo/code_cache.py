"""Functions and classes that were looked at, remembered while they stay as they are.

They are found by ``id``, with a weak reference beside it that tells whether it is still
the same object: quicker than a dictionary with weak keys, and it does not call the
``__eq__`` of a metaclass.

No lock is held while code is looked at, because that runs ``__reduce__`` methods of
users. So two threads that ask for the same function at the same moment may both look
at it. Both find the same; what the later one has found stays.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from jackfield_memo.graph import Graph, GraphBuilder

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield_memo.policy import ValueHooks

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


class RememberedCode(Generic[T]):
    """What has been found out about one function or class.

    Attributes:
        made: What was made of it, by what it was made for.
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
        """Note whose this is; ``forget`` is called when the thing is freed.

        Raises:
            TypeError: Python cannot refer to such a thing weakly.
        """
        self._reference = weakref.ref(thing, forget)

    def holds_for(self, thing: object) -> bool:
        """Tell whether this is about ``thing``, and still so."""
        return (
            self._reference is not None
            and self._reference() is thing
            and (self._graph is None or not self._graph.snapshot.changed())
        )


class CodeCache(Generic[T]):
    """Looks up what functions and classes are."""

    def __init__(self, hooks: ValueHooks, file: Callable[[File], bytes]) -> None:
        self._hooks: ValueHooks = hooks
        self._file: Callable[[File], bytes] = file
        self._by_id: dict[int, RememberedCode[T]] = {}

    def look_up(self, thing: Any) -> RememberedCode[T]:
        """Return what is remembered of a function, class or module that is as it was.

        Of any other, nothing is found out yet: ``graph`` does that.
        """
        place = id(thing)
        remembered = self._by_id.get(place)
        if remembered is not None and remembered.holds_for(thing):
            return remembered
        fresh: RememberedCode[T] = RememberedCode(self._build)
        by_id = self._by_id

        def forget(_: Any) -> None:
            if by_id.get(place) is fresh:  # the id may be another thing's by now
                del by_id[place]

        try:
            fresh.refer(thing, forget)
        except TypeError:  # some of C's functions: looked at each time
            return fresh
        by_id[place] = fresh
        return fresh

    def _build(self, thing: Any) -> Graph:
        return GraphBuilder(self._hooks, self._file).build(thing)
