"""Whose a module is, as far as workers matter: the project's, or not."""

from __future__ import annotations

import sys

from jackfield_memo.origins import origin


def is_project(name: str, file: str | None) -> bool:
    """Tell whether a module may be other code in a worker than here.

    Jackfield's own runs there by itself; it is no project's, and not replaced.

    Args:
        name: Its full name.
        file: Its file or directory, ``None`` if it has none.
    """
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
