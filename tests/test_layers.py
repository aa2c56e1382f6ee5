"""The rules between the rooms, held by walking the imports of every module.

An arrow is an import, wherever it stands: at the top of a module, inside a function, or
for type checkers only. Arrows run down: from a room to itself, or to a lower floor.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.xdist_group("layers")  # they parse each file once

ROOT = Path(__file__).parents[1]
KERNEL = ROOT / "kernel" / "jackfield"
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/jackfield_*/__init__.py"))
FLOORS = [  # from the ground up; the rooms of one floor do not know each other
    {"clock", "errors", "files", "last_end", "version"},
    {"states"},
    {"events", "kept"},
    {"messages", "places", "staging"},
    {"futures"},
    {"abc", "memo_keys"},  # the contracts of objects, then those of hooks
    {"config", "keeping", "stream"},
    {"hookspecs"},
    {"plugins"},
    {"graph"},
    {"executors"},
    {"results"},
    {"steps"},
    {"kernel"},
    {"apps"},
    {"facade", "__main__"},
    {""},  # the package itself, which is what users import
]
USERS = [ROOT / "examples", ROOT / "docs/example-plugin/jackfield_example"]
PRIVATE = {"graph", "executors", "steps", "kernel", "apps"}
"""Rooms that plugins don't enter. What they need of them is in ``jackfield`` itself."""
LIBRARIES = {"jackfield_serialize", "jackfield_system"}
"""Packages that are no plugins, and that plugins of all kinds may use."""
HEAVY = ["asyncio", "click", "cloudpickle", "fsspec", "multiprocessing", "tomllib"]


class Facts(NamedTuple):
    """What one walk through a file finds.

    Attributes:
        imports: The modules that it imports, at whatever level, with the line.
        private: What it reaches into that is private elsewhere, with the line.
    """

    imports: list[tuple[str, int]]
    private: list[tuple[str, int]]


