"""Large results that stay with the agent of their worker: the side of the driver.

A ``Stayed`` stands for such a result. While it is *away*, only its agent has it. A call
that goes to that agent names it; whoever else wants it has it sent *home*, and waits.
When nothing refers to the ``Stayed`` any more, the agent is told to forget the result.

*Results come home by themselves.* An agent may die, and what only it had is *lost*:
then a task that needs it fails, although another one has ended well. So what is still
referred to after ``HOME_S`` is sent home, a little at a time; and at once, if its agent
is to go, or the time of its job is nearly over. In a chain of tasks a result is dropped
before that, and never travels.

*Nobody waits for ever.* A result that is away comes home or gets lost: by an answer of
the agent, or by the loss of it, or by the end of the executor. Whoever waits must not
be who receives that: see ``AgentsExecutor._stand_in``.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol, Self
from weakref import WeakValueDictionary

from jackfield.abc import Kept
from jackfield.clock import monotonic
from jackfield.errors import WorkerLostError
from jackfield_executors.processes.kept import PackedResult
from jackfield_executors.remote.shelf import kept_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jackfield.abc import Work

HOME_S: Final = 3.0
"""Seconds that a result is away before it is sent home."""

SOON_S: Final = 60.0
"""Seconds before the end of an agent's job from which on results go home at once."""

AT_ONCE: Final = 64_000_000
"""Bytes that one agent is to send home at a time, beyond what somebody waits for."""


class Keeper(Protocol):
    """An agent that keeps results: a ``Post``."""

    stays: Stays

    def want(self, stays: Sequence[Stayed]) -> None:
        """Have results sent home, unless they are on their way."""
        ...


