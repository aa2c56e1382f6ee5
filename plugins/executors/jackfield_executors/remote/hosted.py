"""The process that holds an engine's client, in place of the driver's own process.

``host`` tells why there is one, and starts it. It answers what the driver asks, and it
outlives the driver for a moment, to end what the engine has started. For that it is the
*subreaper* of all that starts below it: a process whose parent has ended becomes its
child, so that everything is found below it, whatever session or group it has made.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import pickle
import select
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final, Protocol

from jackfield.errors import one_line
from jackfield_executors.processes import family
from jackfield_executors.remote.agent import AgentEndedError

if TYPE_CHECKING:
    from jackfield_system.held_directories import HeldDirectory

THREADS: Final = 16
"""Questions that are answered at a time; those that take long are futures."""

LEAVE_S: Final = 20.0
"""Seconds that an engine gets to give its jobs back when the driver is gone."""

LOOKS: Final = 200
"""Looks for what was killed, until it is gone."""

_PR_SET_CHILD_SUBREAPER: Final = 36


class EngineError(Exception):
    """Stands for an exception of an engine's: its class and message as text."""


class EngineGoneError(ConnectionError):
    """The engine has lost what it was asked about, for good."""


class Engine(Protocol):
    """What a host holds. All its other methods are what the driver may ask.

    They are called on several threads. What lasts as long as a task returns a future.
    """

    @property
    def quick(self) -> frozenset[str]:
        """Methods that never wait. They are called in order, on one thread."""
        ...

    @property
    def scratch(self) -> HeldDirectory | None:
        """A directory that is to be removed at the end."""
        ...

    def leave(self) -> None:
        """Give back what would outlive the processes of this machine, such as jobs."""
        ...


class Hosted:
    """Answers the driver's questions, until one of the two ends."""

    def __init__(self, connection: Connection, engine: Engine) -> None:
        self._connection = connection
        self._engine = engine
        self._sending = threading.Lock()
        self._ending = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, "jackfield-host")

    def serve(self) -> None:
        """Answer until the driver closes the connection."""
        while True:
            try:
                number, method, args = pickle.loads(self._connection.recv_bytes())
            except (EOFError, OSError):
                return
            if method in self._engine.quick:
                self._answer(number, method, args)
            else:
                self._threads.submit(self._answer, number, method, args)

    def _answer(self, number: int, method: str, args: tuple[Any, ...]) -> None:
        try:
            value = getattr(self._engine, method)(*args)
        except BaseException as error:
            self._send(number, _sendable(error), None)
            return
        if isinstance(value, Future):
            value.add_done_callback(partial(self._answer_later, number))
        else:
            self._send(number, None, value)

    def _answer_later(self, number: int, future: Future[Any]) -> None:
        try:
            value = future.result()
        except BaseException as error:
            self._send(number, _sendable(error), None)
        else:
            self._send(number, None, value)

    def _send(self, number: int, error: BaseException | None, value: Any) -> None:
        try:
            data = pickle.dumps((number, error, value), 5)
        except Exception as failure:
            data = pickle.dumps((number, _sendable(failure), None), 5)
        with self._sending, suppress(OSError):
            self._connection.send_bytes(data)

    def end(self) -> None:
        """End the engine, all below this process, and this process."""
        with self._ending:  # for good: two threads may come here
            leaving = threading.Thread(target=self._leave, daemon=True)
            leaving.start()
            leaving.join(LEAVE_S)
            for _ in range(LOOKS):
                members = family.of_server(os.getpid())
                if not members:
                    break
                family.kill(members)
                time.sleep(0.01)
            if self._engine.scratch is not None:
                self._engine.scratch.remove()
            os._exit(0)

    def _leave(self) -> None:
        try:
            self._engine.leave()
        except Exception as error:
            print(f"Its jobs were not ended: {one_line(error)}", flush=True)  # noqa: T201  (into the log)


def _sendable(error: BaseException) -> BaseException:
    """Return an error as one that the driver can read, whatever it has installed."""
    text = one_line(error)
    for kind in (AgentEndedError, EngineGoneError, TimeoutError, ImportError):
        if isinstance(error, kind):
            return kind(text)
    return EngineError(text)


def end_with(driver: int, hosted: Hosted) -> None:
    """Wait for the driver's end.

    The connection closes then, too, but not if a child that the driver has forked
    holds it open.
    """
    poll = select.poll()
    with suppress(OSError):  # it is gone already, and the connection is closed
        poll.register(os.pidfd_open(driver), select.POLLIN)
        poll.poll()
        hosted.end()


def main() -> None:
    """Hold the engine that the first message names."""
    descriptor, driver = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    connection = Connection(descriptor)
    module, _, name = sys.argv[3].partition(":")
    hosted = Hosted(connection, getattr(importlib.import_module(module), name)())
    if hasattr(os, "pidfd_open"):
        threading.Thread(target=end_with, args=(driver, hosted), daemon=True).start()
    hosted.serve()
    hosted.end()
