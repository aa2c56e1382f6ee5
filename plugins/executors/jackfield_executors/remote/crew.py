"""Jobs for agents: as many as are wanted, asked for again when they are lost.

One thread of the executor calls ``step`` again and again; it alone changes what is
known of the jobs, and talks to the cluster about them. Other threads set ``wanted``,
and read the other attributes.

A job is *asked for* from ``begin`` on, *has* agents when the first one has come in, and
is *over* when the cluster does not know it any more, or has lost its agents again.

- *A job is over before it had an agent.* That is a failed start. The next one is asked
  for after a delay, twice as long each time. After ``MOST_FAILED`` in a row the
  executor counts as lost, with the reason; it goes on trying.
- *There are to be fewer.* Those go first that wait in the cluster's queue, then those
  whose agents have the least to do. Their agents get nothing more (``Post.draining``),
  and when they have nothing left, the job is ended. So no work is lost by that.
- *An agent has too little time left for what waits.* It would idle until its job ends.
  So it goes like one that is too many, and another job is asked for in its place.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from jackfield.clock import monotonic
from jackfield.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackfield_executors.remote.book import Book
    from jackfield_executors.remote.link import Jobs, Link
    from jackfield_executors.remote.post import Post

log: Final = logging.getLogger("jackfield.executors.remote")

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 60.0

MOST_FAILED: Final = 5
"""So many jobs in a row are over before they had an agent, and the executor is lost."""

START_S: Final = 5.0
"""Seconds that a job is expected to take to start, until one has shown it."""


@dataclass(slots=True, eq=False)
class Job:
    """What is known of one job."""

    asked: float = field(default_factory=monotonic)
    had: bool = False
    draining: bool = False


class Crew:
    """Keeps as many jobs up as are wanted.

    Attributes:
        wanted: How many jobs there are to be.
        failed: How many in a row have failed to start.
        why: Why jobs that are wanted are not there, as far as it is known.
        pending: How many are on their way.
        start_s: Seconds that the last job took to start.

    Args:
        jobs: The cluster.
        book: Has the agents, and what they have to do.
        dismiss: Ends an agent that has nothing left to do.
    """

    def __init__(
        self, jobs: Jobs, wanted: int, book: Book, dismiss: Callable[[Post], None]
    ) -> None:
        self.wanted: int = wanted
        self.failed: int = 0
        self.why: str = ""
        self.pending: int = 0
        self.start_s: float = START_S
        self._jobs = jobs
        self._book = book
        self._dismiss = dismiss
        self._known: dict[str, Job] = {}
        self._next_try = 0.0

    @property
    def hopeless(self) -> bool:
        """Whether jobs have failed to start again and again."""
        return self.failed >= MOST_FAILED

    def step(self) -> None:
        """Look at the jobs; ask for some, and end some."""
        states = self._jobs.states()
        posts = self._posts()
        for name in posts.keys() - self._known.keys():  # it came when it was to go
            self._known[name] = Job(had=True, draining=True)
        failed = [
            name
            for name, job in list(self._known.items())
            if self._look_at(name, job, states, posts.get(name, []))
        ]
        if failed:  # at the same time, and so for the same reason: they count as one
            self._note_failure(f"a job was over before it ran a worker ({failed[0]})")
        self._let_go_of_the_spent(posts)
        staying = [name for name, job in self._known.items() if not job.draining]
        self.pending = sum(not self._known[name].had for name in staying)
        reasons = [states[name] for name in staying if states.get(name)]
        if self.pending and (reasons or not self.failed):
            self.why = self._said_of_pending(staying, reasons)
        elif not self.failed:
            self.why = ""
        if len(staying) > self.wanted:
            self._drop(staying, posts)
        elif len(staying) < self.wanted and monotonic() >= self._next_try:
            self._begin(self.wanted - len(staying))
        self._end_the_drained(posts)

    def _said_of_pending(self, names: list[str], reasons: list[str]) -> str:
        """Say how many jobs are on their way, for how long, and why."""
        asked = [self._known[name].asked for name in names if not self._known[name].had]
        minutes = int((monotonic() - min(asked)) / 60)
        jobs = "one job is" if len(asked) == 1 else f"{len(asked)} jobs are"
        long = f" for {minutes} min" * bool(minutes)
        because = f": {reasons[0]}" if reasons else ""
        return f"{jobs} on the way{long}{because}"

    def _posts(self) -> Mapping[str, list[Post]]:
        """Return the agents of each job."""
        posts: dict[str, list[Post]] = {}
        for post in self._book.posts:
            if post.link.job:
                posts.setdefault(post.link.job, []).append(post)
        return posts

    def wants(self, link: Link) -> bool:
        """Whether an agent is welcome that has just come. Called on any thread."""
        job = self._known.get(link.job)
        return not link.job or (job is not None and not job.draining)

    def _look_at(
        self, name: str, job: Job, states: Mapping[str, str], posts: list[Post]
    ) -> bool:
        """Note whether a job has agents now, or is over; tell if it failed to start."""
        if posts and not job.had:
            job.had = True
            self.start_s = monotonic() - job.asked
            self.failed = 0
            self._next_try = 0.0
        over = name not in states or (job.had and not posts)
        if over:
            del self._known[name]
            self._jobs.end(name)
        return over and not job.had and not job.draining

    def _note_failure(self, reason: str) -> None:
        self.failed += 1
        self.why = reason
        delay = FIRST_DELAY_S * 2.0 ** min(self.failed - 1, 10)
        self._next_try = monotonic() + min(delay, LONGEST_DELAY_S)
        log.info("No job (%d in a row): %s", self.failed, reason)

    def _begin(self, count: int) -> None:
        # After a failure a single job is asked for, as a trial. Once it runs, nothing
        # counts as failed any more, and the next look asks for the others.
        if self.failed:
            count = min(1, count)
        try:
            names = self._jobs.begin(count)
        except Exception as error:
            self._note_failure(one_line(error))
            return
        self._known.update((name, Job()) for name in names)
        self.pending += count

    def _let_go_of_the_spent(self, posts: Mapping[str, list[Post]]) -> None:
        for name, agents in posts.items():
            job = self._known.get(name)
            if job is not None and not job.draining and agents:
                job.draining = all(map(self._book.is_spent, agents))

    def _drop(self, names: list[str], posts: Mapping[str, list[Post]]) -> None:
        """Drain jobs that are too many: those with the least to do."""

        def to_do(name: str) -> float:
            agents = posts.get(name)
            return sum(len(a.flying) for a in agents) if agents else -math.inf

        for name in sorted(names, key=to_do)[: len(names) - self.wanted]:
            self._known[name].draining = True

    def _end_the_drained(self, posts: Mapping[str, list[Post]]) -> None:
        """End the jobs that are to go, and whose agents have nothing left to do."""
        for name, job in list(self._known.items()):
            if not job.draining:
                continue
            agents = posts.get(name, [])
            # Marked first, and looked at afterwards: an agent gets works only under the
            # book's lock, which ``drain`` takes too. So what it has now is the last.
            drained = [self._book.drain(post) for post in agents]  # all of them
            if all(drained):
                for post in agents:
                    self._dismiss(post)
                del self._known[name]
                self._jobs.end(name)
