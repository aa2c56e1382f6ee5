"""In a child of the fork server: import modules, and tell whether it may fork then.

A fork copies one thread and all descriptors. So after an import that has started a
thread, workers could find a lock held by nobody; and with a connection that was opened,
all of them would talk at once. ``import_all`` finds such modules.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypedDict

import jackfield_serialize as serialize
from jackfield.errors import one_line
from jackfield_executors.processes import family, leftovers, setup
from jackfield_executors.processes.requests import RAISES
from jackfield_executors.processes.wire import FrameReader, Kind, small_frame
from jackfield_serialize.origins import OURS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

_HARMLESS: Final = frozenset({"/dev/null", "/dev/random", "/dev/urandom"})
"""Files that processes may share."""

_TAKES_CARE: Final = frozenset({"jemalloc_bg_thd"})
"""Threads of libraries that hold their locks themselves while a process forks."""

FINE: Final = b"\n"
"""What the child sends when everything is imported. Before that, lines: a module's name
before its import, and ``TROUBLE`` with a reason if it may not fork."""
TROUBLE: Final = "!"
GO_ON: Final = b"g"
"""The answer: it is the fork server now."""


class Wanted(TypedDict):
    """What the driver wants to be imported.

    Attributes:
        modules: The modules' names, in this order.
        path: The driver's ``sys.path``.
        directory: The driver's directory; ``None`` if that is gone.
        argv: The driver's ``sys.argv``.
        levels: The levels of the driver's loggers.
    """

    modules: list[str]
    path: list[str]
    directory: str | None
    argv: list[str]
    levels: dict[str, int]


def wanted(driver: socket.socket) -> Wanted:
    """Receive what is to be imported.

    Raises:
        EOFError: The driver wants nothing any more.
    """
    reader = FrameReader(driver)
    while True:
        for frame in reader.read():
            told: Wanted = pickle.loads(frame.body)
            return told


def import_own(modules: Sequence[str]) -> list[str]:
    """Import Jackfield's own modules in this process; return the others.

    Those bear a fork, so they need no child that tries it out. What functions are sent
    in is such a module: often it is all that is wanted.
    """
    others = []
    for name in modules:
        if name.partition(".")[0] not in OURS:
            others.append(name)
            continue
        with suppress(Exception):  # the task that needs it will get the same error
            importlib.import_module(name)
    return others


def run(
    told: Wanted,
    driver: socket.socket,
    streams: Sequence[int],
    parent: socket.socket,
) -> bool:
    """Import what is wanted, as a worker would; tell the parent how that goes.

    Args:
        told: What is wanted.
        driver: Takes log records.
        streams: Take what is printed.
        parent: The connection to the parent.

    Returns:
        Whether this process is to be the fork server. If not, it has to end.
    """
    # No module was imported before this moment, and workers are forked later: see
    # there for who has to know that.
    serialize.note_preloading(time.time_ns())
    error_fd = os.dup(2)
    setup.take_streams(*streams)
    sys.modules["__main__"] = ModuleType("__main__")
    leftovers.follow_path(told["path"])
    sys.argv[:] = told["argv"]
    with suppress(OSError):
        os.chdir(told["directory"] or ".")
    setup.forward_logs("preload", told["levels"], _sender(driver))
    trouble = import_all(
        told["modules"], lambda name: parent.sendall(f"{name}\n".encode())
    )
    setup.flush_streams()
    _detach(error_fd)
    if trouble:
        line = " ".join(trouble.splitlines())
        parent.sendall(f"{TROUBLE}{line}\n".encode(errors="replace"))
        return False
    gc.collect()
    gc.freeze()
    parent.sendall(FINE)
    return parent.recv(1) == GO_ON


def _sender(driver: socket.socket) -> Callable[[bytes], bool]:
    def send(record: bytes) -> bool:
        driver.sendall(small_frame(Kind.LOG, record))
        return True

    return send


def _detach(error_fd: int) -> None:
    """Give back the streams of the driver's; ``sys.stdout`` is where it was."""
    for handler in logging.getLogger().handlers[:]:
        logging.getLogger().removeHandler(handler)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(error_fd, 2)
    os.close(null)
    os.close(error_fd)


def import_all(modules: Sequence[str], say: Callable[[str], None]) -> str:
    """Import modules, one after another, and say of each that it comes now.

    Returns:
        Why this process must not be forked after the last one; ``""`` if it may be.
    """
    before = _Process()
    for name in modules:
        say(name)
        try:
            importlib.import_module(name)
        except BaseException as error:
            return f"{RAISES} {one_line(error)}"
        if trouble := before.trouble():
            return trouble
    return ""


class _Process:
    """What this process had before the imports."""

    def __init__(self) -> None:
        self._handlers = _handlers()
        self._descriptors = _descriptors()

    def trouble(self) -> str:
        """Tell what the last import has done that a fork would double or tear."""
        others = [one.name for one in threading.enumerate() if one.name != "MainThread"]
        if others:
            return f"its import starts threads ({', '.join(others)})"
        if _threads() > 1 and _threads_after_fork() > 1:
            return "its import starts threads of native code"
        new = [
            link
            for fd, link in _descriptors().items()
            if self._descriptors.get(fd) != link and link not in _HARMLESS
        ]
        if new:
            return f"its import opens what processes cannot share ({', '.join(new)})"
        if family.children():
            return "its import starts processes"
        if _handlers() != self._handlers:
            return "its import sets handlers of signals"
        return ""


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in sorted(signal.valid_signals())]


def _threads() -> int:
    """Return how many threads there are, without those that take care of forks."""
    names = [
        path.read_text(errors="replace").strip()
        for path in Path("/proc/self/task").glob("*/comm")
    ]
    return max(1, len([name for name in names if name not in _TAKES_CARE]))


def _threads_after_fork() -> int:
    """Return how many threads there are after a fork.

    Some libraries know of forks, and end their threads before one: OpenBLAS does.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's on threads at a fork
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return _threads()


def _descriptors() -> dict[str, str]:
    found = {}
    with suppress(OSError):
        for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208  (names are numbers)
            with suppress(OSError):  # the one by which this is read
                found[fd] = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115
    return found
