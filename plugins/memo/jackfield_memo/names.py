"""From a name in a running module to what it stands for.

The name is looked up where the code would find it, and followed through modules of
the project: of ``helpers.clean`` only ``clean`` counts. What is looked up goes into the
snapshot, so that a name that is bound anew later is noticed.
"""

from __future__ import annotations

import builtins
import importlib
import operator
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from jackfield_memo.asking import is_pythons, registered
from jackfield_memo.introspection import MISSING
from jackfield_serialize.origins import Origin, origin_of_module

if TYPE_CHECKING:
    from jackfield_memo.references import Chain
    from jackfield_memo.snapshot import Snapshot

DYNAMIC: Final[Mapping[int, str]] = {
    id(one): name
    for name, one in {
        "eval": eval,
        "exec": exec,
        "compile": compile,
        "__import__": __import__,
        "globals": globals,
        "vars": vars,
        "import_module": importlib.import_module,
        "attrgetter": operator.attrgetter,
        "methodcaller": operator.methodcaller,
    }.items()
}
"""What reaches code by names that are not written down: ``id`` to name."""

UNBOUND: Final = b"?"
"""Stands for a name that is not bound."""
PYTHONS: Final = b"."
"""Stands for code of Python's own, of which Python's version says all."""


class Names:
    """Looks up names.

    Args:
        snapshot: Takes what is looked up.
        refer: Refers to a function, class or module.
        data: Refers to a value that is bound to a name in a namespace.
        outside: Refers to code that is not the project's, by its name.
        calls: Called with the name of dynamic code that is used.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        refer: Callable[[Any], bytes],
        data: Callable[[Mapping[str, Any], str, Any], bytes],
        outside: Callable[[Origin, str], bytes],
        calls: Callable[[str], None],
    ) -> None:
        self._snapshot: Snapshot = snapshot
        self._refer: Callable[[Any], bytes] = refer
        self._data: Callable[[Mapping[str, Any], str, Any], bytes] = data
        self._outside: Callable[[Origin, str], bytes] = outside
        self._calls: Callable[[str], None] = calls

    def resolve(
        self,
        owner: FunctionType | ModuleType,
        namespace: Mapping[str, Any],
        chain: Chain,
    ) -> bytes:
        """Refer to what a name, and attributes taken of it, stand for.

        Args:
            owner: The module, or a function in it.
            namespace: The module's names.
            chain: The name and the attributes.
        """
        name, *rest = chain
        value = namespace.get(name, MISSING)
        self._remember(owner, namespace, name, value)
        if value is MISSING:
            if isinstance(owner, ModuleType):
                return self._missing(owner, namespace, chain)
            return self._builtin(name)
        if isinstance(value, ModuleType) and rest:
            return self._in_module(value, rest)
        if id(value) in DYNAMIC:  # from importlib import import_module
            self._calls(DYNAMIC[id(value)])
        if value is sys.modules:  # what is looked up in it is told by ``dynamic``
            return PYTHONS
        if isinstance(value, ModuleType | FunctionType | type):
            return self._refer(value)
        return self._data(namespace, name, value)

    def _in_module(self, module: ModuleType, chain: list[str]) -> bytes:
        whose = origin_of_module(module)
        if whose.kind == "project" and chain[0] == "__dict__":
            return self._refer(module)
        if whose.kind == "project":
            return self.resolve(module, vars(module), tuple(chain))
        value: Any = vars(module).get(chain[0])
        if len(chain) == 1 and id(value) in DYNAMIC:
            self._calls(DYNAMIC[id(value)])
        for name in chain[1:]:
            value = vars(value).get(name) if isinstance(value, ModuleType) else value
        further = b""
        if isinstance(value, type) and "_abc_impl" in vars(value):
            self._snapshot.registrations()
            further = b"".join(map(self._refer, registered(value)))
        return self._outside(whose, module.__name__) + further

    def _missing(
        self, module: ModuleType, namespace: Mapping[str, Any], chain: Chain
    ) -> bytes:
        """Refer to an attribute that a module does not have, or not yet."""
        name, *rest = chain
        inner = sys.modules.get(f"{module.__name__}.{name}")
        if inner is not None and rest:
            return self._in_module(inner, rest)
        kind = type(module)  # of its own: its properties are attributes of the module
        if kind is not ModuleType:
            self._calls(f"{module.__name__}'s class for {name}")
        own = b"" if kind is ModuleType else self._refer(kind)
        if "__getattr__" not in namespace:
            return own or UNBOUND
        self._calls(f"{module.__name__}.__getattr__ for {name}")
        return own + self.resolve(module, namespace, ("__getattr__",))

    def _builtin(self, name: str) -> bytes:
        value = vars(builtins).get(name, MISSING)
        if id(value) in DYNAMIC:
            self._calls(name)
        self._snapshot.name(builtins, name, value)
        if value is MISSING:
            return UNBOUND
        if is_pythons(name, value):
            return PYTHONS
        if isinstance(value, ModuleType | FunctionType | type):
            return self._refer(value)
        return self._data(vars(builtins), name, value)

    def _remember(
        self,
        owner: FunctionType | ModuleType,
        namespace: Mapping[str, Any],
        name: str,
        value: object,
    ) -> None:
        """Put a name into the snapshot, and whether its module is loaded anew."""
        self._snapshot.name(owner, name, value)
        spec = namespace.get("__spec__")
        if spec is not None:
            self._snapshot.name(owner, "__spec__", spec)
