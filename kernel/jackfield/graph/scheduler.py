"""Who changes the graph, and when: an inbox, a role and one thread.

Everything that happens to a kernel is an item in one inbox: a new task, an outcome that
an executor reports, or a *control*, which is a function that changes the graph. The
items are worked off by whoever holds the *role*, a lock that nobody ever waits for:

- A thread of an executor or of the kernel puts its item into the inbox and then tries
  to take the role (``pump``). If it gets it, it works off all that is in the inbox. If
  it does not, it leaves, because the holder looks at the inbox once more *after* it has
  given the role back. Say the holder has found the inbox empty, then we add our item
  and fail to get the role, then the holder gives it back: the holder's last look comes
  after all of this and finds the item. So the graph has one writer at a time, no thread
  blocks another, and the thread that reports a result is also the one that launches
  what depended on it, without a hand-over to another thread.
- A thread of the user's leaves its item for the *dispatcher* (``post``), the one thread
  that the kernel has of its own. It never takes the role: a Ctrl-C may strike the main
  thread between any two instructions, and would tear a change of the graph in two. All
  that such a thread does is one ``append``, which cannot be torn, and a wake-up, which
  may be done twice (``_wake_idle`` tells why none is lost).

A step only changes state. What it calls for (works to hand to executors, waiters to
wake, plugins to ask) is done after the role has been given back (``perform``), so that
no code of users or plugins runs inside the role, and an executor may report from within
its own ``submit``.

The dispatcher also keeps the timers.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Final

from jackfield.futures.locks import NAP_S, join

BATCH: Final = 512
"""Items worked off before what they call for is done."""

LONGEST_SLEEP_S: Final = 3600.0
"""Seconds that the dispatcher sleeps at most: no system's clock takes any number."""

Step = Callable[["deque[Any]", int], Any]
"""Works off up to n items of the inbox; returns what to do without the role."""


def is_interrupt(error: BaseException) -> bool:
    """Tell whether an exception is the user's Ctrl-C, and not somebody's own."""
    on_main = threading.current_thread() is threading.main_thread()
    return on_main and isinstance(error, KeyboardInterrupt)


