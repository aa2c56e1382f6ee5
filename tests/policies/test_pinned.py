"""``[plugins.pinned]``: versions of functions that a configuration states."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0

STEPS = """
import jackfield as jf

@jf.python_app(cache=True)
def align(x, scale=1):
    return [x, {value}]
"""

SCRIPT = """
import json, sys
import jackfield as jf
from steps import align

@jf.python_app(cache=True)
def here(x):
    return [x, {value}]

with jf.load(json.loads(sys.argv[1])):
    for app in (align, here):
        future = app(7)
        print(json.dumps([future.result(), future.memo.status]))
"""

Run = Callable[..., list[Any]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a script with a value in its functions; return results and memo status."""

    def run(value: int, versions: dict[str, Any], name: str = "script.py") -> list[Any]:
        (tmp_path / "steps.py").write_text(STEPS.format(value=value))
        (tmp_path / name).write_text(SCRIPT.format(value=value))
        table = {
            "checkpoint": {"store": f"sqlite:///{tmp_path}/results.db"},
            "run_dir": str(tmp_path / "runs"),
            "plugins": {"pinned": versions},
        }
        done = subprocess.run(
            [sys.executable, "-B", tmp_path / name, json.dumps(table)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def test_a_pinned_function_keeps_its_results_when_it_is_edited(run: Run) -> None:
    pins = {"steps.align": "1", "__main__.here": 1}

    assert run(1, pins) == [[[7, 1], "miss"], [[7, 1], "miss"]]
    assert run(2, pins) == [[[7, 1], "hit"], [[7, 1], "hit"]]


def test_another_version_is_another_function(run: Run) -> None:
    run(1, {"steps.align": "1"})

    assert run(2, {"steps.align": "2"})[0] == [[7, 2], "miss"]


def test_a_function_that_is_not_pinned_counts_by_its_code(run: Run) -> None:
    run(1, {"steps.align": "1"})

    assert run(2, {"steps.align": "1"})[1] == [[7, 2], "miss"]


def test_names_without_quotes_are_tables_and_mean_the_same(run: Run) -> None:
    run(1, {"steps.align": "1"})

    assert run(2, {"steps": {"align": "1"}})[0] == [[7, 1], "hit"]


def test_functions_of_two_scripts_are_not_taken_for_each_other(run: Run) -> None:
    run(1, {"__main__.here": "1"})

    assert run(2, {"__main__.here": "1"}, "other.py")[1] == [[7, 2], "miss"]


def test_a_function_with_a_closure_is_refused(tmp_path: Path) -> None:
    def scaled(factor: int) -> jf.App[..., int]:
        def scale(x: int) -> int:
            return factor * x

        scale.__qualname__ = "scale"
        return jf.python_app(cache=True)(scale)

    pins = {f"{__name__}.scale": "1"}
    table = {"run_dir": str(tmp_path / "runs"), "plugins": {"pinned": pins}}
    with jf.load(table):
        error = scaled(2)(3).exception(LIMIT_S)

    assert "plugins.pinned cannot pin" in str(error)


@pytest.mark.parametrize("version", [None, True, ["1"]])
def test_what_is_no_version_ends_the_start(tmp_path: Path, version: object) -> None:
    pins = {"steps": {"align": version}}
    table = {"run_dir": str(tmp_path / "runs"), "plugins": {"pinned": pins}}

    with (
        pytest.raises(
            jf.ConfigurationError, match=r"pinned\.steps\.align must be a ver"
        ),
        jf.load(table),
    ):
        pass
