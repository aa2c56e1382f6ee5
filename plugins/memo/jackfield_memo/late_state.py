"""What modules that functions import have come to hold, besides what their texts say.

The text of such a module says what its names stand for once it is imported. From then
on a script may set things in it: an attribute of an object, a class or a function, a
constant that is computed, a default value. That counts. But what the text itself has
made must not, or a key would depend on whether a call has imported the module already.

What the text has made can be seen at one moment only: right after the call that has
imported the module, on the thread that it ran on, before the script has its result.
What the module's names hold then is noted. Later it counts if it is something else.
Where nobody has looked at that moment, because the script has imported the module by
itself, what a name holds counts, unless the text has it written out.
"""

from __future__ import annotations

import ast
import weakref
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

from jackfield.abc import current_work
from jackfield_memo.functions import holdings, members
from jackfield_memo.introspection import MISSING, attributes_of, slots_of, wrapped_by
from jackfield_memo.objects import set_on_wrapper
from jackfield_memo.policy import Unordered

if TYPE_CHECKING:
    from jackfield_memo.functions import Holdings
    from jackfield_memo.snapshot import Snapshot
    from jackfield_memo.sources import Text


class ModuleText(Protocol):
    """A module of the project as its text has it: see ``StaticModule``."""

    name: str
    text: Text

    @property
    @abstractmethod
    def bindings(self) -> Collection[str]:
        """The names that it binds."""

    @abstractmethod
    def is_changed(self, name: str) -> bool:
        """Tell whether code of the module changes a value."""

    @abstractmethod
    def is_written(self, name: str) -> bool:
        """Tell whether the value of a constant is written out."""

    @abstractmethod
    def written_in(self, name: str) -> dict[str, Any]:
        """Return the attributes of a class that are written out, with their values."""


_Noted = tuple[object, dict[str, bytes]]
_noted: Final[weakref.WeakKeyDictionary[ModuleType, _Noted]] = (
    weakref.WeakKeyDictionary()
)
"""What names of imported modules held at first. Loaded anew, a module is the same
object with another ``__spec__``, and nothing is known of it."""
_absent: Final[set[str]] = set()
"""Modules that were not imported when they were last looked at."""


def held_otherwise(
    module: ModuleText,
    name: str,
    loaded: ModuleType | None,
    left_out: Callable[[Any], Collection[str] | None],
    identity: Callable[[object], bytes],
) -> list[bytes]:
    """Return what a name of a module holds, if that is not what the text has made.

    Args:
        module: The module's text.
        name: The name.
        loaded: The module, if it is imported.
        left_out: Gives the attributes that code of the value itself changes; ``None``
            if it changes as a whole.
        identity: Gives the identity of a value.
    """
    if loaded is None:
        _absent.add(module.name)
        return []
    spec = getattr(loaded, "__spec__", None)
    whose, noted = _noted.get(loaded, (None, {}))
    if whose is not spec:
        noted = {}
        if module.name in _absent and current_work() is not None:
            for one in module.bindings:
                noted[one] = _identity(module, one, loaded, left_out, identity)
        _absent.discard(module.name)
        _noted[loaded] = spec, noted
    now = _identity(module, name, loaded, left_out, identity)
    return [now] if now and now != noted.get(name) else []


def _identity(
    module: ModuleText,
    name: str,
    loaded: ModuleType,
    left_out: Callable[[Any], Collection[str] | None],
    identity: Callable[[object], bytes],
) -> bytes:
    value = vars(loaded).get(name, MISSING)
    held = _held(module, name, value, left_out)
    return b"" if held is MISSING else identity(held)


def _held(
    module: ModuleText,
    name: str,
    value: Any,
    left_out: Callable[[Any], Collection[str] | None],
) -> Any:
    """Return what a name holds besides code; ``MISSING`` if the text says it all."""
    if value is MISSING or isinstance(value, ModuleType):
        return MISSING
    if isinstance(value, type):
        return _of_class(module, name, value)
    if isinstance(value, FunctionType):
        return _of_function(module, value)
    if module.is_written(name) or module.is_changed(name):
        return MISSING
    leaving = left_out(value)
    if leaving is None:
        return MISSING
    if wrapped_by(value) is not None:
        parts = {**set_on_wrapper(value), "": wrapped_by(value)}
    elif leaving:
        parts = {**slots_of(value), **attributes_of(value)}
    else:
        return value
    return Unordered({one: part for one, part in parts.items() if one not in leaving})


def _of_class(module: ModuleText, name: str, owner: type) -> Any:
    if owner.__module__ != module.name:
        return MISSING
    found = members(owner)
    held: dict[str, Any] = {}
    written = module.written_in(name)
    for one, value in found.members.items():
        data = any(value is each for each in found.data())
        if data and not (one in written and _same(written[one], value)):
            held[one] = value
    for one, method in found.methods():
        further = _of_function(module, method)
        if further is not MISSING:
            held[one] = further
    return Unordered(held) if held else MISSING


def _of_function(module: ModuleText, function: FunctionType) -> Any:
    held = holdings(function)
    if not held or _are_written(module, function, held):
        return MISSING
    return held.as_value()


def _are_written(module: ModuleText, function: FunctionType, held: Holdings) -> bool:
    """Tell whether a function holds no more than default values as they are written."""
    node = module.text.node_of(function.__code__)
    if node is None or held.closure or held.attributes:
        return False
    try:
        plain = tuple(map(ast.literal_eval, node.args.defaults))
        named = {
            one.arg: ast.literal_eval(value)
            for one, value in zip(
                node.args.kwonlyargs, node.args.kw_defaults, strict=True
            )
            if value is not None
        }
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return False
    return _same((plain, named), (held.defaults or (), held.keyword_defaults or {}))


def _same(one: Any, other: Any) -> bool:
    """Tell whether values are of the same types and look alike."""
    return bool(one == other) and repr(one) == repr(other)


def remember(value: Any, snapshot: Snapshot) -> None:
    """Put what something holds besides code into a snapshot."""
    if isinstance(value, type):
        found = members(value)
        functions = [method for _, method in found.methods()]
        values: Iterator[Any] = found.data()
    elif isinstance(value, FunctionType):
        functions, values = [value], iter(())
    else:
        functions, values = [], iter((value,))
    for function in functions:
        held = holdings(function)
        for place, one in enumerate(held.closure.values()):
            snapshot.cell(function, place, one)
        for one in held.given():
            snapshot.content(one)
        snapshot.function(function)
    for one in values:
        snapshot.content(one)
