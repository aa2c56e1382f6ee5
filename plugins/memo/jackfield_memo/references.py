"""What a function refers to: names of its module, imports in its body, dynamic code.

The names are read off the code object, because the compiler knows which of them are
globals; imports and computed attribute names are read off the syntax tree.
"""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Final, NamedTuple

Chain = tuple[str, ...]
"""A name and the attributes that are taken of it: ``("np", "linalg", "norm")``."""

_GLOBAL: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTE: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"})

_JUMPS: Final = frozenset({*dis.hasjrel, *dis.hasjabs})

_MUTATING_METHODS: Final = frozenset(
    {
        "__delattr__",
        "__delitem__",
        "__iadd__",
        "__iand__",
        "__imul__",
        "__ior__",
        "__isub__",
        "__ixor__",
        "__setattr__",
        "__setitem__",
        "add",
        "append",
        "appendleft",
        "clear",
        "difference_update",
        "discard",
        "extend",
        "extendleft",
        "insert",
        "intersection_update",
        "move_to_end",
        "pop",
        "popitem",
        "popleft",
        "remove",
        "reverse",
        "rotate",
        "setdefault",
        "sort",
        "subtract",
        "symmetric_difference_update",
        "update",
    }
)
"""Methods by which containers change."""


class Import(NamedTuple):
    """A reference to something that is imported inside a function.

    Attributes:
        level: Leading dots.
        module: The module's name after them.
        chain: What is taken of the module; empty for the module itself.
    """

    level: int
    module: str
    chain: Chain


def global_chains(code: CodeType) -> set[Chain]:
    """Return the globals that code loads, those of functions inside it included."""
    chains = set(_chains(code))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            chains |= global_chains(constant)
    return chains


def _chains(code: CodeType) -> Iterator[Chain]:
    class_names = _class_names(code)
    chain: Chain = ()
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name == "EXTENDED_ARG":
            continue
        if chain and name in _ATTRIBUTE:
            chain = (*chain, instruction.argval)
            continue
        if chain:
            yield chain
        chain = (instruction.argval,) if name in _GLOBAL else ()
        if chain and class_names.get(chain[0], instruction.offset) < instruction.offset:
            chain = ()
    if chain:
        yield chain


def _class_names(code: CodeType) -> dict[str, int]:
    """Return the names that the body of a class binds for certain, and where first.

    From there on, such a name is the class's own. Before, as on the right of ``helper =
    helper``, it is a global. A store is certain if each run of the body comes by it: if
    nothing may jump over it, and no error may be caught that ends what is before it.
    A name that is deleted anywhere may be a global again.
    """
    stores: dict[str, int] = {}
    if code.co_exceptiontable:
        return stores
    certain = True
    for instruction in dis.get_instructions(code):
        if instruction.opcode in _JUMPS:
            certain = False
        elif instruction.opname == "STORE_NAME" and certain:
            stores.setdefault(instruction.argval, instruction.offset)
        elif instruction.opname == "DELETE_NAME":
            stores.pop(instruction.argval, None)
    return stores


def imports_in_code(code: CodeType) -> set[Import]:
    """Return the modules that code imports, for code whose source is not found.

    ``import a.b`` binds ``a``, so both count. What follows ``from a import`` counts
    beside ``a``, because it may be a module, too.
    """
    found: set[Import] = set()
    steps = [one for one in dis.get_instructions(code) if one.opname != "EXTENDED_ARG"]
    for place, step in enumerate(steps):
        if step.opname != "IMPORT_NAME":
            continue
        # Two instructions before have put both on the stack.
        level, names = (one.argval for one in steps[place - 2 : place])
        module = str(step.argval)
        found.add(Import(level, module, ()))
        found.update(Import(level, module, (name,)) for name in names or ())
        while not names and "." in module:
            module = module.rpartition(".")[0]
            found.add(Import(level, module, ()))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= imports_in_code(constant)
    return found


def imports_in_tree(nodes: Iterable[ast.AST]) -> set[Import]:
    """Return what code imports, as precisely as it uses it.

    An imported name that is not used counts as a whole, because importing may run code.
    """
    nodes = list(nodes)
    aliases, found = import_aliases(nodes)
    used: set[str] = set()
    for name, *attributes in name_chains(nodes):
        used.add(name)
        for level, module, chain in aliases.get(name, ()):
            found.add(Import(level, module, (*chain, *attributes)))
    for name in aliases.keys() - used:
        found.update(aliases[name])
    return found | _imports_by_call(nodes)


def _imports_by_call(nodes: Iterable[ast.AST]) -> set[Import]:
    """Return what is imported by ``import_module``, where the name is written out."""
    return {
        Import(0, node.args[0].value, ())
        for node in _walk(nodes)
        if isinstance(node, ast.Call)
        and chain_of(node.func)[-1:] in {("import_module",), ("__import__",)}
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
        and node.args[0].value[:1] not in {"", "."}
    }


def import_aliases(
    nodes: Iterable[ast.AST],
) -> tuple[dict[str, list[Import]], set[Import]]:
    """Return the names that imports bind, and the modules imported for all names."""
    aliases: dict[str, list[Import]] = {}
    stars: set[Import] = set()
    for node in _walk(nodes):
        if isinstance(node, ast.Import):
            for one in node.names:
                module = one.name if one.asname else one.name.partition(".")[0]
                name = one.asname or module
                aliases.setdefault(name, []).append(Import(0, module, ()))
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                reference = Import(node.level, node.module or "", (one.name,))
                if one.name == "*":
                    stars.add(reference)
                else:
                    aliases.setdefault(one.asname or one.name, []).append(reference)
    return aliases, stars


