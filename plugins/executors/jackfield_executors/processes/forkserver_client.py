"""The driver's side of the fork server: starts it, asks it, and hears from it.

``start_worker`` and ``notices`` are called on the loop's thread. ``kill_worker`` is
called on any thread. A request is so short that the socket takes it whole or not at
all, so two threads need no lock to send.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield_executors.processes import family
from jackfield_executors.processes.requests import (
    KILL,
    NOTICE,
    PRELOAD,
    REQUEST,
    START,
)
from jackfield_executors.processes.wire import FrameReader, Kind, large_frame
from jackfield_system import programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jackfield_executors.processes import preload
    from jackfield_executors.processes.output import Output
    from jackfield_executors.processes.wire import Frame

_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv[3].split('\\n'); "
    "from jackfield_executors.processes.forkserver import main; "
    "main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[4])"
)
"""What the fork server's interpreter runs: it sets ``sys.path``, without which it might
not find this package, and calls ``main``."""

END_S: Final = 2.0
"""Seconds that a fork server has to kill its workers and exit, before it is killed."""


class Notice(NamedTuple):
    """What the fork server tells about one worker.

    Attributes:
        what: ``STARTED``, ``NOT_STARTED`` or ``ENDED``.
        code: Of an ended worker, its wait status; of one that could not be started, the
            number of the error.
        number: The worker's number.
        amount: Of a started worker, its process id; of an ended one, the most memory
            that it has held, in bytes.
    """

    what: bytes
    code: int
    number: int
    amount: int


class Preloading:
    """What the fork server imports before the first worker, until it has done so.

    Used on the loop's thread, except for ``stop``.
    """

    def __init__(
        self, server: ForkServerClient, output: Output, wanted: preload.Wanted
    ) -> None:
        """Have modules imported. Workers that are asked for later have them.

        Raises:
            OSError: No descriptor can be had, or the fork server is gone.
        """
        self.sock: socket.socket
        self.sock, theirs = socket.socketpair()
        self.pipes: tuple[int, int]
        stdout, stderr, self.pipes = output.open()
        try:
            message = [REQUEST.pack(PRELOAD, 0)]
            fds = [theirs.fileno(), stdout, stderr]
            socket.send_fds(server.asked(), message, fds)
            self.sock.setblocking(False)
            self.sock.sendall(b"".join(large_frame(Kind.SETUP, [pickle.dumps(wanted)])))
        except BaseException:
            self.close(output)
            raise
        finally:
            theirs.close()
            os.close(stdout)
            os.close(stderr)
        self._reader = FrameReader(self.sock)

    def read(self) -> Sequence[Frame]:
        """Return what has come: log records, faults, and the end.

        Raises:
            EOFError: The fork server has ended, or ``stop`` was called.
        """
        try:
            return list(self._reader.read())
        except BlockingIOError:
            return []
        except OSError as error:
            raise EOFError from error

    def stop(self) -> None:
        """Have the fork server go on without. Called on any thread."""
        with suppress(OSError):  # it is closed
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self, output: Output) -> None:
        """Release its descriptors."""
        self.sock.close()
        output.end(self.pipes)


class ForkServerClient:
    """A running fork server, and the connection to it.

    Attributes:
        control: The connection, which does not block. There are notices when it is
            readable.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it, and return before it is ready; requests wait in the connection.

        Raises:
            OSError: No process or no descriptor can be had.
        """
        self._mark = f"{os.getpid()}.{os.urandom(4).hex()}"
        self.control: socket.socket
        self.control, theirs = socket.socketpair()
        self._rest = b""
        self._asked = False
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

    def _command(self, fd: int) -> list[str]:
        # As multiprocessing does it: -W, -X, -O and the like hold in workers, too.
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # private, and without a public twin
        if not sys.executable:
            raise FileNotFoundError("sys.executable is empty: no Python to start")
        # Programs put other objects than text into ``sys.path``, such as a Path.
        # Imports pass these over, and so do we.
        path = "\n".join(one for one in sys.path if isinstance(one, str))
        arguments = [str(fd), str(os.getpid()), path, self._mark]
        return [sys.executable, *flags, "-c", _BOOT, *arguments]

    def asked(self) -> socket.socket:
        """Return the connection for a request, and note that there is one."""
        self._asked = True
        return self.control

    def start_worker(self, number: int, fds: Sequence[int]) -> None:
        """Ask for a worker. A notice will tell what became of it.

        Args:
            number: A number that no worker had before.
            fds: The worker's descriptors, as ``forkserver.REQUEST`` tells. The fork
                server gets copies; the caller closes its own.

        Raises:
            OSError: The fork server is gone, or has too many requests to serve.
        """
        message = REQUEST.pack(START, number)
        socket.send_fds(self.asked(), [message], list(fds))

    def kill_worker(self, number: int) -> bool:
        """Have a worker killed with its process group, if it has not ended yet.

        Returns:
            False if the connection is full of requests, so that the caller has to try
            again. True if it is closed: then the workers end with the fork server.
        """
        try:
            self.control.send(REQUEST.pack(KILL, number))
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def notices(self) -> list[Notice]:
        """Return the notices that have arrived since the last call.

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
        """End it and all below it, and wait until they have ended.

        To close the connection is to ask for that. If it was killed, or has to be, what
        it would have killed is left, and found by its mark. One that was never asked
        for anything has started nothing, and may still be importing what it needs: it
        is killed, so that nobody waits for that.
        """
        if not self._asked:
            self.control.close()
            self._process.kill()
            self._process.wait()
            return
        seconds = END_S if self._has_closed() else 0.0
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code != 0:
            programs.kill_marked(self._mark)

    def _has_closed(self) -> bool:
        """Close the connection; tell whether the fork server has closed it as well.

        It does so at its very end. ``Popen.wait`` with a limit looks at longer and
        longer intervals, which would be time for nothing at the end of each run.
        """
        try:
            self.control.settimeout(END_S)
            self.control.shutdown(socket.SHUT_WR)
            while self.control.recv(4096):  # what became of its workers
                continue
        except TimeoutError:
            return False
        except OSError:  # it has ended before
            return True
        finally:
            self.control.close()
        return True

    def freeze(self) -> None:
        """Have one that does not answer never go on; its workers do.

        So none of them is reaped, and their process ids stay theirs.
        """
        with suppress(OSError):  # it has ended just now, and they with it
            os.killpg(self._process.pid, signal.SIGSTOP)
        self.control.close()

    def end_frozen(self) -> None:
        """End one that is frozen, and what is left below it."""
        self._process.kill()
        self._process.wait()
        programs.kill_marked(self._mark)


def kill_group(pid: int) -> None:
    """Kill a worker whose fork server is gone, or frozen, with its process group.

    With a fork server this is its task: it is the worker's parent, so that it knows
    that the process id still is the worker's.
    """
    family.kill(family.of_worker(pid, "", -1))
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:  # it is dead already, or was never a group
        return
