"""Projects on disk, and a maker of identities."""

from __future__ import annotations

import importlib
import linecache
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from jackfield_memo.key_maker import PythonKeyMaker

LIMIT_S = 60.0
Importer = Callable[..., ModuleType]
Runner = Callable[..., str]


@pytest.fixture
def identity() -> PythonKeyMaker:
    """Makes keys, without plugins."""
    return PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Importer]:
    """Write modules into a project and import the last: ``project(app="x = 1")``."""
    root = tmp_path / "project"
    root.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(root)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(**modules: str) -> ModuleType:
        for name, text in modules.items():
            (root / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(next(reversed(modules)))

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    linecache.clearcache()


@pytest.fixture
def python(tmp_path: Path) -> Runner:
    """Run Python in the test's directory, and return what it prints."""

    def run(*arguments: str, text: str | None = None, seed: str = "0") -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            input=text,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=LIMIT_S,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
