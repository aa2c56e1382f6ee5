"""The side of the driver: works for many agents, whatever engine has started them.

Works wait in a queue here. An agent gets as many as it has workers, and beyond that
some that are known to be short, so that its workers need not wait for the next message.
One thread for each agent waits for results, reports them and sends the next works;
another one looks for agents that are new, each of which is greeted on a thread of its
own, one sees whether there is any, and one shows them that the driver lives. ``book``
and ``post`` tell what is decided where these threads meet.
"""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Capabilities, Executor, Health
from jackfield.clock import monotonic
from jackfield.errors import (
    EnvironmentMismatchError,
    ExecutorError,
    ExecutorLostError,
    JackfieldError,
    WorkerLostError,
    one_line,
)
from jackfield.events import Load
from jackfield_executors.each_its_own import all_failed
from jackfield_executors.elastic import Bounds, Idle
from jackfield_executors.measured import received, received_running
from jackfield_executors.patience import Patience
from jackfield_executors.remote.again import Again, Raw, may_stay
from jackfield_executors.remote.agent import HOME, PRINTED, RUNS, WATCHED_S
from jackfield_executors.remote.awake import Awake
from jackfield_executors.remote.book import Book
from jackfield_executors.remote.carrying import land
from jackfield_executors.remote.crew import Crew
from jackfield_executors.remote.fingerprint import fingerprint
from jackfield_executors.remote.functions import Functions
from jackfield_executors.remote.places import understood
from jackfield_executors.remote.post import Post
from jackfield_executors.remote.shelf import STAYS
from jackfield_executors.remote.stays import Origin, Stayed
from jackfield_executors.remote.travel import Travel
from jackfield_executors.shares import CORES, NOTHING, Shares
from jackfield_executors.threads import join_within
from jackfield_serialize import load_outcome
from jackfield_system.held_directories import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jackfield.abc import ExecutorContext, Outcome, Work
    from jackfield.events import Running
    from jackfield_executors.remote.agent import Result
    from jackfield_executors.remote.link import Jobs, Link, Site

log: logging.Logger = logging.getLogger("jackfield.executors.remote")

WATCH_S: Final = 1.0
"""Seconds between two looks for new agents."""

EARLY_S: Final = 3.0
"""Seconds before the end of its job from which on a loss is one by the end of it."""
BYTES: Final = 100_000_000
"""Bytes of files in a message after which it takes no further call."""

SLOW: Final = 10_000_000
"""Bytes of a call's files that count like a second of work, so that few are ahead."""

LAST_WORDS_S: Final = 2.0
"""Seconds that agents get at the end to send what tasks have printed."""

OVER: Final = "the executor has been shut down"

END_S: Final = 5.0
"""Seconds that agents get to end."""


