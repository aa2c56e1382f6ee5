"""Each promise of SECURITY.md has a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()
ROWS = [
    line
    for part in TEXT.split("| Promise | Test |\n")[1:]
    for line in part.partition("\n\n")[0].splitlines()[1:]
]


def promises() -> list[tuple[str, list[str]]]:
    cells = (row.strip("|").rsplit("|", 1) for row in ROWS)
    return [(said.strip(), re.findall(r"`([^`]+)`", tests)) for said, tests in cells]


def test_there_are_promises() -> None:
    assert len(promises()) > 20


@pytest.mark.parametrize(("said", "tests"), promises())
def test_each_promise_names_a_test_that_exists(said: str, tests: list[str]) -> None:
    assert tests, said
    for test in tests:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        functions = (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))
        assert name in {one.name for one in functions}, test
