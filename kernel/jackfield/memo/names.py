"""From a name in a running module to what it stands for.

The name is looked up where the code would find it, and followed through modules of
the project: of ``helpers.clean`` only ``clean`` counts. What is looked up is watched.
"""

from __future__ import annotations

import builtins
import importlib
import operator
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from jackfield.memo.origins import Origin, origin_of_module
from jackfield.memo.watch import MISSING, Watch

if TYPE_CHECKING:
    from jackfield.memo.reach import Chain

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
"""Stands for what Python's version says all about."""


class Names:
    """Looks up names.

    Args:
        watch: What is looked up is watched there.
        refer: Refers to a function, class or module.
        data: Refers to a value that is bound to a name in a namespace.
        outside: Refers to code that is not the project's, by its name.
        calls: Is told of dynamic code.
    """

    def __init__(
        self,
        watch: Watch,
        refer: Callable[[Any], bytes],
        data: Callable[[Mapping[str, Any], str, Any], bytes],
        outside: Callable[[Origin, str], bytes],
        calls: Callable[[str], None],
    ) -> None:
        self._watch: Watch = watch
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
        self._watch_name(owner, namespace, name, value)
        if value is MISSING:
            if isinstance(owner, ModuleType):
                return self._missing(owner, namespace, chain)
            return self._builtin(name)
        if isinstance(value, ModuleType) and rest:
            return self._in_module(value, rest)
        if id(value) in DYNAMIC:  # from importlib import import_module
            self._calls(DYNAMIC[id(value)])
        if isinstance(value, ModuleType | FunctionType | type):
            return self._refer(value)
        return self._data(namespace, name, value)

    def _in_module(self, module: ModuleType, chain: list[str]) -> bytes:
        whose = origin_of_module(module)
        if whose.kind == "project":
            return self.resolve(module, vars(module), tuple(chain))
        value = vars(module).get(chain[0])
        if len(chain) == 1 and id(value) in DYNAMIC:
            self._calls(DYNAMIC[id(value)])
        return self._outside(whose, module.__name__)

    def _missing(
        self, module: ModuleType, namespace: Mapping[str, Any], chain: Chain
    ) -> bytes:
        """Refer to an attribute that a module does not have, or not yet."""
        name, *rest = chain
        inner = sys.modules.get(f"{module.__name__}.{name}")
        if inner is not None and rest:
            return self._in_module(inner, rest)
        if "__getattr__" not in namespace:
            return UNBOUND
        self._calls(f"{module.__name__}.__getattr__ for {name}")
        return self.resolve(module, namespace, ("__getattr__",))

    def _builtin(self, name: str) -> bytes:
        value = vars(builtins).get(name, MISSING)
        if id(value) in DYNAMIC:
            self._calls(name)
        return UNBOUND if value is MISSING else PYTHONS

    def _watch_name(
        self,
        owner: FunctionType | ModuleType,
        namespace: Mapping[str, Any],
        name: str,
        value: object,
    ) -> None:
        """Watch what may be bound anew: in a module from a file, only its data.

        Functions and classes of such a module change by reloading it, and that
        replaces its ``__spec__``.
        """
        spec = namespace.get("__spec__")
        code = isinstance(value, ModuleType | FunctionType | type)
        if spec is None or namespace.get("__name__") == "__main__" or not code:
            self._watch.name(owner, name, value)
        else:
            self._watch.name(owner, "__spec__", spec)