def name_chains(nodes: Iterable[ast.AST]) -> set[Chain]:
    """Return all names in code, read or written, each with the attributes of it."""
    found: set[Chain] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        chain = chain_of(node)
        if chain:
            found.add(chain)
        else:
            waiting.extend(ast.iter_child_nodes(node))
    return found


def chain_of(node: ast.AST) -> Chain:
    """Return a name with the attributes that are taken of it; else nothing."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ()
    return (node.id, *reversed(attributes))


def changed_chains(nodes: Iterable[ast.AST]) -> set[Chain]:
    """Return what code changes itself: by ``global``, an item, an attribute, a method.

    Local variables are included.
    """
    found: set[Chain] = set()
    for node in _walk(nodes):
        if isinstance(node, ast.Global | ast.Nonlocal):
            found.update((name,) for name in node.names)
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            found.add(chain_of(node.value))
        elif isinstance(node, ast.Attribute):
            if not isinstance(node.ctx, ast.Load):
                found.add(chain_of(node))
            elif node.attr in _MUTATING_METHODS:
                found.add(chain_of(node.value))
    found.discard(())
    return found


_VARIABLE: Final = frozenset({*_GLOBAL, "LOAD_DEREF", "LOAD_FAST", "LOAD_CLASSDEREF"})
_SETS_VARIABLE: Final = frozenset(
    {"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF"}
)
_SETS_ITEM: Final = {"STORE_SUBSCR": 1, "DELETE_SUBSCR": 1, "STORE_SLICE": 2}
"""Instructions that set items, and how many values are above the container then."""


def changed_in_code(code: CodeType) -> set[Chain]:
    """Return what code without a source changes itself, as ``changed_chains`` does."""
    found: set[Chain] = set()
    chain: Chain = ()
    steps = [one for one in dis.get_instructions(code) if one.opname != "EXTENDED_ARG"]
    for place, step in enumerate(steps):
        name, argument = step.opname, step.argval
        if name in _SETS_ITEM:
            found.add(_container_of(steps, place))
        if name in _SETS_VARIABLE:
            found.add((argument,))
        elif name in _VARIABLE:
            chain = (argument,)
        elif chain and name in _ATTRIBUTE:
            if argument in _MUTATING_METHODS:
                found.add(chain)
            chain = (*chain, argument)
            if name in {"STORE_ATTR", "DELETE_ATTR"}:
                found.add(chain)
        else:
            chain = ()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= changed_in_code(constant)
    found.discard(())
    return found


def _container_of(steps: list[dis.Instruction], place: int) -> Chain:
    """Return the variable of which an instruction sets an item; ``()`` if unknown.

    If it is unknown, the variable goes on to count: a call is executed once more, and
    no other variable's change goes unseen.
    """
    above = _SETS_ITEM[steps[place].opname]
    if steps[place - 1].opname == "SWAP":  # ``a[b] += c``: both were copied before
        while place > 1 and [one.opname for one in steps[place - 2 : place]] != (
            ["COPY", "COPY"]
        ):
            place -= 1
        place -= 2
    for _ in range(above):
        place = _begin_of_value(steps, place)
    first = _begin_of_value(steps, place)
    if first < 0 or steps[first].opname not in _VARIABLE:
        return ()
    attributes = steps[first + 1 : place]
    if any(one.opname not in _ATTRIBUTE for one in attributes):
        return ()
    return (steps[first].argval, *(one.argval for one in attributes))


def _begin_of_value(steps: list[dis.Instruction], end: int) -> int:
    """Return where the instructions begin that put one value on the stack, or -1."""
    depth = 0
    while end > 0 and depth < 1:
        end -= 1
        step = steps[end]
        if step.opcode in _JUMPS or "STORE" in step.opname:
            return -1
        depth += dis.stack_effect(step.opcode, step.arg, jump=False)
        if depth < 1 and step.is_jump_target:
            return -1
    return end if depth == 1 else -1


_CALLED_BY_SYNTAX: Final = (
    (ast.Call, "func", ("__call__",)),
    (ast.Subscript, "value", ("__getitem__",)),
    (ast.withitem, "context_expr", ("__enter__", "__exit__")),
    (ast.For, "iter", ("__iter__",)),
    (ast.comprehension, "iter", ("__iter__",)),
)
"""Kind of node, its part that a method is called of, and the methods."""


def touched_chains(nodes: Iterable[ast.AST]) -> set[Chain]:
    """Return the names that are read, also with the methods that syntax calls of them.

    Of ``settings["a"]`` that is ``("settings", "__getitem__")``.
    """
    nodes = list(nodes)
    found = name_chains(nodes)
    for node in _walk(nodes):
        for kind, part, methods in _CALLED_BY_SYNTAX:
            chain = chain_of(getattr(node, part)) if isinstance(node, kind) else ()
            if chain:
                found.update((*chain, method) for method in methods)
    return found


def computes_attributes(nodes: Iterable[ast.AST]) -> bool:
    """Tell whether ``getattr`` is called with a name that is not a constant."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "getattr"
        and not (len(node.args) > 1 and isinstance(node.args[1], ast.Constant))
        for node in _walk(nodes)
    )


def _walk(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        yield from ast.walk(node)
