"""The driver's conversation with one agent: each message and each result counts once.

What a link carries may get lost, come twice or overtake. So both sides number what they
send, and keep it until the other side says that it is there:

- ``Post`` numbers its messages. The agent handles them in that order, drops what it has
  had, and says with each answer up to which number it has come. What it does not have
  after some time is sent again; see ``RESEND_S``.
- The agent numbers its results. It repeats them with each answer until the driver's
  next question says up to which number they have been seen.

The races, and who wins them:

- *A call and its cancel.* ``cancel`` takes the work out of ``flying`` first, and sends
  after that. ``send_calls`` leaves out what is not in ``flying``, and gives the message
  its number under the same lock. So either the call is not sent, or its cancel has the
  higher number, and finds it.
- *A result and its cancel.* Whoever takes the work out of ``flying``, under the
  executor's lock, has it. The other one finds nothing.
- *An answer that comes too late.* Its question has been given up, and nobody reads it.
  The next question asks for the same results again.
- *An agent that was given up, and lives.* Its works have left ``flying`` and were
  reported as lost. Nobody asks it any more, so its results reach nobody, and it ends
  itself after ``LEASE_S``.
- *A driver that is long busy with results.* The thread that asks an agent for results
  reports them, too, which may run code of users or of observers. Meanwhile another
  thread shows the agent that the driver lives (``show_alive``).
- *A driver that stands still*, because one of its threads keeps the interpreter, or as
  it is stopped. It asks nothing, and reads no answers. When it goes on, that time is no
  silence of its agents (``awake``). They wait for it as long as their engine knows that
  its process lives (``Agent.held``, or a process beside the driver shows them that).
- *An agent that has given its driver up.* It answers ``AgentEndedError`` for good, so
  that its works fail at once.
"""

from __future__ import annotations

import itertools
import logging
import math
import pickle
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from jackfield.clock import monotonic
from jackfield_executors.ranked import Ranked
from jackfield_executors.remote.agent import (
    ALIVE,
    END,
    LEASE_S,
    WATCHED,
    WATCHED_S,
    AgentEndedError,
)
from jackfield_executors.remote.awake import Awake
from jackfield_executors.remote.stays import SOON_S, Stays
from jackfield_executors.shares import Shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jackfield.abc import Work
    from jackfield.events import Running
    from jackfield_executors.remote.agent import Result
    from jackfield_executors.remote.carrying import Packed
    from jackfield_executors.remote.link import Link
    from jackfield_executors.remote.shipping import Code
    from jackfield_executors.remote.stays import Stayed

log: logging.Logger = logging.getLogger("jackfield.executors.remote")

POLL_S: Final = 5.0
"""Seconds that an agent waits for results before it answers that there are none."""

SILENCE_S: Final = LEASE_S
"""Seconds without an answer to its questions after which the driver takes an agent for
gone. While it asks none, there is no silence."""

QUIET_S: Final = LEASE_S / 4
"""Seconds without a question after which an agent is shown that the driver lives."""

RESEND_S: Final = 10.0
"""Seconds after which a message that the agent does not have is sent again: so many and
what it takes at ``SLOW``."""

SLOW: Final = 1_000_000
"""Bytes a second of a link that is slow, but not to be burdened with a second copy."""

RETRY_S: Final = 0.2
"""Seconds between a question that failed and the next one."""


