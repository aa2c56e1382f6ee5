"""Modules that functions import when they run: read, never imported.

A function that imports in its body often does so to spare the driver the import, and
a key must not depend on whether something else has imported the module already. So
what such an import reaches is found in the source text: the statements that bind a
name, and through the names in them what these reach in turn, here and in other
modules of the project. What a module does besides defining names counts as well.

If the module happens to be loaded, the text must be what runs: where the loaded
function or constant differs from the text (the file was edited later, the constant
set by somebody), that counts too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from jackfield_memo.introspection import wrapped_by
from jackfield_memo.origins import PROJECT, Origin, origin
from jackfield_memo.references import (
    Chain,
    Import,
    import_aliases,
    imports_in_tree,
    name_chains,
)
from jackfield_memo.sources import Text, parse, read_text
from jackfield_memo.syntax import code_form, does_nothing, statements_form

WHOLE = "*"
"""Stands for all that is in a module."""
EFFECTS = ""
"""Stands for what a module does when it is imported, besides defining names."""

_MISSING = object()
_GUARDS = {"TYPE_CHECKING", "__name__"}


class Target(NamedTuple):
    """What an import refers to.

    Attributes:
        origin: Whose it is; for the project's, the rest says what.
        module: The module, or ``None`` if it cannot be found.
        name: A name in it, ``WHOLE``, or ``EFFECTS``; outside the project, and where
            there is no module, the full name.
    """

    origin: Origin
    module: StaticModule | None = None
    name: str = WHOLE


class StaticModule:
    """A module of the project, as its source text has it.

    Attributes:
        name: Its full name.
        file: Where it is.
        package: What relative imports in it start from.
        text: The text, parsed.
        bindings: Name to the statements that bind or change it.
        effects: The statements that do something else.
    """

    def __init__(self, name: str, file: str, text: Text, *, is_package: bool) -> None:
        self.name: str = name
        self.file: str = file
        self.package: str = name if is_package else name.rpartition(".")[0]
        self.text: Text = text
        self.bindings: dict[str, list[ast.stmt]] = {}
        self.effects: list[ast.stmt] = []
        for statement in text.tree.body:
            self._sort(statement)
        self.aliases: dict[str, list[Import]]
        self.stars: set[Import]
        self.aliases, self.stars = import_aliases(
            one
            for one in text.tree.body
            if not isinstance(one, _DEFINITIONS) and not _is_guarded(one)
        )

    def _sort(self, statement: ast.stmt) -> None:
        if _is_guarded(statement) or isinstance(statement, ast.Import | ast.ImportFrom):
            return
        for name in _bound(statement):
            self.bindings.setdefault(name, []).append(statement)
        if not isinstance(statement, _SILENT) and not does_nothing(statement):
            self.effects.append(statement)

    def statements(self, name: str) -> list[ast.stmt]:
        """Return the statements behind a name."""
        if name == WHOLE:
            return self.text.tree.body
        return self.effects if name == EFFECTS else self.bindings[name]

    def line(self, name: str) -> int:
        """Return the line where a name's first statement begins."""
        return min((one.lineno for one in self.statements(name)), default=1)

    def kind(self, name: str) -> str:
        """Return what kind of thing a name stands for, as labels have it."""
        first = next(iter(self.statements(name)), None)
        if name == EFFECTS:
            return "module"
        if isinstance(first, ast.ClassDef):
            return "class"
        return "function" if isinstance(first, _DEFINITIONS) else "global"


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SILENT = (*_DEFINITIONS, ast.Assign, ast.AnnAssign, ast.AugAssign)


