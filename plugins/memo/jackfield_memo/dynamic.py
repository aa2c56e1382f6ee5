"""What code reaches by names that are not written in it: imports, modules, globals.

Where it can be told what may be reached, that counts, all of it: the code's own module
for ``globals()``, ``eval`` and ``exec``; the package for an import within it, as a
package's registry of plugins does it. Where it cannot, calls are not to be cached.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any, Final, NamedTuple

from jackfield_memo.references import Chain, chain_of

_IMPORTING: Final = frozenset({"__import__", "import_module"})
_EVALUATING: Final = frozenset({"eval", "exec", "globals"})
_NAMESPACES: Final = frozenset({"__globals__", "f_globals"})
_OWN: Final = frozenset({"__name__", "__package__"})
_GETTING: Final = frozenset({"get", "pop", "setdefault"})

COMPUTED_IMPORT: Final = "imports modules by computed names"
COMPUTED_LOOKUP: Final = "looks modules up in sys.modules by computed names"


class Dynamic(NamedTuple):
    """What code reaches by names that are not written in it.

    Attributes:
        namespace: Whether that may be any name of its own module.
        modules: Modules that it looks up in ``sys.modules``.
        packages: Packages of which it may import any module; ``""`` for its own.
        unknown: Why it cannot be told what it reaches, or ``""``.
    """

    namespace: bool = False
    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    unknown: str = ""

    def __bool__(self) -> bool:
        return any(self)


def dynamic_in_code(code: CodeType, names: Mapping[str, Any]) -> Dynamic:
    """Find it in code whose source is not found: there, no name is written out."""
    used = set(_names_in(code))
    namespace = bool(used & (_NAMESPACES | (_EVALUATING - names.keys())))
    held = [names.get(name) for name in used]
    unknown = ""
    if ("sys" in used and "modules" in used) or any(one is sys.modules for one in held):
        unknown = COMPUTED_LOOKUP
    if used & _IMPORTING or any(map(_is_importing, held)):
        unknown = COMPUTED_IMPORT
    return Dynamic(namespace=namespace, unknown=unknown)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _is_importing(value: object) -> bool:
    return value is __import__ or value is importlib.import_module


def dynamic_in_tree(nodes: Iterable[ast.AST], names: Mapping[str, Any]) -> Dynamic:
    """Find it in a syntax tree.

    Args:
        nodes: The code.
        names: The globals of its module, as far as there are any.
    """
    reader = _Reader(names)
    for node in nodes:
        reader.visit(node)
    return Dynamic(
        reader.namespace,
        tuple(sorted(reader.modules)),
        tuple(sorted(reader.packages)),
        reader.unknown,
    )


class _Reader(ast.NodeVisitor):
    """Reads code. What a visit has understood is not visited again, below it."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self.namespace: bool = False
        self.modules: set[str] = set()
        self.packages: set[str] = set()
        self.unknown: str = ""

    def visit_Call(self, node: ast.Call) -> None:
        chain = chain_of(node.func)
        if self._imports(chain):
            self._import(node)
        elif chain[-1:] and chain[-1] in _GETTING and self._is_modules(chain[:-1]):
            self._look_up(node.args[0] if node.args else None)
        else:
            self.visit(node.func)
        for part in (*node.args, *node.keywords):
            self.visit(part)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self._is_modules(chain_of(node.value)):
            self._look_up(node.slice)
        else:
            self.visit(node.value)
        self.visit(node.slice)

    def visit_Compare(self, node: ast.Compare) -> None:
        for part in (node.left, *node.comparators):  # ``"x" in sys.modules``
            if not self._is_modules(chain_of(part)):
                self.visit(part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = chain_of(node)
        if node.attr in _NAMESPACES:
            self.namespace = True
        if self._imports(chain):
            self.unknown = COMPUTED_IMPORT
        elif self._is_modules(chain):
            self.unknown = COMPUTED_LOOKUP
        self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in _EVALUATING and node.id not in self._names:
            self.namespace = True
        if self._imports((node.id,)):
            self.unknown = COMPUTED_IMPORT
        elif self._is_modules((node.id,)):
            self.unknown = COMPUTED_LOOKUP

    def _imports(self, chain: Chain) -> bool:
        """Tell whether something is what imports modules."""
        if not chain:
            return False
        value = self._names.get(chain[0]) if len(chain) == 1 else None
        return chain[-1] in _IMPORTING or _is_importing(value)

    def _is_modules(self, chain: Chain) -> bool:
        """Tell whether something is ``sys.modules``."""
        if len(chain) == 1:
            return self._names.get(chain[0]) is sys.modules
        owner = self._names.get(chain[0]) if chain else None
        return chain[1:] == ("modules",) and (owner is sys or chain[0] == "sys")

    def _look_up(self, node: ast.AST | None) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.modules.add(node.value)
        elif isinstance(node, ast.Name) and node.id in _OWN:
            self.namespace = True
        else:
            self.unknown = COMPUTED_LOOKUP

    def _import(self, node: ast.Call) -> None:
        """Note an import: a name that is written out counts as an ``import`` does."""
        name = node.args[0] if node.args else None
        last = chain_of(node.func)[-1]
        written = isinstance(name, ast.Constant) and str(name.value)[:1] != "."
        if written and last in _IMPORTING:
            return
        start = _start(name)
        relative = len(node.args) > 1 or any(k.arg == "package" for k in node.keywords)
        if start is None and relative and last != "__import__":
            start = ""
        if start is None:
            self.unknown = COMPUTED_IMPORT
        else:
            self.packages.add(start)


def _start(name: ast.AST | None) -> str | None:
    """Return the package that the name of a module begins with; ``""`` for the own.

    ``None`` if that is not known.
    """
    while isinstance(name, ast.BinOp) and isinstance(name.op, ast.Add | ast.Mod):
        name = name.left
    if isinstance(name, ast.JoinedStr) and name.values:
        name = name.values[0]
    if isinstance(name, ast.FormattedValue):
        name = name.value
    if isinstance(name, ast.Name) and name.id in _OWN:
        return ""
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return None
    return "" if name.value[:1] == "." else name.value.rpartition(".")[0] or None