@dataclass(slots=True, eq=False)
class Post:
    """One agent, as the driver sees it.

    Attributes:
        link: The way to it.
        flying: Works that it has, by token. Changed under the executor's lock.
        sees: Whether it sees the driver's disk.
        known: Numbers of functions that it has.
        draining: Whether it gets no more works, because it is to go.
        shares: What it has of what works ask for.
        keeps: The work for which it keeps free what that asks for.
        lasts: Seconds that it had left when it came, infinite if its job has no end.
        code: Digest of the modules that it was sent.
        packed: What is kept of calls that have files, by token.
        silent: Set when the agent has said its last words.
        stays: The results that it keeps.
        own: Works that wait for it, because only it has what they get. In order;
            changed under the executor's lock.
        receiver: The thread that receives.
        load: Seconds that its works are expected to take together.
        runs: What the agent has last told of what runs there, by task and attempt.
        awake: The clock of the driver's process, by which silence is measured.
        sending: Held while works are taken and sent, so that functions arrive before
            the calls that need them.
    """

    link: Link
    sees: bool = True
    flying: dict[int, tuple[Work, float]] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    draining: bool = False
    shares: Shares = field(default_factory=lambda: Shares({}, 1))
    keeps: Work | None = None
    lasts: float = math.inf
    code: str = ""
    packed: dict[int, Packed] = field(default_factory=dict)
    silent: threading.Event = field(default_factory=threading.Event)
    stays: Stays = field(default_factory=Stays)
    own: Ranked = field(default_factory=Ranked)
    receiver: threading.Thread | None = None
    load: float = 0.0
    runs: dict[tuple[int, int], Running] = field(default_factory=dict)
    awake: Awake = field(default_factory=Awake)
    sending: threading.Lock = field(default_factory=threading.Lock)
    # Guards the two below. No code of users runs under it, nor anything that waits.
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _unheard: dict[int, tuple[float, bytes]] = field(default_factory=dict)
    # Only the thread that receives uses these.
    _seen: int = 0
    # When the agent was asked the first question that it has not answered yet, by the
    # clock ``awake``; ``None`` if it has answered all.
    _silent: float | None = None
    _watched: float = -math.inf  # when the agent was last told that somebody looks
    # When the agent was last asked, or shown that the driver lives. Two threads write
    # it, and each may overwrite the other's: both are right.
    _asked: float = field(default_factory=monotonic)

    @property
    def soon_over(self) -> bool:
        """Whether the agent is to go, or the time of its job is nearly over."""
        return self.draining or self.link.ends - monotonic() < SOON_S

    def send_calls(
        self, functions: dict[int, bytes], calls: list[Any], code: Code | None = None
    ) -> None:
        """Send modules, functions, and calls whose works are still in ``flying``."""
        with self._lock:
            calls = [call for call in calls if call[0] in self.flying]
            if functions or calls or code:
                self._send(code, functions, calls)

    def send_cancel(self, token: int) -> None:
        """Have a call stopped, whose work is in ``flying`` no more."""
        with self._lock:
            self._send(cancelled=token)

    def send_end(self) -> None:
        """Have the agent end its pool, and say its last words."""
        with self._lock:
            self._send(cancelled=END)

    def want(self, stays: Sequence[Stayed]) -> None:
        """Have results sent home, unless they are on their way."""
        numbers = self.stays.ask(stays)
        if numbers:
            with self._lock:
                self._send(wanted=numbers)

    def tend(self) -> None:
        """Have results sent home that should be, and tell which to forget."""
        self.want(self.stays.due(hurry=self.soon_over))
        if self.stays.gone:
            with self._lock:
                self._send()

    def _send(
        self,
        code: Code | None = None,
        functions: Mapping[int, bytes] | None = None,
        calls: Sequence[Any] = (),
        cancelled: int | None = None,
        wanted: Sequence[int] = (),
    ) -> None:
        """Number a message, and send it. The lock is held.

        A result that is to be forgotten is named by no later call: a call that is in
        ``flying`` holds what it names.
        """
        gone = self.stays.gone
        forgotten = [gone.popleft() for _ in range(len(gone))] if gone else ()
        message = code, functions or {}, calls, cancelled, wanted, forgotten
        self._put(next(self._numbers), pickle.dumps(message, 5))

    def _put(self, number: int, data: bytes) -> None:
        """Send a message, and note when to send it again."""
        due = monotonic() + RESEND_S + len(data) / SLOW
        self._unheard[number] = due, data
        try:
            self.link.put(number, data)
        except Exception as error:  # it goes again, or ``receive`` finds the agent gone
            log.debug("Message %d to %s: %r", number, self.link.name, error)

    def receive(self, ended: threading.Event) -> Sequence[Result]:
        """Wait for results that have not been seen; there may be none.

        For one thread. After a question that failed it waits a moment, unless ``ended``
        is set meanwhile.

        Raises:
            Exception: The agent is gone, or was not heard for ``SILENCE_S``.
        """
        if not self.link.there():  # it gets no works; see ``AgentsExecutor._feed``
            raise ConnectionError("its engine has lost it")
        self._asked = monotonic()
        if self._silent is None:
            self._silent = self.awake.seconds
        try:
            arrived, first, results = self.link.take(POLL_S, self._seen)
        except AgentEndedError:
            raise
        except Exception as error:
            silent = self.awake.seconds - self._silent
            if silent > SILENCE_S or not self.link.there():
                raise
            log.debug("No answer of %s for %.1f s: %r", self.link.name, silent, error)
            ended.wait(RETRY_S)
            return []
        self._silent = None
        fresh = results[self._seen - first :]
        self._seen = first + len(results)
        self._note(arrived)
        return fresh

    def show_alive(self) -> None:
        """Show the agent that the driver lives, if it has not been asked for a while.

        Called again and again, on one thread that does nothing else.
        """
        now = monotonic()
        if now - self._asked > QUIET_S:
            self._asked = now
            try:
                self.link.put(ALIVE, b"")
            except Exception as error:  # it is gone, which ``receive`` finds
                log.debug("No sign of life to %s: %r", self.link.name, error)

    def watch(self) -> None:
        """Have the agent tell what runs there, for a while. On the same thread."""
        now = monotonic()
        if self.flying and now - self._watched > WATCHED_S / 3:
            self._watched = now
            try:
                self.link.put(WATCHED, b"")
            except Exception as error:  # as above
                log.debug("No word to %s that is watched: %r", self.link.name, error)

    def running(self) -> list[Running]:
        """Return what the agent has told, as far as it has not ended since."""
        flying = [work for work, _ in self.flying.copy().values()]
        told = (self.runs.get((work.id, work.attempt)) for work in flying)
        return [one for one in told if one is not None]

    def _note(self, arrived: int) -> None:
        """Drop the messages below a number; send again what the agent lacks."""
        with self._lock:
            now = monotonic()
            for number, (due, data) in list(self._unheard.items()):
                if number < arrived:
                    del self._unheard[number]
                elif due < now:
                    self._put(number, data)
                else:
                    break  # those after it are not due, or wait for it
