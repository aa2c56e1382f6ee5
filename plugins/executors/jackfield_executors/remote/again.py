"""Results of agents that are made again, when the agent that had them is gone.

What only an agent has (``stays``) has an *origin*: the work that has made it, as it was
called. If the agent is lost, that work runs again on another one, and its result comes
home at once, into the ``Stayed`` that has stood for it all the time. Whoever waits for
that, a thread or a work, goes on waiting. The kernel is told nothing: the task ended
well, and has not ended a second time. Observers are: of each run when it begins, with
the reason, and of how it ended.

*What a result was made of may be gone, too.* A chain keeps no result but its last. So
among the arguments of an origin's work are origins, in the place of results that were
away, and they hold nothing that an agent would have to keep. They are made again first.
That is why ``DEEP`` is there: a result that would have longer a history comes home when
it is made, like one that may not stay at all.

*It has an end.* ``MOST`` says how often a result is made again whose agent is lost each
time. An error of the function itself is the end at once. So is code that has changed
since: the kernel would send the task once more as it is in the script, but this one has
ended for it, and what is in the script may be something else by now, too.

*Who decides.* A result is lost once: ``Stays.lose`` gives each to one caller. While it
is being made, its work is in ``_being`` here, and whoever takes it out has it: an
outcome, or the end of the executor.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from jackfield.clock import monotonic
from jackfield.errors import (
    ExecutorError,
    ResultLostError,
    StaleCodeError,
    WorkerLostError,
    one_line,
)
from jackfield.events import AttemptRecord, Failure, Place, Rerun
from jackfield.messages import hide_secrets
from jackfield_executors.remote.shelf import LARGE, pack_apart
from jackfield_executors.remote.stays import Origin, depth_of
from jackfield_serialize import load_outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jackfield.abc import Kept, Outcome, Work
    from jackfield.events import News
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
    """The results of one executor that are being made again. For any thread.

    Attributes:
        tell: Takes news for observers; see ``ExecutorContext``.
    """

    def __init__(self) -> None:
        self.tell: Callable[[News], object] = bool  # until the executor starts
        self._lock = threading.Lock()
        self._being: dict[Work, tuple[Stayed, float]] = {}  # and since when

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
            now = monotonic()
            with self._lock:
                work = origin.work(find)
                self._being[work] = stayed, now
            works.append(work)
            self.tell(Rerun(work.id, work.attempt, stayed.executor, why, now))
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
            stayed, since = self._being.pop(work, (None, 0.0))
            if stayed is None:
                others.append(outcome)
                continue
            failure, retry = error, None
            if isinstance(error, WorkerLostError):
                lost.append((stayed, error.reason))
                retry = 0.0
            elif isinstance(error, StaleCodeError) and not error.names:
                lost.append((stayed, one_line(error)))  # right at the next try
                retry = 0.0
            else:
                failure = _arrived(work, stayed, value) if error is None else error
                if failure is not None:
                    stayed.lose(_told(failure), failure)
                ended.append(stayed)
            self.tell(_attempt(work, stayed.executor, since, failure, retry))
        return ended, lost, others

    def give_up(self, works: Iterable[Work], why: str) -> list[Stayed]:
        """Lose results for good; return those."""
        found = [self._being.pop(work, None) for work in works]
        lost = [one[0] for one in found if one is not None]
        for stayed in lost:
            stayed.lose(why)
        return lost

    def end(self, why: str) -> None:
        """Lose all that are being made."""
        self.give_up(list(self._being), why)

    def being(self) -> list[Stayed]:
        """Return the results that are being made."""
        return [stayed for stayed, _ in list(self._being.values())]


def _attempt(
    work: Work,
    label: str,
    since: float,
    error: BaseException | None,
    retry_in: float | None,
) -> AttemptRecord:
    """Return what observers are told of a run that is over."""
    failure = None
    if error is not None:
        kind = type(error).__name__
        said = one_line(error).removeprefix(kind).removeprefix(": ")
        failure = Failure(kind, hide_secrets(said))
    place = None if work.ran is None else Place._make(work.ran)
    return AttemptRecord(
        work.id, work.attempt, label, since, monotonic(), place, failure, retry_in
    )


def _told(failure: BaseException) -> str:
    """Say why a result could not be made again, and what now."""
    if isinstance(failure, StaleCodeError):
        names = ", ".join(".".join(filter(None, name)) for name in failure.names)
        return (
            "its task cannot run again, because its code has changed since, on the "
            f"disk that workers see: {names}. Start the script again, which takes the "
            "new code; with `keep = false` on the executor no result stays with workers"
        )
    if isinstance(failure, ResultLostError):
        return f"its task cannot run again without what it got: {one_line(failure)}"
    if isinstance(failure, ExecutorError):
        return f"its task could not run again: {one_line(failure)}"
    return f"its task has run again, and failed: {one_line(failure)}"


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