class Stayed(Kept):
    """A result that an agent keeps.

    Args:
        label: The executor.
        task: Name of the task's function, for messages.
        number: Its number with the agent.
        size: How many bytes it has.
        post: The agent.
        waits: Called before somebody waits here.

    Attributes:
        number: Its number with the agent.
        post: The agent.
        since: When it was made.
        works: Those that wait for it; under the lock of the book.
    """

    __slots__ = (
        "__weakref__",
        "_ended",
        "_home",
        "_lost",
        "_task",
        "_waits",
        "number",
        "post",
        "since",
        "works",
    )

    def __init__(
        self,
        label: str,
        task: str,
        number: int,
        size: int,
        post: Keeper,
        waits: Callable[[], None],
    ) -> None:
        super().__init__(label, size)
        self.number: int = number
        self.post: Keeper = post
        self.since: float = monotonic()
        self.works: dict[Work, None] = {}
        self._task = task
        self._waits = waits
        self._home: PackedResult | None = None
        self._lost: str | None = None
        self._ended = threading.Event()  # set when it is home or lost

    def __del__(self) -> None:
        # On any thread, at any instruction, with any lock held: so it takes none.
        self.post.stays.gone.append(self.number)

    @property
    def away(self) -> bool:
        """Whether only the agent has it. Once false, it stays so."""
        return not self._ended.is_set()

    @property
    def loss(self) -> WorkerLostError | None:
        """An error of its own for each who asks, if it is lost."""
        if self._lost is None:
            return None
        why = self._lost
        reason = f"the result of {self._task!r} is lost: only its worker had it: {why}"
        return WorkerLostError(self.executor, reason)

    def fetch(self) -> Any:
        """Return the value; wait until it is home.

        Raises:
            WorkerLostError: It is lost; or this is a child that the script has forked.
            SerializationError: It cannot be unpickled.
        """
        if self.away:
            if os.getpid() != self.post.stays.pid:
                reason = f"only a worker has the result of {self._task!r}, and this is "
                reason += "a child that the script has forked"
                raise WorkerLostError(self.executor, reason)
            self.want()
            self._waits()
            self._ended.wait()
        if self._home is None:
            raise self.loss or AssertionError("neither home nor lost")
        return self._home.fetch()

    def want(self) -> None:
        """Have it sent home. Does not wait."""
        self.post.want([self])

    def wait(self, limit: float | None) -> bool:
        """Wait until it is home or lost; tell whether it is."""
        return self._ended.wait(limit)

    def arrive(self, parts: Sequence[Any]) -> None:
        """Note that it is home, as its pickle and buffers."""
        data, *buffers = [memoryview(one) for one in parts]
        self._home = PackedResult(self.executor, self._task, (data, buffers), 0)
        self._ended.set()

    def lose(self, why: str) -> None:
        """Note that nobody has it any more."""
        self._lost = why
        self._ended.set()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Have a worker get the value: by number where it is, or with the call."""
        call = getattr(_thread, "call", None)
        if call is not None and call.post is self.post:
            call.takes.append(self.number)
            return kept_at, (self.number,)
        if self._home is None:
            raise self.loss or AssertionError("it is on another worker")
        return self._home.reduced(read_only=True)  # as where it is


class Call:
    """A call that is pickled for an agent.

    Attributes:
        post: The agent.
        takes: Numbers of the results that it names.
    """

    __slots__ = ("post", "takes")

    def __init__(self, post: Keeper) -> None:
        self.post: Keeper = post
        self.takes: list[int] = []

    def __enter__(self) -> Self:
        _thread.call = self
        return self

    def __exit__(self, *_: object) -> None:
        _thread.call = None


_thread = threading.local()


class Stays:
    """The results that are with one agent. Its methods may be called on any thread.

    Attributes:
        pid: The process that speaks with the agent.
        gone: Numbers that the agent may forget, and has not been told of.
    """

    def __init__(self) -> None:
        self.pid: int = os.getpid()
        self.gone: deque[int] = deque()
        self._lock = threading.Lock()
        self._away: WeakValueDictionary[int, Stayed] = WeakValueDictionary()
        self._asked: dict[int, int] = {}  # sizes of what is to come, by number
        self._lost: str | None = None

    def add(self, stayed: Stayed) -> None:
        """Take in a result that has stayed with the agent."""
        with self._lock:
            lost = self._lost
            if lost is None:
                self._away[stayed.number] = stayed
        if lost is not None:
            stayed.lose(lost)

    def away(self) -> list[Stayed]:
        """Return those that only the agent has, the oldest first."""
        with self._lock:
            return list(self._away.values())

    def ask(self, stays: Sequence[Stayed]) -> list[int]:
        """Note that these are to come home; return those that were not yet to."""
        with self._lock:
            new = {
                one.number: one.size
                for one in stays
                if one.away and one.number not in self._asked
            }
            self._asked.update(new)
            return list(new)

    def due(self, *, hurry: bool) -> list[Stayed]:
        """Return those that should be sent home now; with ``hurry``, that is all."""
        now = monotonic()
        with self._lock:
            if not self._away:
                return []
            room = math.inf if hurry else AT_ONCE - sum(self._asked.values())
            found = []
            for one in list(self._away.values()):
                if room <= 0 or not (hurry or now - one.since > HOME_S):
                    break
                if one.number not in self._asked:
                    found.append(one)
                    room -= one.size
            return found

    def arrive(self, number: int, parts: Sequence[Any] | None) -> list[Stayed]:
        """Note what the agent has sent; return whose it is, if anybody wants it."""
        with self._lock:
            self._asked.pop(number, None)
            stayed = self._away.pop(number, None)
        if stayed is None:
            return []
        if parts is None:
            stayed.lose("it could not be read there")
        else:
            stayed.arrive(parts)
        return [stayed]

    def lose(self, why: str) -> list[Stayed]:
        """Note that the agent is gone; return those that are lost with it."""
        with self._lock:
            self._lost = why
            lost = list(self._away.values())
            self._away.clear()
            self._asked.clear()
        for one in lost:
            one.lose(why)
        return lost


def stayed_in(work: Work) -> Iterator[Stayed]:
    """Give the results of agents that a work gets."""
    for one in work.kept:
        if isinstance(one, Stayed):
            yield one
