"""Which module needs which: names resolved to modules, and modules ranked.

Plain Python that knows nothing of Jackfield: the apps of ``stdlib_atlas.py`` call it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_source import Module


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over the files of one package; imports are those of its library part.

    Attributes:
        files: Number of files, tests too.
        tests: How many of them are tests.
        unparsed: How many could not be parsed.
        lines: Number of lines in those that could.
        functions: Number of functions and methods.
        classes: Number of classes.
        leans_on: The others that most of its modules import, most first.
    """

    files: int
    tests: int
    unparsed: int
    lines: int
    functions: int
    classes: int
    leans_on: list[str]


@dataclass(frozen=True, slots=True)
class Graph:
    """The imports between the modules that were mapped.

    Attributes:
        needs: Module to the modules that it imports, both sorted. Tests included.
        needed_by: Module to the number of library modules that import it, most
            needed first, then by name. Tests are neither counted nor listed.
        needed_by_tests: Module to the number of tests that import it.
    """

    needs: dict[str, list[str]]
    needed_by: dict[str, int]
    needed_by_tests: dict[str, int]

    def edges(self, among: Iterable[str]) -> list[tuple[str, str]]:
        """List the imports ``(from, to)`` between some of the modules."""
        chosen = sorted(among)
        return [(a, b) for a in chosen for b in self.needs[a] if b in chosen]


def sum_up(modules: list[Module]) -> Totals:
    """Add up the files of one package."""
    library = [module for module in modules if not module.source.is_test]
    own = {module.source.name.partition(".")[0] for module in modules}
    imported = Counter(
        name
        for module in library
        for name in {origin.partition(".")[0] for origin, _ in module.imports}
    )
    others = [name for name in ranked(imported) if name and name not in own]
    return Totals(
        files=len(modules),
        tests=len(modules) - len(library),
        unparsed=sum(module.error is not None for module in modules),
        lines=sum(module.lines for module in modules),
        functions=sum(module.functions for module in modules),
        classes=sum(module.classes for module in modules),
        leans_on=others[:4],
    )


def ranked(counts: Mapping[str, int]) -> dict[str, int]:
    """Sort by count, the largest first, and equal ones by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def link(modules: Iterable[Module]) -> Graph:
    """Resolve all imports to the modules that were mapped, and count them."""
    known = by_name(modules)
    needs = {name: sorted(_needed(known[name], known)) for name in sorted(known)}
    library = [name for name in known if not known[name].source.is_test]
    tests = [name for name in known if known[name].source.is_test]
    by_library = Counter(needed for name in library for needed in needs[name])
    by_tests = Counter(needed for name in tests for needed in needs[name])
    return Graph(
        needs,
        needed_by=ranked({name: by_library[name] for name in library}),
        needed_by_tests=ranked(by_tests),
    )


def by_name(modules: Iterable[Module]) -> dict[str, Module]:
    """Return the modules by name; of several with one name, the first counts.

    A file of the library comes before a test.
    """
    known: dict[str, Module] = {}
    for module in sorted(modules, key=lambda module: module.source.is_test):
        known.setdefault(module.source.name, module)
    return known


def _needed(module: Module, known: Mapping[str, Module]) -> set[str]:
    found = {resolve(origin, name, known) for origin, name in set(module.imports)}
    return found - {"", module.source.name}


def resolve(origin: str, name: str, known: Mapping[str, Module]) -> str:
    """Return the module that ``from origin import name`` needs.

    That is ``origin``, or its submodule ``name`` unless ``origin`` itself has
    something of that name. Of what is no module, the known beginning is taken:
    ``os`` for ``os.path``, and ``""`` for ``sys``, which has no source file.
    """
    while origin and origin not in known:
        origin, name = origin.rpartition(".")[0], ""
    submodule = f"{origin}.{name}"
    if submodule not in known or name in known[origin].definitions:
        return origin
    return submodule if _passed_on(known[origin], name) == submodule else origin


def _passed_on(module: Module, name: str) -> str:
    return module.reexports.get(name, f"{module.source.name}.{name}")


def find_definition(
    name: str, known: Mapping[str, Module]
) -> tuple[str, str, int] | None:
    """Return kind, path and line of the definition that an imported name leads to.

    Follows names that one module only passes on from another.
    """
    seen = set()
    while name not in seen:
        seen.add(name)
        owner, _, attribute = name.rpartition(".")
        module = known.get(owner)
        if module is None:
            return None
        if attribute in module.definitions:
            kind, line = module.definitions[attribute]
            return kind, module.source.path, line
        name = _passed_on(module, attribute)
    return None
