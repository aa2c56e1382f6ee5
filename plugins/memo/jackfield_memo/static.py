"""Modules that functions import when they run: read, never imported.

A function that imports in its body often does so to spare the driver the import, and
a key must not depend on whether something else has imported the module already. So
what such an import reaches is found in the source text: the statements that bind a
name, and through the names in them what these reach in turn, here and in other
modules of the project. What a module does besides defining names counts as well.

If the module happens to be loaded, the text must be what runs: ``static_running``
tells where it is not.
"""

from __future__ import annotations

import ast
import glob
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jackfield_memo.bytecode import drop_stale
from jackfield_memo.files import path_identity
from jackfield_memo.import_effects import (
    DEFINITIONS,
    acts,
    is_guarded,
    is_plain_class,
    run_at_once,
)
from jackfield_memo.introspection import MISSING
from jackfield_memo.loaded import as_read, signature
from jackfield_memo.references import (
    Chain,
    Import,
    changed_chains,
    import_aliases,
    imports_in_tree,
    name_chains,
)
from jackfield_memo.sources import Text, parse, read_text
from jackfield_memo.syntax import statements_form
from jackfield_serialize.origins import PROJECT, Origin, origin

if TYPE_CHECKING:
    from jackfield_memo.asking import Asks

WHOLE = "*"
"""Stands for all that is in a module."""
EFFECTS = ""
"""Stands for what a module does when it is imported, besides defining names."""


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
        secret: Bytes of this process, if the imported module may be of another text.
    """

    def __init__(
        self,
        modules: StaticModules,
        name: str,
        file: str,
        text: Text,
        *,
        is_package: bool,
    ) -> None:
        self._modules: StaticModules = modules
        self._effects: list[ast.stmt] | None = None
        self._changed: set[str] | None = None
        self.name: str = name
        self.file: str = file
        self.package: str = name if is_package else name.rpartition(".")[0]
        self.text: Text = text
        self.secret: bytes = b""
        self.bindings: dict[str, list[ast.stmt]] = {}
        for statement in text.tree.body:
            self._sort(statement)
        self.aliases: dict[str, list[Import]]
        self.stars: set[Import]
        self.aliases, self.stars = import_aliases(
            one
            for one in text.tree.body
            if not isinstance(one, DEFINITIONS) and not is_guarded(one)
        )

    def _sort(self, statement: ast.stmt) -> None:
        if is_guarded(statement) or isinstance(statement, ast.Import | ast.ImportFrom):
            return
        for name in _bound(statement):
            self.bindings.setdefault(name, []).append(statement)

    @property
    def effects(self) -> list[ast.stmt]:
        """The statements that may do more than bind names."""
        if self._effects is None:
            self._effects = [
                one
                for one in self.text.tree.body
                if not is_guarded(one) and self._acts(one)
            ]
        return self._effects

    def _acts(self, statement: ast.stmt) -> bool:
        """Tell whether a statement may do more; what it sets of its own is no more."""
        if acts(statement, partial(self.is_outside, seen=frozenset())):
            if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
                names = _bound(statement)
                return bool(names & self.aliases.keys()) or _calls(statement, self)
            return True
        return False

    def is_outside(
        self, chain: Chain, base: bool, *, seen: frozenset[tuple[str, Chain]]
    ) -> bool:
        """Tell whether a name surely is no code of the project that may act."""
        here = self.name, chain
        if here in seen:
            return True
        seen |= {here}
        statements = self.bindings.get(chain[0], [])
        if statements:
            inner = partial(self.is_outside, seen=seen)
            plain = (is_plain_class(one, inner) for one in statements)
            return base and len(chain) == 1 and all(plain)
        sources = self.aliases.get(chain[0], [])
        return bool(sources) and all(
            self._leads_outside(one, chain[1:], base, seen) for one in sources
        )

    def _leads_outside(
        self,
        source: Import,
        rest: Chain,
        base: bool,
        seen: frozenset[tuple[str, Chain]],
    ) -> bool:
        name = absolute(source, self.package)
        if name == "jackfield" or is_outside(name):
            return True
        module = self._modules.load(name)
        chain = (*source.chain, *rest)
        if module is None or not chain:
            return False
        return module.is_outside(chain, base, seen=seen)

    @cached_property
    def attributes(self) -> frozenset[str]:
        """The attributes that code in it takes of something."""
        nodes = ast.walk(self.text.tree)
        return frozenset(one.attr for one in nodes if isinstance(one, ast.Attribute))

    def statements(self, name: str) -> list[ast.stmt]:
        """Return the statements behind a name."""
        if name == WHOLE:
            return self.text.tree.body
        return self.effects if name == EFFECTS else self.bindings.get(name, [])

    def line(self, name: str) -> int:
        """Return the line where a name's first statement begins."""
        return min((one.lineno for one in self.statements(name)), default=1)

    def changes(self, name: str, written: object) -> bool:
        """Tell whether a constant is changed by code, as caches and registries are.

        One that is written as empty is taken to be filled from elsewhere.
        """
        if self._changed is None:
            chains = changed_chains(self.text.tree.body)
            self._changed = {chain[0] for chain in chains}
        return name in self._changed or (
            isinstance(written, dict | list | set) and not written
        )

    def is_changed(self, name: str) -> bool:
        """Tell whether code of the module changes a value, as ``changes`` does."""
        return self.changes(name, self.written(name))

    def is_written(self, name: str) -> bool:
        """Tell whether the value of a constant is written out."""
        return self.written(name) is not MISSING

    def written(self, name: str) -> Any:
        """Return the value of a constant that is written out, or ``MISSING``."""
        return _written(self.statements(name))

    def written_in(self, name: str) -> dict[str, Any]:
        """Return the attributes of a class that are written out, with their values."""
        found = {}
        for statement in self.statements(name):
            for one in getattr(statement, "body", ()):
                value = _written([one])
                if value is not MISSING:
                    found.update(dict.fromkeys(_bound(one), value))
        return found

    def binds(self, name: str) -> bool:
        """Tell whether a name is bound for certain when the module is imported."""
        sure = any(name in _surely_bound(one) for one in self.text.tree.body)
        return sure and not any(
            isinstance(node, ast.Delete) for node in ast.walk(self.text.tree)
        )

    def data_files(self, name: str) -> list[str]:
        """Return the files that constants behind a name may have been read from.

        They are those whose names stand in the statements, relative to the module or
        to the current directory; to a suffix belongs the file beside the module.
        """
        texts: list[str] = []
        for statement in self.statements(name):
            for node in run_at_once(statement, set()):
                value = node.value if isinstance(node, ast.Constant) else None
                if isinstance(value, str) and 0 < len(value) < _LONGEST_NAME:
                    texts.append(value)
        found: set[str] = set()
        bases = [Path(self.file).parent, Path()] if self.file else []
        for text in (text for text in texts if "\n" not in text and "\0" not in text):
            if text[:1] == "." and "/" not in text:
                found.update(_files(Path(self.file).with_suffix(""), text, glue=""))
            for base in tuple(bases):
                found.update(_files(base, text))
                if text.strip("./") and (base / text).is_dir():
                    bases.append(base / text)
        return sorted(found - {self.file})

    def imported(self) -> list[str]:
        """Return the full names of the modules that this one imports, in order."""
        found = {absolute(one, self.package) for one in self.stars}
        for sources in self.aliases.values():
            for one in sources:
                name = absolute(one, self.package)
                found.add(name)
                found.update(f"{name}.{taken}" for taken in one.chain[:1])
        return sorted(found)

    def kind(self, name: str) -> str:
        """Return what kind of thing a name stands for, as labels have it."""
        first = next(iter(self.statements(name)), None)
        if name == EFFECTS:
            return "module"
        if isinstance(first, ast.ClassDef):
            return "class"
        return "function" if isinstance(first, DEFINITIONS) else "global"


