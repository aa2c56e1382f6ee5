"""The numbers of a run, app by app, kept up to date from what observers are told.

Nothing here looks at all tasks: each record moves a few counters, and a look at the
counters touches as many apps as are shown.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from itertools import islice
from math import exp, inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield import TaskState
from jackfield.states import FINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jackfield import Summary
    from jackfield.events import Batch, Running

RATE_S: Final = 10.0
"""Seconds after which an ended task counts for a third in its app's rate."""

SURE_S: Final = 3.0
"""Seconds for which an app must have run, and got no task, to tell what is left."""

MOST_LONGEST: Final = 20
"""Tasks that are kept in mind of those that have run longest."""

_OWN: Final = frozenset({"transfer", "internal"})
"""Kinds of tasks that the kernel makes for itself."""


class AppCounts:
    """The numbers of one app. All times are on the monotonic clock.

    Attributes:
        name: The app's name.
        first_task: The number of its first task, as far as it was known when the app
            was first heard of.
        total: Tasks that are known.
        done: Those that have succeeded, the memoized ones included.
        memoized: Those for which an earlier result was used.
        failed: Those that have failed.
        dependency_failed: Those that depended on one that failed, or was cancelled.
        cancelled: Those that were cancelled.
    """

    __slots__ = (
        "_ends",
        "_ends_at",
        "_first",
        "_grown",
        "cancelled",
        "dependency_failed",
        "done",
        "failed",
        "first_task",
        "memoized",
        "name",
        "total",
    )

    def __init__(self, name: str = "", first_task: int = 0) -> None:
        self.name: str = name
        self.first_task: int = first_task
        self.total: int = 0
        self.done: int = 0
        self.memoized: int = 0
        self.failed: int = 0
        self.dependency_failed: int = 0
        self.cancelled: int = 0
        self._ends: float = 0.0  # tasks that have ended, the older the less they count
        self._ends_at: float = 0.0
        self._first: float | None = None  # when a task was first heard of
        self._grown: float = 0.0  # when one last came

    @property
    def ended(self) -> int:
        """How many tasks have ended, in whatever way."""
        return self.done + self.failed + self.not_run

    @property
    def not_run(self) -> int:
        """How many were cancelled, or depended on one that failed."""
        return self.dependency_failed + self.cancelled

    @property
    def left(self) -> int:
        """How many tasks have not ended."""
        return self.total - self.ended

    def add(self, came: int, ended: Mapping[TaskState, int], now: float) -> None:
        """Add tasks that have come, and how many have ended in which state."""
        self._add(came, ended)
        if self._first is None:
            self._first = self._ends_at = now
        if came:
            self._grown = now
        self._ends = self._faded(now) + sum(ended.values())
        self._ends_at = now

    def _add(self, came: int, ended: Mapping[TaskState, int]) -> None:
        self.total += came
        self.memoized += ended[TaskState.MEMOIZED]
        self.done += ended[TaskState.SUCCEEDED] + ended[TaskState.MEMOIZED]
        self.failed += ended[TaskState.FAILED]
        self.dependency_failed += ended[TaskState.DEPENDENCY_FAILED]
        self.cancelled += ended[TaskState.CANCELLED]

    @classmethod
    def of(cls, counts: Mapping[TaskState, int]) -> AppCounts:
        """Return the numbers of all tasks, from how many are in each state."""
        made = cls()
        made._add(sum(counts.values()), dict.fromkeys(FINAL, 0) | dict(counts))
        return made

    def rate(self, now: float) -> float:
        """Return how many tasks end a second, lately; 0.0 where that is not known."""
        seconds = now - (now if self._first is None else self._first)
        if seconds <= 0.0:
            return 0.0
        return self._faded(now) / (RATE_S * (1.0 - exp(-seconds / RATE_S)))

    def seconds_left(self, now: float) -> float | None:
        """Return in how many seconds all will have ended; ``None``: nobody knows.

        It is not known while more tasks come, nor before some have ended.
        """
        if self._first is None or now - max(self._first, self._grown) < SURE_S:
            return None
        rate = self.rate(now)
        return self.left / rate if self.left and rate * RATE_S > 1.0 else None

    def _faded(self, now: float) -> float:
        return self._ends * exp(-(now - self._ends_at) / RATE_S)


_NOT_KNOWN: Final[dict[int, str]] = {}
"""In the place of a task that nothing is known of."""


class Newest(NamedTuple):
    """The failure that came last."""

    task: int
    app: str
    text: str


class _New:
    """What one batch tells of an app."""

    __slots__ = ("came", "ended", "first_task")

    def __init__(self, task: int) -> None:
        self.first_task: int = task
        self.came: int = 0
        self.ended: dict[TaskState, int] = dict.fromkeys(FINAL, 0)


