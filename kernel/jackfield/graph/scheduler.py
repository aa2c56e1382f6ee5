"""Who runs the kernel's transitions, and when: an inbox, a role and one thread.

Everything that happens to a kernel is an item in one inbox: a new task, an
executor's outcome, or a *control*, a function to call. Whoever puts an item there
may have it worked off at once: the thread that can take the *role* drains the
inbox and changes the graph; one that cannot leaves, because the holder looks again
after giving the role back. So the graph has one writer at any time, nobody ever
waits for a lock, and an executor's thread that reports a result launches what
depends on it without a hand-over to another thread.

Users' threads do not take the role: they put their task in the inbox, one step that
Ctrl-C cannot tear, and wake the dispatcher, the kernel's only thread, which also
keeps the timers. (A single call to an idle kernel is the exception: ``undisturbed``.)
What the transitions call for (handing works to executors, waking waiters, asking
plugins) is done after the role has been given back, so that no code of users or
plugins runs inside it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final

from jackfield.futures.locks import NAP_S, join
from jackfield.graph.undisturbed import undisturbed

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
    """Runs ``step`` on what is posted, on one thread at a time, then ``perform``."""

    def __init__(
        self,
        step: Step,
        perform: Callable[[Any], None],
        name: str,
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self._step: Step = step
        self._perform: Callable[[Any], None] = perform
        self._on_fault: Callable[[BaseException], None] = on_fault
        self._here: threading.local = threading.local()
        self._role: threading.Lock = threading.Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._idle: list[None] | None = None
        self._stopping: bool = False
        self._held: bool = False
        self._timer_lock: threading.Lock = threading.Lock()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._tickets: itertools.count[int] = itertools.count()
        self._thread: threading.Thread = threading.Thread(
            target=self._run, name=f"jackfield-{name}", daemon=True
        )
        self.inbox: deque[Any] = deque()

    # -- for users' threads

    def post(self, item: Any) -> None:
        """Leave an item for the dispatcher."""
        self.inbox.append(item)
        if not self._wake_idle() and self._stopping:  # the dispatcher may be gone
            self.pump()

    def run_or_post(self, item: Any) -> None:
        """Work an item off here if nothing else is to be done, or leave it.

        Only for one that calls for no code of users or plugins, but for the
        ``submit`` of an executor that allows it.
        """
        quiet = self._idle and not self.inbox and not self.busy
        if not quiet or not undisturbed(partial(self._run_alone, item)):
            self.post(item)

    def _run_alone(self, item: Any) -> None:
        if not self._role.acquire(blocking=False):
            self.post(item)
            return
        here = self._here
        here.busy = True
        try:
            try:
                effects = self._step(deque((item,)), 1)
            finally:
                self._role.release()
            self._perform(effects)
        except BaseException as error:
            self._on_fault(error)
        finally:
            here.busy = False
            if self.inbox:
                self._wake_idle()

    def _wake_idle(self) -> bool:
        """Wake the dispatcher if it sleeps, or is about to; tell whether."""
        # The list is new for each sleep. So an interrupt between the two steps costs
        # a vain wake-up, and clearing late cannot touch the sleep after this one.
        idle = self._idle
        if not idle:
            return False
        self._wake.put(None)
        idle.clear()
        return True

    # -- for executors' threads and the kernel's own

    def nudge(self) -> None:
        """Have the inbox worked off, at best by the dispatcher together with more.

        Where it sleeps or is on its way, this costs no more than a wake-up. Where it
        works it may be stuck in what a step called for, so the inbox is seen to here.
        """
        if not self._wake_idle() and self._idle is None:
            self.pump()

    def pump(self) -> None:
        """Work the inbox off, unless this thread or another one is at it.

        A thread that comes here again while it does what a step called for, as an
        executor does that reports from inside its ``submit``, leaves too: it looks
        at the inbox again afterwards, so that no chain of tasks becomes a chain of
        calls. A fault of the kernel goes to ``on_fault``, and the rest goes on.
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
                    if self.inbox:  # what others left, if this thread is long about it
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
        self._thread.start()

    def stop(self, timeout: float | None) -> None:
        """End the dispatcher; what is in the inbox is worked off first.

        Args:
            timeout: Seconds to wait for it. A plugin may hold it up for ever; then
                the inbox is worked off here.
        """
        self._stopping = True
        self._wake.put(None)
        if threading.current_thread() is not self._thread and self._thread.ident:
            join(self._thread, timeout)
        self._drain()

    def _drain(self) -> None:
        """Work the inbox off beside a dispatcher that is stuck or has much to do.

        The role is never held for long: it is what follows a step that may be stuck.
        """
        while not self.busy:
            self.pump()
            if not self._role.acquire(timeout=NAP_S):
                return
            self._role.release()
            if not self.inbox:  # and nobody is at the last of it any more
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

    @property
    def thread(self) -> threading.Thread:
        """The dispatcher."""
        return self._thread

    def _run(self) -> None:
        while not self._stopping:
            self.pump()
            timeout = self._fire()
            self._idle = [None]
            # Posted after the pump, by one who saw no idler to wake?
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
