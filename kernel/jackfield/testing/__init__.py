"""Conformance tests for plugins, for their authors to inherit. Needs pytest.

Subclass one of these in a test module of your own, name the subclass ``Test...`` and
say how to make the thing under test. ``docs/testing-a-plugin.md`` tells more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jackfield.testing.checkpoints import CheckpointStoreConformance
    from jackfield.testing.executors import ExecutorConformance
    from jackfield.testing.harness import Harness
    from jackfield.testing.staging import (
        DirectorySite,
        StagingConformance,
        StagingFaults,
        StagingSite,
    )

__all__ = [
    "CheckpointStoreConformance",
    "DirectorySite",
    "ExecutorConformance",
    "Harness",
    "StagingConformance",
    "StagingFaults",
    "StagingSite",
]

_HOMES = {
    "CheckpointStoreConformance": "checkpoints",
    "DirectorySite": "staging",
    "ExecutorConformance": "executors",
    "Harness": "harness",
    "StagingConformance": "staging",
    "StagingFaults": "staging",
    "StagingSite": "staging",
}


def __getattr__(name: str) -> Any:
    """Import on use: a worker that runs one of the kit's tasks has no pytest."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
