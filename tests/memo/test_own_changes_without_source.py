"""Code without a source tells, by its instructions, of what it sets an item."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest

from jackfield_memo.references import changed_in_code


@pytest.mark.parametrize(
    ("line", "ought"),
    [
        ("CACHE[k] = RATE", {("CACHE",)}),
        ("CACHE[k + 1] = work(RATE, x=2)", {("CACHE",)}),
        ("CACHE[k] += RATE", {("CACHE",)}),
        ("CACHE[k] = RATE if a else b", {("CACHE",)}),
        ("CACHE[k, OPTIONS['a']] = [RATE for _ in OPTIONS]", {("CACHE",)}),
        ("CACHE[k:2] = RATE", {("CACHE",)}),
        ("CACHE.inner[k] = RATE", {("CACHE", "inner")}),
        ("del CACHE[k]", {("CACHE",)}),
        ("CACHE[k] = LAST[0] = RATE", {("CACHE",), ("LAST",)}),
        ("CACHE[k if a else b] = RATE", set()),
        ("work()[k] = RATE", set()),
    ],
)
def test_an_item_is_set_of_one_variable(line: str, ought: set[tuple[str, ...]]) -> None:
    names: dict[str, Any] = {}
    exec(f"def function(k, a, b):\n    {line}", names)
    function = names["function"]
    assert isinstance(function, FunctionType)

    assert changed_in_code(function.__code__) == ought
