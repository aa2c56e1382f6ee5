"""Waits for all tasks that a kernel has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from jackfield.graph.state import Barrier

if TYPE_CHECKING:
    from jackfield.kernel.compose import Parts


def wait_for_tasks(parts: Parts, timeout: float | None = None) -> None:
    """Wait until every task submitted so far has ended; see ``DataFlowKernel``.

    Raises:
        TimeoutError: Some have not ended in time.
        RuntimeError: The caller is itself a task, which would wait for itself.
    """
    if parts.must_not_wait():
        raise RuntimeError("A task cannot wait for all tasks: it is one of them.")
    # The barrier is set by an item of the inbox, which comes after all tasks that were
    # submitted before. When it is worked off, these are live or have ended.
    barrier = Barrier()
    parts.scheduler.post(partial(parts.barriers.set, barrier, parts.live))
    down = False
    try:
        down = barrier.down.wait(timeout)
    finally:
        if not down:  # out of time, or Ctrl-C
            parts.scheduler.post(partial(parts.barriers.drop, barrier))
    if not down:
        number = len(barrier.left)
        raise TimeoutError(f"{number} tasks did not end within {timeout} s")
