"""Where a task may run: the record of a started executor, and an app's list of them.

``executors.pool`` makes these records; tasks and apps keep them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from jackfield.abc import READY, Capabilities, Executor, Health
from jackfield.clock import monotonic
from jackfield.errors import ExecutorError

if TYPE_CHECKING:
    from jackfield.abc import Work

INTERNAL: Final = "_internal"
"""Label of the kernel's own executor for its small tasks: bodies of join apps,
``future[key]``, look-ups that take long."""

TRANSFERS: Final = "_transfers"
"""Label of the kernel's own executor for moving files."""


FIRST_REST_S: Final = 0.5
"""Seconds for which an executor rests after a fault; they double with each further one,
until it has run a task."""

LONGEST_REST_S: Final = 60.0


class ExecutorEntry:
    """A started executor and its load.

    Attributes:
        label: Its name in the configuration.
        executor: The executor.
        capabilities: What it can do.
        workers: How many works it runs at once; may be 0, and may change.
        given: How many works were handed to it. Changed with ``lock`` held, because
            several threads may launch tasks at the same time.
        returned: How many of these it has reported. Changed with the scheduler's role
            held, so by one thread at a time.
        elastic: Whether it can be asked for workers; see ``Executor.load``.
        broken: Whether it has said that it is broken for good.
        health: Whether it has the workers that it wants, as it said last.
        faults: How often it has failed since it last ran a task. All that fails while
            it rests belongs to one fault.
        rests_until: When it may get tasks again that others can run, by the monotonic
            clock.
        told: Whether log and terminal have said that it fails, which they do once.
        lock: Protects ``given``.
    """

    def __init__(self, label: str, executor: Executor) -> None:
        self.label: str = label
        self.executor: Executor = executor
        self.capabilities: Capabilities = Capabilities()
        self.workers: int = 1
        self.given: int = 0
        self.returned: int = 0
        self.lock: threading.Lock = threading.Lock()
        self.elastic: bool = False
        self.broken: bool = False
        self.health: Health = READY
        self.faults: int = 0
        self.rests_until: float = 0.0
        self.told: bool = False
        self._asked: object = None  # by the thread that was the last to ask

    def note_fault(self) -> None:
        """Note that it, and not a task, has failed; it rests, longer each time.

        What fails at once has the least load. Without a rest it would get all tasks.
        """
        now = monotonic()
        if now >= self.rests_until:  # else it is one fault, that many tasks tell of
            self.rests_until = now + min(FIRST_REST_S * 2**self.faults, LONGEST_REST_S)
            self.faults += 1

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
        self.elastic = self.executor.load() is not None
        self.read_workers()

    def read_workers(self) -> bool:
        """Ask the executor for its workers and health; tell if its state has changed.

        Of two threads that do this, the slower one may write the older answer over the
        newer. So whoever is not the last to have asked asks again.
        """
        self._asked, before = (mine := object()), self.health.state
        self.workers = max(0, int(self.executor.workers))
        self.health = health = self.executor.health
        again = self._asked is not mine and self.read_workers()
        return again or health.state != before

    @property
    def room(self) -> int:
        """How many works it can run at once; an elastic one would start a worker."""
        return self.workers or int(self.elastic)

    @property
    def load(self) -> int:
        """How many works it has not reported yet."""
        return self.given - self.returned

    def submit(self, works: Sequence[Work]) -> None:
        """Count works and hand them to the executor."""
        with self.lock:
            self.given += len(works)
        self.executor.submit(works)


def healthy(entries: Sequence[ExecutorEntry]) -> Sequence[ExecutorEntry]:
    """Return those that do not rest after a fault; all, if all of them do."""
    if len(entries) == 1 or not any(entry.faults for entry in entries):
        return entries
    now = monotonic()
    rested = [one for one in entries if not one.faults or one.rests_until <= now]
    return rested or entries


class Route:
    """The executors that an app may use and that can do what it asks for.

    Attributes:
        entries: The executors, in the order of configuration; at least one.
        labels: Their labels.
        version: The ``ExecutorPool.version`` that this was computed for.
    """

    def __init__(self, entries: tuple[ExecutorEntry, ...], version: object) -> None:
        self.entries: tuple[ExecutorEntry, ...] = entries
        self.labels: tuple[str, ...] = tuple([entry.label for entry in entries])
        self.version: object = version