def _is_guarded(statement: ast.stmt) -> bool:
    """Whether it is under ``if TYPE_CHECKING`` or ``if __name__ == "__main__"``."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    return any(chain[-1] in _GUARDS for chain in name_chains([statement.test]))


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, _DEFINITIONS):
        return {statement.name}
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, _DEFINITIONS):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute | ast.Subscript):
            base: ast.expr = node
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            if isinstance(base, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(base.id)  # CONFIG["depth"] = 3
    return found


class StaticModules:
    """Finds modules and what names in them refer to; for one thread, for a while."""

    def __init__(self) -> None:
        self._modules: dict[str, StaticModule | None] = {}

    def resolve(self, reference: Import, package: str) -> Iterator[Target]:
        """Give what a reference may refer to: one thing, unless the code is unclear.

        Args:
            reference: As it stands in the code.
            package: What relative imports start from.
        """
        name = _absolute(reference, package)
        yield from self._find(name, reference.chain, frozenset())

    def references(self, module: StaticModule, name: str) -> Iterator[Target]:
        """Give what the statements behind a name refer to."""
        if name != EFFECTS and module.effects:
            yield Target(PROJECT, module, EFFECTS)
        statements = module.statements(name)
        for reference in sorted(imports_in_tree(statements)):
            yield from self.resolve(reference, module.package)
        for chain in sorted(name_chains(statements)):
            if name == WHOLE and chain[0] in module.bindings:
                continue
            yield from self._in_module(module, chain, frozenset(), certain=False)

    def _find(
        self, name: str, chain: Chain, seen: frozenset[tuple[str, Chain]]
    ) -> Iterator[Target]:
        if (name, chain) in seen:
            return
        seen |= {(name, chain)}
        spec = _spec(name.partition(".")[0], None)
        whose = _origin_of(spec) if spec else PROJECT
        if whose.kind != "project":
            yield Target(whose, None, ".".join((name, *chain)))
            return
        module = self._load(name)
        if module is None:
            yield Target(PROJECT, None, name)
        elif not chain or chain == (WHOLE,):
            yield Target(PROJECT, module)
        else:
            yield from self._in_module(module, chain, seen, certain=True)

    def _in_module(
        self,
        module: StaticModule,
        chain: Chain,
        seen: frozenset[tuple[str, Chain]],
        *,
        certain: bool,
    ) -> Iterator[Target]:
        name, *rest = chain
        if name in module.bindings:
            yield Target(PROJECT, module, name)
        for level, source, taken in module.aliases.get(name, ()):
            full = _absolute(Import(level, source, taken), module.package)
            yield from self._find(full, (*taken, *rest), seen)
        if name in module.bindings or name in module.aliases:
            return
        found = list(self._by_stars(module, chain, seen))
        yield from found
        if not certain or any(target.module is not None for target in found):
            return
        if self._load(f"{module.name}.{name}") is not None:
            yield from self._find(f"{module.name}.{name}", tuple(rest), seen)
        elif "__getattr__" in module.bindings:
            yield Target(PROJECT, module, "__getattr__")
        elif not found:
            yield Target(PROJECT, None, f"{module.name}.{name}")

    def _by_stars(
        self, module: StaticModule, chain: Chain, seen: frozenset[tuple[str, Chain]]
    ) -> Iterator[Target]:
        """Look for a name in what a module imports all names of."""
        here = module.name, (WHOLE, *chain)
        for star in sorted(module.stars) if here not in seen else ():
            for target in self._find(_absolute(star, module.package), (), seen):
                if target.module is None:  # a package's: who knows what names it has
                    yield target
                else:
                    inside = seen | {here}
                    yield from self._in_module(
                        target.module, chain, inside, certain=False
                    )

    def _load(self, name: str) -> StaticModule | None:
        if name not in self._modules:
            self._modules[name] = _load(name)
        return self._modules[name]


def _absolute(reference: Import, package: str) -> str:
    if not reference.level:
        return reference.module
    base = package.split(".")
    base = base[: len(base) - reference.level + 1]
    return ".".join([*base, reference.module] if reference.module else base)


def _load(name: str) -> StaticModule | None:
    path: Iterable[str] | None = None
    spec, full = None, ""
    for part in name.split("."):
        full = f"{full}.{part}" if full else part
        spec = _spec(full, path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    if spec is None:
        return None
    is_package = spec.submodule_search_locations is not None
    if is_package and not spec.has_location:  # a namespace
        empty = parse("", "")
        assert empty is not None
        return StaticModule(name, "", empty, is_package=True)
    source = read_text(spec.origin) if spec.origin else None
    text = parse(source, spec.origin or "") if source is not None else None
    if text is None or spec.origin is None:
        return None
    return StaticModule(name, spec.origin, text, is_package=is_package)


def _spec(name: str, path: Iterable[str] | None) -> ModuleSpec | None:
    """Find a module as an import would, without importing its parents."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(name, path) if find else None
        if spec is not None:
            return spec
    return None


def _origin_of(spec: ModuleSpec) -> Origin:
    if spec.has_location and spec.origin:
        return origin(spec.name, spec.origin)
    places = list(spec.submodule_search_locations or ())
    return origin(spec.name, places[0] if places else None)


def running_otherwise(
    module: StaticModule, name: str, identity: Callable[[object], bytes]
) -> list[bytes]:
    """Return how the loaded module differs from its text under a name.

    Args:
        module: The module; it need not be loaded.
        name: The name.
        identity: Gives the identity of a value.
    """
    loaded = sys.modules.get(module.name)
    if loaded is None or name in {WHOLE, EFFECTS} or not hasattr(loaded, name):
        return []
    value = vars(loaded).get(name)
    code = [one for one in _functions(value) if one.__globals__ is vars(loaded)]
    if code or isinstance(value, type | ModuleType):
        changed = (one for one in code if module.text.node_of(one.__code__) is None)
        return [code_form(one.__code__) for one in changed]
    written = _written(module.bindings[name])
    if written is _MISSING or identity(written) == identity(value):
        return []
    return [identity(value)]


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


def _written(statements: list[ast.stmt]) -> Any:
    """Return the value of a constant that is written out, or ``_MISSING``."""
    last = statements[-1]
    if len(statements) == 1 and isinstance(last, ast.Assign | ast.AnnAssign):
        try:
            return ast.literal_eval(last.value) if last.value else _MISSING
        except (ValueError, TypeError, SyntaxError, RecursionError):
            return _MISSING
    return _MISSING


def form(module: StaticModule, name: str) -> bytes:
    """Return the digest of the statements behind a name."""
    return statements_form(module.statements(name))
