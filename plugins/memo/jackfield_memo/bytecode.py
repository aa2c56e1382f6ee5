"""Compiled files that Python would take for those of a text that they are not of."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.util import cache_from_source


def drop_stale(file: str) -> None:
    """Remove the compiled file of a source file, if it is not newer than that.

    Python compares the size of the source and the second of its last change with what
    the compiled file says. An edit that keeps both goes unseen: one digit for another,
    in the second in which the module was imported before. Whoever imports the module
    then gets the old text. The system's own time of change (``ctime``) tells the two
    apart. A compiled file that is removed without need is written again.
    """
    with suppress(OSError, NotImplementedError):  # there is none, or it is not ours
        compiled = cache_from_source(file)
        made = os.stat(compiled).st_mtime_ns  # noqa: PTH116  (a str is at hand)
        if os.stat(file).st_ctime_ns >= made:  # noqa: PTH116
            os.unlink(compiled)  # noqa: PTH108
