"""What code changes by itself, which is left out of the snapshot of what it is.

A function that fills a cache, appends to a list or counts its calls must not be
another function after each call, or none of its calls would ever be a hit. So a
variable, attribute or container that is changed by code that runs counts as it was
when the identity was made. Later changes of it are not looked for.

Code that runs is the function and what it calls; not every method of every class it
knows. Settings whose ``load`` method only the script calls are looked at again, or
the calls after it would get the results of those before. Where it cannot be told what
an attribute is changed by, it is looked at again too: the call is executed once more.

What the code changes is only known when all of it has been walked through, and by then
the values are in the snapshot. So it is collected first, and taken out at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from jackfield_memo.introspection import MISSING, attributes_of, home_of
from jackfield_serialize.origins import origin_by_name

if TYPE_CHECKING:
    from jackfield_memo.functions import Code
    from jackfield_memo.references import Chain
    from jackfield_memo.snapshot import Snapshot

_SETTERS: Final = frozenset(
    {"__delattr__", "__delete__", "__delitem__", "__set__", "__setattr__"}
    | {"__init_subclass__", "__setitem__", "__setstate__"}
)
"""Special methods that syntax calls only where somebody sets or defines something."""
_MAKERS: Final = ("__init__", "__new__", "__post_init__")


class OwnChanges:
    """Collects what code changes, and at the end takes it out of a snapshot.

    Args:
        snapshot: What it is taken out of.
        code: Reads a function's code.
    """

    def __init__(
        self, snapshot: Snapshot, code: Callable[[FunctionType], Code]
    ) -> None:
        self._snapshot: Snapshot = snapshot
        self._code: Callable[[FunctionType], Code] = code
        self._functions: list[tuple[FunctionType, Mapping[str, Any]]] = []
        # Of functions that are methods: ``id`` to name.
        self._methods: dict[int, str] = {}
        self._used: list[object] = []
        self._followed: set[tuple[int, int]] = set()
        self._leavings: list[Callable[[], None]] = []
        # By ``id``: values to be left out, and attributes of values.
        self._values: set[int] = set()
        self._attributes: dict[int, set[str]] = {}

    def described(self, function: FunctionType, closure: Mapping[str, Any]) -> None:
        """Note a function, with what its closure holds."""
        self._functions.append((function, closure))

    def is_method(self, name: str, function: FunctionType) -> None:
        """Note that a function is a method, which runs only if its name is used."""
        self._methods[id(function)] = name

    def descriptor(self, value: object) -> None:
        """Note an object that a class has for an attribute: it may keep something."""
        self._used.append(value)

    def of_itself(self, value: Any, names: Collection[str]) -> Collection[str] | None:
        """Return the attributes of a value that its own methods change.

        Args:
            value: The value.
            names: Names that code uses: a method runs only if its name is among them.

        Returns:
            Their names; ``None`` if the value changes as a whole.
        """
        if not _has_own_attributes(value) or isinstance(value, FunctionType | type):
            return ()
        for owner in _classes(value):
            for name in vars(owner):
                special = name[:2] == "__" and name not in _SETTERS
                if name not in _MAKERS and (special or name in names):
                    self._follow(value, (name,))
        if id(value) in self._values:
            return None
        return self._attributes.get(id(value), ())

    def leave_out(self, *, all_run: bool) -> None:
        """Take what is changed out of the snapshot.

        Args:
            all_run: Whether all methods may run: nothing is known of who calls them.
        """
        for value in self._used:
            for name in ("__get__", "__set__", "__call__"):
                self._follow(value, (name,))
        for function, closure in self._running(all_run=all_run):
            code = self._code(function)
            for chain in code.changes:
                self._change(function, closure, chain)
            for chain in code.touched:
                value, rest = self._resolve(function, closure, chain)
                self._follow(value, rest)
        for leave_out in self._leavings:
            leave_out()
        self._snapshot.without_contents(self._values, self._attributes)

    # -- What runs

    def _running(
        self, *, all_run: bool
    ) -> Iterator[tuple[FunctionType, Mapping[str, Any]]]:
        """Give the functions that may run: a method only if something names it."""
        waiting, names = self._functions, set[str]()
        while True:
            running: list[tuple[FunctionType, Mapping[str, Any]]] = []
            later: list[tuple[FunctionType, Mapping[str, Any]]] = []
            for one in waiting:
                name = self._methods.get(id(one[0]))
                special = name is not None and name[:2] == "__" and name not in _SETTERS
                runs = all_run or name is None or special or name in names
                (running if runs else later).append(one)
            if not running:
                return
            yield from running
            for function, closure in running:
                for chain in self._code(function).touched:
                    value, rest = self._resolve(function, closure, chain)
                    if not isinstance(value, ModuleType):
                        names.update(rest if value is not MISSING else chain[1:])
            waiting = later

    def _resolve(
        self, function: FunctionType, closure: Mapping[str, Any], chain: Chain
    ) -> tuple[Any, Sequence[str]]:
        """Return the value that a chain begins with, and the attributes taken of it."""
        name, *rest = chain
        if name in closure:
            return closure[name], rest
        if name in function.__code__.co_varnames:
            return MISSING, rest
        value = function.__globals__.get(name, MISSING)
        while isinstance(value, ModuleType) and rest:
            value = vars(value).get(rest.pop(0), MISSING)
        return value, rest

    # -- What is changed by name

    def _change(
        self, function: FunctionType, closure: Mapping[str, Any], chain: Chain
    ) -> None:
        """Note what a function changes: a variable around it, or of its module."""
        name, *rest = chain
        if name in closure:
            value = closure[name]
            if rest and _has_own_attributes(value):
                self._change_attribute(value, rest[0])
                return
            place = list(closure).index(name)
            self._leavings.append(partial(self._snapshot.without_cell, function, place))
            self._values.add(id(value))
            return
        owner: Any = function
        value = function.__globals__.get(name, MISSING)
        while isinstance(value, ModuleType) and rest:
            owner, name = value, rest.pop(0)
            value = vars(owner).get(name, MISSING)
        if value is MISSING:
            return
        if rest and _has_own_attributes(value):
            self._change_attribute(value, rest[0])
            return
        self._leavings.append(partial(self._snapshot.without_name, owner, name))
        self._values.add(id(value))

    def _change_attribute(self, value: Any, name: str) -> None:
        """Note an attribute that is changed: of an object, or of one of its classes."""
        self._attributes.setdefault(id(value), set()).add(name)
        if isinstance(value, FunctionType):
            leave_out = partial(self._snapshot.without_attribute, value, name)
            self._leavings.append(leave_out)
            self._values.add(id(attributes_of(value).get(name)))
            return
        for owner in _classes(value):
            if name in vars(owner):
                leave_out = partial(self._snapshot.without_member, owner, name)
                self._leavings.append(leave_out)
                self._values.add(id(vars(owner)[name]))

    # -- What is changed by methods

    def _follow(self, value: Any, names: Sequence[str]) -> None:
        """Follow attributes, and note what the methods among them change."""
        for name in names:
            if isinstance(value, ModuleType):
                value = vars(value).get(name, MISSING)
                continue
            if value is MISSING or not _has_own_attributes(value):
                return
            for owner in _classes(value):
                for function in _functions_of(vars(owner).get(name)):
                    self._run(value, function)
            value = attributes_of(value).get(name, MISSING)

    def _run(self, value: Any, function: FunctionType) -> None:
        place = id(value), id(function)
        if place in self._followed:
            return
        self._followed.add(place)
        code = self._code(function)
        own = function.__code__.co_varnames[:1]
        for chain in code.changes:
            if chain[:1] == own and len(chain) > 1:
                self._change_attribute(value, chain[1])
            elif chain[:1] == own:
                self._values.add(id(value))
        for chain in code.touched:
            if chain[:1] == own:
                self._follow(value, chain[1:])


def _has_own_attributes(value: object) -> bool:
    """Tell whether attributes of a value change one by one.

    So they do of functions, and of what the project's classes make. Containers, and
    objects of packages, change as a whole.
    """
    if isinstance(value, FunctionType | type | SimpleNamespace):
        return True
    return origin_by_name(home_of(type(value))).kind == "project"


def _classes(value: Any) -> list[type]:
    """Return the project's classes that say what a value's attributes are."""
    if isinstance(value, FunctionType):
        return []
    line = (value if isinstance(value, type) else type(value)).__mro__
    return [one for one in line if origin_by_name(home_of(one)).kind == "project"]


def _functions_of(member: Any) -> Iterator[FunctionType]:
    if isinstance(member, property):
        parts: tuple[Any, ...] = (member.fget,)
    else:
        parts = (getattr(member, "__func__", member),)
    for part in parts:
        if isinstance(part, FunctionType):
            yield part
