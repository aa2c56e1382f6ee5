"""Code without what does not change its results.

Two forms of a function: of its syntax tree, where the source is at hand, and of its
code object. In neither count comments, formatting, line numbers, file names, the
function's own name and its docstring. In the tree's form annotations do not count
either, except where something may read them: in classes, and in functions that a
decorator sees. Decorators and default values of the function itself are left out;
what they made of it is looked at when it runs.
"""

from __future__ import annotations

import ast
import dis
import hashlib
from collections.abc import Iterable
from types import CodeType
from typing import Any, Final

from jackfield_memo.atoms import ATOMS, sized

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Definition = ast.FunctionDef | ast.AsyncFunctionDef

_LEFT_OUT: Final = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


def function_form(node: FunctionNode, *, annotations: bool = False) -> bytes:
    """Return the digest of a function's parameters and body.

    Args:
        node: The function.
        annotations: Whether those of its parameters and its result count.
    """
    writer = _Writer()
    writer.out.append(type(node).__name__.encode())
    writer.arguments(node.args, annotations=annotations, defaults=False)
    if isinstance(node, ast.Lambda):
        writer.node(node.body)
    else:
        if annotations:
            writer.value(node.returns)
        writer.body(node.body)
    return writer.digest()


def statements_form(nodes: Iterable[ast.stmt]) -> bytes:
    """Return the digest of whole statements, definitions with their decorators."""
    writer = _Writer()
    writer.body(nodes)
    return writer.digest()


class _Writer:
    """Writes nodes so that different ones are written differently."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self._in_class: bool = False

    def digest(self) -> bytes:
        return hashlib.sha256(b"".join(self.out)).digest()

    def value(self, value: Any) -> None:
        if isinstance(value, ast.AST):
            self.node(value)
        elif isinstance(value, list):
            self.out.append(b"[")
            for item in value:
                self.value(item)
            self.out.append(b"]")
        else:
            self.out.append(ATOMS[type(value)](value))

    def node(self, node: ast.AST) -> None:
        if isinstance(node, ast.AnnAssign) and node.value and not self._in_class:
            node = ast.Assign([node.target], node.value)
        self.out.append(b"(" + type(node).__name__.encode())
        if isinstance(node, _Definition):
            self._definition(node)
        elif isinstance(node, ast.ClassDef):
            self._class(node)
        elif isinstance(node, ast.AnnAssign) and not self._in_class:
            self._fields(node, {"annotation"})
        elif isinstance(node, ast.arguments):
            self.arguments(node, annotations=False)
        else:
            self._fields(node)
        self.out.append(b")")

    def _fields(self, node: ast.AST, left_out: Iterable[str] = ()) -> None:
        for name in node._fields:
            if name in _LEFT_OUT or name in left_out:
                continue
            value = getattr(node, name, None)
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self.body(value)
            else:
                self.value(value)

    def body(self, statements: Iterable[ast.stmt]) -> None:
        """Write statements, without those that do nothing."""
        self.out.append(b"{")
        for statement in statements:
            if not does_nothing(statement):
                self.node(statement)
        self.out.append(b"}")

    def arguments(
        self, node: ast.arguments, *, annotations: bool, defaults: bool = True
    ) -> None:
        for group in ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg"):
            found = getattr(node, group)
            self.out.append(group.encode())
            for one in found if isinstance(found, list) else [found] if found else []:
                self.value(one.arg)
                if annotations:
                    self.value(one.annotation)
        if defaults:
            self.value(node.defaults)
            self.value(node.kw_defaults)

    def _definition(self, node: _Definition) -> None:
        """Write a function inside other code."""
        in_class, self._in_class = self._in_class, False
        self.value(node.name)
        self.value(node.decorator_list)
        self.arguments(node.args, annotations=bool(node.decorator_list))
        if node.decorator_list:
            self.value(node.returns)
        self.body(node.body)
        self._in_class = in_class

    def _class(self, node: ast.ClassDef) -> None:
        in_class, self._in_class = self._in_class, True
        self._fields(node, {"type_params"})
        self._in_class = in_class


def does_nothing(statement: ast.stmt) -> bool:
    """Whether it is ``pass``, a docstring or another constant alone on its line."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass)


# -- Code objects


def code_form(code: CodeType) -> bytes:
    """Return the digest of a code object: of what it does, not of where it stands.

    The same for two code objects if and only if they run alike. Constants that no
    instruction loads, such as a docstring, do not count.
    """
    parts = (
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        (code.co_flags, code.co_code, code.co_exceptiontable),
        (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
    )
    loaded = _loaded_constants(code)
    constants = [
        _constant(constant) if place in loaded else b"-"
        for place, constant in enumerate(code.co_consts)
    ]
    return hashlib.sha256(_constant(parts) + b"".join(constants)).digest()


def _constant(value: Any) -> bytes:
    atom = ATOMS.get(type(value))
    if atom is not None:
        return atom(value)
    if isinstance(value, tuple):
        return sized(b"t", b"".join(map(_constant, value)))
    if isinstance(value, frozenset):
        return sized(b"z", b"".join(sorted(map(_constant, value))))
    if isinstance(value, slice):  # folded from Python 3.14 on
        return sized(b"/", _constant((value.start, value.stop, value.step)))
    return b"C" + code_form(value)


def _loaded_constants(code: CodeType) -> set[int]:
    return {
        instruction.arg
        for instruction in dis.get_instructions(code)
        if instruction.opcode in dis.hasconst and instruction.arg is not None
    }


def private_names(code: CodeType) -> tuple[str, ...]:
    """Return the names with underscores in a function, as its class mangles them.

    The tree has ``self.__x`` where the code has ``_Owner__x``.
    """
    names = {name for name in (*code.co_names, *code.co_varnames) if name[:1] == "_"}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names.update(private_names(constant))
    return tuple(sorted(names))
