"""What a module does when it is imported, besides defining names.

A definition that nothing names may still matter: a decorator puts it into a registry,
a base class or a metaclass notes its subclasses, a call at the top level fills a table.
So whatever may do more than bind a name counts for every name of its module. It may, if
it calls code of the project, or sets something that it did not make itself. Code of
Python and of packages is taken not to reach back into the project.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator

from jackfield_memo.references import Chain, name_chains
from jackfield_memo.syntax import does_nothing

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SILENT = (*DEFINITIONS, ast.Assign, ast.AnnAssign, ast.AugAssign)
_ACTING = frozenset({"__import__", "compile", "delattr", "eval", "exec", "setattr"})
_ACCESSORS = frozenset({"getter", "setter", "deleter"})
_ON_SUBCLASSING = frozenset({"__init_subclass__"})

IsOutside = Callable[[Chain, bool], bool]
"""Tells whether a name, with attributes, is surely not the project's. As a base class,
which the second argument says, a class of the project will do if it does nothing."""


def is_guarded(statement: ast.stmt) -> bool:
    """Whether it is under ``if TYPE_CHECKING`` or ``if __name__ == "__main__"``."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    test = statement.test
    if isinstance(test, ast.Compare):
        named = isinstance(test.left, ast.Name) and test.left.id == "__name__"
        (operator, *_), (right, *_) = test.ops, test.comparators
        is_main = isinstance(right, ast.Constant) and right.value == "__main__"
        return named and is_main and isinstance(operator, ast.Eq)
    chain = max(name_chains([test]), default=())
    return isinstance(test, ast.Name | ast.Attribute) and chain[-1:] == (
        "TYPE_CHECKING",
    )


def acts(statement: ast.stmt, is_outside: IsOutside) -> bool:
    """Tell whether a statement may do more than bind names.

    Args:
        statement: One of a module's own.
        is_outside: See ``IsOutside``.
    """
    if isinstance(statement, ast.Import | ast.ImportFrom) or does_nothing(statement):
        return False
    if not isinstance(statement, _SILENT):
        return True
    own: set[str] = set()
    return any(
        not _is_harmless(node, is_outside, own) for node in run_at_once(statement, own)
    )


def run_at_once(node: ast.AST, own: set[str]) -> Iterator[ast.AST]:
    """Give what runs when a statement does: not what is in a function.

    Args:
        node: The statement.
        own: Takes the names that are defined in bodies of classes.
    """
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        parts: Iterable[ast.AST] = (*node.decorator_list, node.args)
        own.add(node.name)
    elif isinstance(node, ast.Lambda):
        parts = (node.args,)
    else:
        parts = ast.iter_child_nodes(node)
    for part in parts:
        yield from run_at_once(part, own)


def _is_harmless(node: ast.AST, is_outside: IsOutside, own: set[str]) -> bool:
    if isinstance(node, ast.Call):
        return _is_known(node.func, is_outside, own)
    if isinstance(node, DEFINITIONS):
        decorators = all(
            isinstance(one, ast.Call) or _is_known(one, is_outside, own)
            for one in node.decorator_list
        )
        if not isinstance(node, ast.ClassDef) or not decorators:
            return decorators
        return _derives_quietly(node, is_outside, own)
    if isinstance(node, ast.Attribute | ast.Subscript):
        return isinstance(node.ctx, ast.Load)
    return True


def _is_known(
    called: ast.expr, is_outside: IsOutside, own: set[str], *, base: bool = False
) -> bool:
    if base and isinstance(called, ast.Subscript):  # Generic[T]
        called = called.value
    chain = max(name_chains([called]), default=())
    if not isinstance(called, ast.Name | ast.Attribute) or not chain:
        return False
    if chain[0] in own:
        return chain[-1] in _ACCESSORS
    if is_outside(chain, base):
        return True
    return len(chain) == 1 and chain[0] in vars(builtins).keys() - _ACTING


def is_plain_class(node: ast.stmt, is_outside: IsOutside) -> bool:
    """Tell whether nothing happens when a class is derived from this one."""
    if not isinstance(node, ast.ClassDef):
        return False
    methods = {one.name for one in node.body if isinstance(one, DEFINITIONS)}
    return not methods & _ON_SUBCLASSING and _derives_quietly(node, is_outside, set())


def _derives_quietly(node: ast.ClassDef, is_outside: IsOutside, own: set[str]) -> bool:
    """Tell whether nothing notes that a class is made: no base and no metaclass."""
    values = [
        one.value for one in node.keywords if not isinstance(one.value, ast.Constant)
    ]
    return all(
        _is_known(one, is_outside, own, base=True) for one in node.bases
    ) and all(_is_known(one, is_outside, own) for one in values)
