"""Results of agents that are made again, when the agent that had them is gone.

What only an agent has (``stays``) has an *origin*: the work that has made it, as it was
called. If the agent is lost, that work runs again on another one, and its result comes
home at once, into the ``Stayed`` that has stood for it all the time. Whoever waits for
that, a thread or a work, goes on waiting. The kernel is told nothing: the task ended
well, and has not ended a second time.

*What a result was made of may be gone, too.* A chain keeps no result but its last. So
among the arguments of an origin's work are origins, in the place of results that were
away, and they hold nothing that an agent would have to keep. They are made again first.
That is why ``DEEP`` is there: a result that would have longer a history comes home when
it is made, like one that may not stay at all.

*It has an end.* ``MOST`` says how often a result is made again whose agent is lost each
time. An error of the function itself is the end at once.

*Who decides.* A result is lost once: ``Stays.lose`` gives each to one caller. While it
is being made, its work is in ``_being`` here, and whoever takes it out has it: an
outcome, or the end of the executor.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import WorkerLostError, one_line
from jackfield_executors.remote.shelf import LARGE, pack_apart
from jackfield_executors.remote.stays import Origin, depth_of
from jackfield_serialize import load_outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jackfield.abc import Kept, Outcome, Work
    from jackfield_executors.remote.stays import Stayed

MOST: Final = 3
"""So often one result is made again."""

DEEP: Final = 64
"""So many works at most have to run again for one result, one after the other."""


def may_stay(work: Work) -> bool:
    """Tell whether a work's result may stay with an agent: if it can be made again.

    One that makes files would write them a second time, while others read them.
    """
    return not work.once and "outputs" not in work.kwargs and depth_of(work) <= DEEP


class Again:
    """The results of one executor that are being made again. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._being: dict[Work, Stayed] = {}

    def __contains__(self, work: Work) -> bool:
        return work in self._being

    def __bool__(self) -> bool:
        return bool(self._being)

    def begin(
        self, lost: Iterable[Stayed], why: str
    ) -> tuple[list[Work], list[Stayed]]:
        """Return works that make results again, and results that are lost for good."""
        works: list[Work] = []
        given_up: list[Stayed] = []
        stack = list(lost)

        def find(one: Kept) -> Kept:
            if not isinstance(one, Origin):
                return one
            known = one.stayed()
            stayed = one.revived()
            if stayed is not known:
                stack.append(stayed)
            return stayed

        while stack:
            stayed = stack.pop()
            origin = stayed.origin
            if origin is None or origin.times >= MOST:
                more = "" if origin is None else f"; so it was with {MOST} more runs"
                stayed.lose(why + more)
                given_up.append(stayed)
                continue
            stayed.making = True
            with self._lock:
                work = origin.work(find)
                self._being[work] = stayed
            works.append(work)
        return works, given_up

    def take(
        self, outcomes: Sequence[Outcome]
    ) -> tuple[list[Stayed], list[tuple[Stayed, str]], list[Outcome]]:
        """Take out what works have come to that make a result again.

        Returns:
            Results that are here now, or lost for good; those that were lost once more,
            with the reason; and all outcomes of other works.
        """
        ended: list[Stayed] = []
        lost: list[tuple[Stayed, str]] = []
        others: list[Outcome] = []
        for outcome in outcomes:
            work, error, value = outcome
            stayed = self._being.pop(work, None)
            if stayed is None:
                others.append(outcome)
            elif isinstance(error, WorkerLostError):
                lost.append((stayed, error.reason))
            else:
                failure = _arrived(work, stayed, value) if error is None else error
                if failure is not None:
                    text = f"its task has run again, and failed: {one_line(failure)}"
                    stayed.lose(text, failure)
                ended.append(stayed)
        return ended, lost, others

    def give_up(self, works: Iterable[Work], why: str) -> list[Stayed]:
        """Lose results for good; return those."""
        found = [self._being.pop(work, None) for work in works]
        lost = [stayed for stayed in found if stayed is not None]
        for stayed in lost:
            stayed.lose(why)
        return lost

    def end(self, why: str) -> None:
        """Lose all that are being made."""
        self.give_up(list(self._being), why)

    def being(self) -> list[Stayed]:
        """Return the results that are being made."""
        return list(self._being.values())


def _arrived(work: Work, stayed: Stayed, value: Any) -> BaseException | None:
    """Note that a result is here; return what keeps it from being used."""
    packed = value.packed if isinstance(value, Raw) else pack_apart(value)
    if packed[0] not in {"ok", LARGE}:
        return load_outcome(work.name, packed)[0]
    stayed.arrive([packed[1], *(packed[2] if len(packed) == 3 else ())])
    return None


class Raw:
    """In an outcome: a result as it has come from an agent."""

    __slots__ = ("packed",)

    def __init__(self, packed: Any) -> None:
        self.packed: Any = packed
