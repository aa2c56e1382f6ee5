"""Which text an imported module was made of: its file may say something else by now.

Nothing in a module tells. What can be told: a file that has not been changed since this
process began; or not since we have read it, at a time when the module was not imported.
Else the text of a module is unknown, and what was made of it belongs to this process
alone: it gets a number that no other has.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from types import ModuleType
from typing import Final, NamedTuple

from jackfield_memo.process import began

Signature = tuple[int, ...]


class Known(NamedTuple):
    """A file as a module has read it.

    Attributes:
        content: Its text or digest.
        secret: ``b""``; or bytes of this process, if that may not be what was read.
    """

    content: object
    secret: bytes = b""


_BEGIN_NS: Final = 10_000_000

_lock: Final = threading.Lock()
_seen: Final[dict[tuple[str, str], tuple[Signature, object]]] = {}
"""Files of modules that were not imported, when they were last read."""
_proven: Final[
    weakref.WeakKeyDictionary[ModuleType, tuple[object, dict[str, Known]]]
] = weakref.WeakKeyDictionary()
"""Files of imported modules. Loaded anew, a module is the same object with another
``__spec__``, and nothing is known of it."""


def signature(path: str) -> Signature:
    """Return what changes with a file; nothing if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  (quicker, with a str at hand)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def as_read(name: str, path: str, now: Signature, content: object) -> Known:
    """Return a file as a module has read it, or as it will be read.

    Args:
        name: The module.
        path: A file that it is made of, or that it reads when it is imported.
        now: The file's signature before it was read just now.
        content: What was read.
    """
    module = sys.modules.get(name)
    with _lock:
        if module is None:
            _seen[name, path] = now, content
            return Known(content)
        spec = getattr(module, "__spec__", None)
        whose, files = _proven.get(module, (None, {}))
        if whose is not spec:
            files = {}
            _proven[module] = spec, files
        if path not in files:
            files[path] = _prove(_seen.get((name, path)), now, content)
        return files[path]


def _prove(
    seen: tuple[Signature, object] | None, now: Signature, content: object
) -> Known:
    """Tell what a module has read that was imported at an unknown time.

    Linux counts the begin of a process in hundredths of a second, which pass before it
    imports a module of the project.
    """
    old = bool(now) and now[1] < began() + _BEGIN_NS
    same = seen is not None and seen[0] == now
    return Known(content) if old or same else Known(content, os.urandom(16))
