"""From running code to its source: found by what it compiles to, never by its place.

A file may have been edited after it was imported; what it says then is not what runs.
So a text counts as the source of a function only if compiling it gives the code that
the function has, instruction by instruction. The line numbers are not trusted, only
used to tell apart functions that compile alike. Where no text fits, there is no
source, and the code object itself has to serve.
"""

from __future__ import annotations

import ast
import linecache
import tokenize
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any, Final, Literal, NamedTuple
from weakref import WeakValueDictionary

from jackfield_memo.syntax import FunctionNode, code_form


class _Candidate(NamedTuple):
    code: CodeType
    node: FunctionNode


_ATTEMPTS: Final = 20


def tree_of(text: str, mode: Literal["exec", "eval"] = "exec") -> Any:
    """Parse a text, as ``ast.parse`` does.

    Before 3.11.8 and 3.12.2 two threads that parse may disturb each other: Python
    counts how deep it is in a tree for all threads together, and if another thread runs
    in the midst of that (which takes a garbage collection then, with finalizers in
    Python), the count is wrong in the end. Nothing else is. A lock here would be held
    while such finalizers run, and would not keep the program's other threads from
    parsing. So the text is parsed once more.

    Raises:
        SyntaxError: It is no Python.
        ValueError: Nor is it text that Python reads.
        RecursionError: It is nested too deeply.
    """
    for _ in range(_ATTEMPTS):
        try:
            return ast.parse(text, mode=mode)
        except SystemError:
            continue
    return ast.parse(text, mode=mode)


class Text:
    """One text of a file: its tree, and its functions by their code.

    Attributes:
        tree: The syntax tree.
    """

    def __init__(self, text: str, filename: str) -> None:
        self.tree: ast.Module = tree_of(text)
        self._by_code: dict[tuple[Any, ...], list[_Candidate]] = defaultdict(list)
        self._lines: dict[str, int] | None = None
        code = compile(text, filename, "exec", dont_inherit=True)
        nodes = _by_place(self.tree)
        for found in _functions_in(code):
            node = nodes.get(_place(found))
            if node is not None:
                self._by_code[_rough_form(found)].append(_Candidate(found, node))

    def node_of(self, code: CodeType) -> FunctionNode | None:
        """Return the function that compiles to ``code``, if there is one."""
        alike = self._by_code.get(_rough_form(code))
        if not alike:
            return None
        form = code_form(code)
        fitting = [one for one in alike if code_form(one.code) == form]
        if not fitting:
            return None
        line = code.co_firstlineno
        nearest = min(fitting, key=lambda one: abs(one.code.co_firstlineno - line))
        return nearest.node

    def line_of(self, name: str) -> int | None:
        """Return the line that first binds a name; of a class in one, ``"A.B"``."""
        if self._lines is None:
            self._lines = dict(_lines(self.tree.body, ""))
        return self._lines.get(name)


def _lines(statements: list[ast.stmt], prefix: str) -> Iterator[tuple[str, int]]:
    """Give names and lines, the first line of a name last."""
    for statement in reversed(statements):
        if isinstance(statement, ast.ClassDef):
            yield from _lines(statement.body, f"{prefix}{statement.name}.")
            yield f"{prefix}{statement.name}", statement.lineno
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield f"{prefix}{node.id}", node.lineno


def find_source(
    code: CodeType, module: Mapping[str, Any]
) -> tuple[Text, FunctionNode] | None:
    """Return the text and the syntax tree of running code; ``None`` if no text fits.

    Args:
        code: The function's code.
        module: The globals of its module, which may know how to get the source.
    """
    for text in _texts(code.co_filename, module):
        parsed = parse(text, code.co_filename)
        node = parsed.node_of(code) if parsed else None
        if parsed is not None and node is not None:
            return parsed, node
    return None


_recent: Final[deque[Text]] = deque(maxlen=16)
_parsed: Final[WeakValueDictionary[tuple[str, str], Text]] = WeakValueDictionary()
"""Texts that somebody holds, by text and file name. A walk through a project holds
all that it comes through; afterwards a tree is some 1.5 kB a line of nothing."""


def parse(text: str, filename: str) -> Text | None:
    """Parse a source text; ``None`` if it is none."""
    parsed = _parsed.get((text, filename))
    if parsed is None:
        try:
            parsed = Text(text, filename)
        except (SyntaxError, ValueError, RecursionError):
            return None
        _parsed[text, filename] = parsed
        _recent.append(parsed)
    return parsed


def read_text(filename: str) -> str | None:
    """Read a source file in the encoding that it declares."""
    try:
        with tokenize.open(filename) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def _texts(filename: str, module: Mapping[str, Any]) -> Iterator[str]:
    """Give what may be the source: as Python has cached it, then as it is now.

    The first is also where notebooks and shells keep the text of a cell.
    """
    lines = linecache.getlines(filename, dict(module))
    if lines:
        yield "".join(lines)
    now = read_text(filename)
    if now is not None:
        yield now


def _functions_in(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _functions_in(constant)


def _rough_form(code: CodeType) -> tuple[Any, ...]:
    """Return what is alike for equal code, and cheap to find it by."""
    return code.co_name, code.co_code, code.co_names, code.co_varnames


_Place = tuple[str, Any]


def _place(code: CodeType) -> _Place:
    """Return where a function's code says that it stands.

    A function by its line; a lambda by where its body begins and ends, because several
    may stand in one line.
    """
    if code.co_name != "<lambda>":
        return code.co_name, code.co_firstlineno
    ranges = [
        (line, column, end_line, end_column)
        for line, end_line, column, end_column in code.co_positions()
        if line is not None
        and column is not None
        and end_line is not None
        and end_column is not None
        and end_column > 0
    ]
    if not ranges:  # a body that is a constant, or columns are not recorded
        return code.co_name, code.co_firstlineno
    first = min((line, column) for line, column, _, _ in ranges)
    last = max((line, column) for _, _, line, column in ranges)
    return code.co_name, (first, last)


def _by_place(tree: ast.Module) -> dict[_Place, FunctionNode]:
    """Return the functions of a tree by what ``_place`` says of their code.

    A lambda is found by its line as well, for code that does not tell columns; but not
    if another one stands in that line.
    """
    nodes: dict[_Place, FunctionNode] = {}
    crowded: set[_Place] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = [one.lineno for one in node.decorator_list]
            nodes[node.name, min([node.lineno, *decorators])] = node
        elif isinstance(node, ast.Lambda):
            body = node.body
            first = body.lineno, body.col_offset
            nodes["<lambda>", (first, (body.end_lineno, body.end_col_offset))] = node
            alone = "<lambda>", node.lineno
            if alone in nodes:
                crowded.add(alone)
            nodes[alone] = node
    for place in crowded:
        del nodes[place]
    return nodes
