"""Starting one worker: its socket, its progress page, its pipes, and its set-up.

The fork server forks it, and gets the worker's descriptors with the request. The first
frame, ``SETUP``, is already in the socket when the worker begins to read.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import jackfield_serialize as serialize
from jackfield_executors.processes import progress
from jackfield_executors.processes.handle import WorkerHandle
from jackfield_executors.processes.wire import Kind, large_frame
from jackfield_executors.surroundings import present_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackfield_executors.processes.forkserver_client import ForkServerClient
    from jackfield_executors.processes.options import Options
    from jackfield_executors.processes.output import Output
    from jackfield_executors.processes.preload import Wanted
    from jackfield_executors.processes.setup import Setup

SOCKET_BUFFER: Final = 1 << 20
"""Bytes that a worker's socket holds, in each direction, until they are read."""


def start_worker(
    number: int, options: Options, server: ForkServerClient, output: Output
) -> WorkerHandle:
    """Ask the fork server for a worker, and send it what it needs to get ready.

    Everything is opened here. The worker's ends are closed here in any case, since the
    fork server has copies once it is asked; ours only if something fails.

    Raises:
        OSError: No descriptor can be had, or the fork server is gone.
        SerializationError: The initializer cannot be sent.
    """
    setup = _setup(number, options)
    with ExitStack() as to_close, ExitStack() as on_error:
        ours, theirs = socket.socketpair()
        to_close.enter_context(theirs)
        on_error.enter_context(ours)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        ours.setblocking(False)
        page_fd = progress.create()
        to_close.callback(os.close, page_fd)
        page = progress.Page(page_fd)
        on_error.callback(page.close)
        stdout, stderr, pipes = output.open()
        to_close.callback(os.close, stdout)
        to_close.callback(os.close, stderr)
        on_error.callback(output.end, pipes)
        server.start_worker(number, [theirs.fileno(), page_fd, stdout, stderr])
        on_error.pop_all()
    worker = WorkerHandle(number, setup["name"], ours, page, pipes)
    worker.directory = setup["directory"]
    worker.send(large_frame(Kind.SETUP, [pickle.dumps(setup)]))
    return worker


def what_to_preload(modules: Sequence[str]) -> Wanted:
    """Return what the fork server is told to import, as a worker would now."""
    return {
        "modules": list(modules),
        "path": [one for one in sys.path if isinstance(one, str)],
        "directory": present_directory(),
        "argv": sys.argv[:],
        "levels": log_levels(),
    }


def _setup(number: int, options: Options) -> Setup:
    return {
        "name": f"{options.label}-{number}",
        "path": [one for one in sys.path if isinstance(one, str)],
        "directory": present_directory(),
        "argv": sys.argv[:],
        "levels": log_levels(),
        "nice": options.nice,
        "spill": options.spill,
        "initializer": _initializer(options),
        "initargs": serialize.dump_call(options.label, None, options.initargs, {}),
    }


def _initializer(options: Options) -> bytes | None:
    """Serialize the initializer; a name is imported by the worker."""
    initializer = options.initializer
    if isinstance(initializer, str):
        return serialize.dump_reference(*initializer.split(":"))
    if initializer is None:
        return None
    return serialize.dump_function(options.label, initializer)


def log_levels() -> dict[str, int]:
    """Return the levels that are set in the driver, for the loggers of the workers.

    So they send no record that nobody here wants.
    """
    levels = {"": logging.getLogger().level}
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET:
            levels[name] = logger.level
    return levels
