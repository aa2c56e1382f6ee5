"""Where a task may run: executors that are started, and those of them that fit an app.

Plain records. ``executors.pool`` makes them; tasks and apps keep them.
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
"""Label of the executor for join bodies and ``future[key]``."""

TRANSFERS: Final = "_transfers"
"""Label of the executor for remote files."""


class ExecutorEntry:
    """A started executor and its load.

    Attributes:
        label: Its name in the configuration.
        executor: The executor.
        capabilities: What it can do.
        workers: How many works it runs at once.
        given: Works handed to it. Written under ``lock``.
        returned: Works that came back. Written by the scheduler's role.
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

    def look(self) -> None:
        """Take over what a started executor says of itself.

        Raises:
            ExecutorError: Its capabilities are none.
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
        """How many works have not come back."""
        return self.given - self.returned

    def submit(self, works: Sequence[Work]) -> None:
        """Hand works over, counting them."""
        with self.lock:
            self.given += len(works)
        self.executor.submit(works)


class Route:
    """The executors that an app may use and that can do what it asks for.

    Attributes:
        entries: In the order of configuration, at least one.
        labels: Their labels.
        version: Of the pool that this was computed for.
    """

    __slots__ = ("entries", "labels", "version")

    def __init__(self, entries: tuple[ExecutorEntry, ...], version: object) -> None:
        self.entries: tuple[ExecutorEntry, ...] = entries
        self.labels: tuple[str, ...] = tuple([entry.label for entry in entries])
        self.version: object = version
