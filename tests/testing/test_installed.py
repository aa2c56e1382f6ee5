"""Tests that skip what is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jackfield_testing.installed import skip_without


def test_what_is_not_installed_is_skipped_with_advice() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"jackfield\[none\]") as skipped:
        skip_without("not_installed_anywhere", extra="none")

    assert skipped.value.allow_module_level


def test_what_is_installed_is_not_imported(site: Path) -> None:
    (site / "costly.py").write_text("raise AssertionError('it is imported')")

    skip_without("costly", extra="none")

    assert "costly" not in sys.modules
