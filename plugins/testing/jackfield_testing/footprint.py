"""What processes hold of the system, and waiting until they have let it go.

Descriptors, processes and connections are read from ``/proc``. On a system without it
they cannot be seen, and are counted as none.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S: Final = 60.0
"""Seconds after which a test gives up waiting. Nothing that works takes so long."""

PROC: Final = Path("/proc")

POLL_S: Final = 0.01
"""Seconds between two looks at what nobody announces."""

ESTABLISHED: Final = "01"
"""How ``/proc/net/tcp`` writes the state of a connection that both sides hold open."""


class Footprint(NamedTuple):
    """How much this process holds.

    Attributes:
        threads: Threads that Python has started.
        descriptors: Open file descriptors.
        processes: Processes that it has started, that those have started, and so on.
    """

    threads: int
    descriptors: int
    processes: int


def footprint() -> Footprint:
    """Count what this process holds at the moment."""
    return Footprint(threading.active_count(), _descriptors(), len(descendants()))


def settled(wanted: Callable[[], bool], limit: float) -> bool:
    """Ask again and again whether something is true, until it is.

    For what no event can announce, such as the end of somebody else's process.

    Returns:
        Whether it has become true within ``limit`` seconds.
    """
    deadline = time.monotonic() + limit
    while not wanted():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def alive(pid: int) -> bool:
    """Whether a process runs.

    One that has ended does not, even if its parent has not waited for it yet.
    """
    if not PROC.is_dir():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    return any(process.pid == pid for process in _processes())


def descendants() -> set[int]:
    """Return the processes that this one has started, and that those have started."""
    children: dict[int, list[int]] = {}
    for process in _processes():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    todo = [os.getpid()]
    while todo:
        todo.extend(new := children.get(todo.pop(), []))
        found.update(new)
    return found


def session(leader: int) -> set[int]:
    """Return the processes of the session that a process leads."""
    return {process.pid for process in _processes() if process.session == leader}


def connections_to(url: str) -> int:
    """Count the connections to a URL's port that this machine's clients hold open."""
    port = urlsplit(url).port
    if port is None:
        return 0
    return sum(
        remote.endswith(f":{port:04X}") and state == ESTABLISHED
        for remote, state in _connections()
    )


class _Process(NamedTuple):
    pid: int
    parent: int
    session: int


def _processes() -> Iterator[_Process]:
    for entry in PROC.glob("[0-9]*/stat"):
        try:
            stat = entry.read_text()
        except OSError:
            continue  # it has ended meanwhile
        # Before these fields stands the program's name, in brackets: it may hold
        # blanks and brackets itself, so the last bracket is the end of it.
        state, parent, _, session = stat.rpartition(")")[2].split()[:4]
        if state not in "ZX":
            yield _Process(int(entry.parent.name), int(parent), int(session))


def _descriptors() -> int:
    try:
        return len(list((PROC / "self/fd").iterdir()))
    except OSError:
        return 0


def _connections() -> Iterator[tuple[str, str]]:
    """Give remote address and state of every connection, as ``/proc`` writes them."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue  # a kernel without that protocol, or no /proc at all
        for fields in map(str.split, lines):
            yield fields[2], fields[3]