_LONGEST_NAME: Final = 200


def _files(base: Path, name: str, glue: str = "/") -> Iterator[str]:
    """Give the files that a name, which may be a pattern, means in a directory."""
    path = f"{base}{glue}{name}" if not name.startswith("/") else name
    try:
        if any(mark in name for mark in "*?["):
            pattern = glob.escape(f"{base}") + glue + name
            found = glob.glob(pattern, recursive=True)  # noqa: PTH207  (any pattern)
            yield from (one for one in found if Path(one).is_file())
        elif Path(path).is_file():
            yield path
    except (OSError, ValueError, re.error):
        return


def _calls(statement: ast.stmt, module: StaticModule) -> bool:
    """Tell whether an assignment calls code of the project's, besides setting."""
    is_outside = partial(module.is_outside, seen=frozenset())
    return any(
        isinstance(node, ast.Call) and acts(ast.Assign([], node), is_outside)
        for node in run_at_once(statement, set())
    )


def _surely_bound(statement: ast.stmt) -> set[str]:
    """Return the names that are bound in a module once a statement has run.

    A name in a comprehension is not the module's, and one that has only a type is not
    bound.
    """
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    return {
        node.id
        for target in targets
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, DEFINITIONS):
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
        self._acting: dict[str, bool] = {}
        # Names in modules that imports bind there, by which something was found.
        self.passed: set[tuple[StaticModule, str]] = set()

    def resolve(self, reference: Import, package: str) -> Iterator[Target]:
        """Give what a reference may refer to: one thing, unless the code is unclear.

        Args:
            reference: As it stands in the code.
            package: What relative imports start from.
        """
        name = absolute(reference, package)
        yield from self._parents(name)
        yield from self._find(name, reference.chain, frozenset())

    def inside(self, package: str) -> list[Target]:
        """Give a package of the project with all modules in it; nothing if none is."""
        top = self.load(package) if package and not is_outside(package) else None
        if top is None or top.package != package or not top.file:
            return []
        root = Path(top.file).parent
        found = [Target(PROJECT, top)]
        for file in sorted(root.rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            module = self.load(".".join((package, *parts)))
            if module is not None and parts[-1] != "__init__":
                found.append(Target(PROJECT, module))
        return found

    def references(
        self, module: StaticModule, name: str, *, dynamic: bool
    ) -> Iterator[Target]:
        """Give what the statements behind a name refer to.

        Args:
            module: The module.
            name: The name.
            dynamic: Whether they reach what they do not name: then all of the module.
        """
        if dynamic and name != WHOLE:
            yield Target(PROJECT, module)
        if name != EFFECTS and self.acts(module):
            yield Target(PROJECT, module, EFFECTS)
        if name == EFFECTS:
            yield from self._parents(module.name)
            for other in module.imported():
                loaded = self.load(other)
                if loaded is not None and loaded is not module and self.acts(loaded):
                    yield Target(PROJECT, loaded, EFFECTS)
        statements = module.statements(name)
        for reference in sorted(imports_in_tree(statements)):
            yield from self.resolve(reference, module.package)
        for chain in sorted(name_chains(statements)):
            if name == WHOLE and chain[0] in module.bindings:
                continue
            yield from self._in_module(module, chain, frozenset(), certain=False)

    def acts(self, module: StaticModule, seen: frozenset[str] = frozenset()) -> bool:
        """Tell whether an import of a module, or what it imports, may do something."""
        known = self._acting.get(module.name)
        if known is not None:
            return known
        if module.name in seen:
            return False
        found = bool(module.effects)
        seen |= {module.name}
        for name in module.imported() if not found else ():
            other = self.load(name)
            if other is not None and self.acts(other, seen):
                found = True
                break
        if found or len(seen) == 1:  # within a circle, "no" is not the last word
            self._acting[module.name] = found
        return found

    def _parents(self, name: str) -> Iterator[Target]:
        """Give what importing the packages around a module does."""
        package = name.rpartition(".")[0]
        while package:
            module = self.load(package)
            if module is not None and self.acts(module):
                yield Target(PROJECT, module, EFFECTS)
            package = package.rpartition(".")[0]

    def _find(
        self, name: str, chain: Chain, seen: frozenset[tuple[str, Chain]]
    ) -> Iterator[Target]:
        if (name, chain) in seen:
            return
        seen |= {(name, chain)}
        whose = _whose(name)
        if whose.kind != "project":
            yield Target(whose, None, ".".join((name, *chain)))
            return
        module = self.load(name)
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
        elif name in module.aliases:
            self.passed.add((module, name))
        for level, source, taken in module.aliases.get(name, ()):
            full = absolute(Import(level, source, taken), module.package)
            if full == module.name and taken == (name,):  # from . import name
                yield from self._find(f"{full}.{name}", tuple(rest), seen)
            else:
                yield from self._find(full, (*taken, *rest), seen)
        if name in module.bindings or name in module.aliases:
            return
        found = list(self._by_stars(module, chain, seen))
        yield from found
        if not certain or any(target.module is not None for target in found):
            return
        if self.load(f"{module.name}.{name}") is not None:
            yield from self._find(f"{module.name}.{name}", tuple(rest), seen)
        elif "__getattr__" in module.bindings:
            yield Target(PROJECT, module, "__getattr__")
        elif not found:  # set by other means: by anything in the module
            yield Target(PROJECT, module, name)
            yield Target(PROJECT, module)

    def _by_stars(
        self, module: StaticModule, chain: Chain, seen: frozenset[tuple[str, Chain]]
    ) -> Iterator[Target]:
        """Look for a name in what a module imports all names of."""
        here = module.name, (WHOLE, *chain)
        for star in sorted(module.stars) if here not in seen else ():
            for target in self._find(absolute(star, module.package), (), seen):
                if target.module is None:  # a package's: who knows what names it has
                    yield target
                else:
                    inside = seen | {here}
                    yield from self._in_module(
                        target.module, chain, inside, certain=False
                    )

    def load(self, name: str) -> StaticModule | None:
        """Return a module of the project; ``None`` if it is none, or not found."""
        if name not in self._modules:
            found = None if is_outside(name) else _load(self, name)
            self._modules[name] = found
        return self._modules[name]


def _whose(name: str) -> Origin:
    spec = _spec(name.partition(".")[0], None)
    return _origin_of(spec) if spec else PROJECT


def is_outside(name: str) -> bool:
    """Tell whether a module is Python's or a package's."""
    return _whose(name).kind != "project"


def absolute(reference: Import, package: str) -> str:
    """Return the full name of the module that an import in a package names."""
    if not reference.level:
        return reference.module
    base = package.split(".")
    base = base[: len(base) - reference.level + 1]
    return ".".join([*base, reference.module] if reference.module else base)


def _load(modules: StaticModules, name: str) -> StaticModule | None:
    path: Iterable[str] | None = None
    spec, full = None, ""
    for part in name.split("."):
        full = f"{full}.{part}" if full else part
        spec = _spec(full, path)
        if spec is None:
            return None
        # Where an imported package looks, it looks, wherever the program is by now.
        loaded = getattr(sys.modules.get(full), "__path__", None)
        path = loaded if loaded is not None else spec.submodule_search_locations
    if spec is None:
        return None
    is_package = spec.submodule_search_locations is not None
    if is_package and not spec.has_location:  # a namespace
        empty = parse("", "")
        assert empty is not None
        return StaticModule(modules, name, "", empty, is_package=True)
    if not spec.origin:
        return None
    now = signature(spec.origin)
    drop_stale(spec.origin)  # before the text is read: an edit after that is another
    read = as_read(name, spec.origin, now, read_text(spec.origin))
    source = read.content
    text = parse(source, spec.origin) if isinstance(source, str) else None
    if text is None:
        return None
    made = StaticModule(modules, name, spec.origin, text, is_package=is_package)
    made.secret = read.secret
    return made


def is_found(name: str) -> bool:
    """Tell whether a module is imported, or would be found."""
    path: Iterable[str] | None = None
    full = ""
    for part in name.split("."):
        full = f"{full}.{part}" if full else part
        spec = _spec(full, path)
        if spec is None:
            return full in sys.modules
        path = spec.submodule_search_locations
    return True


def _spec(name: str, path: Iterable[str] | None) -> ModuleSpec | None:
    """Find a module as an import would, without importing its parents.

    One that is imported is where it was found then, also from another directory.
    """
    known: ModuleSpec | None = getattr(sys.modules.get(name), "__spec__", None)
    if known is not None:
        return known
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


def asks(module: StaticModule, name: str, found: Asks) -> Asks:
    """Add what the statements behind a name ask about code."""
    return found.and_of_chains(name_chains(module.statements(name)))


def whole_text(module: StaticModule) -> bytes:
    """Return a digest of the whole text of a module."""
    return hashlib.sha256(repr(read_text(module.file)).encode()).digest()


def _written(statements: list[ast.stmt]) -> Any:
    """Return the value of a constant that is written out, or ``MISSING``."""
    last = statements[-1] if statements else None
    if len(statements) == 1 and isinstance(last, ast.Assign | ast.AnnAssign):
        try:
            return ast.literal_eval(last.value) if last.value else MISSING
        except (ValueError, TypeError, SyntaxError, RecursionError):
            return MISSING
    return MISSING


def form(module: StaticModule, name: str) -> bytes:
    """Return the digest of the statements behind a name."""
    return statements_form(module.statements(name)) + module.secret


def data_identities(module: StaticModule, name: str) -> list[bytes]:
    """Return the identities of the files that the statements behind a name read."""
    found = []
    for file in module.data_files(name):
        now = signature(file)
        read = as_read(module.name, file, now, path_identity(file, "content"))
        assert isinstance(read.content, bytes)
        found.append(read.content + read.secret)
    return found
