"""What tests need and a machine may not have: packages that are optional."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def skip_without(module: str, *, extra: str) -> None:
    """Skip the file of tests that calls this if a package is not installed.

    The package is not imported, as ``pytest.importorskip`` would do it: each of the
    processes that share the tests reads all files, and one runs those of an engine.

    Args:
        module: The package's top-level module.
        extra: The extra of Jackfield's that brings it along.
    """
    if find_spec(module) is None:
        reason = f"pip install 'jackfield[{extra}]'"
        pytest.skip(reason, allow_module_level=True)
