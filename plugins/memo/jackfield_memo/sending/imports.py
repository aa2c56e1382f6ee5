"""In a worker: whether its modules are those on disk, and how they are imported anew.

A worker cannot tell which text a module was made of, but when its file was changed: the
time of change (``ctime``) is set by the system and by nobody else. A file that has not
been changed since this process began, or since its modules were last imported anew, is
what was imported. The time that Linux gives a file may be one tick of its clock early.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from types import ModuleType
from typing import Final

from jackfield_memo.sending.whose import is_project

_MAIN: Final = frozenset({"__main__", "__mp_main__"})
_TICK_NS: Final = 20_000_000
_BEGAN: Final = [0]
"""When the modules here may first have been imported, in nanoseconds since the epoch."""


def began() -> int:
    """Return when this process began, as well as can be found out."""
    if not _BEGAN[0]:
        _BEGAN[0] = _process_start() - _TICK_NS
    return _BEGAN[0]


def _process_start() -> int:
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        age = uptime - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.time_ns()
    return time.time_ns() - int(age * 1e9)


def project_modules() -> list[tuple[str, ModuleType, str]]:
    """Return the modules of the project that have a source file, by name."""
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        if name in _MAIN:
            continue
        if is_project(name, file):
            found.append((name, module, file))
    return found


def edited() -> bool:
    """Tell whether a file of a module here may have changed since it was imported."""
    since = began()
    return any(_changed(file, since) for _, _, file in project_modules())


def _changed(file: str, since: int) -> bool:
    try:
        return os.stat(file).st_ctime_ns > since  # noqa: PTH116
    except OSError:
        return True


def forget_modules() -> None:
    """Have the project's modules imported anew when they are next asked for."""
    now = time.time_ns() - _TICK_NS
    for name, module, _ in project_modules():
        sys.modules.pop(name, None)
        parent, _, last = name.rpartition(".")
        above = sys.modules.get(parent) if parent else None
        if above is not None and vars(above).get(last) is module:
            delattr(above, last)
    _BEGAN[0] = now
    importlib.invalidate_caches()
