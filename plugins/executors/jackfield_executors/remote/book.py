"""Which work is where: the queue of works, and what each agent has.

A work is *open* from ``add`` until its outcome has been reported, or it is cancelled.
Meanwhile it is in one place: in the queue, with one agent (``Post.flying``), or in
neither, because a thread has taken it out to report it. Each method is one step under
one lock, so whoever takes a work out decides a race:

- *A result, a cancel and the loss of the agent.* The first takes the work out of
  ``flying``; the others find nothing, and leave it alone.
- *A result and the end.* Without a grace, ``idle`` is not set while a work is open. So
  an outcome that is on its way to be reported is waited for.
- *A work for an agent that is being lost.* ``leave`` takes the agent out of ``posts``
  and the works out of its ``flying`` at once. ``assign`` gives works to an agent in
  ``posts`` only, and ``Post.send_calls`` leaves out those that have been taken away
  while they were pickled.
- *An agent that comes at the end.* ``join`` refuses it after ``end``.
- *A result that comes home or gets lost for good* (``stays``) *while a work that gets
  it is queued.* A work with one that is away waits in a line of the one agent that has
  it (``Post.own``), and others have theirs sent home; with one that is made again, it
  is in no line. ``arrange`` is called after a result
  has changed, so either it finds the work, or the work is placed after the change.
- *Two that lose one agent.* The second one does not find it in ``posts``.
"""

from __future__ import annotations

import itertools
import math
import threading
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, cast

from jackfield.clock import monotonic
from jackfield_executors.ranked import Ranked, merged
from jackfield_executors.remote.stays import stayed_in
from jackfield_executors.shares import fits, take

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jackfield.abc import Work
    from jackfield.errors import ResultLostError
    from jackfield_executors.remote.post import Post
    from jackfield_executors.remote.stays import Stayed

AHEAD_S: Final = 0.1
"""Seconds of work that each worker of an agent may have in store."""

LOOKED_AT: Final = 1_000
"""Works of the queue that are looked at, where the first one may not be the right."""

NEARLY_ALL: Final = 0.9
"""The part of the time of a job that has to be left for what takes longer than it."""

MORE: Final = 1.1
SPARE_S: Final = 1.0
"""What a work may take that is expected to take t: ``MORE * t + SPARE_S``."""

FEW: Final = 32
"""Up to so many agents are all looked at, for the one with the least to do."""

MOST: Final = 1_000
"""Works that an agent may have for each worker, at most."""

SLOWER: Final = 0.5
FASTER: Final = 0.25
"""How much of the way to a slower or a faster call an estimate of its app goes."""


