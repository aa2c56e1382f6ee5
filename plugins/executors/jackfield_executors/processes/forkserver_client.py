"""The driver's side of the fork server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield_executors.processes.forkserver import (
    KILL,
    NOTICE,
    REQUEST,
    START,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv[3].split('\\n'); "
    "from jackfield_executors.processes.forkserver import main; "
    "main(int(sys.argv[1]), int(sys.argv[2]))"
)
"""The path is set first: it may be what makes this package importable."""

END_S: Final = 2.0
"""How long a fork server may take to kill its workers and go."""


class Notice(NamedTuple):
    """What the fork server tells; see ``forkserver.NOTICE``."""

    what: bytes
    code: int
    number: int
    amount: int


class ForkServerClient:
    """A running fork server, and the connection to it.

    Attributes:
        control: The connection: readable when there are notices.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it, without waiting until it is ready.

        Raises:
            OSError: No process or no descriptor can be had.
        """
        self.control: socket.socket
        self.control, theirs = socket.socketpair()
        self._rest = b""
        with theirs:
            try:
                self._process = subprocess.Popen(
                    self._command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=dict(environment),
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is the driver's affair
                )
            except BaseException:
                self.control.close()
                raise
        self.control.setblocking(False)

    @staticmethod
    def _command(fd: int) -> list[str]:
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does it: -W, -X, -O ... hold in workers too
        if not sys.executable:
            raise FileNotFoundError("sys.executable is empty: no Python to start")
        arguments = [str(fd), str(os.getpid()), "\n".join(sys.path)]
        return [sys.executable, *flags, "-c", _BOOT, *arguments]

    def start_worker(self, number: int, fds: Sequence[int]) -> None:
        """Ask for a worker; a notice tells what became of it.

        Raises:
            OSError: The fork server is gone, or has too much to do.
        """
        message = REQUEST.pack(START, number)
        socket.send_fds(self.control, [message], list(fds))

    def kill_worker(self, number: int) -> None:
        """Have a worker and its process group killed; nothing if it has ended."""
        try:
            self.control.send(REQUEST.pack(KILL, number))
        except OSError:  # it is gone, and the workers with it
            return

    def notices(self) -> list[Notice]:
        """Return what has been told since the last call.

        Raises:
            EOFError: The fork server has ended.
        """
        try:
            data = self.control.recv(NOTICE.size * 64)
        except BlockingIOError:
            return []
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        data = self._rest + data
        whole = len(data) - len(data) % NOTICE.size
        self._rest = data[whole:]
        return [Notice(*fields) for fields in NOTICE.iter_unpack(data[:whole])]

    def close(self) -> None:
        """End it and all its workers, and wait for that."""
        self.control.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def kill_group(pid: int) -> None:
    """Kill a worker whose fork server is gone, with its process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:  # it is dead already, or was never a group
        return
