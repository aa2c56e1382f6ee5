"""Compiled files: Python takes one for that of another text of its size and second.

What a script has imported or loaded anew is what it got, an old text or not: that is
what counts and what runs, everywhere. What only functions import is its text.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0
SECOND_NS = 10**9


@pytest.fixture(params=["threads", "processes"])
def kernel(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Give a kernel with one worker, where compiled files are written."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    config = {
        "run_dir": str(tmp_path / "runs"),
        "executors": {"x": {"plugin": request.param, "workers": 1}},
        "checkpoint": {"store": "memory"},
    }
    with jf.load(config):
        yield str(request.param)


class Source:
    """A module's file, edited without a trace that Python looks at."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        path.write_text(text)
        self.second = path.stat().st_mtime_ns // SECOND_NS
        importlib.invalidate_caches()

    def edit(self, old: str, new: str) -> None:
        """Put another text of the same size into it, in the same second."""
        assert len(old) == len(new)
        self.path.write_text(self.path.read_text().replace(old, new))
        os.utime(self.path, ns=(self.second * SECOND_NS,) * 2)

    def is_taken_for_new(self) -> bool:
        """Tell whether Python would take the compiled file for that of this text."""
        try:
            head = Path(cache_from_source(str(self.path))).read_bytes()[:16]
        except FileNotFoundError:
            return False
        size = self.path.stat().st_size
        return head[8:] == self.second.to_bytes(4, "little") + size.to_bytes(
            4, "little"
        )


def answers(function: Any) -> tuple[Any, Any, str]:
    """Return what a plain and a cached call give, and whether that was a hit."""
    plain = jf.python_app(function)(1).result(LIMIT_S)
    future = jf.python_app(cache=True)(function)(1)
    return plain, future.result(LIMIT_S), future.memo.status


def test_what_only_functions_import_is_its_text(kernel: str, tmp_path: Path) -> None:
    late = Source(tmp_path / f"late_{kernel}.py", "def work(x):\n    return x + 11\n")
    text = f"def f(x):\n    from late_{kernel} import work\n    return work(x)\n"
    Source(tmp_path / f"app_{kernel}.py", text)
    function: Any = importlib.import_module(f"app_{kernel}").f
    cached = jf.python_app(cache=True)(function)
    for number in (11, 22, 33, 22):
        late.edit(late.path.read_text()[-3:-1], str(number))
        sys.modules.pop(f"late_{kernel}", None)
        future = cached(1)

        assert future.result(LIMIT_S) == 1 + number


def test_what_a_script_got_is_what_counts_and_runs(kernel: str, tmp_path: Path) -> None:
    name = f"got_{kernel}"
    source = Source(
        tmp_path / f"{name}.py",
        "RATE = 11\ndef helper(x):\n    return x + 22\n"
        "def f(x):\n    return helper(x) * RATE\n",
    )
    os.utime(source.path, ns=(source.second * SECOND_NS,) * 2)
    module: Any = importlib.import_module(name)
    assert answers(module.f) == (253, 253, "miss")
    source.edit("22", "33")
    source.edit("11", "44")
    assert source.is_taken_for_new()
    importlib.reload(module)

    assert module.f(1) == 253  # the script has the old text
    assert answers(module.f)[:2] == (253, 253)

    Path(cache_from_source(str(source.path))).unlink(missing_ok=True)
    importlib.reload(module)
    assert answers(module.f) == (1496, 1496, "miss")
    assert answers(module.f) == (1496, 1496, "hit")


def test_the_trap_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.syspath_prepend(tmp_path)
    source = Source(tmp_path / "trap_of_a_second.py", "VALUE = 11\n")
    os.utime(source.path, ns=(source.second * SECOND_NS,) * 2)
    module: Any = importlib.import_module("trap_of_a_second")
    source.edit("11", "22")
    importlib.reload(module)

    assert source.is_taken_for_new()
    assert module.VALUE == 11
