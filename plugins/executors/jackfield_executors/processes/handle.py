"""What the driver knows of one worker."""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from jackfield_executors.processes.progress import BEGUN, FINISHED, RECALL, SINCE
from jackfield_executors.processes.wire import MOST_PARTS, FrameReader, unsent

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from jackfield.abc import Work
    from jackfield_executors.processes.progress import Page
    from jackfield_executors.processes.wire import Data


class KillReason(NamedTuple):
    """Why a worker is being killed."""

    target: Work | None
    """The task that the killing is meant for; ``None``: whichever is running."""

    error: BaseException | str | None
    """What to report of it: an error, the reason of a ``WorkerDiedError``, or
    nothing at all for a cancelled task."""


class WorkerHandle:
    """One worker, from the request to start it until it is reaped.

    All attributes are guarded by the pool's lock, except for ``reader``, which is
    the loop's, and ``known`` and ``path``, which belong to whichever thread feeds
    the worker.

    Attributes:
        number: Its number, never used again.
        sock: The connection, not blocking.
        reader: Cuts what comes into frames.
        page: Shared with the worker.
        pipes: Our ends of its standard output and error, which ``Output`` reads.
        pid: Process id; 0 until the fork server tells.
        held: Works sent and not answered, in order.
        received: How many outcomes have come.
        load: Seconds that ``held`` is expected to take.
        known: Numbers of the functions that it has.
        path: Its ``sys.path``.
        outbox: What the socket has not taken yet.
        ready: It is set up.
        ahead: What it holds was sent as the first part of more.
        stuck: A task takes longer than expected; nothing is sent behind it.
        recalled: It has been asked to return what it has not begun.
        being_sent: Works that a thread is packing for it.
        assigned: How many works have been sent to it.
        stopping: When ``STOP`` was sent, or 0.
        deadline: When to look whether its task has run for too long.
        kill_reason: Why it is being killed, if it is.
        unfit: Why it could not be set up, if so.
        watched: The selector waits for its socket to take more.
        lost: When its connection was closed, or 0.
        dead: It has ended, and has been buried.
    """

    __slots__ = (
        "_forgotten",
        "ahead",
        "assigned",
        "being_sent",
        "dead",
        "deadline",
        "disconnected",
        "held",
        "kill_reason",
        "known",
        "load",
        "number",
        "outbox",
        "page",
        "path",
        "pid",
        "pipes",
        "reader",
        "ready",
        "recalled",
        "received",
        "sock",
        "stopping",
        "stuck",
        "unfit",
        "watched",
    )

    def __init__(
        self, number: int, sock: socket.socket, page: Page, pipes: tuple[int, int]
    ) -> None:
        self.number: int = number
        self.sock: socket.socket = sock
        self.reader: FrameReader = FrameReader(sock)
        self.page: Page = page
        self.pipes: tuple[int, int] = pipes
        self.pid: int = 0
        self.held: deque[Work] = deque()
        self.received: int = 0
        self.load: float = 0.0
        self.known: set[int] = set()
        self.path: list[str] = sys.path[:]
        self.outbox: list[memoryview] = []
        self.ready: bool = False
        self.ahead: bool = False
        self.stuck: bool = False
        self.recalled: bool = False
        self.being_sent: list[Work] = []
        self.assigned: int = 0
        self.stopping: float = 0.0
        self.deadline: float = math.inf
        self.kill_reason: KillReason | None = None
        self.unfit: str | None = None
        self.watched: bool = False
        self.disconnected: float = 0.0
        self.dead: bool = False
        self._forgotten: list[int] = []

    @property
    def takes_work(self) -> bool:
        """Whether works may be sent to it at all."""
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
        """The work that it runs at this moment, as far as one can tell."""
        begun: int = self.page.words[BEGUN]
        if begun <= max(self.page.words[FINISHED], self.received):
            return None
        index = begun - 1 - self.received
        return self.held[index] if index < len(self.held) else None

    def since(self) -> float:
        """When it began the last task that it began: ``time.monotonic()``."""
        nanoseconds: int = self.page.words[SINCE]
        return nanoseconds / 1e9

    def recall(self) -> None:
        """Ask for what it has not begun. It answers before its next task."""
        self.recalled = True
        self.page.words[RECALL] = 1

    def end_recall(self) -> None:
        """Let it take works again."""
        self.recalled = False
        self.page.words[RECALL] = 0

    def forget(self, function: int) -> None:
        """Note that a function will not be used again."""
        if function in self.known:
            self.known.discard(function)
            self._forgotten.append(function)

    def take_forgotten(self) -> list[int]:
        """Return the functions to be forgotten that it has not been told of."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def send(self, parts: Sequence[Data]) -> None:
        """Send as much as goes without waiting; the rest stays in the outbox."""
        self.outbox += [memoryview(part) for part in parts if len(part)]
        self.push()

    def push(self) -> None:
        """Send from the outbox as much as goes without waiting."""
        try:
            while self.outbox:
                sent = self.sock.sendmsg(self.outbox[:MOST_PARTS])
                self.outbox = unsent(self.outbox, sent)
        except BlockingIOError:
            return
        except OSError:  # it is dying; its end will be told
            self.outbox.clear()

    def close(self) -> None:
        """Release what it holds in the driver, after its end."""
        self.sock.close()
        self.page.close()
