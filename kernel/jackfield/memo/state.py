"""What the code itself changes is its own state, and not watched.

A function that fills a cache or a list, or counts its calls, must not be another one
afterwards. So what any of the code of an identity changes counts as it was when the
identity was made, and only then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from jackfield.memo.watch import MISSING, Watch

if TYPE_CHECKING:
    from jackfield.memo.reach import Chain


class OwnState:
    """Collects what code changes, and then takes it from a watch."""

    def __init__(self, watch: Watch) -> None:
        self._watch: Watch = watch
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
            self._names.append(partial(self._watch.without_cell, function, place))
            self._values.add(id(closure[name]))
            return
        owner: Any = function
        value: Any = function.__globals__.get(name, MISSING)
        while isinstance(value, ModuleType) and rest:
            owner, name = value, rest.pop(0)
            value = vars(owner).get(name, MISSING)
        if value is not MISSING:
            self._names.append(partial(self._watch.without_name, owner, name))
            self._values.add(id(value))
        if isinstance(value, type) and rest:
            self._names.append(partial(self._watch.without_name, value, rest[0]))

    def changed_by_methods(self, owner: type) -> None:
        """Note a class whose methods change its instances, or itself."""
        self._classes.add(owner)

    def leave_out(self) -> None:
        """Take all that from the watch."""
        for leave_out in self._names:
            leave_out()
        for owner in self._classes:
            for name in vars(owner):
                self._watch.without_name(owner, name)
        classes = tuple(self._classes)
        self._watch.without_contents(
            lambda value: id(value) in self._values or isinstance(value, classes)
        )
