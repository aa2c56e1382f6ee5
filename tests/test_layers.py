"""The rule between the layers, held by walking the imports of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KERNEL = ROOT / "kernel" / "jackfield"
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/jackfield_*/__init__.py"))
HEAVY = ["asyncio", "click", "cloudpickle", "fsspec", "multiprocessing", "tomllib"]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Give every module that a file imports, at whatever level, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
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


def test_there_are_plugins_to_check() -> None:
    assert PLUGINS


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
        and (module.startswith("jackfield.dataflow") or "._" in module)
    ]

    assert wrong == []


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_plugins_of_different_kinds_do_not_import_each_other(package: Path) -> None:
    wrong = [
        f"{path}:{line}: {module}"
        for path in package.rglob("*.py")
        for module, line in imports(path)
        if root(module).startswith("jackfield_") and root(module) != package.name
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
        timeout=30,
        check=False,
    )

    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr


def test_no_module_is_long() -> None:
    sources = [*KERNEL.rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources
        if (lines := len(path.read_text().splitlines())) > 400
    }

    assert long == {}
