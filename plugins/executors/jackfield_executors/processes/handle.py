"""What the driver knows of one worker process.

A ``WorkerHandle`` is changed by the loop's thread and by threads that submit or cancel,
under the pool's lock. The worker itself changes the shared page at any moment, without
any lock. What is read there may be out of date when it is looked at; whoever decides by
it has to be right in that case, too (see ``cancellation``).
"""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from contextlib import suppress
from itertools import count, islice
from typing import TYPE_CHECKING, NamedTuple

from jackfield.clock import monotonic
from jackfield_executors.processes.kept import PackedResult
from jackfield_executors.processes.progress import (
    BEGUN,
    CALLED,
    FINISHED,
    RECALL,
    WANTED,
)
from jackfield_executors.processes.shared import Handed, rights
from jackfield_executors.processes.wire import MOST_PARTS, FrameReader, unsent
from jackfield_system.measuring import this_host

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from jackfield.abc import Kept, Measure, Work
    from jackfield.events import Place, Running
    from jackfield_executors.processes.progress import Page
    from jackfield_executors.processes.wire import Data, Ran
    from jackfield_executors.shares import Demand


_asks = count(1)
"""Numbers that no worker has found in its page."""


class KillReason(NamedTuple):
    """Why a worker is being killed."""

    target: Work | None
    """The task that has to end by that. ``None`` if the worker itself has to end; then
    it is the task that runs when it dies."""

    error: BaseException | str | None
    """What to report for that task: this error, or a ``WorkerDiedError`` with this text
    as its reason. ``None``: nothing is reported, since nobody waits for it."""


