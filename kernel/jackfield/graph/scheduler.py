"""Who changes the graph, and when: an inbox, a role and one thread.

Everything that happens to a kernel is an item in one inbox: a new task, an outcome that
an executor reports, or a *control*, which is a function that changes the graph. The
items are worked off by whoever holds the *role*, a lock that nobody waits for while the
kernel works (only its end and a fork do, for a second):

- A thread of an executor or of the kernel puts its item into the inbox and then tries
  to take the role (``pump``). If it gets it, it works off all that is in the inbox. If
  it does not, it leaves, because the holder looks at the inbox once more *after* it has
  given the role back. Say the holder has found the inbox empty, then we add our item
  and fail to get the role, then the holder gives it back: the holder's last look comes
  after all of this and finds the item. So the graph has one writer at a time, no thread
  blocks another, and the thread that reports a result is also the one that launches
  what depended on it, without a hand-over to another thread.
- A thread of the user's leaves its item for the *dispatcher* (``post``), a thread that
  the kernel has for this. A user's thread does not take the role: a Ctrl-C may strike
  the main thread between any two instructions, and would tear a change of the graph in
  two. All that it does is one ``append``, which cannot be torn, and a wake-up, which
  may be done twice (``_rouse`` tells why none is lost). Only at the end of the
  kernel, when the dispatcher may be gone, ``post`` and ``stop`` work the inbox off
  there.
- An executor may offer an idle thread (``attend``), which ``post`` wakes instead of a
  dispatcher that sleeps. It puts the task that has come into the graph and then runs
  it itself (``serve``), so that one thread is woken for it and not two.

To work off some items is a *step*. A step only changes state, and returns what is to be
done because of it: works to hand to executors, callbacks to call, plugins to ask. This
is done after the role has been given back (``perform``), so that no code of users or
plugins runs within the role, and an executor may report from within its own ``submit``.

The dispatcher also calls the functions that are to be called later, such as retries.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from jackfield import clock
from jackfield.futures.locks import NAP_S, join
from jackfield.graph.task import Task

if TYPE_CHECKING:
    from jackfield.abc import Wake

BATCH: Final = 512
"""Items worked off in one step at most."""

LONGEST_SLEEP_S: Final = 3600.0
"""Seconds that the dispatcher sleeps at a time; some clocks overflow far beyond it."""

Step = Callable[["deque[Any]", int], Any]
"""Works off up to n items of the inbox; returns what ``perform`` gets."""


def _rouse(sleeper: list[Wake] | None) -> bool:
    """Wake a thread that sleeps or is about to; tell whether there was one to wake."""
    # An idle thread makes a new list, with one ``Wake``, for each of its sleeps. Who
    # has woken it clears the list, so that further callers need not. A Ctrl-C between
    # the two leaves the list full, and the next caller wakes for nothing. If we clear
    # late, when the thread sleeps again, that sleep has another list: it can be ended.
    if not sleeper:
        return False
    for wake in sleeper:
        wake()
    sleeper.clear()
    return True


class Scheduler:
    """Calls ``step`` on the inbox, on one thread at a time, and then ``perform``.

    ``work_with`` has to be called before anything else.

    Args:
        name: Name of the dispatcher's thread.
        on_fault: Called with what ``step`` or ``perform`` raised, though none should.

    Attributes:
        inbox: The items to be worked off, in order. May be appended to on any thread.
        thread: The dispatcher.
    """

    _step: Step
    _perform: Callable[[Any], None]

    def __init__(self, name: str, on_fault: Callable[[BaseException], None]) -> None:
        self._on_fault: Callable[[BaseException], None] = on_fault
        # Has ``busy`` set on a thread that is within ``pump`` or ``gathering``.
        self._here: threading.local = threading.local()
        self._role: threading.Lock = threading.Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()  # a token ends one sleep
        self._put_token: Wake = partial(self._wake.put, None)
        self._idle: list[Wake] | None = None  # see ``nudge``
        self._offer: list[Wake] | None = None  # see ``attend``
        self._ident: int = 0  # of the dispatcher's thread, when it runs
        self._stopping: bool = False
        self._held: bool = False  # the role is held for a fork
        self._timer_lock: threading.Lock = threading.Lock()
        # A heap of (when, ticket, function); the ticket decides between equal times.
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._tickets: itertools.count[int] = itertools.count()
        self.thread: threading.Thread = threading.Thread(
            target=self._run, name=f"jackfield-{name}", daemon=True
        )
        self.inbox: deque[Any] = deque()

    def work_with(self, step: Step, perform: Callable[[Any], None]) -> None:
        """Set the two functions that the scheduler calls.

        ``step`` is called with the role: it works items off and returns what is to be
        done. ``perform`` is called with that, and without the role.
        """
        self._step = step
        self._perform = perform

    # -- for users' threads

    def post(self, item: Any) -> None:
        """Leave an item for the dispatcher, or an idle thread, and wake it."""
        self.inbox.append(item)
        # As in ``nudge``. But while the kernel ends, the dispatcher may have looked at
        # the inbox for the last time before our item was there: see below.
        if not (self._idle or self._stopping) or self._role.locked():
            return
        # If an offer is empty, its thread was just woken, and looks at the inbox after
        # this. A cached task is the dispatcher's: if it is a hit, that takes another
        # step to end it.
        if self._idle and type(item) is Task and not self._stopping:
            offer = None if item.spec.cache else self._offer
            if offer is not None:
                _rouse(offer)
                return
        if not _rouse(self._idle) and self._stopping:
            self.pump()

    # -- for executors' threads and the kernel's own

    def attend(self, wake: Wake | None) -> None:
        """Take the offer of an idle thread, or with ``None`` withdraw the newest."""
        self._offer = None if wake is None else [wake]
        # Somebody may have put a task into the inbox and then woken the thread that now
        # withdraws, and that will not serve any more. So if something is left in the
        # inbox, the dispatcher is woken to take it.
        if wake is None and self.inbox and not _rouse(self._idle) and self._stopping:
            self.pump()

    def serve(self) -> None:
        """Work off a task that came alone, on the idle thread that was woken for it.

        More than that is left to the dispatcher. So at most one work is submitted here,
        and no plugin is called after that: it may be kept by this thread, and does not
        wait behind something that waits for it.
        """
        self._offer = None  # from here on ``post`` wakes the dispatcher
        self.pump(lone=True)
        self.attend(None)

    def control(self, action: Callable[[Any], object]) -> None:
        """Have a function called within a step: here, or by whoever holds the role."""
        self.inbox.append(action)
        self.pump()

    def nudge(self) -> None:
        """Leave what is in the inbox to the dispatcher if that can take it soon.

        For a thread that has other work to do, such as further tasks to run: outcomes
        that come close together are then worked off in one step, on another thread.
        """
        # While the dispatcher is awake, ``_idle`` is an empty list: it was just woken,
        # or is at work of its own, and looks at the inbox soon. If it sleeps, we wake
        # it. If the role is taken, its holder looks at the inbox after giving it back.
        # In all of these cases our items are there by then. Or it is ``None``: code of
        # others may keep the dispatcher for long, so that we do it here.
        idle = self._idle
        if (idle is None or idle) and not self._role.locked() and not _rouse(idle):
            self.pump()

    def away(self) -> None:
        """Say that code of others comes next, which may hold the dispatcher up."""
        if threading.get_ident() == self._ident:
            self._idle = None

    def pump(self, *, lone: bool = False, once: bool = False) -> None:
        """Work the inbox off, unless this thread or another one does so already.

        What ``step`` or ``perform`` raises goes to ``on_fault``, and the rest goes on.
        With ``once``, it takes one step at most. With ``lone``, only a task is worked
        off, and only if it is alone in the inbox.
        """
        here, inbox = self._here, self.inbox
        # A thread comes here a second time if an executor runs works inside its
        # ``submit``, which ``perform`` has called, and reports from there. It leaves at
        # once, and its loop below finds the report when ``perform`` returns. So a chain
        # of tasks on such an executor is a loop, and not a recursion.
        if getattr(here, "busy", False):
            return
        here.busy = True
        try:
            while inbox:
                # Whoever holds the role looks at the inbox again after giving it back,
                # which is after our item was put in.
                if not self._role.acquire(blocking=False):
                    return
                try:
                    try:
                        if lone and not (len(inbox) == 1 and type(inbox[0]) is Task):
                            return
                        effects = self._step(inbox, 1 if lone else BATCH)
                    finally:
                        self._role.release()
                    # Others may have left items while we had the role. What we perform
                    # now may take long, so the dispatcher is woken to see to them.
                    if inbox:
                        _rouse(self._idle)
                    self._perform(effects)
                except BaseException as error:
                    self._on_fault(error)
                if lone or once:
                    return
        finally:
            here.busy = False

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Collect what this thread puts into the inbox in the block.

        At the end of the block all of it is worked off together, in one step. Other
        threads are not held up by this.
        """
        here = self._here
        if getattr(here, "busy", False):  # ``pump`` will do it when we are back there
            yield
            return
        here.busy = True
        try:
            yield
        finally:
            here.busy = False
            self.pump()

    @property
    def busy(self) -> bool:
        """Whether this thread is within ``pump`` or ``gathering``."""
        return getattr(self._here, "busy", False)

    def call_later(self, delay: float, action: Callable[[], None]) -> None:
        """Have ``action`` called on the dispatcher after ``delay`` seconds."""
        when = clock.monotonic() + delay
        with self._timer_lock:
            heapq.heappush(self._timers, (when, next(self._tickets), action))
        self._wake.put(None)  # it may sleep for longer than the delay

    # -- the dispatcher

    def start(self) -> None:
        """Start the dispatcher."""
        self.thread.start()

    def stop(self, timeout: float | None) -> None:
        """End the dispatcher; what is in the inbox is worked off first.

        A plugin may hold it up for ever. So it is waited for ``timeout`` seconds, and
        then the inbox is worked off on this thread.
        """
        self._stopping = True
        self._wake.put(None)
        try:
            if threading.current_thread() is not self.thread and self.thread.ident:
                join(self.thread, timeout)
        finally:  # after a Ctrl-C too: nobody else may come to work the inbox off
            self._drain()

    def _drain(self) -> None:
        """Work the inbox off here, though the dispatcher may be stuck in a plugin."""
        # A plugin is only ever called by ``perform``, without the role. So whoever has
        # the role gives it back soon. If ``pump`` did not get it, we wait for it once;
        # then the step of the other thread is over, and we look at the inbox again.
        while not self.busy:
            self.pump()
            if not self._role.acquire(timeout=NAP_S):
                return
            self._role.release()
            if not self.inbox:
                return

    def hold(self) -> None:
        """Take the role, so that the graph does not change while the process forks.

        In the child the graph is then a whole one. If the role is not free after a
        second, the fork goes on without it: it must not be held up for ever.
        """
        self._held = self._role.acquire(timeout=1.0)

    def let_go(self) -> None:
        """Give the role back after ``hold``; called in the parent."""
        if self._held:
            self._held = False
            self._role.release()
            self._wake.put(None)  # others may have left items while it was held

    def _run(self) -> None:
        """Serve until the end; the dispatcher's whole life."""
        self._ident = threading.get_ident()
        while not self._stopping:
            self._idle = []
            self.pump(once=True)
            timeout = self._fire()
            self._idle = [self._put_token]
            # An item may have come after the pump, from a thread that found ``_idle``
            # empty and so woke nobody. From here on every such thread finds it full,
            # so this look at the inbox is the one that none of them can miss. If the
            # role is taken, its holder sees to the inbox, or wakes us. It should never
            # fail to; but if it did, we would look again.
            taken = self._role.locked()
            if taken or not self.inbox:
                with contextlib.suppress(Empty):
                    self._wake.get(timeout=min(timeout, NAP_S) if taken else timeout)
        self._idle = None
        self.pump()

    def _fire(self) -> float:
        """Call the functions that are due; return seconds until the next is."""
        while self._timers:
            with self._timer_lock:
                left = self._timers[0][0] - clock.monotonic()
                if left > 0:
                    return min(left, LONGEST_SLEEP_S)
                action = heapq.heappop(self._timers)[2]
            # Called without the lock, because it may ask for another call later. It may
            # be long, and somebody may just have counted on us: see ``nudge``.
            self._idle = None
            self.pump()
            try:
                action()
            except BaseException as error:
                self._on_fault(error)
        return LONGEST_SLEEP_S
