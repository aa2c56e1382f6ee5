"""What this process holds of the system: threads, descriptors, processes.

Descriptors and processes are read from ``/proc`` and taken as none elsewhere.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROC = Path("/proc")
POLL_S = 0.01


class Footprint(NamedTuple):
    """Counts of what is held.

    Attributes:
        threads: Threads of Python.
        descriptors: Open file descriptors.
        processes: Children, their children and so on.
    """

    threads: int
    descriptors: int
    processes: int


def footprint() -> Footprint:
    """Count now."""
    return Footprint(threading.active_count(), _descriptors(), len(descendants()))


def settled(wanted: Callable[[], bool], limit: float) -> bool:
    """Wait until something that nobody announces is true; say whether it is."""
    deadline = time.monotonic() + limit
    while not wanted():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    if not PROC.is_dir():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    return any(process.pid == pid for process in _processes())


def descendants() -> set[int]:
    """The processes under this one."""
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
    """The processes of a session."""
    return {process.pid for process in _processes() if process.session == leader}


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
        # The name before it is in brackets and may hold anything.
        state, parent, _, session = stat.rpartition(")")[2].split()[:4]
        if state not in "ZX":
            yield _Process(int(entry.parent.name), int(parent), int(session))


def _descriptors() -> int:
    try:
        return len(list((PROC / "self/fd").iterdir()))
    except OSError:
        return 0