@cache
def facts(path: Path) -> Facts:
    """Return what a file has: not its tree, which later tests would have to carry."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return Facts(list(_imports(path, nodes)), list(_private(nodes)))


def imports(path: Path) -> list[tuple[str, int]]:
    return facts(path).imports


def _imports(path: Path, nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def root(module: str) -> str:
    return module.partition(".")[0]


def test_every_package_is_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    built = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert sorted(map(ROOT.joinpath, built)) == [KERNEL, *PLUGINS]
    assert all((package / "py.typed").exists() for package in [KERNEL, *PLUGINS])


def test_the_kernel_imports_no_plugin() -> None:
    wrong = [
        f"{path}:{line}: {module}"
        for path in KERNEL.rglob("*.py")
        for module, line in imports(path)
        if root(module).startswith("jackfield_")
    ]

    assert wrong == []


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_only_public_names(package: Path) -> None:
    wrong = [
        f"{path}:{line}: {module}"
        for path in package.rglob("*.py")
        for module, line in imports(path)
        if root(module) == "jackfield"
        and ("._" in module or ([*module.split("."), ""])[1] in PRIVATE)
    ]

    assert wrong == []


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_plugins_of_different_kinds_do_not_import_each_other(package: Path) -> None:
    wrong = [
        f"{path}:{line}: {module}"
        for path in package.rglob("*.py")
        for module, line in imports(path)
        if root(module).startswith("jackfield_")
        and root(module) not in {package.name, *LIBRARIES}
    ]

    assert wrong == []


@pytest.mark.parametrize("package", ["jackfield_testing", "jackfield_cli"])
def test_nobody_but_tests_imports(package: str) -> None:
    wrong = [
        f"{path}:{line}: {module}"
        for place in [KERNEL, *PLUGINS, *USERS, ROOT / "benchmarks"]
        for path in place.rglob("*.py")
        for module, line in imports(path)
        if root(module) == package and package not in path.parts
    ]

    assert wrong == []


def test_importing_jackfield_is_light() -> None:
    code = (
        "import sys, jackfield\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "print([name for name in sys.modules if name.startswith('jackfield_')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr


def modules(root: Path, prefix: str = "") -> dict[str, Path]:
    """Return the modules below a directory by their dotted names."""
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join((prefix, *parts)).strip(".")] = path
    return found


def arrows(known: dict[str, Path]) -> dict[str, dict[str, int]]:
    """Return which modules each one imports, with the line of the import."""
    found: dict[str, dict[str, int]] = {name: {} for name in known}
    for name, path in known.items():
        targets = dict(imports(path))
        for target, line in targets.items():
            # `from package import module` means the module, and not the package too.
            inner = any(f"{target}.{last}" in known for last in _lasts(target, targets))
            if target in known and target != name and not inner:
                found[name][target] = line
    return found


def _lasts(package: str, targets: dict[str, int]) -> list[str]:
    start = f"{package}."
    return [one.removeprefix(start) for one in targets if one.startswith(start)]


def floor(module: str) -> int:
    room = module.split(".")[1] if "." in module else ""
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def test_every_module_has_a_floor() -> None:
    rooms = {path.stem for path in KERNEL.iterdir() if path.suffix == ".py"}
    rooms |= {path.parent.name for path in KERNEL.glob("*/__init__.py")}

    assert rooms - {"__init__"} == set().union(*FLOORS) - {""}


def test_arrows_between_rooms_run_down() -> None:
    wrong = [
        f"{name}:{line}: {target}"
        for name, targets in arrows(modules(KERNEL, "jackfield")).items()
        for target, line in targets.items()
        if name.split(".")[1:2] != target.split(".")[1:2]
        and floor(target) >= floor(name)
    ]

    assert wrong == []


@pytest.mark.parametrize(
    "root",
    [KERNEL, *PLUGINS, ROOT / "benchmarks", ROOT / "examples"],
    ids=lambda path: path.name,
)
def test_no_modules_import_each_other(root: Path) -> None:
    prefix = root.name if (root / "__init__.py").exists() else ""
    below = arrows(modules(root, prefix))
    # What imports only modules that are taken away is taken away too, until nothing
    # changes: then what is left is circles, and what leads to one.
    left = {name: set(targets) for name, targets in below.items()}
    while bottom := {name for name, targets in left.items() if not targets & set(left)}:
        left = {name: left[name] for name in left if name not in bottom}

    assert left == {}


@pytest.mark.parametrize("root", [KERNEL, *PLUGINS], ids=lambda path: path.name)
def test_nobody_reaches_into_what_is_private_elsewhere(root: Path) -> None:
    wrong = [
        f"{path}:{line}: {text}"
        for path in root.rglob("*.py")
        for text, line in facts(path).private
    ]

    assert wrong == []


def _private(nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    own = _written_in(nodes)
    for node in nodes:
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and node.attr not in own
            and ast.unparse(node.value) not in {"self", "cls"}
            and not _is_of_others(node)
        ):
            yield ast.unparse(node), node.lineno


def _written_in(nodes: list[ast.AST]) -> set[str]:
    """Return the names that a module defines or sets, attributes included."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


FSSPEC = {
    "_cat_file",
    "_find",
    "_get_kwargs_from_urls",
    "_info",
    "_put_file",
    "_strip_protocol",
}
"""What fsspec documents for who works with it asynchronously, or subclasses it."""


DASK = {
    "_SpecCluster__exit_stack",
    "_close",
    "_created",
    "_loop_runner",
    "_watch_worker_status_task",
}
"""Parts of Dask's clusters, for when a cluster's own ``close`` fails half way."""


def _is_of_others(node: ast.Attribute) -> bool:
    """Tell whether a name is public in spite of its underscore, or not ours at all."""
    return node.attr in FSSPEC | DASK | {
        "_asdict",
        "_exit",
        "_fields",
        "_make",
        "_replace",
        "_value_",
    } or (
        ast.unparse(node)
        in {
            "subprocess._args_from_interpreter_flags",
            "runpy._run_module_as_main",  # the interpreter's own
            "_claim._is_owned",  # CPython's, for its own conditions
            "sys._current_exceptions",  # documented, in spite of its name
            "threading._shutdown",  # the interpreter's own way to end, as the next one
            "atexit._run_exitfuncs",
            "_io._IOBase",  # what all files are, in C: io's are abstract classes, slow
            "_io._TextIOBase",
            "cluster._correct_state_internal",  # Dask's: tells why a job is refused
            "self._htex._hold_manager",  # Parsl's: nothing else keeps tasks from one
        }
    )


def test_no_package_of_ours_is_taken_for_the_projects() -> None:
    from jackfield_serialize.origins import OURS

    assert {"jackfield", *[path.name for path in PLUGINS]} == OURS
