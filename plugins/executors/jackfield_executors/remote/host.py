"""Holds an engine's client in a process of its own.

A client in the driver's own process has the driver in its hands: Ray's ends the process
by ``exit(1)`` a minute after its control store is lost, and takes the one connection
to Ray that a script may have for itself. And what clients start lives on when the
driver is killed. So the client is in a process beside the driver, the *host*. Its death
is an error here and nothing more, and when the driver dies, it ends what there is.

Whatever is asked goes through a queue and one thread: a host that is stopped reads
nothing, and whoever asks must not wait for it. Another thread takes the answers.
"""

from __future__ import annotations

import itertools
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from jackfield.clock import monotonic
from jackfield_executors.processes import family
from jackfield_executors.remote.hosted import EngineError, EngineGoneError
from jackfield_executors.threads import join_within

END_S: Final = 5.0
"""Seconds that a host gets to end."""

LOOK_S: Final = 0.01
"""Seconds between two looks whether a host has ended."""

_PROGRAM: Final = """\
import sys
sys.path[:] = sys.argv[4:]
from jackfield_executors.remote.hosted import main
main()
"""


class Host:
    """A process that holds an engine. May be used on several threads.

    Args:
        label: The executor's, for names of threads.
        engine: The engine's module and class, as ``module:name``.
        logs: A directory, not made yet. The host's output goes there.

    Raises:
        OSError: No process or no descriptor can be had.
    """

    def __init__(self, label: str, engine: str, logs: Path) -> None:
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # guards the two below
        self._asked: dict[int, Future[Any]] = {}
        self._lost = False
        self._once: dict[str, Future[Any]] = {}
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _start(theirs.fileno(), engine, logs)
        except BaseException:
            self._socket.close()
            raise
        self._connection = Connection(os.dup(self._socket.fileno()))
        self._threads = [
            threading.Thread(
                target=target, name=f"jackfield-{label}-host-{name}", daemon=True
            )
            for name, target in (("sends", self._send), ("reads", self._read))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def lost(self) -> bool:
        """Whether the host has ended."""
        return self._lost

    def ask(self, method: str, *args: Any) -> Future[Any]:
        """Call a method of the engine. Never waits, and raises nothing."""
        answer: Future[Any] = Future()
        answer.set_running_or_notify_cancel()  # so that nobody can cancel it
        with self._lock:
            number = next(self._numbers)
            lost = self._lost
            if not lost:
                self._asked[number] = answer
        if lost:
            _fail([answer])
            return answer
        self._outbox.put(pickle.dumps((number, method, args), 5))
        return answer

    def ask_again(self, method: str, limit: float, *args: Any) -> Any:
        """Call a method, unless a call of it has not been answered yet; wait for that.

        For what one thread asks again and again, of an engine that may be stuck.

        Raises:
            TimeoutError: There was no answer within so many seconds.
        """
        answer = self._once.get(method)
        if answer is None:
            answer = self._once[method] = self.ask(method, *args)
        value = answer.exception(limit)
        del self._once[method]
        if value is not None:
            raise value
        return answer.result()

    # -- threads

    def _send(self) -> None:
        while (data := self._outbox.get()) is not None:
            try:
                self._connection.send_bytes(data)
            except OSError:  # ``_read`` finds that, too
                return

    def _read(self) -> None:
        while True:
            try:
                number, error, value = pickle.loads(self._connection.recv_bytes())
            except (EOFError, OSError):
                break
            with self._lock:
                answer = self._asked.pop(number, None)
            if answer is None:
                continue
            if error is None:
                answer.set_result(value)
            else:
                answer.set_exception(error)
            del answer, value  # or they would live on until the next one comes
        with self._lock:
            # Whoever asks after this sees ``_lost``; whoever has asked is in here.
            self._lost = True
            answers = list(self._asked.values())
            self._asked.clear()
        _fail(answers)
        self._outbox.put(None)
        self._end_family()

    # -- the end

    def end(self, limit: float) -> None:
        """Have the engine close within so many seconds; then kill what is left."""
        if not self._lost:
            with suppress(Exception):
                self.ask("close").result(limit)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._outbox.put(None)
        join_within(self._threads, 2 * END_S)
        self._connection.close()
        self._socket.close()

    def _end_family(self) -> None:
        """Wait for the host's end, and kill what it has not ended if it was killed.

        What is in its session is found, although it is no parent any more.
        """
        pid = self._process.pid
        deadline = monotonic() + END_S
        # WNOWAIT leaves the ended host as it is, so its id stays taken. Were it reaped
        # here, a process of somebody else's could get the id before the look for its
        # session below, and be killed for it.
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while os.waitid(os.P_PID, pid, look) is None:
            if monotonic() > deadline:
                self._process.kill()
            time.sleep(LOOK_S)
        family.kill(family.of_worker(pid, "", -1))
        self._process.wait()


def _fail(answers: list[Future[Any]]) -> None:
    for answer in answers:
        answer.set_exception(EngineGoneError("the engine's process has ended"))


def _start(descriptor: int, engine: str, logs: Path) -> subprocess.Popen[bytes]:
    """Start a host, in a session of its own: Ctrl-C is the driver's affair."""
    logs.mkdir(parents=True, exist_ok=True)
    # Programs of the engine may be beside this Python, which need not be activated.
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    command = [sys.executable, "-c", _PROGRAM, str(descriptor), str(os.getpid())]
    with (logs / "engine.log").open("ab") as output:
        return subprocess.Popen(
            [*command, engine, *sys.path],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PATH": path},
            pass_fds=[descriptor],
            start_new_session=True,
        )


__all__ = ["EngineError", "EngineGoneError", "Host"]
