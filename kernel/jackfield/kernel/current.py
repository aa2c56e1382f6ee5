"""The loaded kernel: the one that apps use, at most one in each process.

It stands in a module of its own so that both ``load``, which sets it, and ``shutdown``,
which forgets it, can reach it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackfield.abc import Kernel

lock: threading.RLock = threading.RLock()
"""Held while a kernel is being loaded.

It is reentrant, because a plugin that is called meanwhile may try to load another
kernel: that shall be an error, and not wait for ever.
"""

loaded: Kernel | None = None
"""The loaded kernel. Read on any thread, written by ``load`` and ``forget``."""

running: list[Kernel] = []
"""All kernels of this process that have started and not ended."""


def forget(kernel: Kernel | None) -> None:
    """Forget a kernel if it is the loaded one.

    ``None``, in a forked child, is for whichever is loaded.
    """
    global loaded  # noqa: PLW0603  (the one kernel of this process)
    if kernel is None or loaded is kernel:
        loaded = None
