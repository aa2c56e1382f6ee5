"""The driver's side of Ray: what is asked of the client in the host."""

from __future__ import annotations

import itertools
import math
import pickle
from typing import TYPE_CHECKING, Any, Final

from jackfield_executors.ray.engine import PLACE
from jackfield_executors.remote.host import EngineGoneError, Host
from jackfield_system.held_directories import sweep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jackfield_executors.remote.agent import Answer
    from jackfield_executors.remote.link import Link
    from jackfield_executors.remote.places import Home

OPEN_S: Final = 60.0
"""Seconds to start a cluster, or to connect to one."""

FIRST_S: Final = 20.0
"""Seconds that the start waits for an agent. If no CPU is free, it goes on without."""

LATE_S: Final = 10.0
"""Seconds that an answer may take, beyond those that are waited on purpose."""

CLOSE_S: Final = 15.0
"""Seconds that a cluster of ours gets to end."""


class RayLink:
    """The way to one agent."""

    def __init__(self, host: Host, name: str, workers: int, job: str) -> None:
        self.name: str = name
        self.workers: int = workers
        self.job: str = job
        self.ends: float = math.inf
        self._host = host
        self._gone = False

    def _ask(self, limit: float, method: str, *args: Any) -> Any:
        try:
            return self._host.ask(method, self.name, *args).result(limit)
        except EngineGoneError:
            self._gone = True
            raise

    def hello(self) -> str:
        """Ask for its fingerprint; it is there already."""
        return str(self._ask(LATE_S, "hello"))

    def put(self, number: int, data: bytes) -> None:
        """Send a message."""
        self._host.ask("put", self.name, number, data)

    def take(self, patience: float, seen: int) -> Answer:
        """Wait for results."""
        answer: Answer = pickle.loads(
            self._ask(patience + LATE_S, "take", patience, seen)
        )
        return answer

    def there(self) -> bool:
        """Whether Ray has not said that the actor is dead."""
        return not (self._gone or self._host.lost)

    def stop(self) -> None:
        """End the agent."""
        self._ask(LATE_S, "stop")


class RaySite:
    """A Ray cluster: one that is there, or one that is started here.

    If the number of agents is elastic, each of them counts as a job, whose name is its
    own. Ray puts it where there are CPUs, now or when it has scaled the cluster.
    """

    def __init__(self, options: Mapping[str, Any], *, elastic: bool = False) -> None:
        self._options = options
        self._elastic = elastic
        self._label = ""
        self._numbers = itertools.count(1)
        self._host: Host | None = None
        self._looked = False
        self.why: str = ""

    def open(self, label: str, expected: str, home: Home, logs: Path) -> None:
        """Start the host, and in it the cluster, if it is ours."""
        self._label = label
        self._host = Host(label, "jackfield_executors.ray.engine:RayEngine", logs)
        self._host.ask(
            "open", label, expected, home, str(logs),
            {**self._options, "elastic": self._elastic},
        ).result(OPEN_S)  # fmt: skip

    # -- agents that come and go by need; ``remote.crew`` asks for them

    @property
    def size(self) -> int:
        """How many CPUs each agent asks for."""
        return max(1, int(self._options["agent_options"].get("num_cpus", 1)))

    def begin(self, count: int) -> list[str]:
        """Have so many agents started by the next look."""
        names = [f"{self._label}-{next(self._numbers)}" for _ in range(count)]
        self._asked("begin", names)
        return names

    def states(self) -> Mapping[str, str]:
        """Return the agents that are there or on their way, and what these wait for."""
        states: dict[str, str] = self._asked("states")
        return states

    def end(self, name: str) -> None:
        """Kill an agent, or ask for it no more."""
        self._asked("forget", name)

    def _asked(self, method: str, *args: Any) -> Any:
        assert self._host is not None
        return self._host.ask(method, *args).result(LATE_S)

    # -- agents that are there

    def look(self) -> list[Link]:
        """Return the agents that have come up since the last look."""
        assert self._host is not None
        wait = 0.0 if self._looked or self._elastic else FIRST_S
        self._looked = True
        found = self._host.ask_again("look", wait + LATE_S, wait)
        self.why = self._host.ask_again("waiting", LATE_S)
        return [
            RayLink(self._host, name, workers, name if self._elastic else "")
            for name, workers in found
        ]

    def forget(self, link: Link) -> None:
        """Have the node get another agent, if it is still there."""
        assert self._host is not None
        self._host.ask("forget", link.name)

    def close(self) -> None:
        """End the host, and with it the cluster if it is ours."""
        if self._host is not None:
            self._host.end(CLOSE_S)
            sweep(PLACE)  # if the host was killed
