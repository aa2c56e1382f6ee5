"""In a worker: whether its modules are those on disk, and how they are imported anew.

A worker cannot tell which text a module was made of, but when its file was changed: the
time of change (``ctime``) is set by the system and by nobody else. A file that has not
been changed since this process began, or since its modules were last imported anew, is
what was imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

from jackfield_memo.bytecode import drop_stale
from jackfield_memo.process import TICK_NS, began
from jackfield_serialize import note_shared, shipped
from jackfield_serialize.origins import origin

_MAIN: Final = frozenset({"__main__", "__mp_main__"})
_imported: Final = [0]
"""When the modules here were last imported anew, in nanoseconds since the epoch."""


def project_modules() -> list[tuple[str, ModuleType, str]]:
    """Return the modules of the project that have a source file, by name."""
    found = []
    for name, module in sys.modules.copy().items():
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        if name in _MAIN:
            continue
        if origin(name, file).kind == "project":
            found.append((name, module, file))
    return found


def roots_of(modules: Collection[str]) -> dict[str, str]:
    """Return the top-level modules of these, with the directories that they are in."""
    found = {}
    for name in {module.partition(".")[0] for module in modules}:
        root = _root(getattr(sys.modules.get(name), "__file__", None), name)
        if root:
            found[name] = root
    return found


@cache
def _root(file: str | None, name: str) -> str:
    if file is None:  # a package without a file may be in several
        return ""
    place = Path(file).absolute().parent
    package = Path(file).stem == "__init__" and place.name == name
    return str(place.parent if package else place)


def follow(roots: Mapping[str, str]) -> bool:
    """Import modules from where the script has them, if they are found elsewhere here.

    Workers may be in another directory, or look up names relative to it. One that does
    not see the script's disk has a copy of its modules.

    Returns:
        Whether modules were imported anew.
    """
    anew = False
    for name, root in roots.items():
        note_shared(name)
        right = {"", root, *shipped}
        module = sys.modules.get(name)
        if module is not None:
            if _root(getattr(module, "__file__", None), name) in right:
                continue
            forget_modules()
            anew = True
        elif _root(_origin(name), name) in right:
            continue
        sys.path.insert(0, root)
        try:
            importlib.import_module(name)
        except Exception:  # noqa: S112  (who needs it will see)
            continue
        finally:
            sys.path.remove(root)
    return anew


def _origin(name: str) -> str | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None else None


def edited() -> bool:
    """Tell whether a file of a module here may have changed since it was imported."""
    since = _imported[0] or began() - TICK_NS
    return any(_changed(file, since) for _, _, file in project_modules())


def _changed(file: str, since: int) -> bool:
    try:
        return os.stat(file).st_ctime_ns > since  # noqa: PTH116
    except OSError:
        return True


def forget_modules() -> None:
    """Have the project's modules imported anew when they are next asked for."""
    now = time.time_ns() - TICK_NS
    for name, module, file in project_modules():
        drop_stale(file)
        sys.modules.pop(name, None)
        parent, _, last = name.rpartition(".")
        above = sys.modules.get(parent) if parent else None
        if above is not None and vars(above).get(last) is module:
            delattr(above, last)
    _imported[0] = now
    importlib.invalidate_caches()