class Book:
    """Keeps works in their places. Its methods may be called on any thread.

    Attributes:
        posts: The agents that are there. The list is replaced, never changed, so it may
            be read at any time.
        ended: Set by ``end``: nothing is reported any more.
        idle: Set when the book is closed, and no work is open.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.ended: threading.Event = threading.Event()
        self.idle: threading.Event = threading.Event()
        self._lock = threading.Lock()
        # The same posts and how many workers they have together. With a thousand agents
        # it would take long to find either out anew for each work.
        self._there: set[Post] = set()
        self._workers = 0
        self._free_ones: dict[Post, None] = {}  # with fewer works than workers
        self._queue: Ranked = Ranked()
        self._tied: dict[Work, Post | None] = {}  # to agents, as ``_place`` says
        self._doomed: list[Work] = []  # those without one: what they get is lost
        self._wanted: list[Stayed] = []  # results that are to be sent home
        self._where: dict[Work, tuple[Post, int]] = {}  # of those with an agent
        self._open: set[Work] = set()
        self._tokens = itertools.count()
        self._expected: dict[str, float] = {}  # seconds that a call takes, by app
        self._closed = False
        self._asking = 0  # how many open works ask for amounts

    def add(self, batch: Sequence[Work], *, late: bool = False) -> bool:
        """Queue works; false if the book is closed, or with ``late``, has ended."""
        with self._lock:
            if self.ended.is_set() or (self._closed and not late):
                return False
            self._queue.extend(batch)
            for work in batch:
                if work.kept:
                    self._place(work)
            self._open.update(batch)
            self._asking += sum(bool(work.resources) for work in batch)
            return True

    def _place(self, work: Work) -> None:
        """Tie a queued work to the agent that has what it gets. The lock is held."""
        away = [one for one in stayed_in(work) if one.away]
        lost = any(one.loss for one in stayed_in(work))
        if not away and not lost:
            return
        self._queue.discard(work)
        sizes: dict[Post, int] = {}
        for one in away:
            one.works[work] = None
            if not one.making:
                there = cast("Post", one.post)
                sizes[there] = sizes.get(there, 0) + one.size
        made = any(one.making for one in away)  # again; then the work is placed anew
        post = None if lost or made else max(sizes, key=lambda one: sizes[one])
        self._tied[work] = post
        if post is None:
            self._doomed += [work] if lost else []
            return
        if len(sizes) == 1:  # else once the others' are home
            post.own.extend([work])
        others = self._free_ones.keys() - {post}
        busy = len(post.flying) + len(post.own) > post.link.workers
        # Where another one could begin at once, the result is sent home for it.
        leave = post.draining or post not in self._there or (busy and others)
        self._wanted += [one for one in away if leave or one.post is not post]

    def _untie(self, work: Work) -> bool:
        """Take a work out that is tied; false if it is not. The lock is held."""
        if work not in self._tied:
            return False
        post = self._tied.pop(work)
        if post is not None:
            post.own.discard(work)
        for one in stayed_in(work):
            one.works.pop(work, None)
        return True

    def arrange(
        self, changed: Iterable[Stayed] = ()
    ) -> tuple[list[tuple[Work, ResultLostError]], list[Stayed], bool]:
        """Place works anew whose results have come home or are lost.

        Returns:
            Works that can never run, with the reason; results that are to be sent home;
            and whether there is something new that any agent may run.
        """
        failed: list[tuple[Work, ResultLostError]] = []
        free = False
        with self._lock:
            works = {*self._doomed, *(work for one in changed for work in one.works)}
            self._doomed = []
            for work in sorted(works, key=lambda work: work.id, reverse=True):
                if not self._untie(work):
                    continue
                losses = [loss for one in stayed_in(work) if (loss := one.loss)]
                if losses:
                    failed.append((work, losses[0]))
                    continue
                self._queue.put_first(work)
                self._place(work)
                free |= work in self._queue
            wanted, self._wanted = self._wanted, []
        return failed, wanted, free

    def take_wanted(self) -> list[Stayed]:
        """Return results that are to be sent home, once."""
        if not self._wanted:
            return []
        with self._lock:
            wanted, self._wanted = self._wanted, []
        return wanted

    def join(self, post: Post) -> bool:
        """Take an agent in; false if it comes after the end."""
        with self._lock:
            if self.ended.is_set():
                return False
            self.posts = [*self.posts, post]
            self._there.add(post)
            self._workers += post.link.workers
            self._free_ones[post] = None
            return True

    def assign(self, post: Post) -> list[tuple[int, Work]]:
        """Move works from the queue to an agent: one a worker, and short ones."""
        taken: list[tuple[int, Work]] = []
        with self._lock:
            if post not in self._there or post.draining or self._has_enough(post):
                return taken
            workers = post.link.workers
            # Not more than its part of the queue, so that some is left for the others.
            share = len(self._queue) * workers // self._workers + 1 + len(post.own)
            free = self._free(post) if self._asking else None
            while len(taken) < share:
                work = self._first_for(post, free)
                if work is None:
                    break
                cost = self._expected.get(work.name, AHEAD_S)
                full = len(post.flying) >= workers
                if full and post.load + cost > AHEAD_S * workers:
                    break
                if len(post.flying) >= MOST * workers:
                    break
                if not self._tied or not self._untie(work):
                    self._queue.discard(work)
                token = next(self._tokens)
                post.flying[token] = work, cost
                post.load += cost
                self._where[work] = post, token
                taken.append((token, work))
                if free is not None and (work.resources or not full):
                    take(free, post.shares.demand(work.resources))
            if len(post.flying) >= workers:
                self._free_ones.pop(post, None)
            elif self._tied and not self._queue:
                self._ask_for_tied(post)
        return taken

    def _ask_for_tied(self, post: Post) -> None:
        """Have results sent home for works that an idle agent could run.

        Those of works whose own agent has an idle worker stay. The lock is held.
        """
        for work, other in islice(self._tied.items(), post.link.workers):
            full = other is not None and len(other.flying) >= other.link.workers
            if full and other is not post:
                self._wanted += [one for one in stayed_in(work) if one.away]

    def hungry(self) -> Iterator[Post]:
        """Give the agents that should be sent works, until no work waits.

        Where there are few, the one with the least to do comes first, and those come
        too that have a work for each worker, and may have some in store. Of many only
        those come that have an idle worker: all others ask for works themselves with
        each result, and to look at each agent for each work would take longer than all
        else that the driver does for it.
        """
        with self._lock:
            posts = list(self.posts)
            if len(posts) > FEW:
                posts = list(self._free_ones)
            else:
                posts.sort(key=lambda one: len(one.flying) / one.link.workers)
        for post in posts:
            if self._queue or post.own:
                yield post
            elif not self._tied:
                return

    def _free(self, post: Post) -> dict[str, float]:
        """Return what an agent has left of what works ask for. The lock is held.

        Of plain works, as many count as it has workers; the others are only in store.
        """
        works = [work for work, _ in post.flying.values()]
        asking = [post.shares.demand(w.resources) for w in works if w.resources]
        plain = min(len(works) - len(asking), post.link.workers)
        return post.shares.free([*asking, *[post.shares.plain] * plain])

    def _first_for(
        self, post: Post, free: dict[str, float] | None = None
    ) -> Work | None:
        """Return the first work for an agent. The lock is held.

        Args:
            post: The agent; it has the time for the work.
            free: What it has left of what works ask for, if that matters.
        """
        queue: Iterable[Work] = self._queue
        if post.own:
            queue = merged(post.own, self._queue)
        if post.link.ends == math.inf and free is None:
            return next(iter(queue), None)
        left = post.link.ends - monotonic()
        kept = False
        for work in islice(queue, LOOKED_AT):
            # What takes longer than a job lasts can only be tried at its beginning.
            if min(self._needs(work), NEARLY_ALL * post.lasts) > left:
                continue
            if free is None:
                return work
            demand = post.shares.demand(work.resources)
            full = len(post.flying) >= post.link.workers
            ahead = full and not kept and not work.resources
            if ahead or fits(demand, free):
                return work
            if not kept and fits(demand, post.shares.amounts):
                kept = True
                # One agent keeps free what the work needs, so that it does not starve.
                # It begins on the first that has it, which may be another one.
                if not any(
                    one.keeps is work and one is not post and not one.draining
                    for one in self.posts
                ):
                    post.keeps = work
                    free = dict(free)
                    take(free, demand)
        return None

    def idle_posts(self) -> list[Post]:
        """Return agents that have nothing, although works wait that ask for amounts.

        What was kept free there may be needed no more, and nothing tells them so.
        """
        with self._lock:
            if not self._asking or not (self._queue or self._tied):
                return []
            return [post for post in self.posts if not post.flying]

    def too_large(self) -> list[Work]:
        """Return the works that wait, and ask for more than any agent has."""
        with self._lock:
            if not self._asking or not self.posts:
                return []
            return [
                work
                for work in self._queue
                if work.resources
                and not any(
                    fits(post.shares.demand(work.resources), post.shares.amounts)
                    for post in self.posts
                )
            ]

    def take_out(self, works: Iterable[Work]) -> list[Work]:
        """Take works out of the queue; return those that were there."""
        with self._lock:
            return [work for work in works if self._queue.discard(work)]

    def _needs(self, work: Work) -> float:
        """Return the seconds that a work may take: as learned, else its walltime."""
        known = self._expected.get(work.name)
        limit = math.inf if work.walltime is None else work.walltime
        if known is None:
            return 0.0 if work.walltime is None else limit
        return min(known * MORE + SPARE_S, limit)

    def is_spent(self, post: Post) -> bool:
        """Whether an agent has nothing to do, and no time left for what waits."""
        with self._lock:
            return bool(self._queue) and not post.flying and not self._first_for(post)

    def drain(self, post: Post) -> bool:
        """Give an agent nothing more; return whether it has nothing left.

        That is, no work, and no result that only it has.
        """
        with self._lock:
            post.draining = True
            if post.flying:
                return False
        return not post.stays.away()

    def to_do(self) -> tuple[int, int, int, float]:
        """Return how many works wait, how many are open, and what they will take.

        Of those that are open: how many of which nobody knows how long they take, and
        the seconds that all others are expected to take. In a long queue the first
        ones stand for the rest.
        """
        with self._lock:
            queued, unfinished = len(self._queue) + len(self._tied), len(self._open)
            waiting = chain(self._queue, self._tied)
            some = [*islice(waiting, LOOKED_AT), *self._where]
            costs = [self._expected.get(work.name) for work in some]
        seconds = sum(cost for cost in costs if cost is not None)
        more = unfinished / len(costs) if costs else 1.0
        return queued, unfinished, round(costs.count(None) * more), seconds * more

    def weigh(self, post: Post, token: int, seconds: float) -> None:
        """Note that a work is a burden of so many seconds more than expected."""
        with self._lock:
            found = post.flying.get(token)
            if found is not None:
                post.flying[token] = found[0], found[1] + seconds
                post.load += seconds

    def put_back(self, post: Post, tokens: Iterable[int]) -> None:
        """Queue works again, at the front, that an agent was not sent after all."""
        with self._lock:
            for token in sorted(tokens, reverse=True):
                work = self._withdraw(post, token)
                if work is not None:
                    self._queue.put_first(work)
                    self._place(work)

    def _has_enough(self, post: Post) -> bool:
        """Whether an agent's store is half full, so that it gets no more for now.

        If it were filled up after each answer, each answer would bring a message.
        """
        workers, held = post.link.workers, len(post.flying)
        much = post.load > AHEAD_S * workers / 2 or held > MOST * workers / 2
        return held > workers and much

    def settle(self, post: Post, token: int, seconds: float = 0.0) -> Work | None:
        """Take a work from an agent, and learn what it cost; ``None`` if unwanted."""
        with self._lock:
            work = self._withdraw(post, token)
            if work is not None and seconds:
                before = self._expected.get(work.name, seconds)
                weight = SLOWER if seconds > before else FASTER
                self._expected[work.name] = before + (seconds - before) * weight
            return work

    def _withdraw(self, post: Post, token: int) -> Work | None:
        """Take a work from an agent, if it has it. The lock is held."""
        found = post.flying.pop(token, None)
        if found is None:
            return None
        work, cost = found
        post.load -= cost
        if len(post.flying) < post.link.workers and post in self._there:
            self._free_ones[post] = None
        del self._where[work]
        return work

    def cancel(self, work: Work) -> tuple[Post, int] | bool:
        """Take a work out for good.

        Returns:
            The agent that has it and its token there, true if it has waited in the
            queue, or false if it is about to be reported, or has been.
        """
        with self._lock:
            found = self._where.get(work)
            if found is not None:
                self._withdraw(*found)
            elif not self._queue.discard(work) and not self._untie(work):
                return False
            self._close_off([work])
            return found or True

    def leave(self, post: Post) -> list[Work] | None:
        """Take an agent out; return what it had, or ``None`` if it is out already."""
        with self._lock:
            if post not in self._there:
                return None
            self.posts = [one for one in self.posts if one is not post]
            self._there.remove(post)
            self._workers -= post.link.workers
            self._free_ones.pop(post, None)
            tokens = list(post.flying)
            works = [self._withdraw(post, token) for token in tokens]
            return [work for work in works if work is not None]

    def give_up(self) -> list[Work]:
        """Take out what waits, unless some agent is there to run it."""
        with self._lock:
            works = [] if self.posts else list(self._queue)
            for work in works:
                self._queue.discard(work)
            return works

    def note_reported(self, works: Iterable[Work]) -> None:
        """Note that works are not open any more."""
        with self._lock:
            self._close_off(works)

    def _close_off(self, works: Iterable[Work]) -> None:
        """Forget works, and see whether none is left. The lock is held."""
        if self._asking:
            works = list(works)
            ending = self._open.intersection(works)
            self._asking -= sum(bool(work.resources) for work in ending)
        self._open.difference_update(works)
        if self._closed and not self._open:
            self.idle.set()

    def close(self, *, drop: bool) -> list[Work]:
        """Take no more works; with ``drop``, forget and return those that wait."""
        with self._lock:
            self._closed = True
            dropped = [*self._queue, *self._tied] if drop else []
            for work in dropped:
                if not self._untie(work):
                    self._queue.discard(work)
            self._close_off(dropped)
            return dropped

    def end(self) -> list[Post] | None:
        """Forget all works; return the agents, or ``None`` after the first call."""
        with self._lock:
            if self.ended.is_set():
                return None
            self.ended.set()
            posts, self.posts = self.posts, []
            self._there.clear()
            self._free_ones.clear()
            for post in posts:
                post.flying.clear()
            self._where.clear()
            self._queue.clear()
            for work in list(self._tied):
                self._untie(work)
            self._open.clear()
            self.idle.set()
            return posts
