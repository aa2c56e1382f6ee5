"""Find Python sources, and tell what each of them imports and defines.

Plain Python that knows nothing of Jackfield: the apps of ``stdlib_atlas.py`` call it.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePath

NOT_ENTERED = ("site-packages", "dist-packages")
"""Folders of installed packages: no part of what is being mapped."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read.

    Attributes:
        path: Its path below the directory that is mapped: ``"email/message.py"``.
        name: What Python imports it as: ``"email.message"``.
        package: The first folder of ``path``, or ``"(top level)"``.
        is_test: Whether it belongs to a test suite, by its name or a folder's.
    """

    path: str
    name: str
    package: str
    is_test: bool


@dataclass(frozen=True, slots=True)
class Module:
    """What one file holds.

    Attributes:
        source: The file.
        lines: Number of its lines.
        functions: Number of its functions and methods, nested ones too.
        classes: Number of its classes, nested ones too.
        imports: Each import, as often as it stands there: ``("os.path", "")`` for
            ``import os.path``, ``("typing", "Any")`` for ``from typing import Any``.
        definitions: Each name that it defines for others, with what it is and the
            line: ``{"Message": ("class", 141)}``.
        reexports: Each name that it has ``from`` elsewhere, with its full name there.
        error: Why it could not be parsed, or ``None``.
        worker: Number of the process that parsed it; it makes no difference.
    """

    source: Source
    lines: int = 0
    functions: int = 0
    classes: int = 0
    imports: list[tuple[str, str]] = field(default_factory=list)
    definitions: dict[str, tuple[str, int]] = field(default_factory=dict)
    reexports: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    worker: int = field(default=0, compare=False)

    def __jackfield_hash__(self) -> list[object]:
        """Return what makes two of them the same to a cached app."""
        return [getattr(self, part.name) for part in fields(self) if part.compare]


# -- Finding ------------------------------------------------------------------------


def find_sources(directory: Path) -> tuple[list[Source], list[str]]:
    """Return the ``.py`` files below a directory, and the folders not entered."""
    sources: list[Source] = []
    left_out: list[str] = []

    def cannot_enter(error: OSError) -> None:
        left_out.append(f"{error.filename} ({error.strerror})")

    for folder, subfolders, files in os.walk(directory, onerror=cannot_enter):
        left_out += [str(Path(folder, s)) for s in subfolders if s in NOT_ENTERED]
        subfolders[:] = [s for s in subfolders if _is_entered(s)]
        python = [Path(folder, file) for file in files if file.endswith(".py")]
        sources += [_source(file, directory) for file in python]
    return sorted(sources, key=lambda source: source.path), sorted(left_out)


def _is_entered(folder: str) -> bool:
    return not folder.startswith((".", "__pycache__")) and folder not in NOT_ENTERED


def _source(file: Path, directory: Path) -> Source:
    path = file.relative_to(directory)
    package = path.parts[0] if len(path.parts) > 1 else "(top level)"
    return Source(path.as_posix(), _name(file), package, _is_test(path))


def _name(file: Path) -> str:
    """Return a module's name: from the nearest folder on that is no package itself."""
    parts = [] if file.name == "__init__.py" else [file.stem]
    for folder in file.parents:
        if not (folder / "__init__.py").exists():
            break
        parts.insert(0, folder.name)
    return ".".join(parts)


def _is_test(path: PurePath) -> bool:
    names = path.with_suffix("").parts
    return any(
        name in ("test", "tests") or name.startswith("test_") or name.endswith("_test")
        for name in names
    )


# -- Reading ------------------------------------------------------------------------


def read_module(source: Source, file: str | os.PathLike[str]) -> Module:
    """Parse one file; a file that cannot be parsed is a ``Module`` with an error."""
    try:
        text = Path(file).read_bytes()
        tree = _parse(text)
    except (OSError, SyntaxError, ValueError) as error:
        return Module(source, error=_reason(error), worker=os.getpid())
    except (RecursionError, MemoryError) as error:  # nested too deeply for the parser
        return Module(source, error=type(error).__name__, worker=os.getpid())
    everything = _statements(tree, nested=True)
    return Module(
        source,
        lines=len(text.splitlines()),
        functions=_count(everything, ast.FunctionDef, ast.AsyncFunctionDef),
        classes=_count(everything, ast.ClassDef),
        imports=[pair for node in everything for pair in _imported(node, source)],
        definitions=_definitions(tree),
        reexports=_reexports(tree, source),
        worker=os.getpid(),
    )


def _parse(text: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the sources are warned of is not ours
        return ast.parse(text)


def _reason(error: Exception) -> str:
    """Say in one line why a file was not parsed; its path stands beside it anyway."""
    if isinstance(error, SyntaxError):
        place = f"line {error.lineno}: " if error.lineno else ""
        return f"{place}{error.msg}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _statements(tree: ast.Module, *, nested: bool) -> list[ast.AST]:
    """List all statements; those inside functions and classes only if ``nested``."""
    found: list[ast.AST] = [tree]
    for node in found:  # the list grows while we walk along it
        if nested or not isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ):
            for block in ("body", "handlers", "cases", "orelse", "finalbody"):
                found += getattr(node, block, [])
    return found


def _count(nodes: list[ast.AST], *kinds: type[ast.AST]) -> int:
    return sum(isinstance(node, kinds) for node in nodes)


def _imported(node: ast.AST, source: Source) -> list[tuple[str, str]]:
    """List what a statement imports, as ``Module.imports`` does."""
    if isinstance(node, ast.Import):
        return [(alias.name, "") for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        origin = _origin(node, source)
        return [(origin, alias.name) for alias in node.names]
    return []


def _origin(node: ast.ImportFrom, source: Source) -> str:
    """Return what ``from ... import`` imports from, with relative names made whole."""
    if node.level == 0:
        return node.module or ""
    package = source.name.split(".")
    steps = node.level - 1 if source.path.endswith("__init__.py") else node.level
    if steps >= len(package):  # it points out of the tree: keep it as it is written
        return "." * node.level + (node.module or "")
    parts = package[: len(package) - steps]
    return ".".join([*parts, node.module] if node.module else parts)


def full_name(origin: str, name: str) -> str:
    """Return the dotted name of what ``from origin import name`` imports."""
    if not name:
        return origin
    return f"{origin}{name}" if origin.endswith(".") else f"{origin}.{name}"


def _definitions(tree: ast.Module) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for node in _statements(tree, nested=False):
        match node:
            case ast.ClassDef():
                found.setdefault(node.name, ("class", node.lineno))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found.setdefault(node.name, ("function", node.lineno))
            case ast.Assign() | ast.AnnAssign():
                for name in _assigned(node):
                    found.setdefault(name, ("variable", node.lineno))
    return found


def _assigned(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        for part in ast.walk(target):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id


def _reexports(tree: ast.Module, source: Source) -> dict[str, str]:
    return {
        alias.asname or alias.name: full_name(_origin(node, source), alias.name)
        for node in _statements(tree, nested=False)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
