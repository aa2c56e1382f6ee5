"""Setting up a forked process as a worker: streams, paths, logging, initializer.

What is printed goes through pipes, and log records through the socket, to the driver.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypedDict

import jackfield_serialize as serialize
from jackfield_executors.processes import shared
from jackfield_executors.processes.leftovers import (
    follow_path,
    line_writer,
    numpy_is_seeded,
    reseed_numpy,
)
from jackfield_system.credentials import take_credential_variables

if TYPE_CHECKING:
    from collections.abc import Callable


class Setup(TypedDict):
    """What the driver tells a new worker.

    Attributes:
        name: Its name in log records.
        path: The driver's ``sys.path``.
        directory: The driver's directory; ``None`` if that is gone.
        argv: The driver's ``sys.argv``.
        levels: The levels of the driver's loggers, by name; the root's is ``""``.
        nice: What to add to its niceness.
        spill: Where it makes files of what is too much to share in memory.
        initializer: The user's initializer, serialized; ``None`` for none.
        initargs: Its arguments, serialized.
    """

    name: str
    path: list[str]
    directory: str | None
    argv: list[str]
    levels: dict[str, int]
    nice: int
    spill: str
    initializer: bytes | None
    initargs: bytes


def take_streams(stdout_fd: int, stderr_fd: int) -> None:
    """Make two pipes to the driver the standard output and error of this process."""
    for fd, target in ((stdout_fd, 1), (stderr_fd, 2)):
        os.dup2(fd, target)
        os.close(fd)
    sys.stdout = line_writer(1)
    sys.stderr = line_writer(2)


def flush_streams() -> None:
    """Send what tasks have printed, before their results are sent.

    So it is in the pipe when the driver learns that a task has ended.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S112  (a task may have put anything in their place)
            continue


def apply(setup: Setup, send_log: Callable[[bytes], bool]) -> None:
    """Set up the process.

    Args:
        setup: What the driver tells.
        send_log: Sends a log record; returns false if it must not, in a forked child.

    Raises:
        BaseException: Whatever the user's initializer raises.
    """
    import faulthandler

    faulthandler.enable()
    # Ctrl-C is for the driver to handle. A handler, unlike SIG_IGN, is not inherited by
    # the programs that tasks start, so that these react to it as usual.
    signal.signal(signal.SIGINT, lambda *_: None)
    # Not the fork server's main module: what a task looks up there must be missing.
    sys.modules["__main__"] = ModuleType("__main__")
    follow_path(setup["path"])
    take_credential_variables()
    sys.argv[:] = setup["argv"]
    if setup["nice"]:
        os.nice(setup["nice"])
    shared.spill_directory = setup["spill"]
    _reseed()
    forward_logs(setup["name"], setup["levels"], send_log)
    if setup["initializer"] is not None:
        initializer = serialize.load_function(setup["initializer"])
        args, _ = serialize.load_call(setup["initargs"])
        initializer(*args)


def _reseed() -> None:
    """Give this process random numbers of its own, as far as a fork has copied them.

    Python's do that by themselves. NumPy's are those that the fork server has made at
    its import, unless a module has seeded them, which all workers then have alike.
    """
    if "numpy.random.mtrand" in sys.modules and not numpy_is_seeded():
        reseed_numpy()


def forward_logs(
    name: str, levels: dict[str, int], send: Callable[[bytes], bool]
) -> None:
    """Send the log records to the driver that its levels let through."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.addHandler(_ToDriver(name, send))
    for logger, level in levels.items():
        logging.getLogger(logger).setLevel(level)


class _ToDriver(logging.Handler):
    """Sends log records to the driver, with all values made built-in types.

    A record's arguments may be any objects; the driver could not unpickle them all.
    """

    def __init__(self, name: str, send: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._worker = name
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not self._send(self._dump(record)):
                sys.stderr.write(f"{self.format(record)}\n")
        except Exception:
            self.handleError(record)

    def _dump(self, record: logging.LogRecord) -> bytes:
        self.format(record)  # for its side effect: it sets `exc_text`
        fields = {name: _plain(value) for name, value in vars(record).items()}
        fields |= {"msg": record.getMessage(), "args": None, "exc_info": None}
        fields |= {"processName": self._worker, "exc_text": record.exc_text}
        return pickle.dumps(fields, 5)


def _plain(value: Any) -> Any:
    """Return a value that any process can unpickle: itself, or its ``repr``."""
    return value if type(value) in {int, float, bool, str, type(None)} else repr(value)
