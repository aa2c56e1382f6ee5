"""Run tasks on one thread, the newest first.

A graph is then worked off depth first: what a task makes ready runs before the rest
of its own generation, and few results are held at a time. What becomes ready
together runs in the order of submission. Plugin name: ``newest-first``. No options.
"""

from __future__ import annotations

from threading import Condition, Thread, current_thread
from typing import TYPE_CHECKING, Any

from jackfield import ConfigurationError, KernelClosedError, hookimpl
from jackfield.abc import Capabilities, Executor
from jackfield_system.works import run_work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jackfield.abc import ExecutorContext, Work

JACKFIELD_API = ">=1,<2"


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> NewestFirst | None:
    """Make the executor of a table with ``plugin = "newest-first"``."""
    if kind != "newest-first":
        return None
    if options:
        raise ConfigurationError(
            f"Executor {label!r}: newest-first has no options, not even {options!r}."
        )
    return NewestFirst()


class NewestFirst(Executor):
    """One thread, and a stack of works."""

    capabilities = Capabilities(walltime="none")
    workers = 1

    def __init__(self) -> None:
        self._stack: dict[Work, bool] = {}  # works that have not begun
        self._running: dict[Work, bool] = {}  # at most one; who removes it, has it
        self._changed = Condition()
        self._closed = False

    def start(self, context: ExecutorContext) -> None:
        """Start the thread."""
        self._report = context.report
        self._thread = Thread(target=self._work, name=context.label, daemon=True)
        self._thread.start()

    def submit(self, batch: Sequence[Work]) -> None:
        """Put works on the stack."""
        with self._changed:
            if self._closed:
                raise KernelClosedError("cannot schedule new futures after shutdown")
            self._stack.update(dict.fromkeys(reversed(batch), True))
            self._changed.notify()

    def cancel(self, work: Work) -> bool:
        """Take a work back that has not begun."""
        return self._stack.pop(work, False)

    def shutdown(self, *, grace: float | None = None) -> None:
        """End; a task that goes on after ``grace`` is left to itself."""
        with self._changed:
            again, self._closed = self._closed, True
            if grace is not None:
                self._stack.clear()
            self._changed.notify()
        if not again and current_thread() is not self._thread:
            self._thread.join(grace)
            self._running.clear()  # what still runs is given up

    def _work(self) -> None:
        while (work := self._newest()) is not None:
            outcome = run_work(work)
            if self._running.pop(work, False):
                self._report([outcome])
            del work, outcome  # or they would live until the next one comes

    def _newest(self) -> Work | None:
        """Wait for works; return the newest, or ``None`` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stack or self._closed)
            if not self._stack:
                return None
            work, _ = self._stack.popitem()
            self._running[work] = True
            return work
