"""What code changes by itself, which is left out of the snapshot of what it is.

A function that fills a cache, appends to a list or counts its calls must not be
another function after each call, or none of its calls would ever be a hit. So a
variable, attribute or container that is changed by any code an identity is made of
counts as it was when the identity was made. Later changes of it are not looked for.

What the code changes is only known when all of it has been walked through, and by then
the values are in the snapshot. So it is collected first, and taken out at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from jackfield_memo.introspection import MISSING

if TYPE_CHECKING:
    from jackfield_memo.references import Chain
    from jackfield_memo.snapshot import Snapshot


class OwnChanges:
    """Collects what code changes, and at the end takes it out of a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot: Snapshot = snapshot
        self._names: list[Callable[[], None]] = []
        self._values: set[int] = set()
        self._classes: set[type] = set()

    def changed_by(
        self, function: FunctionType, closure: Mapping[str, Any], chain: Chain
    ) -> None:
        """Note what a function changes: a variable around it, or of its module."""
        name, *rest = chain
        if name in closure:
            place = list(closure).index(name)
            self._names.append(partial(self._snapshot.without_cell, function, place))
            self._values.add(id(closure[name]))
            return
        owner: Any = function
        value: Any = function.__globals__.get(name, MISSING)
        while isinstance(value, ModuleType) and rest:
            owner, name = value, rest.pop(0)
            value = vars(owner).get(name, MISSING)
        if value is not MISSING:
            self._names.append(partial(self._snapshot.without_name, owner, name))
            self._values.add(id(value))
        if isinstance(value, type) and rest:
            self._names.append(partial(self._snapshot.without_name, value, rest[0]))

    def changed_by_methods(self, owner: type) -> None:
        """Note a class whose methods change its instances, or itself."""
        self._classes.add(owner)

    def leave_out(self) -> None:
        """Take all that out of the snapshot."""
        for leave_out in self._names:
            leave_out()
        for owner in self._classes:
            for name in vars(owner):
                self._snapshot.without_name(owner, name)
        classes = tuple(self._classes)
        self._snapshot.without_contents(
            lambda value: id(value) in self._values or isinstance(value, classes)
        )
