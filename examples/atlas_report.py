"""Write the report of an atlas in Markdown.

Plain Python that knows nothing of Jackfield: the apps of ``stdlib_atlas.py`` call it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from atlas_graph import by_name, find_definition

if TYPE_CHECKING:
    from atlas_graph import Graph, Totals
    from atlas_source import Module

ROWS = 20
"""Rows of a table that shows only the first of many."""

HOW = """\
One task parsed each file and listed what it imports and defines. A join app made these
tasks package by package, and one more for each package that added its files up. The
imports went through `sort | uniq -c` to be counted by name. One task resolved the names
to modules, one drew the picture, and one wrote this.

An import counts wherever it stands, inside functions and `try` too. The ranking of
modules counts each module that has it once; the ranking of names counts it as often as
it is written. `from package import name` is an import of the module `package.name` if
there is one. A file is a test if its name or a folder's says so (`test`, `tests`,
`test_...`, `..._test`); the rankings and the picture show what the others import.
Hidden folders and those of installed packages were not entered."""


def render(
    title: str,
    left_out: Sequence[str],
    modules: list[Module],
    packages: Mapping[str, Totals],
    graph: Graph,
    counts: list[tuple[int, str]],
    picture: str,
) -> str:
    """Return the report.

    Args:
        title: Its heading.
        left_out: Folders that were not entered.
        modules: All files, in order.
        packages: Package to its sums.
        graph: The imports between the modules.
        counts: How often a name is imported, and the name; most imported first.
        picture: File name of the picture, which stands beside the report.
    """
    sections = [
        f"# {title}",
        _overview(modules, graph, left_out),
        f"![The modules that most others import]({picture})",
        "## Modules that most others need",
        _most_needed(modules, graph),
        "## Names that are imported most",
        _names(counts[:ROWS], modules),
        "## Definitions that are imported most",
        _definitions(counts, modules),
        "## Biggest modules",
        _biggest(modules),
        "## Packages",
        _packages(packages),
        "## Files that could not be parsed",
        _unparsed(modules),
        "## How this was made",
        HOW,
    ]
    return "\n\n".join(sections) + "\n"


# -- Sections -----------------------------------------------------------------------


def _overview(modules: list[Module], graph: Graph, left_out: Sequence[str]) -> str:
    tests = sum(module.source.is_test for module in modules)
    unparsed = sum(module.error is not None for module in modules)
    edges = {(a, b) for a, needed in graph.needs.items() for b in needed}
    mutual = sum(a < b and (b, a) in edges for a, b in edges)
    facts: list[tuple[str, int]] = [
        ("Files", len(modules)),
        ("of which tests", tests),
        ("with the module name of another", len(modules) - len(by_name(modules))),
        ("that could not be parsed", unparsed),
        ("Lines of those that could", sum(module.lines for module in modules)),
        ("Functions and methods", sum(module.functions for module in modules)),
        ("Classes", sum(module.classes for module in modules)),
        (
            "Imports, each as often as it is written",
            sum(len(m.imports) for m in modules),
        ),
        ("Pairs of modules, of which one imports the other", len(edges)),
        ("Pairs of modules that import each other", mutual),
    ]
    out = ", ".join(f"`{folder}`" for folder in left_out)
    rows = [(what, f"{number:,}") for what, number in facts]
    return _table(("What", "#Number"), rows) + (f"\n\nLeft out: {out}." if out else "")


def _most_needed(modules: list[Module], graph: Graph) -> str:
    known = by_name(modules)
    first = [(name, count) for name, count in graph.needed_by.items() if count][:ROWS]
    rows = [
        (
            str(place),
            f"`{name}`",
            str(count),
            str(graph.needed_by_tests.get(name, 0)),
            f"{known[name].lines:,}",
        )
        for place, (name, count) in enumerate(first, 1)
    ]
    return _table(("#Rank", "Module", "#Needed by", "#By tests too", "#Lines"), rows)


def _names(counts: Iterable[tuple[int, str]], modules: list[Module]) -> str:
    known = by_name(modules)
    rows = [(f"`{name}`", str(count), _meaning(name, known)) for count, name in counts]
    return _table(("Name", "#Imports", "What it is"), rows)


def _meaning(name: str, known: Mapping[str, Module]) -> str:
    definition = find_definition(name, known)
    if definition is not None:
        kind, path, line = definition
        return f"{kind}, `{path}` line {line}"
    if name in known:
        return f"module, `{known[name].source.path}`"
    return "no Python source here"


def _definitions(counts: list[tuple[int, str]], modules: list[Module]) -> str:
    known = by_name(modules)
    found = [pair for pair in counts if find_definition(pair[1], known)]
    return _names(found[:ROWS], modules)


def _biggest(modules: list[Module]) -> str:
    library = [m for m in modules if not m.source.is_test and m.error is None]
    library.sort(key=lambda module: (-module.lines, module.source.path))
    rows = [
        (f"`{m.source.name}`", f"{m.lines:,}", str(m.functions), str(m.classes))
        for m in library[:ROWS]
    ]
    return _table(("Module", "#Lines", "#Functions", "#Classes"), rows)


def _packages(packages: Mapping[str, Totals]) -> str:
    rows = [
        (
            f"`{name}`",
            str(total.files),
            str(total.tests),
            f"{total.lines:,}",
            f"{total.functions:,}",
            f"{total.classes:,}",
            ", ".join(f"`{other}`" for other in total.leans_on),
        )
        for name, total in sorted(packages.items())
    ]
    head = ("Package", "#Files", "#Tests", "#Lines", "#Functions", "#Classes")
    return _table((*head, "Imports most"), rows)


def _unparsed(modules: list[Module]) -> str:
    rows = [(f"`{m.source.path}`", m.error) for m in modules if m.error is not None]
    return _table(("File", "Reason"), rows)


# -- Markdown -----------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; a heading that begins with ``#`` is one of numbers."""
    if not rows:
        return "None."
    return "\n".join(_table_lines(head, rows))


def _table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield _row([title.removeprefix("#") for title in head])
    yield _row(["--:" if title.startswith("#") else "---" for title in head])
    yield from map(_row, rows)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
