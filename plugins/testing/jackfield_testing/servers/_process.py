"""Programs that serve, as children of the test run and on ports of their own."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from jackfield_testing.servers import _guard as guard
from jackfield_testing.servers._listening import HOST

START_S: Final = 60.0
"""Seconds that a server may take to come up; the slowest takes a tenth of it."""

END_S: Final = 60.0
"""Seconds that killed processes may take to be gone."""

PROBE_S: Final = 0.02
"""Seconds between two looks at a server that is coming up."""

PORTS: Final = range(12000, 22000)
"""Where servers get their ports, and SeaweedFS a second one 10,000 above each.

The system gives clients ports from 32,768 on. So while a server is down between two
starts, no client takes its port by chance.
"""

_given: set[int] = set()

WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS: Final = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
"""Which of how many processes that run tests this is: each has ports of its own.

Else two could find the same port free, and the second server would not come up.
"""


class ServerError(Exception):
    """A server did not come up; the message ends with the tail of its log."""


def free_ports(count: int = 1, *, twin: int = 0) -> list[int]:
    """Choose ports that nothing listens on, and that nobody was given before.

    Args:
        count: How many.
        twin: The port that is so far above must be free as well, for servers that
            take a second one there.
    """
    own = PORTS[WORKER % WORKERS :: WORKERS]
    candidates = random.SystemRandom().sample(own, len(own))
    free = (
        port
        for port in candidates
        if port not in _given and _is_free(port) and _is_free(port + twin)
    )
    found = [next(free) for _ in range(count)]
    _given.update(found)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def connect(port: int) -> None:
    """Connect to a port, and close the connection at once.

    Raises:
        OSError: Nothing accepts connections there yet.
    """
    socket.create_connection((HOST, port), 1).close()


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Make a directory that servers under other users can enter; remove it after."""
    directory = Path(tempfile.mkdtemp(prefix=f"jackfield-{name}-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        guard.remove([directory])


class Server:
    """A program that runs until it is told to end, or until the test run has ended.

    Attributes:
        name: Of the program, for messages.
        directory: Where it runs and what it may write to; removed at its end.
        start_up_s: Seconds from the last start until it was ready.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        directory: Path,
        ready: Callable[[], None],
        leftovers: Sequence[str | Path] = (),
    ) -> None:
        """Prepare it; `start` starts it.

        Args:
            name: Of the program, for messages.
            command: The program and its arguments. It must stay in the foreground.
            directory: As the attribute.
            ready: Raises OSError as long as the server does not answer.
            leftovers: What it leaves outside of its directory, removed as well.
        """
        self.name: str = name
        self.directory: Path = directory
        self.start_up_s: float = 0.0
        self._command = [str(word) for word in command]
        self._ready = ready
        self._leftovers = [str(path) for path in (*leftovers, directory)]
        self._log = directory / "log"
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def pid(self) -> int:
        """The process that everything the server starts descends from."""
        assert self._guard is not None
        return self._guard.pid

    def log(self, lines: int = 20) -> str:
        """Return the tail of what it wrote."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ServerError: It ended, or it did not answer within `START_S`.
        """
        begun = time.monotonic()
        self._guard = self._spawn()
        while (error := self._not_ready()) is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._guard.wait(PROBE_S)
                raise self._failure(f"ended with code {code}") from error
            if time.monotonic() > begun + START_S:
                self.kill()
                raise self._failure(f"did not answer in {START_S} s") from error
        self.start_up_s = time.monotonic() - begun

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid())]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*program, *self._leftovers, "--", *self._command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )

    def _not_ready(self) -> OSError | None:
        try:
            self._ready()
        except OSError as error:
            return error
        return None

    def _failure(self, what: str) -> ServerError:
        return ServerError(f"{self.name} {what}: {self._command}\n{self.log()}")

    def kill(self) -> None:
        """End it with SIGKILL, and all that it has started; its files stay."""
        self._end(b"k")

    def restart(self) -> None:
        """Kill it if it runs, and start it on the same ports with the same files."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Kill it and remove its files."""
        self._end(b"")
        guard.remove(self._leftovers)

    def _end(self, order: bytes) -> None:
        if self._guard is None:
            return
        orders = self._guard.stdin
        assert orders is not None
        # A server that has ended by itself has ended its guard too, which reads orders.
        with contextlib.suppress(BrokenPipeError), orders:
            orders.write(order)
        self._guard.wait(END_S)
        self._guard = None


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start a server; end it and remove its files after the block."""
    try:
        server.start()
        yield server
    finally:
        server.close()
