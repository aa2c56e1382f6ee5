"""What a process has started, and what that has started: found in Linux's ``/proc``.

A program that a task starts may have a process group of its own (``timeout``, ``bash
-m``), a session of its own (``setsid``), and no parent any more but the fork server,
which adopts orphans. It belongs to a worker's *family* if one of these holds:

- the worker, or another member, is its parent;
- its session is the worker's, which stays so when its parent dies;
- it bears the worker's mark in its environment (see ``jackfield_system.programs``).

Where there is no ``/proc``, a family is empty, and only process groups are killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jackfield_system.programs import bears_mark, pids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Process(NamedTuple):
    """A process as it was a moment ago. ``started`` tells it from a later namesake."""

    pid: int
    parent: int
    session: int
    started: int
    alive: bool


def read(pid: int) -> Process | None:
    """Return what the system tells about a process; ``None`` if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name comes first, in brackets, and may hold brackets and spaces.
    fields = text.rpartition(")")[2].split()
    alive = fields[0] not in "ZX"
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), alive)


def status_of(pid: int) -> int | None:
    """Return the wait status of a process that has ended and was not reaped.

    ``None`` if it is another process, or if that cannot be known.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return int(fields[49]) if fields[0] == "Z" else None


def children() -> set[int] | None:
    """Return the children of this process, which has one thread; ``None`` if unknown.

    Nobody else reaps them, so the list does not change while it is read.
    """
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:  # a kernel without such lists, or another system
        return None
    return {int(pid) for pid in listed.split()}


def of_worker(worker: int, mark: str, server: int) -> list[Process]:
    """Return the living members of a worker's family but itself, parents first."""

    def belongs(process: Process) -> bool:
        return process.session == worker or (
            process.parent == server and bears_mark(process.pid, mark)
        )

    return _below(worker, belongs)


def of_server(server: int) -> list[Process]:
    """Return all living processes below the fork server, parents first."""
    return _below(server, lambda _: False)


def _below(top: int, belongs: Callable[[Process], bool]) -> list[Process]:
    children: dict[int, list[Process]] = {}
    found: dict[int, Process] = {}
    for process in filter(None, map(read, pids())):
        children.setdefault(process.parent, []).append(process)
        if process.pid != top and belongs(process):
            found[process.pid] = process
    members = [*children.get(top, ()), *found.values()]
    for member in members:  # it grows meanwhile, and ends with those without children
        if found.setdefault(member.pid, member) is member:
            members += children.get(member.pid, ())
    return [process for process in found.values() if process.alive]


def kill(processes: Iterable[Process]) -> None:
    """Kill processes, in this order, and nobody who has got the id of one since."""
    for process in processes:
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(process.pid)
            try:
                now = read(process.pid)
                if now is not None and now.started == process.started:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
            finally:
                os.close(fd)
