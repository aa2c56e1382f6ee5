"""What an engine has to bring so that agents of ours run on it.

A message may be lost, come twice, or come after one that was sent later, and an answer
may not come at all. ``post`` makes an orderly conversation of that; a link need not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jackfield_executors.remote.agent import Answer
    from jackfield_executors.remote.places import Home


class Link(Protocol):
    """The way to one agent. May be used on several threads.

    No call lasts for ever, whatever has become of the agent or of the engine. One that
    raises does not say that the agent is gone: ``there`` does.
    """

    @property
    def name(self) -> str:
        """Where the agent is, for messages."""
        ...

    @property
    def workers(self) -> int:
        """How many calls it runs at once."""
        ...

    @property
    def job(self) -> str:
        """Name of the job that it runs in, if ``Jobs.begin`` has begun it; else empty.

        Known once ``hello`` has returned, as ``ends`` is.
        """
        ...

    @property
    def ends(self) -> float:
        """When its job ends, by ``clock.monotonic``; infinite if it does not."""
        ...

    def hello(self) -> str:
        """Wait until the agent is there; return what ``Agent.hello`` does."""
        ...

    def put(self, number: int, data: bytes) -> None:
        """Send a message to ``Agent.put``, without waiting."""
        ...

    def take(self, patience: float, seen: int) -> Answer:
        """Return what ``Agent.take`` does, or raise not long after ``patience``."""
        ...

    def there(self) -> bool:
        """Whether the engine still has the agent. Without waiting."""
        ...

    def stop(self) -> None:
        """End the agent, and wait for its end."""
        ...


class Site(Protocol):
    """An engine: what starts agents."""

    @property
    def why(self) -> str:
        """What keeps agents from coming, as of the last look; empty if unknown."""
        ...

    def open(self, label: str, expected: str, home: Home, logs: Path) -> None:
        """Connect. The first arguments are for the agents; see ``Agent``.

        ``logs`` is a directory, not made yet, for the logs of what is started.
        """
        ...

    def look(self) -> list[Link]:
        """Start an agent on each worker that has none; return the way to each."""
        ...

    def forget(self, link: Link) -> None:
        """Note that an agent is gone; if its worker is still there, it gets another."""
        ...

    def close(self) -> None:
        """Disconnect, and end what ``open`` has started."""
        ...


class Jobs(Protocol):
    """A site whose workers run in jobs that are begun and ended here.

    For one thread. Each call may raise, and may take seconds.
    """

    @property
    def size(self) -> int:
        """How many works the agents of one job run at once."""
        ...

    def begin(self, count: int) -> list[str]:
        """Ask for so many jobs; return their names, which are never used again."""
        ...

    def states(self) -> Mapping[str, str]:
        """Return the jobs that were asked for and are not over, by name.

        Each with the reason for which it does not run yet, or an empty text.
        """
        ...

    def end(self, name: str) -> None:
        """End a job, wherever it is; one that is over already, too."""
        ...
