"""Where a module that is loaded differs from its text, which ``static`` reads.

The file may have been edited since the module was loaded, and anybody may have set a
name in it. Then not the text runs but what is there, and this counts as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from jackfield_memo import late_state
from jackfield_memo.functions import is_generated
from jackfield_memo.import_effects import DEFINITIONS
from jackfield_memo.introspection import MISSING, wrapped_by
from jackfield_memo.static import EFFECTS, WHOLE, absolute
from jackfield_memo.syntax import code_form

if TYPE_CHECKING:
    from jackfield_memo.snapshot import Snapshot
    from jackfield_memo.static import StaticModule


def running_otherwise(
    module: StaticModule, name: str, identity: Callable[[object], bytes]
) -> list[bytes]:
    """Return how the loaded module differs from its text under a name.

    Args:
        module: The module; it need not be loaded.
        name: The name.
        identity: Gives the identity of a value.
    """
    if name == WHOLE:
        found = [
            (one.encode(), *running_otherwise(module, one, identity))
            for one in sorted(module.bindings)
        ]
        return [part for parts in found if len(parts) > 1 for part in parts]
    loaded, value = _running(module, name)
    if value is MISSING:
        return [b"gone"] if loaded is not None and module.binds(name) else []
    code = list(_functions(value))
    if code or isinstance(value, type | ModuleType):
        plain = all(
            isinstance(one, DEFINITIONS) and not one.decorator_list
            for one in module.statements(name)
        )
        return [
            code_form(one.__code__)
            for one in code
            if (plain or one.__globals__ is vars(loaded) or _is_foreign(one))
            and not is_generated(one)
            and module.text.node_of(one.__code__) is None
        ]
    if not module.statements(name):  # somebody has set it
        return [identity(value)]
    written = module.written(name)
    if written is MISSING or module.is_changed(name):
        return []  # see ``late_state``
    return [] if identity(written) == identity(value) else [identity(value)]


def _is_foreign(function: FunctionType) -> bool:
    """Tell whether a script or a notebook has put a function into a module."""
    home = function.__globals__.get("__name__")
    return home == "__main__" or home not in sys.modules


def _running(module: StaticModule, name: str) -> tuple[Any, Any]:
    """Return the loaded module, and what a name is bound to in it."""
    loaded = sys.modules.get(module.name)
    if loaded is None or name in {WHOLE, EFFECTS}:
        return loaded, MISSING
    return loaded, vars(loaded).get(name, MISSING)


def remember(module: StaticModule, name: str, snapshot: Snapshot) -> None:
    """Put what a name is bound to in the loaded module into a snapshot."""
    snapshot.module(module.name)
    if module.file:
        snapshot.file(module.file)
    for file in module.data_files(name):
        snapshot.file(file)
    for one in module.bindings if name == WHOLE else (name,):
        _remember_name(module, one, snapshot)


def _remember_name(module: StaticModule, name: str, snapshot: Snapshot) -> None:
    loaded, value = _running(module, name)
    if loaded is None or name in {WHOLE, EFFECTS}:
        return
    if module.is_changed(name):
        return
    snapshot.name(loaded, name, value)
    if isinstance(value, type):
        snapshot.members(value)
    for function in _functions(value):
        snapshot.function(function)
    if value is not MISSING and not isinstance(value, ModuleType):
        late_state.remember(value, snapshot)


def bound_otherwise(
    module: StaticModule,
    name: str,
    snapshot: Snapshot,
    identity: Callable[[object], bytes],
) -> list[bytes]:
    """Return what a name that an import binds stands for, if for something else."""
    snapshot.module(module.name)
    loaded = sys.modules.get(module.name)
    if loaded is None:
        return []
    value = vars(loaded).get(name, MISSING)
    snapshot.name(loaded, name, value)
    if value is MISSING:
        return []  # not imported yet: it is within a function, or guarded
    for one in module.aliases.get(name, ()):
        source = absolute(one, module.package)
        found: Any = sys.modules.get(source)
        for part in one.chain:
            inner = sys.modules.get(f"{source}.{part}")
            found = vars(found).get(part, inner) if found is not None else inner
        if found is value or found is None:
            return []
    return [name.encode(), identity(value)]


def _functions(value: Any) -> Iterator[FunctionType]:
    """Give the functions that a decorated function or a class is made of."""
    members = vars(value).values() if isinstance(value, type) else (value,)
    for member in members:
        methods = isinstance(member, staticmethod | classmethod)
        layer = member.__func__ if methods else member
        while layer is not None:
            if isinstance(layer, FunctionType):
                yield layer
            layer = wrapped_by(layer)