class AgentsExecutor(Executor):
    """Runs works on the agents of a site.

    Args:
        label: The executor's.
        site: The engine.
        patience: Seconds without any worker after which works fail.
        jobs: What begins and ends the jobs in which agents run, if that is done here.
        bounds: Between how many of them there may be.
        resources: What each agent has of what works ask for, beyond its cores.
        keep: Whether large results stay with their agents for a while.
        disks: What ``checking.DISKS`` has: what is done for workers that do not
            see the driver's files.
    """

    def __init__(
        self,
        label: str,
        site: Site,
        *,
        patience: float,
        jobs: Jobs | None = None,
        bounds: Bounds | None = None,
        resources: Mapping[str, float] = NOTHING,
        keep: bool = False,
        **disks: Any,
    ) -> None:
        self._travel = Travel(label, disks)
        self._resources = resources
        self._keep = keep
        self._again = Again()
        self._awake = Awake()
        self._watched = -math.inf  # when somebody has last asked what runs
        self._large_since: float | None = None
        self._label = label
        self._site = site
        self._patience = Patience(label, patience)
        self._book = Book()
        self._lock = threading.Lock()  # guards the list of threads
        self._threads: list[threading.Thread] = []
        # Of a thread that receives: ``post``. Of one that reports: ``reports``.
        self._served = threading.local()
        self._functions = Functions()
        self._jobs = jobs
        self.capabilities: Capabilities = self._can(self._travel.shared)
        self._bounds = bounds or Bounds(0, 0, 0)
        self._crew: Crew | None = None
        self._idle = Idle()
        self._look_at_jobs = threading.Event()
        # The last worker that has another Python, unless another agent came after it.
        self._misfit: EnvironmentMismatchError | None = None

    @property
    def workers(self) -> int:
        """How many workers the agents have together that are there now."""
        posts = self._book.posts
        return sum(post.link.workers for post in posts if not post.draining)

    @property
    def health(self) -> Health:
        """As it was at the last look, which is taken each second."""
        return self._patience.health

    def load(self) -> Load | None:
        """Tell what there is to do, if jobs are begun and ended here by need.

        Jobs are counted by the workers that they have.
        """
        if self._crew is None or self._jobs is None or not self._bounds.elastic:
            return None
        size, bounds, wanted = self._jobs.size, self._bounds, self._crew.wanted
        queued, unfinished, unknown, seconds = self._book.to_do()
        return Load(
            self._label, self.workers, unfinished, queued, wanted * size,
            bounds.least * size, bounds.most * size, unknown, seconds,
            self._crew.start_s, self._idle.seconds(unfinished),
        )  # fmt: skip

    def scale(self, workers: int) -> None:
        """Have as many jobs as it takes for so many workers."""
        if self._crew is not None and self._jobs is not None and self._bounds.elastic:
            self._crew.wanted = math.ceil(workers / self._jobs.size)
            self._look_at_jobs.set()
            if not workers and self._book.to_do()[1]:
                self._changed()  # a work has come meanwhile; see ``submit``

    def running(self) -> list[Running]:
        """Return what agents have last told, each second while this is called."""
        self._watched = monotonic()
        return [one for post in self._book.posts for one in post.running()]

    def start(self, context: ExecutorContext) -> None:
        """Connect, and start agents on the workers that are there.

        Raises:
            ExecutorError: The engine cannot be reached.
            EnvironmentMismatchError: A worker has another Python or cloudpickle.
        """
        self._label = context.label
        self._report = context.report
        self._changed = context.changed
        self._again.tell = context.tell
        try:
            home = self._travel.open(context.run_dir)
            logs = context.run_dir / self._label
            self._site.open(self._label, fingerprint(), home, logs)
            if self._jobs is not None:
                first, book = self._bounds.init, self._book
                self._crew = Crew(self._jobs, first, book, self._dismiss)
                self._crew.step()
            self._look()
        except BaseException as error:
            self._site.close()
            self._travel.close()
            if isinstance(error, JackfieldError) or not isinstance(error, Exception):
                raise
            reason = f"its cluster cannot be used: {one_line(error)}"
            raise ExecutorError(self._label, reason) from error
        if self._travel.shared is None:
            # Nobody has said whether workers see the script's disk, so each agent has
            # looked. While there is no agent, workers are taken to see it, and files
            # are staged on this machine. If an agent comes that does not see them, they
            # travel with the calls that it gets.
            self.capabilities = self._can(all(p.sees for p in self._book.posts))
        else:
            self.capabilities = self._can(self._travel.shared)
        self._start_thread(self._seek, "seek")
        self._start_thread(self._watch, "watch")
        self._start_thread(self._show_alive, "alive")
        if self._crew is not None:
            self._start_thread(self._keep_jobs, "jobs", self._crew)

    def _start_thread(
        self, target: Callable[..., None], name: str, *args: Post | Link | Crew
    ) -> None:
        thread = threading.Thread(
            target=target,
            args=args,
            name=f"jackfield-{self._label}-{name}",
            daemon=True,
        )
        with self._lock:
            living = [one for one in self._threads if one.is_alive()]
            thread.start()  # before another thread looks who is alive
            self._threads = [*living, thread]

    # -- agents that come and go

    def _look(self) -> None:
        """Take in the agents that are there; raise what kept the first one out."""
        problem: Exception | None = None
        for link in self._site.look():
            try:
                self._take_in(link)
            except Exception as error:
                problem = problem or error
        if problem is not None:
            raise problem

    def _take_in(self, link: Link) -> None:
        """Wait for an agent, and give it works."""
        try:
            theirs, sees = understood(link.hello())
        except BaseException:
            self._site.forget(link)
            raise
        if theirs != fingerprint():
            _stop(link)
            reason = f"install the same versions on {link.name}"
            raise EnvironmentMismatchError(self._label, reason, fingerprint(), theirs)
        if self._crew is not None and not self._crew.wants(link):
            _stop(link)
            self._site.forget(link)
            return
        cores = {CORES: float(link.workers)}
        shares = Shares({**cores, **self._resources}, link.workers)
        lasts = link.ends - monotonic()
        post = Post(link, sees, lasts=lasts, shares=shares, awake=self._awake)
        if not self._book.join(post):
            _stop(link)  # nobody else would
            return
        self._misfit = None
        self._patience.came()
        self._start_thread(self._serve, link.name, post)
        self._changed()
        self._feed(post)

    def _seek(self) -> None:
        """Look for new agents, again and again. A look may take long."""
        while not self._book.ended.wait(WATCH_S):
            try:
                links = self._site.look()
            except Exception as error:
                log.debug("Executor %r: no look at its workers: %r", self._label, error)
                continue
            for link in links:  # one that never answers must not keep others waiting
                self._start_thread(self._greet, f"greet-{link.name}", link)

    def _greet(self, link: Link) -> None:
        """Take in an agent that has come later."""
        try:
            self._take_in(link)
        except EnvironmentMismatchError as error:
            self._misfit = error
        except Exception as error:
            log.debug("Executor %r: no agent on %s: %r", self._label, link.name, error)

    def _watch(self) -> None:
        """Give works up when there has been no agent for too long, or will be none."""
        while not self._book.ended.wait(WATCH_S):
            before = self._patience.health
            health = self._look_at_health()
            if health != before:
                self._changed()  # first: what fails now is to go elsewhere
            if self._misfit is not None:
                self._give_up(self._misfit)
            elif health.state == "lost":
                self._give_up(ExecutorLostError(self._label, health.reason))
            self._fail_too_large()
            for post in self._book.posts:
                post.tend()
            for post in self._book.idle_posts():
                self._feed(post)

    def _show_alive(self) -> None:
        """Show agents that the driver lives, whatever else it is busy with.

        No code of users runs on this thread, nor that of observers.
        """
        while not self._book.ended.wait(WATCH_S):
            self._awake.tick(WATCH_S)
            watched = monotonic() - self._watched < WATCHED_S
            for post in self._book.posts:
                post.show_alive()
                if watched:
                    post.watch()

    def _fail_too_large(self) -> None:
        """Fail what asks for more than any agent has, when it has waited long enough.

        The kernel has asked the executor when it was started; agents may be others now.
        """
        works, now = self._book.too_large(), monotonic()
        since = self._large_since = (self._large_since or now) if works else None
        if since is None or now - since < self._patience.seconds:
            return
        reason = "a task asks for more than any of its workers has: {}"
        failed = [
            (
                work,
                ExecutorError(self._label, reason.format(dict(work.resources))),
                None,
            )
            for work in self._book.take_out(works)
        ]
        self._deliver(failed)

    def _can(self, shared: bool | None) -> Capabilities:
        """Return what this executor can do, by the agents that are there.

        If there is none, and nobody knows how large they will be, cores have no limit.
        """
        sizes = [post.link.workers for post in self._book.posts]
        sizes += [self._jobs.size] if self._jobs is not None else []
        cores = {CORES: float(max(sizes, default=math.inf))}
        return Capabilities(
            isolated=True,
            cancels_running=True,
            walltime="kill",
            shared_filesystem=shared is not False,
            resources={**cores, **self._resources},
            survives_worker_death=True,
            priorities=True,
        )

    def _look_at_health(self) -> Health:
        """Find out whether there are workers, and whether more are to come."""
        workers, crew, patience = self.workers, self._crew, self._patience
        if crew is None or self._jobs is None:
            why = self._site.why
            return patience.look(workers, short=bool(why), why=why)
        if not workers and crew.hopeless:
            return patience.give_up(f"its jobs fail to start: {crew.why}")
        if not crew.wanted and not workers:
            patience.rest()
            return patience.health
        short = workers < crew.wanted * self._jobs.size
        return patience.look(workers, short=short, waits=crew.pending > 0, why=crew.why)

    def _keep_jobs(self, crew: Crew) -> None:
        """See to it that there are as many jobs as are wanted, again and again."""
        while not self._book.ended.is_set():
            self._look_at_jobs.wait(WATCH_S)
            self._look_at_jobs.clear()
            if self._book.ended.is_set():
                return
            try:
                crew.step()
            except Exception as error:
                log.debug("Executor %r: no look at its jobs: %r", self._label, error)

    def _dismiss(self, post: Post) -> None:
        """End an agent that has nothing left to do."""
        works = self._book.leave(post)
        if works is None:
            return
        self._hear_out([post])
        _stop(post.link)
        self._arrange(self._make_again(post.stays.lose(), f"{post.link.name} left"))
        self._changed()

    def _give_up(self, error: ExecutorError) -> None:
        """Fail what waits, unless some agent is there to run it."""
        works = self._book.give_up()
        self._deliver(all_failed(works, error))

    def _lose(self, post: Post, cause: BaseException) -> None:
        """Fail what an agent had that is gone."""
        works = self._book.leave(post)
        if works is None:
            return
        self._site.forget(post.link)
        self._changed()
        late = monotonic() > post.link.ends - EARLY_S
        expected = late or post.draining
        why = "the time of its job is over" if late else one_line(cause)
        reason = f"its worker {post.link.name} is lost: {why}"
        errors = [WorkerLostError(self._label, reason, expected) for _ in works]
        # Before the report: the kernel may ask for one of these within it.
        lost = self._make_again(post.stays.lose(), f"{post.link.name} is gone: {why}")
        self._deliver([(w, e, None) for w, e in zip(works, errors, strict=True)])
        self._arrange(lost)

    def _make_again(self, lost: Sequence[Stayed], why: str) -> list[Stayed]:
        """Have results made again that no agent has; return those lost for good."""
        if not lost:
            return []
        works, given_up = self._again.begin(lost, why)
        if works and not self._book.add(works, late=True):
            given_up += self._again.give_up(works, why)
        elif works:
            names = ", ".join(sorted({work.name for work in works}))
            text = "Executor %r: %s; to have %d lost results again, it runs again: %s"
            log.warning(text, self._label, why, len(lost), names)
            self._ask_for_workers()
            self._feed_hungry()
        return given_up

    # -- what the kernel calls

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue works, and send what agents have room for.

        Raises:
            ExecutorError: After ``shutdown``.
        """
        if not self._book.add(batch):
            raise ExecutorError(self._label, "it takes no works after shutdown")
        self._ask_for_workers()
        if any([work.kept for work in batch]):  # noqa: C419  (a list is faster)
            self._arrange()
        self._feed_hungry()

    def _ask_for_workers(self) -> None:
        """See to it that there is a worker for works that have come."""
        if self._crew is not None:
            self._idle.end()
            # The works are in the book before this is read, and ``scale`` writes it
            # before it looks into the book: one of the two sees both.
            if not self._crew.wanted:
                self._changed()

    def _feed_hungry(self) -> None:
        """Send works to agents that have too few."""
        for post in self._book.hungry():
            if post.sees:
                self._feed(post)
            else:  # files are to be read, and this thread has other things to do
                self._travel.later(self._feed, post)

    def _arrange(self, changed: Sequence[Stayed] = ()) -> None:
        """See to works that wait for results which have come home or are lost."""
        failed, wanted, free = self._book.arrange(changed)
        for one in wanted:
            one.want()
        self._deliver([(work, error, None) for work, error in failed])
        if free:
            self._feed_hungry()

    def cancel(self, work: Work) -> bool:
        """Drop a work, or have the process that runs it killed."""
        found = self._book.cancel(work)
        if isinstance(found, tuple):
            post, token = found
            post.packed.pop(token, None)
            post.send_cancel(token)
        return found is not False

    # -- sending

    def _feed(self, post: Post) -> None:
        """Send an agent what it has room for.

        Nothing is sent to one that the engine has lost, or that would be lost with it.
        The thread that receives finds the same soon, and sees to what the agent has.
        """
        if not post.link.there():
            return
        failed: list[Outcome] | None = None
        while failed is None or failed:  # there is more room than was thought
            with post.sending:
                works = self._book.assign(post)
                if not works:
                    break
                try:
                    failed = self._send(post, works)
                except Exception as error:
                    lost = [w for t, w in works if self._book.settle(post, t)]
                    failed = [(work, self._unsent(error), None) for work in lost]
            self._deliver(failed)
        for one in self._book.take_wanted():
            one.want()

    def _send(self, post: Post, works: Sequence[tuple[int, Work]]) -> list[Outcome]:
        """Send works to an agent; return those that cannot be sent, as outcomes."""
        functions: dict[int, bytes] = {}
        calls = []
        failed: list[Outcome] = []
        size = 0
        keep = self._keep and not post.soon_over
        code = self._travel.code(post)
        for index, (token, work) in enumerate(works):
            if size > BYTES:
                self._book.put_back(post, [token for token, _ in works[index:]])
                break
            try:
                number, function = self._functions.dump(work)
                call, parcel, takes = self._travel.pack(post, token, work)
            except BaseException as error:
                if self._book.settle(post, token) is not None:
                    failed.append((work, self._unsent(error), None))
                continue
            if number not in post.known:
                post.known.add(number)
                functions[number] = function
            about = (token, work.id, work.attempt, work.name, number)
            asks = dict(work.resources), work.priority
            stays = keep and work not in self._again and may_stay(work)
            with_it = call, parcel, takes, stays
            calls.append((*about, work.walltime, *asks, work.measure, *with_it))
            if parcel:
                size += len(parcel)
                self._book.weigh(post, token, len(parcel) / SLOW)
        post.send_calls(functions, calls, code)
        return failed

    def _unsent(self, error: BaseException) -> BaseException:
        if isinstance(error, Exception):
            return error
        failure = ExecutorError(self._label, f"it did not take the task: {error!r}")
        failure.__cause__ = error
        return failure

    # -- results

    def _serve(self, post: Post) -> None:
        """Wait for an agent's results until it is gone, or the executor has ended.

        Or until another thread does this in the place of this one.
        """
        self._served.post = post
        me = post.receiver = threading.current_thread()
        while not self._book.ended.is_set() and post.receiver is me:
            try:
                results = post.receive(self._book.ended)
            except BaseException as error:
                if not self._book.ended.is_set():
                    self._lose(post, error)
                return
            self._land(post, results)
            del results  # or it would live on until the next one comes

    def _stand_in(self) -> None:
        """Have another thread receive, if this one does, and is about to wait.

        Within a report the kernel may read a result that is on its way to this thread.
        """
        post = getattr(self._served, "post", None)
        if post is not None and post.receiver is threading.current_thread():
            post.receiver = None  # the other one may begin later than this one goes on
            try:
                self._start_thread(self._serve, post.link.name, post)
            except BaseException:  # no thread can be had
                post.receiver = threading.current_thread()
                raise

    def _land(self, post: Post, results: Sequence[Result]) -> None:
        """Send an agent the next works, and report what has ended there."""
        landed: list[tuple[Work, Any]] = []
        come: list[Stayed] = []
        for token, seconds, packed, ran, returned in results:
            if token == PRINTED:
                self._hear(post, *packed)
                continue
            if token == HOME:
                come += post.stays.arrive(*packed[1:])
                continue
            if token == RUNS:
                post.runs = self._told(post, *packed[1:])
                continue
            kept = post.packed.pop(token, None)
            work = self._book.settle(post, token, seconds)
            value: Any = packed
            if packed[0] == STAYS:
                value = self._stayed(post, token, work, packed[1])
            if work is not None:
                if ran is not None:
                    place = received(ran)
                    worker = f"{place.worker}@{post.link.name}"
                    work.ran = place._replace(worker=worker)
                if kept is None:
                    landed.append((work, value))
                else:
                    self._travel.later(self._land_files, work, packed, kept, returned)
        if come:
            unread = [one for one in come if one.away]
            self._make_again(unread, f"{post.link.name} cannot read it")
            self._arrange(come)
            del come, unread
            post.tend()
        self._feed(post)
        for other in self._book.idle_posts():
            self._feed(other)
        self._deliver([self._loaded(work, value) for work, value in landed])

    def _told(
        self, post: Post, runs: Sequence[tuple[Any, ...]], ahead: float
    ) -> dict[tuple[int, int], Running]:
        """Return what an agent tells of what runs there, as observers get it."""
        found = {}
        for told in runs:
            one = received_running(told, ahead)
            worker = f"{one.worker}@{post.link.name}"
            found[one.task, one.attempt] = one._replace(worker=worker)
        return found

    def _loaded(self, work: Work, value: Any) -> Outcome:
        """Return what is reported: a result that has stayed, or what has come."""
        if isinstance(value, Stayed):
            return work, None, value
        if work in self._again and value[0] == "ok":
            return work, None, Raw(value)
        return work, *load_outcome(work.name, value)

    def _stayed(self, post: Post, token: int, work: Work | None, size: int) -> Stayed:
        """Return what stands for a result that has stayed with its agent."""
        task = (-1, "") if work is None else (work.id, work.name)
        stayed = Stayed(self._label, task, token, size, post, self._stand_in)
        if work is not None:
            stayed.origin = Origin(stayed, work)
        if not post.stays.add(stayed):  # the agent was lost a moment ago
            self._make_again([stayed], f"{post.link.name} is gone")
        return stayed

    def _land_files(self, work: Work, packed: Any, kept: Any, returned: Any) -> None:
        """Put a work's files in their places, then report it."""
        try:
            outcome = land(work, packed, kept, returned)
        except Exception as error:
            outcome = work, self._unsent(error), None
        self._deliver([outcome])

    def _hear(self, post: Post, kind: str, texts: Sequence[Any] = ()) -> None:
        """Show what tasks have printed, or note that nothing more will be."""
        if kind == "silent":
            post.silent.set()
        else:
            self._travel.show(post.link.name, texts)

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        """Report outcomes, and note that after that: ``shutdown`` waits for it."""
        if self._again:
            outcomes = self._take_made(outcomes)
        if not outcomes:
            return
        within, self._served.reports = self._reports(), True
        try:
            if not self._book.ended.is_set():
                self._report(outcomes)
        except Exception:
            log.exception("Executor %r: its report raised", self._label)
        finally:
            self._served.reports = within
        self._book.note_reported(work for work, _, _ in outcomes)

    def _reports(self) -> bool:
        """Whether this thread reports just now: it may be one that submits."""
        return getattr(self._served, "reports", False)

    def _take_made(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """See to works that make results again; return what the kernel is told.

        That is all done before the kernel is told anything: it may wait for one of
        these results then.
        """
        told: list[Outcome] = []
        free = False
        while outcomes:
            ended, lost, others = self._again.take(outcomes)
            told += others
            for stayed, why in lost:
                ended += self._make_again([stayed], why)
            rest = {work for work, _, _ in others}
            self._book.note_reported(w for w, _, _ in outcomes if w not in rest)
            failed, wanted, more = self._book.arrange(ended)
            for one in wanted:
                one.want()
            free = free or more
            outcomes = [(work, error, None) for work, error in failed]
        if free:
            self._feed_hungry()
        return told

    # -- the end

    def shutdown(self, *, grace: float | None = None) -> None:
        """End the agents; without ``grace``, when they have nothing more to do.

        Within a report this goes on on another thread, and returns at once.
        """
        dropped = self._book.close(drop=grace is not None)
        self._again.give_up(dropped, OVER)
        ours = threading.current_thread() in self._threads or self._travel.is_here()
        if ours or self._reports():
            name = f"jackfield-{self._label}-shutdown"
            threading.Thread(
                target=self._end, args=(grace,), name=name, daemon=True
            ).start()
        else:
            self._end(grace)

    def _end(self, grace: float | None) -> None:
        idle = self._book.idle.wait(grace)
        self._bring_home(None if grace is None else END_S)
        if idle:
            self._hear_out(self._book.posts)
        posts = self._book.end()
        self._look_at_jobs.set()  # its thread sees that this is the end
        if posts is None:
            return
        self._again.end(OVER)
        for one in [one for post in posts for one in post.stays.lose()]:
            one.lose(OVER)
        stops = [threading.Thread(target=_stop, args=(p.link,)) for p in posts]
        for thread in stops:
            thread.daemon = True
            thread.start()
        join_within(stops, END_S)
        me = threading.current_thread()
        join_within([thread for thread in self._threads if thread is not me], END_S)
        self._site.close()
        self._travel.close()
        sweep()  # what agents have left that were killed on this machine

    def _bring_home(self, limit: float | None) -> None:
        """Have what only agents have sent home: a script may read it after the end.

        What an agent has that is lost meanwhile is made again, and comes home, too.
        """
        deadline = math.inf if limit is None else monotonic() + limit
        while not self._book.ended.is_set():
            stays = self._again.being()
            for post in self._book.posts:
                post.want(away := post.stays.away())
                stays += away
            if not stays:
                return
            for one in stays:
                left = None if limit is None else max(0.0, deadline - monotonic())
                if not one.wait(left):
                    return

    def _hear_out(self, posts: Sequence[Post]) -> None:
        """End pools, and wait a moment for the last that tasks have printed there."""
        deadline = monotonic() + LAST_WORDS_S
        for post in posts:
            post.send_end()
        for post in posts:
            post.silent.wait(max(0.0, deadline - monotonic()))


def _stop(link: Link) -> None:
    try:
        link.stop()
    except Exception as error:
        log.debug("The agent on %s did not stop: %r", link.name, error)
