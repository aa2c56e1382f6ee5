"""Large results that stay with the agent of their worker: the side of the driver.

A ``Stayed`` stands for such a result. While it is *away*, only its agent has it. A call
that goes to that agent names it; whoever else wants it has it sent *home*, and waits.
When nothing refers to the ``Stayed`` any more, the agent is told to forget the result.

*Results come home by themselves.* An agent may die, and what only it had has to be made
again (``again``). So what is still referred to after ``HOME_S`` is sent home, a little
at a time; and at once, if its agent is to go, or the time of its job is nearly over. In
a chain of tasks a result is dropped before that, and never travels.

*Nobody waits for ever.* A result that is away comes home or gets lost: by an answer of
the agent, or by what becomes of it when the agent is gone, or by the end of the
executor. Whoever waits must not be who receives that: see
``AgentsExecutor._stand_in``.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, Self
from weakref import WeakValueDictionary, ref

from jackfield.abc import Kept, Work
from jackfield.clock import monotonic
from jackfield.errors import ResultLostError
from jackfield.kept import with_each
from jackfield_executors.processes.kept import PackedResult
from jackfield_executors.remote.shelf import kept_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
        task: The task, by its number and the name of its function.
        number: Its number with the agent.
        size: How many bytes it has.
        post: The agent.
        waits: Called before somebody waits here.

    Attributes:
        number: Its number with the agent.
        post: The agent.
        since: When it was made.
        origin: How it can be made again, while only the agent has it.
        making: Whether it is made again, or was, because the agent has it no more.
        works: Those that wait for it; under the lock of the book.
    """

    __slots__ = (
        "__weakref__",
        "_ended",
        "_failure",
        "_home",
        "_lost",
        "_task",
        "_waits",
        "making",
        "number",
        "origin",
        "post",
        "since",
        "works",
    )

    def __init__(
        self,
        label: str,
        task: tuple[int, str],
        number: int,
        size: int,
        post: Keeper,
        waits: Callable[[], None],
    ) -> None:
        super().__init__(label, size)
        self.number: int = number
        self.post: Keeper = post
        self.since: float = monotonic()
        self.origin: Origin | None = None
        self.making: bool = False
        self.works: dict[Work, None] = {}
        self._task = task
        self._waits = waits
        self._home: PackedResult | None = None
        self._lost: str | None = None
        self._failure: BaseException | None = None
        self._ended = threading.Event()  # set when it is home or lost

    def __del__(self) -> None:
        # On any thread, at any instruction, with any lock held: so it takes none.
        self.post.stays.gone.append(self.number)

    @property
    def away(self) -> bool:
        """Whether only the agent has it. Once false, it stays so."""
        return not self._ended.is_set()

    @property
    def loss(self) -> ResultLostError | None:
        """An error of its own for each who asks, if it is lost."""
        return None if self._lost is None else self._lost_by(self._lost)

    def _lost_by(self, why: str) -> ResultLostError:
        number, name = self._task
        error = ResultLostError(self.executor, f"{number} ({name})", why)
        error.__cause__ = self._failure
        return error

    @property
    def at_hand(self) -> bool:
        """Whether it is home, or lost for good."""
        return not self.away

    @property
    def twin(self) -> Callable[[], Stayed]:
        """What makes another one like this, for when this is dropped."""
        return partial(
            Stayed, self.executor, self._task, self.number, self.size, self.post,
            self._waits,
        )  # fmt: skip

    def fetch(self) -> Any:
        """Return the value; wait until it is home.

        Raises:
            ResultLostError: It is lost; or this is a child that the script has forked.
            SerializationError: It cannot be unpickled.
        """
        if self.away:
            if os.getpid() != self.post.stays.pid:
                raise self._lost_by(
                    "it is there, and this is a forked child: read it "
                    "before the script forks"
                )
            self.want()
            self._waits()
            self._ended.wait()
        if self._home is None:
            raise self.loss or AssertionError("neither home nor lost")
        return self._home.fetch()

    def want(self) -> None:
        """Have it sent home. Does not wait."""
        if not self.making:
            self.post.want([self])

    def wait(self, limit: float | None) -> bool:
        """Wait until it is home or lost; tell whether it is."""
        return self._ended.wait(limit)

    def arrive(self, parts: Sequence[Any]) -> None:
        """Note that it is home, as its pickle and buffers."""
        data, *buffers = [memoryview(one) for one in parts]
        self._home = PackedResult(self.executor, self._task[1], (data, buffers), 0)
        self.origin = None
        self._ended.set()

    def lose(self, why: str, failure: BaseException | None = None) -> None:
        """Note that nobody has it, and nobody will; ``failure`` is of the last try."""
        self._lost, self._failure = why, failure
        self.origin = None
        self._ended.set()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Have a worker get the value: by number where it is, or with the call."""
        call = getattr(_thread, "call", None)
        if call is not None and call.post is self.post and not self.making:
            call.takes.append(self.number)
            return kept_at, (self.number,)
        if self._home is None:
            raise self.loss or AssertionError("it is on another worker")
        return self._home.reduced(read_only=True)  # as where it is


class Origin(Kept):
    """How a result was made. In arguments it stands for the result.

    Attributes:
        depth: How many works would have to run, one after the other, if nothing that
            this one got were there any more.
        stayed: What stands for the result, until that is dropped.
        times: How often it was made again.
    """

    __slots__ = ("_twin", "_work", "depth", "stayed", "times")

    def __init__(self, stayed: Stayed, work: Work) -> None:
        super().__init__(stayed.executor, stayed.size)
        self.depth: int = depth_of(work)
        args, kwargs = with_each(work.args, work.kwargs, _without_data)
        self._work = Work(
            work.id, work.attempt, work.name, work.function, args, kwargs,
            work.walltime, work.resources, work.measure, priority=work.priority,
        )  # fmt: skip
        self.times: int = 0
        self._twin = stayed.twin
        self.stayed: ref[Stayed] = ref(stayed)

    def revived(self) -> Stayed:
        """Return what stands for the result now; a new one if it was dropped."""
        stayed = self.stayed()
        if stayed is None:
            stayed = self._twin()
            stayed.origin = self
            self.stayed = ref(stayed)
        return stayed

    def work(self, find: Callable[[Kept], Kept]) -> Work:
        """Return the work for another run; ``find`` gives what stands for arguments."""
        self.times += 1
        old, kept = self._work, list[Kept]()

        def put(one: Kept) -> Kept:
            kept.append(find(one))
            return kept[-1]

        args, kwargs = with_each(old.args, old.kwargs, put)
        return Work(
            old.id, old.attempt + self.times, old.name, old.function, args, kwargs,
            old.walltime, old.resources, old.measure, kept=tuple(kept),
            priority=old.priority,
        )  # fmt: skip


def _without_data(one: Kept) -> Kept:
    """Return what does not keep an agent from forgetting a result."""
    origin = one.origin if isinstance(one, Stayed) else None
    return origin or one


def depth_of(work: Work) -> int:
    """Return how many works have to run at most, to make a work's result again."""
    before = [one.origin.depth for one in stayed_in(work) if one.origin is not None]
    return 1 + max(before, default=0)


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
        self._lost = False

    def add(self, stayed: Stayed) -> bool:
        """Take in a result that has stayed with the agent; false if that is gone."""
        with self._lock:
            if not self._lost:
                self._away[stayed.number] = stayed
            return not self._lost

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
                if one.away and one.number not in self._asked and not self._lost
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
        """Note what the agent has sent; return whose it is, if anybody wants it.

        ``None`` says that it could not be read there: then it is away for good.
        """
        with self._lock:
            self._asked.pop(number, None)
            stayed = self._away.pop(number, None)
        if stayed is None:
            return []
        if parts is not None:
            stayed.arrive(parts)
        return [stayed]

    def lose(self) -> list[Stayed]:
        """Note that the agent is gone; return, once, those that only it had."""
        with self._lock:
            self._lost = True
            lost = list(self._away.values())
            self._away.clear()
            self._asked.clear()
        return lost


def stayed_in(work: Work) -> Iterator[Stayed]:
    """Give the results of agents that a work gets."""
    for one in work.kept:
        if isinstance(one, Stayed):
            yield one
