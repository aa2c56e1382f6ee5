"""A walltime begins when function and arguments are loaded, not before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jackfield.errors import AppTimeout

LIMIT_S = 60.0
LOADING_S = 3.0
WALLTIME_S = 2.5
"""More than a busy machine takes to call a function that is loaded."""

MODULE = f"""
import os, time
if os.getpid() != {{pid}}:
    time.sleep({LOADING_S})  # as a large package does when it is imported

class Value:
    def __reduce__(self):
        return make, ()

def make():
    if os.getpid() != {{pid}}:
        time.sleep({LOADING_S})
    return Value()

def quick(*_):
    return 1

def slow(*_):
    while True:
        time.sleep(0.01)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import os

    (tmp_path / "takes_long.py").write_text(MODULE.format(pid=os.getpid()))
    monkeypatch.syspath_prepend(str(tmp_path))
    import takes_long  # type: ignore[import-not-found]  # written above

    yield takes_long
    del sys.modules["takes_long"]


def test_the_import_of_the_functions_module_does_not_count(
    isolated: Any, module: Any
) -> None:
    with isolated() as kernel:
        assert kernel.submit(module.quick, walltime=WALLTIME_S).result(LIMIT_S) == 1


def test_loading_the_arguments_does_not_count(isolated: Any, module: Any) -> None:
    with isolated() as kernel:
        future = kernel.submit(module.quick, module.Value(), walltime=WALLTIME_S)
        assert future.result(LIMIT_S) == 1


@pytest.mark.parametrize("loads", [False, True])
def test_what_comes_after_that_counts(isolated: Any, module: Any, loads: bool) -> None:
    with isolated() as kernel:
        args = [module.Value()] if loads else []
        future = kernel.submit(module.slow, *args, walltime=WALLTIME_S)
        with pytest.raises(AppTimeout):
            future.result(LIMIT_S)
        again = kernel.submit(module.slow, walltime=WALLTIME_S)
        with pytest.raises(AppTimeout):
            again.result(LIMIT_S)