class Counts:
    """The numbers of one run.

    ``take`` is called on one thread; the numbers may be read on another, which sees
    each of them as it was a moment ago.

    Attributes:
        whole: The numbers of all apps together.
        newest: The failure that came last, or ``None``.
        lost: Records that the run had to drop: then these numbers are too low.
        lacking: Why executors with tasks have fewer workers than they want, by label.
            Replaced, never changed.
    """

    def __init__(self) -> None:
        self._summary: Callable[[], Summary] | None = None
        self.whole: AppCounts = AppCounts()
        self.newest: Newest | None = None
        self.lost: int = 0
        self._apps: dict[str, AppCounts] = {}
        # Tasks that have not ended; those that an executor has with that one's dict,
        # in which its tasks are in the order in which it got them, with their apps. (To
        # find the first item of a plain dict takes long if many before it have gone.)
        self._live: dict[int, dict[int, str] | None] = {}
        self._handed: dict[str, OrderedDict[int, str]] = {}
        self._workers: dict[str, int] = {}
        self.lacking: dict[str, str] = {}
        self._told: tuple[Running, ...] = ()
        self._chosen: list[AppCounts] = []
        self._chosen_at: float = 0.0

    def know(self, summary: Callable[[], Summary]) -> None:
        """Remember what tells the kernel's own count, which never lacks anything."""
        self._summary = summary

    def take(self, batch: Batch) -> None:
        """Take in what has happened since the last batch."""
        self.lost += batch.lost
        for load in batch.loads:
            self._workers[load.executor] = load.workers
        if batch.loads:
            wanting = [one for one in batch.loads if one.lacking and one.unfinished]
            self.lacking = {one.executor: one.lacking for one in wanting}
            told = [one for load in batch.loads for one in load.running or ()]
            self._told = tuple(sorted(told, key=_since)[:MOST_LONGEST])
        live = self._live
        new: dict[str, _New] = {}
        for task, app, kind, state, executor, error in batch.changes:
            if kind in _OWN:
                continue
            one = new.get(app)
            if one is None:
                one = new[app] = _New(task)
            final = state in one.ended
            before = live.pop(task, _NOT_KNOWN)
            if before is _NOT_KNOWN:
                one.came += 1
                one.first_task = min(one.first_task, task)
            elif before is not None:
                del before[task]
            if final:
                one.ended[state] += 1
                if error is not None and state is TaskState.FAILED:
                    self.newest = Newest(task, app, error)
            elif state is TaskState.SUBMITTED and executor is not None:
                handed = self._handed.get(executor)
                if handed is None:
                    handed = self._handed[executor] = OrderedDict()
                handed[task] = app
                live[task] = handed
            else:
                live[task] = None
        self._meet(new)
        for app, one in new.items():
            self._apps[app].add(one.came, one.ended, batch.monotonic)
            self.whole.add(one.came, one.ended, batch.monotonic)

    def _meet(self, new: Mapping[str, _New]) -> None:
        """Give apps that are new their places, in the order of their first tasks.

        A batch tells tasks that go on before those that have ended, whichever came
        first. The dict is replaced, never changed: the other thread may be in it.
        """
        strangers = [name for name in new if name not in self._apps]
        if strangers:
            made = [AppCounts(name, new[name].first_task) for name in strangers]
            apps = [*self._apps.values(), *made]
            apps.sort(key=attrgetter("first_task"))
            self._apps = {app.name: app for app in apps}

    # -- for whoever shows them

    def totals(self) -> AppCounts:
        """Return the numbers of all tasks, which are right though records were lost."""
        if self.lost and self._summary is not None:
            return AppCounts.of(self._summary().counts)
        return self.whole

    def __len__(self) -> int:
        return len(self._apps)

    def busiest(self, number: int, now: float) -> list[AppCounts]:
        """Return so many apps, those with most to do, in the order in which they came.

        Apps with failures come before those that have ended well. Which these are is
        looked up once a second, so that the lines on a screen do not jump.
        """
        if len(self._apps) <= number:
            return list(self._apps.values())
        if number != len(self._chosen) or now - self._chosen_at >= 1.0:
            apps = list(self._apps.values())
            chosen = set(heapq.nlargest(number, apps, key=_urgency))
            self._chosen = [app for app in apps if app in chosen]
            self._chosen_at = now
        return self._chosen

    def longest(self, now: float, least: float) -> list[Running]:
        """Return some tasks that have run longest, and for ``least`` seconds.

        Executors that know have told so a second ago; what has ended since is left out.
        """
        return [
            one
            for one in self._told
            if one.began is not None
            and now - one.began >= least
            and one.task in self._live
        ]

    def running(self) -> Counter[str]:
        """Return how many tasks of each app run now, as far as one can know.

        Executors take tasks in the order in which they get them. So of the tasks that
        one has, the first run: as many as it has workers.
        """
        found: Counter[str] = Counter()
        for executor, tasks in list(self._handed.items()):
            workers = self._workers.get(executor, 0)
            try:
                found.update(islice(tasks.values(), workers))
            except RuntimeError:  # the other thread has changed it meanwhile
                found.update(list(tasks.values())[:workers])
        return found


def _since(one: Running) -> float:
    return inf if one.began is None else one.began


def _urgency(app: AppCounts) -> tuple[bool, bool, int]:
    return app.left > 0, app.failed > 0, app.left or app.total
