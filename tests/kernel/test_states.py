"""What is said of many failures at once."""

from __future__ import annotations

import pytest

from jackfield.states import told_once

LOST = "ExecutorLostError: Executor 'far': sbatch: error: invalid partition"


def test_failures_that_say_the_same_are_one_line() -> None:
    lines = [f"Task {n} (where) failed: {LOST} [in where({n})]" for n in range(12)]

    told = told_once(lines, 12)

    assert told == [f"Task 0 (where) and 11 more failed: {LOST} [in where(0)]"]


def test_what_says_something_else_has_a_line_of_its_own() -> None:
    lines = [
        "Task 0 (half) failed: ZeroDivisionError: division by zero [in half(0)]",
        "Task 1 (half) failed: TypeError: no number [in half('x')]",
        "Task 2 (third) failed: ZeroDivisionError: division by zero [in third(0)]",
        "Task 3 (odd) failed: KeyError: 'x'",
        "Task 4 (odd) failed: KeyError: 'x'",
    ]

    assert told_once(lines, 5) == [
        lines[0].replace(" failed", " and 1 more failed"),
        lines[1],
        lines[3].replace(" failed", " and 1 more failed"),
    ]


@pytest.mark.parametrize(
    ("number", "rest"), [(7, "... and 2 more"), (40, "... and 35 more")]
)
def test_what_is_not_shown_is_counted(number: int, rest: str) -> None:
    lines = [f"Task {n} (f) failed: ValueError: row {n} [in f({n})]" for n in range(7)]

    assert told_once(lines, number) == [*lines[:5], rest]


def test_no_failure_is_no_line() -> None:
    assert told_once([], 0) == []