class Scheduler:
    """Runs ``step`` on what is posted, on one thread at a time, then ``perform``.

    ``work_with`` gives it these two, before anything else.

    Args:
        name: Names the dispatcher's thread.
        on_fault: Called with what ``step`` or ``perform`` raised, which they should
            not.

    Attributes:
        inbox: What is to be worked off, in order.
        thread: The dispatcher.
    """

    _step: Step
    _perform: Callable[[Any], None]

    def __init__(self, name: str, on_fault: Callable[[BaseException], None]) -> None:
        self._on_fault: Callable[[BaseException], None] = on_fault
        # ``busy`` is set on the thread that works the inbox off or performs.
        self._here: threading.local = threading.local()
        self._role: threading.Lock = threading.Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()  # a token ends one sleep
        self._idle: list[None] | None = None  # see ``_wake_idle``
        self._stopping: bool = False
        self._held: bool = False
        self._timer_lock: threading.Lock = threading.Lock()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._tickets: itertools.count[int] = itertools.count()
        self.thread: threading.Thread = threading.Thread(
            target=self._run, name=f"jackfield-{name}", daemon=True
        )
        self.inbox: deque[Any] = deque()

    def work_with(self, step: Step, perform: Callable[[Any], None]) -> None:
        """Set what works items off, and what does what that calls for."""
        self._step = step
        self._perform = perform

    # -- for users' threads

    def post(self, item: Any) -> None:
        """Leave an item for the dispatcher."""
        self.inbox.append(item)
        # While the kernel ends, the dispatcher may have looked at the inbox for the
        # last time before our item was there. Then the item is worked off here.
        if not self._wake_idle() and self._stopping:
            self.pump()

    def _wake_idle(self) -> bool:
        """Wake the dispatcher if it sleeps or is about to; tell whether it did."""
        # ``_idle`` is a new list of one element for every sleep of the dispatcher, and
        # ``None`` while it is awake. We wake it in two steps: a token into ``_wake``,
        # then the list is cleared, so that further callers need not wake it too. A
        # Ctrl-C between the two leaves the list full, and the next caller adds a second
        # token: one wake-up for nothing, and no item lost. If we clear late, when the
        # dispatcher sleeps again already, we clear the list of the sleep before, and
        # the new sleep can still be ended.
        idle = self._idle
        if not idle:
            return False
        self._wake.put(None)
        idle.clear()
        return True

    # -- for executors' threads and the kernel's own

    def control(self, action: Callable[[Any], object]) -> None:
        """Have a function change the graph, now or by whoever holds the role."""
        self.inbox.append(action)
        self.pump()

    def nudge(self) -> None:
        """Leave what is in the inbox to the dispatcher, which may find more there.

        For a thread that has other work to do, such as further tasks to run: outcomes
        that come close together are then worked off in one step. If the dispatcher
        sleeps, it is woken, and if it is about to sleep, it has been. If it is awake,
        it may be stuck in a plugin that a step called for, so the inbox is worked off
        here.
        """
        if not self._wake_idle() and self._idle is None:
            self.pump()

    def pump(self) -> None:
        """Work the inbox off, unless this thread or another one is at it already.

        A thread may come here a second time while it performs what a step called for:
        an executor that runs works inside ``submit`` reports from there. It leaves at
        once, and its loop below looks at the inbox again afterwards. So a chain of
        tasks that such an executor runs is a loop, and no tower of calls.

        What a step or its performance raises goes to ``on_fault``, and the rest goes
        on.
        """
        here = self._here
        if getattr(here, "busy", False):
            return
        here.busy = True
        try:
            while self.inbox:
                if not self._role.acquire(blocking=False):
                    return
                try:
                    try:
                        effects = self._step(self.inbox, BATCH)
                    finally:
                        self._role.release()
                    # Others may have left items meanwhile, and performing may take
                    # long here; the dispatcher can work them off in the meantime.
                    if self.inbox:
                        self._wake_idle()
                    self._perform(effects)
                except BaseException as error:
                    self._on_fault(error)
        finally:
            here.busy = False

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Work off what this thread posts in the block at its end, all together."""
        here = self._here
        if getattr(here, "busy", False):
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
        """Whether this thread is doing what a step called for."""
        return getattr(self._here, "busy", False)

    def call_later(self, delay: float, action: Callable[[], None]) -> None:
        """Have ``action`` called on the dispatcher after ``delay`` seconds."""
        when = time.monotonic() + delay
        with self._timer_lock:
            heapq.heappush(self._timers, (when, next(self._tickets), action))
        self._wake.put(None)

    # -- the dispatcher

    def start(self) -> None:
        """Start the dispatcher."""
        self.thread.start()

    def stop(self, timeout: float | None) -> None:
        """End the dispatcher; what is in the inbox is worked off first.

        Args:
            timeout: Seconds to wait for it. A plugin may hold it up for ever; then
                the inbox is worked off here.
        """
        self._stopping = True
        self._wake.put(None)
        if threading.current_thread() is not self.thread and self.thread.ident:
            join(self.thread, timeout)
        self._drain()

    def _drain(self) -> None:
        """Work the inbox off, though the dispatcher may be stuck in a plugin.

        What can be stuck is the performance of a step, without the role. So whoever
        holds the role gives it back soon, and to have got it here once means that the
        last step that had begun before is over.
        """
        while not self.busy:
            self.pump()
            if not self._role.acquire(timeout=NAP_S):
                return
            self._role.release()
            if not self.inbox:
                return

    def hold(self) -> None:
        """Keep the graph as it is, for a fork; not for long."""
        self._held = self._role.acquire(timeout=1.0)

    def let_go(self) -> None:
        """Go on after ``hold``."""
        if self._held:
            self._held = False
            self._role.release()
            self._wake.put(None)  # others may have left items while it was held

    def _run(self) -> None:
        while not self._stopping:
            self.pump()
            timeout = self._fire()
            self._idle = [None]
            # An item may have come after the pump, from a thread that found ``_idle``
            # empty and so woke nobody. From here on every such thread finds it full,
            # so this look at the inbox is the one that none of them can miss.
            if not self.inbox:
                with contextlib.suppress(Empty):
                    self._wake.get(timeout=timeout)
            self._idle = None
        self.pump()

    def _fire(self) -> float | None:
        """Call the timers that are due; return seconds until the next."""
        while self._timers:
            with self._timer_lock:
                left = self._timers[0][0] - time.monotonic()
                if left > 0:
                    return min(left, LONGEST_SLEEP_S)
                action = heapq.heappop(self._timers)[2]
            try:
                action()
            except BaseException as error:
                self._on_fault(error)
        return None
