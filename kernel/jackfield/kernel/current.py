"""Which kernel apps use when they are not told another: one for each process.

Only the fact itself, so that whoever ends a kernel can have it forgotten; ``load`` is
where it is set, and where users ask for it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackfield.abc import Kernel

lock = threading.RLock()
"""Held while a kernel is loaded. Reentrant: a plugin may try to load another then."""

loaded: Kernel | None = None
"""The kernel; read on any thread, written by ``load`` and ``forget``."""


def forget(kernel: Kernel | None) -> None:
    """Forget a kernel if it is the loaded one; ``None``: in a fork, whichever."""
    global loaded  # noqa: PLW0603  (the one kernel of this process)
    if kernel is None or loaded is kernel:
        loaded = None
