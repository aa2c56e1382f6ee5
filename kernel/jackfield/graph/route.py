"""Where a task may run: the record of a started executor, and an app's list of them.

``executors.pool`` makes these records; tasks and apps keep them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from jackfield.abc import Capabilities, Executor
from jackfield.errors import ExecutorError

if TYPE_CHECKING:
    from jackfield.abc import Work

INTERNAL: Final = "_internal"
"""Label of the kernel's own executor for bodies of join apps and ``future[key]``."""

TRANSFERS: Final = "_transfers"
"""Label of the kernel's own executor for moving files."""


class ExecutorEntry:
    """A started executor and its load.

    Attributes:
        label: Its name in the configuration.
        executor: The executor.
        capabilities: What it can do.
        workers: How many works it runs at once.
        given: How many works were handed to it. Changed with ``lock`` held, because
            several threads may launch tasks at the same time.
        returned: How many of them it has reported. Changed with the scheduler's role
            held, so by one thread at a time.
        lock: Protects ``given``.
    """

    __slots__ = (
        "capabilities",
        "executor",
        "given",
        "label",
        "lock",
        "returned",
        "workers",
    )

    def __init__(self, label: str, executor: Executor) -> None:
        self.label: str = label
        self.executor: Executor = executor
        self.capabilities: Capabilities = Capabilities()
        self.workers: int = 1
        self.given: int = 0
        self.returned: int = 0
        self.lock: threading.Lock = threading.Lock()

    def read_capabilities(self) -> None:
        """Ask the executor, which has been started, what it can do.

        Raises:
            ExecutorError: The answer is no ``Capabilities``.
        """
        capabilities: object = self.executor.capabilities
        if not isinstance(capabilities, Capabilities):
            kind = type(capabilities).__name__
            reason = f"its capabilities are a {kind}, not jackfield.Capabilities"
            raise ExecutorError(self.label, reason)
        self.capabilities = capabilities
        self.workers = max(1, int(self.executor.workers))

    @property
    def load(self) -> int:
        """How many works it has not reported yet."""
        return self.given - self.returned

    def submit(self, works: Sequence[Work]) -> None:
        """Count works and hand them to the executor."""
        with self.lock:
            self.given += len(works)
        self.executor.submit(works)


class Route:
    """The executors that an app may use and that can do what it asks for.

    Attributes:
        entries: The executors, in the order of configuration; at least one.
        labels: Their labels.
        version: The ``ExecutorPool.version`` that this was computed for.
    """

    __slots__ = ("entries", "labels", "version")

    def __init__(self, entries: tuple[ExecutorEntry, ...], version: object) -> None:
        self.entries: tuple[ExecutorEntry, ...] = entries
        self.labels: tuple[str, ...] = tuple([entry.label for entry in entries])
        self.version: object = version
