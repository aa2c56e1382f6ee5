"""Drives one executor in a test, as a kernel would."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from threading import Condition
from typing import TYPE_CHECKING, Any, Final, Self

from jackfield.abc import Executor, ExecutorContext, Kept, Work
from jackfield.plugins import PluginManager
from jackfield_testing.background import Background, user_code
from jackfield_testing.footprint import WAIT_S

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from jackfield.abc import Outcome, Wake
    from jackfield.events import News

NOTHING: Final[Mapping[str, float]] = {}

WAIT_AFTER_LOSS_S: Final = 1.0
"""Seconds that a harness still waits once a work was not reported in time.

Whatever the executor owes after that is probably lost too, and a test that waits for
each of a hundred works in vain would take an hour.
"""


class Harness:
    """Starts an executor, submits works, and collects what is reported.

    Leaving it as a context manager shuts the executor down without grace, and
    checks that no work was reported twice and nothing unknown at all.

    Attributes:
        executor: The executor; a foreign one is adapted, as the kernel does it.
        label: Its label.
        on_report: Called with each report, on the thread that brings it, after the
            outcomes are noted.
        on_serve: Called when a thread that was woken serves, on that thread.
        offer: Wakes the idle thread that is offered; ``None`` if there is none.
        served: How often a thread has served.
        workers_seen: How many workers the executor had each time that it said their
            number had changed.
        states_seen: The states of health that it had then.
        news: What it has told for observers.
        workers_at_first: How many workers the executor that tests share had when it
            was new.
        cleanups: Called on leaving, after the shutdown.
    """

    def __init__(
        self,
        executor: Executor | concurrent.futures.Executor,
        run_dir: Path,
        label: str = "tested",
    ) -> None:
        self.executor: Executor = _adapted(executor, label)
        self.label: str = label
        self.on_report: Callable[[Sequence[Outcome]], None] | None = None
        self.on_serve: Callable[[], object] | None = None
        self.offer: Wake | None = None
        self.served: int = 0
        self.cleanups: list[Callable[[], object]] = []
        self.workers_seen: list[int] = []
        self.states_seen: set[str] = set()
        self.news: list[News] = []
        self.workers_at_first: int = 0
        self._run_dir = run_dir
        self._ids = itertools.count()
        self._changed = Condition()
        self._outcomes: dict[Work, Outcome] = {}
        self._known: set[Work] = set()
        self._strange: list[Outcome] = []
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether a work was not reported in time: others may be lost with it."""
        return self._lost

    def begin_anew(self, executor: Executor | concurrent.futures.Executor) -> None:
        """Go on with another executor, which is started, in place of one that is lost.

        The end of that one may hang, and so is waited for no longer than a work is.
        """
        ending = Background(partial(self.executor.shutdown, grace=0))
        with suppress(Exception):
            ending.finish()
        self.executor = _adapted(executor, self.label)
        self._lost = False
        self.start()

    def start(self) -> Harness:
        """Start the executor."""
        self.executor.start(
            ExecutorContext(
                self.label,
                self._run_dir,
                self._report,
                tell=self.news.append,
                changed=self._note_workers,
                attend=self._attend,
                serve=self._serve,
            )
        )
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with user_code():
            self.executor.shutdown(grace=0)
        for cleanup in self.cleanups:
            cleanup()
        if error is None:
            self.check_reports()

    def _note_workers(self) -> None:
        with self._changed:
            self.workers_seen.append(self.executor.workers)
            self.states_seen.add(self.executor.health.state)
            self._changed.notify_all()

    def _attend(self, wake: Wake | None) -> None:
        self.offer = wake

    def _serve(self) -> None:
        self.offer = None
        if self.on_serve is not None:
            self.on_serve()
        with self._changed:
            self.served += 1

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        with self._changed:
            for outcome in outcomes:
                work = outcome[0]
                if work in self._outcomes or work not in self._known:
                    self._strange.append(outcome)
                else:
                    self._outcomes[work] = outcome
            self._changed.notify_all()
        if self.on_report is not None:
            self.on_report(outcomes)

    # -- works

    def work(
        self,
        function: Callable[..., Any],
        *args: Any,
        walltime: float | None = None,
        resources: Mapping[str, float] = NOTHING,
        priority: int = 0,
        **kwargs: Any,
    ) -> Work:
        """Make a work, and do not submit it."""
        name = getattr(function, "__name__", type(function).__name__)
        number = next(self._ids)
        work = Work(number, 1, name, function, args, kwargs, walltime, resources)
        work.priority = priority
        with self._changed:
            self._known.add(work)
        return work

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        walltime: float | None = None,
        **kwargs: Any,
    ) -> Work:
        """Submit one work as a batch of its own."""
        work = self.work(function, *args, walltime=walltime, **kwargs)
        self.submit_batch([work])
        return work

    def submit_batch(self, works: Sequence[Work]) -> None:
        """Submit works that were made before; nothing of theirs may end pytest."""
        with user_code():
            self.executor.submit(works)

    def submit_each(
        self, function: Callable[..., Any], values: Iterable[Any]
    ) -> list[Work]:
        """Submit one batch: a work with one argument for each value."""
        works = [self.work(function, value) for value in values]
        self.submit_batch(works)
        return works

    # -- outcomes

    def wait(self, works: Iterable[Work], limit: float = WAIT_S) -> None:
        """Wait until each of the works is reported.

        As long as some of them come, the others are waited for: how long all take
        together says more about the machine than about the executor.

        Raises:
            AssertionError: None was, for ``limit`` seconds.
        """
        limit = min(limit, WAIT_AFTER_LOSS_S) if self._lost else limit
        works = list(works)
        with self._changed:
            came = sum(map(self.reported, works))
            deadline = time.monotonic() + limit
            for work in works:
                there = partial(self.reported, work)
                while not self._changed.wait_for(there, deadline - time.monotonic()):
                    before, came = came, sum(map(self.reported, works))
                    if came == before:
                        self._lost = True
                        raise AssertionError(f"{work} is not reported in {limit:g} s")
                    deadline = time.monotonic() + limit

    def error(self, work: Work) -> BaseException | None:
        """Wait for a work, and return what it raised."""
        self.wait([work])
        _, error, value = self._outcomes[work]
        if isinstance(value, Kept):
            try:
                value.fetch()
            except Exception as unread:
                return unread
        return error

    def value(self, work: Work) -> Any:
        """Wait for a work, and return its value or raise what it raised."""
        self.wait([work])
        _, error, value = self._outcomes[work]
        if error is not None:
            raise error
        return value.fetch() if isinstance(value, Kept) else value

    def outcome(self, work: Work) -> Any:
        """Wait for a work, and return the value as it was reported: maybe ``Kept``."""
        self.wait([work])
        return self._outcomes[work][2]

    def values(self, works: Sequence[Work]) -> list[Any]:
        """Wait for works, and return their values in order."""
        self.wait(works)
        return [self.value(work) for work in works]

    def reported(self, work: Work) -> bool:
        """Whether a work has been reported by now."""
        with self._changed:
            return work in self._outcomes

    @property
    def count(self) -> int:
        """How many outcomes have come in, those of repeated and unknown works too."""
        with self._changed:
            return len(self._outcomes) + len(self._strange)

    def check_reports(self) -> None:
        """Raise AssertionError for second reports and for works never submitted."""
        with self._changed:
            assert not self._strange, f"reported twice or unknown: {self._strange!r}"

    def forget(self) -> None:
        """Drop all works and outcomes, so that a test sees whether others hold them."""
        with self._changed:
            self._outcomes.clear()
            self._known.clear()


def _adapted(executor: Executor | concurrent.futures.Executor, label: str) -> Executor:
    if isinstance(executor, Executor):
        return executor
    made = PluginManager().create_executor("adapter", label, {"executor": executor})
    assert isinstance(made, Executor)
    return made
