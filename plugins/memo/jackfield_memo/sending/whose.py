"""Whose a module is, as far as workers matter: the project's, or not."""

from __future__ import annotations

import sys
from typing import Final

from jackfield_memo.origins import origin

_OURS: Final = frozenset(
    {"jackfield", "jackfield_bash", "jackfield_checkpoint", "jackfield_cli"}
    | {"jackfield_configuration", "jackfield_executors", "jackfield_memo"}
    | {"jackfield_monitoring", "jackfield_observers", "jackfield_parsl"}
    | {"jackfield_policies", "jackfield_results", "jackfield_serialize"}
    | {"jackfield_staging", "jackfield_stream", "jackfield_system"}
    | {"jackfield_testing", "jackfield_transfers"}
)
"""What runs in workers by itself. It is not replaced while it does."""


def is_project(name: str, file: str | None) -> bool:
    """Tell whether a module may be other code in a worker than here.

    Args:
        name: Its full name.
        file: Its file or directory, ``None`` if it has none.
    """
    if name.partition(".")[0] in _OURS:
        return False
    return origin(name, file).kind == "project"


def is_project_name(name: str) -> bool:
    """Tell the same of a module that may be imported here; if it is not: no."""
    module = sys.modules.get(name)
    if module is None:
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        paths = list(getattr(module, "__path__", ()))
        file = paths[0] if paths else None
    return is_project(name, file if isinstance(file, str) else None)