class WorkerHandle:
    """One worker, from the request to start it until its process is reaped.

    The attributes are guarded by the pool's lock, with these exceptions. ``reader``
    and ``ran`` belong to the loop's thread. ``path``, ``directory`` and ``measure``
    belong to the thread that builds a message for the worker, of which there is one at
    a time.

    Attributes:
        number: Its number in this executor. No other worker ever gets it.
        name: What observers are told that it is called.
        sock: Our end of its connection, which does not block.
        reader: Cuts what arrives there into frames.
        page: The progress page, which the worker writes.
        pipes: Our ends of its standard output and error, which ``Output`` reads.
        pid: Its process id; 0 until the fork server has told it.
        held: The works that it was sent and has not answered, in order.
        received: How many results have come from it. The position of ``held[0]`` among
            all works that it was sent and has not returned.
        load: How many seconds the works in ``held`` are expected to take together.
        known: Numbers of the functions that it was sent.
        attached: Numbers of the segments that it was handed.
        path: Its ``sys.path``.
        directory: Where it runs tasks, or ``None``.
        measure: What it has been told to measure; see ``Kind.MEASURE``.
        ran: How the task ran whose large result is to come.
        outbox: Data for it that the socket had no room for.
        asked: When the fork server was asked for it.
        ready: Whether it is set up.
        watchdog: Whether its watchdog runs while it works on ``held``. Only then it can
            return what waits behind a task that takes long, so only then it may be sent
            more.
        stuck: Whether it is in a task that takes long, so that it gets nothing more.
        recalled: Whether it was asked to return the tasks that it has not begun, and
        has
            not answered yet.
        lease: What the works that it holds ask for; ``None`` if they ask for nothing.
        gpus: The GPUs of its works that ask for some, as ``CUDA_VISIBLE_DEVICES`` has
            them. It keeps them between two such works, and others may use them then.
        told_gpus: Those that it has been told.
        being_sent: The works that a thread is turning into bytes for it.
        assigned: How many works it was sent and has not returned, in all its life.
        stopping: When it was told to exit, or when it has answered its last task after
            that; 0 if it was not told.
        deadline: When to look at its running task next; see ``Pool.next_deadline``.
        kill_reason: Why it is being killed, if it is.
        killed: When the fork server was asked to kill it, or 0.
        unfit: Why it could not be set up, or what its process could not be started for.
        watched: Whether the loop waits for room in its socket.
        disconnected: When its connection was closed, or 0.
        dead: Whether it has ended, and its works were settled.
    """

    __slots__ = (
        "_forgotten",
        "asked",
        "assigned",
        "attached",
        "being_sent",
        "dead",
        "deadline",
        "directory",
        "disconnected",
        "gpus",
        "held",
        "kill_reason",
        "killed",
        "known",
        "lease",
        "load",
        "measure",
        "name",
        "number",
        "outbox",
        "page",
        "path",
        "pid",
        "pipes",
        "ran",
        "reader",
        "ready",
        "recalled",
        "received",
        "sock",
        "stopping",
        "stuck",
        "told_gpus",
        "unfit",
        "watchdog",
        "watched",
    )

    def __init__(
        self,
        number: int,
        name: str,
        sock: socket.socket,
        page: Page,
        pipes: tuple[int, int],
    ) -> None:
        self.number: int = number
        self.name: str = name
        self.sock: socket.socket = sock
        self.reader: FrameReader = FrameReader(sock)
        self.page: Page = page
        self.pipes: tuple[int, int] = pipes
        self.pid: int = 0
        self.asked: float = monotonic()
        self.held: deque[Work] = deque()
        self.received: int = 0
        self.load: float = 0.0
        self.known: set[int] = set()
        self.attached: set[int] = set()
        self.path: list[str] = sys.path[:]
        self.directory: str | None = None
        self.measure: int = 0
        self.ran: Ran | None = None
        self.outbox: list[memoryview | Handed] = []
        self.ready: bool = False
        self.watchdog: bool = False
        self.stuck: bool = False
        self.recalled: bool = False
        self.lease: Demand | None = None
        self.gpus: str = ""
        self.told_gpus: str = ""
        self.being_sent: list[Work] = []
        self.assigned: int = 0
        self.stopping: float = 0.0
        self.deadline: float = math.inf
        self.kill_reason: KillReason | None = None
        self.killed: float = 0.0
        self.unfit: str | None = None
        self.watched: bool = False
        self.disconnected: float = 0.0
        self.dead: bool = False
        self._forgotten: list[int] = []

    @property
    def takes_work(self) -> bool:
        """Whether works may be sent to it, if it does not hold too many already."""
        return (
            self.ready
            and not self.being_sent
            and not self.stuck
            and not self.recalled
            and not self.stopping
            and not self.outbox
            and not self.disconnected
            and not self.dead
            and self.kill_reason is None
        )

    def running(self) -> Work | None:
        """Return the work that it runs, as the page had it a moment ago.

        The worker may begin or finish a task while this reads. ``BEGUN`` is read first:
        if the task ends in between, ``FINISHED`` has caught up, and the answer is that
        none runs, which is true by then. A result can also arrive here before the
        worker has increased ``FINISHED``; that is what ``received`` is for.
        """
        begun: int = self.page.words[BEGUN]
        if begun <= max(self.page.words[FINISHED], self.received):
            return None
        index = begun - 1 - self.received
        return self.held[index] if index < len(self.held) else None

    def not_begun(self) -> list[Work]:
        """Return the works that it had not begun a moment ago.

        Of the others one may run; those before it have ended, though what became of
        them has not been received.
        """
        begun: int = self.page.words[BEGUN]
        return list(islice(self.held, max(0, begun - self.received), None))

    def running_now(self) -> Running | None:
        """Return what observers are told of the work that it runs.

        If it begins another one while this reads, times of the two could be mixed; then
        the answer is that none runs: tasks which follow each other so fast are not
        worth a second look.
        """
        from jackfield.events import Running  # only observers need it

        begun: int = self.page.words[BEGUN]
        work, called = self.running(), self.called()
        if work is None or self.page.words[BEGUN] != begun:
            return None
        return Running(
            work.id, work.attempt, work.name, self.name, this_host(), self.pid,
            called or None,
        )  # fmt: skip

    def called(self) -> float:
        """Return when it called the function of the task that it began last.

        That is by ``clock.monotonic()``, and 0 while function or arguments are loaded.
        """
        nanoseconds: int = self.page.words[CALLED]
        return nanoseconds / 1e9

    def place(self, ran: Ran, measure: Measure | None) -> Place | None:
        """Return where and when a task ran, as observers get it.

        A worker measures by the last that it was told. A work that another worker has
        returned comes to it with works of which something else is wanted, and it may
        just be running those. So what nobody has asked for is left out here.
        """
        if measure is None:
            return None
        from jackfield.events import Place

        began, ended, cpu, memory = ran
        if measure != "resources":
            cpu = memory = None
        times = began / 1e9, ended / 1e9
        return Place(self.name, this_host(), self.pid, *times, cpu, memory)

    def has(self, kept: Kept) -> bool:
        """Tell whether it has made a result, or has it mapped."""
        if not isinstance(kept, PackedResult):
            return False
        made = kept.worker == self.number
        return made or (
            kept.segment is not None and kept.segment.number in self.attached
        )

    def ask_to_share(self) -> None:
        """Have it write what it holds; see ``holding``. Called on any thread."""
        with suppress(ValueError):  # it has ended, and its page is closed
            self.page.words[WANTED] = next(_asks)

    def recall(self) -> None:
        """Ask it to return what it has not begun. It answers before its next task.

        Whoever wants a certain task back has to look at ``running`` after this, and
        more than once: a worker that was faster has begun the task, but may not have
        noted it yet, and does not return it. ``cancellation`` does so.
        """
        self.recalled = True
        self.page.words[RECALL] = 1

    def end_recall(self) -> None:
        """Let it begin tasks again."""
        self.recalled = False
        self.page.words[RECALL] = 0

    def forget(self, function: int) -> None:
        """Note that a function will not be used again. Called on any thread.

        A message for this worker may be in the making on another thread. If that has
        added the function just now, its calls still find it in the worker: the worker
        is told with the next message, and forgets it after all tasks before that.
        """
        if function in self.known:
            self.known.discard(function)
            self._forgotten.append(function)

    def take_forgotten(self) -> list[int]:
        """Return the functions that it has to be told to forget, once."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def send(self, parts: Sequence[Data | Handed]) -> None:
        """Send as much as the socket takes at once; the rest stays in the outbox."""
        self.outbox += [
            part if isinstance(part, Handed) else memoryview(part)
            for part in parts
            if len(part)
        ]
        self.push()

    def push(self) -> None:
        """Send as much of the outbox as the socket takes at once."""
        try:
            while self.outbox:
                self._send_some()
        except BlockingIOError:
            return
        except OSError:  # it is dying; the fork server will tell so
            self.outbox.clear()

    def _send_some(self) -> None:
        """Call ``sendmsg`` once: for a descriptor, or for what comes before one."""
        first = self.outbox[0]
        if isinstance(first, Handed):
            sent = self.sock.sendmsg([first.frame], rights(first.segment.fd))
            self.outbox[:1] = unsent([memoryview(first.frame)], sent)
            return
        views: list[memoryview] = []
        for part in self.outbox[:MOST_PARTS]:
            if isinstance(part, Handed):
                break
            views.append(part)
        sent = self.sock.sendmsg(views)
        self.outbox[: len(views)] = unsent(views, sent)

    def close(self) -> None:
        """Release its descriptors and memory in the driver, after its end."""
        self.sock.close()
        self.page.close()
        for descriptor in self.reader.descriptors:  # of frames that came in part
            os.close(descriptor)
