"""A container as a task has returned it, beside its pickle: the side of the worker.

To unpickle a dict of 300,000 numbers takes five times as long as to pickle it, for each
of them is made anew. A task that gets such a result in the process that made it does
not need that. Numbers and texts cannot change, so a new dict of the same ones is a copy
as good as an unpickled one, and is made in a tenth of the time.

So the pickle is made as always, and is what everybody else gets: another worker, the
script, a second attempt elsewhere. The container itself stays beside it, and is never
handed to anybody: each task gets a copy of its own, so that none can spoil it for the
next one. That is right under three conditions, which are looked at here:

- *Nobody else has it*, before it is pickled. A task may have kept what it returned, in
  a global or in a thread, and change it afterwards; or just while it is pickled, and
  then the container and the pickle would differ.
- *Its items cannot change*: each is exactly of one of the types in ``_FIXED``. The same
  holds for the container: one of a subclass may copy itself in its own way.
- *It is one*: only the last one of this process stays, as long as its pickle does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

import jackfield_serialize as serialize

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pickle import PickleBuffer

MANY: Final = 1_000
"""Items from which a container is looked at: a pickle of fewer is soon read."""

_FIXED: Final = frozenset({int, float, complex, bool, str, bytes, type(None)})
"""Types of what nobody can change."""

_CONTAINERS: Final = frozenset({dict, list, set, frozenset, tuple})


class Whole:
    """Has a container; lets go of it when another one comes, or it may not be copied.

    Attributes:
        value: The container.
    """

    __slots__ = ("__weakref__", "value")

    def __init__(self, value: Any) -> None:
        self.value: Any = value

    def alone(self) -> bool:
        """Whether nobody else refers to the container."""
        return self._references() == _ALONE

    def _references(self) -> int:
        return sys.getrefcount(self.value)

    def fixed(self) -> bool:
        """Whether all that is in the container is of types that cannot change."""
        value = self.value
        kinds = set(map(type, value))
        if type(value) is dict:
            kinds.update(map(type, value.values()))
        return kinds <= _FIXED


_ALONE: Final = Whole([])._references()

_latest: ref[Whole] | None = None


def is_container(value: object) -> bool:
    """Whether to look at a value, which may be one of these containers."""
    return type(value) in _CONTAINERS and len(value) >= MANY  # type: ignore[arg-type]  # they have a length


class Original(bytes):
    """The pickle of a container that is still here.

    Attributes:
        whole: Has it.
    """

    whole: Whole


def beside(whole: Whole, data: PickleBuffer) -> Original:
    """Have the container stay beside its pickle, in the place of the last one."""
    global _latest  # noqa: PLW0603  (it is of the process)
    before = None if _latest is None else _latest()
    if before is not None and before is not whole:
        before.value = None
    _latest = ref(whole)
    original = Original(data)
    original.whole = whole
    return original


def opened(data: Any, buffers: Sequence[Any] = ()) -> Any:
    """Unpickle a value; copy it, if it is still here."""
    if type(data) is Original:
        value = data.whole.value
        if value is not None:
            return value.copy() if type(value) in {dict, set} else type(value)(value)
    return serialize.loads(data, buffers)
