"""The installed plugins as a page in Markdown, made from their entry points and docs.

Nothing is imported: what a plugin is stands in the docstring of what its entry point
names, and that is read from the source. So the page is the same whether or not
optional packages are there.
"""

from __future__ import annotations

import ast
from importlib.machinery import PathFinder
from itertools import groupby
from typing import TYPE_CHECKING, Final

from jackfield.plugins.scan import GROUPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackfield.plugins.scan import EntryPoint

TITLES: Final = {
    "configuration": ("Configuration", "Finds the configuration of a kernel."),
    "log": ("Logs", "Where the log of a run goes."),
    "executor": ("Executors", 'Where tasks run: `[executors.LABEL] plugin = "NAME"`.'),
    "walltime": ("Walltimes", "Ends functions at their `walltime=`."),
    "shell": ("Shells", "Runs the command lines of bash apps."),
    "staging": ("Staging", "Files whose URLs begin with `NAME:`."),
    "mover": ("Movers", "Makes transfers of the bytes that staging moves."),
    "keeper": ("Keepers", "Keeps results of cached calls for later runs."),
    "checkpoint": ("Stores", 'Where results are kept: `[checkpoint] store = "NAME:///…"`.'),
    "memo": ("Memo", "What makes two values of the package `NAME` the same."),
    "monitor": ("Monitors", 'Follow a run: `[monitors.LABEL] plugin = "NAME"`.'),
    "optional": ("Optional plugins", "Switched on by a table `[plugins.NAME]`."),
    "command": ("Commands", "`jackfield NAME`."),
    "stream": ("Streams of events", "Tells observers what happens to tasks."),
    "plugin": ("Plugins of every run", 'Loaded unless `[plugins] block = ["NAME"]`.'),
    "profile": ("Profiles", 'Configurations by name: `jf.load("NAME")`.'),
}  # fmt: skip
"""Kind to its heading, and how its plugins are used."""


def page(entries: Sequence[EntryPoint]) -> str:
    """Return the page."""
    order = list(GROUPS)
    ordered = sorted(entries, key=lambda one: (order.index(one.kind), one.name))
    parts = ["# Plugins\n", "Made by `jackfield plugins --markdown`.\n"]
    for kind, group in groupby(ordered, key=lambda one: one.kind):
        title, use = TITLES.get(kind, (kind.capitalize(), f"Of the kind `{kind}`."))
        parts.append(f"## {title}\n\n{use}\n\n{_table(list(group))}\n")
    return "\n".join(parts)


def _table(entries: Sequence[EntryPoint]) -> str:
    rows = ["| name | what it is | from |", "| --- | --- | --- |"]
    for entry in entries:
        extras = f"[{entry.extras}]" if entry.extras else ""
        told = _summary(entry).replace("|", r"\|")
        rows.append(f"| `{entry.name}` | {told} | `{entry.distribution}{extras}` |")
    return "\n".join(rows)


def _summary(entry: EntryPoint) -> str:
    """Return what the docstring says first: of the class or function, or the module."""
    attribute = entry.value.partition("[")[0].partition(":")[2].strip()
    tree = _tree(entry.module)
    if tree is None:
        return ""
    named = [
        ast.get_docstring(one)
        for one in tree.body
        if isinstance(one, ast.ClassDef | ast.FunctionDef) and one.name == attribute
    ]
    text = next(filter(None, named), None) or ast.get_docstring(tree) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("``", "`")


def _tree(module: str) -> ast.Module | None:
    """Parse a module's source, and import neither it nor its package."""
    path: Sequence[str] | None = None
    spec = None
    for number in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:number])
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    with open(spec.origin, "rb") as file:  # noqa: PTH123  (a str, as it is given)
        return ast.parse(file.read())
