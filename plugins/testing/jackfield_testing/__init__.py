"""Test kits for plugins, servers that misbehave, and fixtures for tests of apps.

For authors of plugins: subclass one of these classes in a test module of your own,
name the subclass ``Test...`` and say how to make the thing under test.
``docs/testing-a-plugin.md`` tells more. ``servers`` has HTTP, FTP and S3 servers.

For authors of apps: ``pytest_plugin`` gives pytest the fixtures that
``docs/testing-your-apps.md`` shows.

Only tests import this package. It needs pytest: ``pip install 'jackfield[testing]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jackfield_testing.checkpoints.conformance import CheckpointStoreConformance
    from jackfield_testing.executors.conformance import ExecutorConformance
    from jackfield_testing.executors.harness import Harness
    from jackfield_testing.staging.conformance import StagingConformance
    from jackfield_testing.staging.site import (
        DirectorySite,
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
    "CheckpointStoreConformance": "checkpoints.conformance",
    "DirectorySite": "staging.site",
    "ExecutorConformance": "executors.conformance",
    "Harness": "executors.harness",
    "StagingConformance": "staging.conformance",
    "StagingFaults": "staging.site",
    "StagingSite": "staging.site",
}


def __getattr__(name: str) -> Any:
    """Import a class when it is first asked for.

    pytest imports this package at its start, wherever Jackfield is installed, and a
    worker imports it to run one of a kit's tasks: neither is to pay for the kits.
    """
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
