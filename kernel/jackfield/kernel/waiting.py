"""Waiting for the tasks that a kernel has now."""

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
    if parts.serves():
        raise RuntimeError("A task cannot wait for all tasks: it is one of them.")
    barrier = Barrier()
    set_barrier = partial(parts.barriers.set, barrier, parts.live)
    parts.scheduler.post(set_barrier)  # behind all tasks that were submitted before
    down = False
    try:
        down = barrier.down.wait(timeout)
    finally:
        if not down:
            parts.scheduler.post(partial(parts.barriers.drop, barrier))
    if not down:
        number = len(barrier.left)
        raise TimeoutError(f"{number} tasks did not end within {timeout} s")
