"""A TCP listener with one thread for each connection, which ends when it is told to.

A server that lies and hangs must itself never hang: closing shuts every connection
down, which wakes whatever thread reads or writes it, and then joins the threads with
a limit.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

HOST: Final = "127.0.0.1"
CLOSE_LIMIT_S: Final = 10.0
"""Seconds that closing waits for threads. They end at once unless there is a bug."""

_numbers = itertools.count(1)


class Listener:
    """Accepts connections on a free port of 127.0.0.1 until it is closed.

    Attributes:
        port: The port.
        accepted: How many connections were accepted so far.
        most: The greatest number of connections that were open at once.
    """

    def __init__(
        self,
        serve: Callable[[socket.socket], None],
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._serve = serve
        self._context = context
        self._listening = socket.create_server((HOST, 0), backlog=128)
        self._wake, self._waker = socket.socketpair()
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._listening, selectors.EVENT_READ)
        self._ready.register(self._wake, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closing = False
        self._name = f"jackfield-server-{next(_numbers)}"
        self._threads: list[threading.Thread] = []
        self.port: int = self._listening.getsockname()[1]
        self.accepted: int = 0
        self.most: int = 0
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        name = f"{self._name}-{self.accepted}"
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        thread.start()

    def _accept(self) -> None:
        while self._wake not in [key.fileobj for key, _ in self._ready.select()]:
            with contextlib.suppress(OSError):  # it has gone again meanwhile
                self._take(self._listening.accept()[0])

    def _take(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has been reset meanwhile
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            # The handshake is left to the connection's thread: a client that never
            # says anything must not keep others from being accepted.
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        with self._lock:
            if self._closing:
                connection.close()
                return
            self._open.add(connection)
            self.accepted += 1
            self.most = max(self.most, sum(map(_held_by_client, self._open)))
            self._start(self._run, connection)

    def _run(self, connection: socket.socket) -> None:
        # An OSError (SSLError is one) means that the client has gone, or that the
        # server is being closed.
        with contextlib.suppress(OSError, EOFError):
            if self._context is not None:
                connection.do_handshake()  # type: ignore[attr-defined]  # it is wrapped
            self._serve(connection)
        # `close` cuts connections under the same lock. Without it, it could find this
        # one in the set, and shut it down after it was closed here: by then its
        # descriptor may be that of another connection.
        with self._lock:
            self._open.discard(connection)
            connection.close()

    def close(self) -> None:
        """Stop listening, cut every connection, and wait for the threads.

        May be called again, on any thread but the listener's own.

        Raises:
            RuntimeError: A thread did not end within ``CLOSE_LIMIT_S`` seconds.
        """
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self._waker.send(b"x")
        deadline = time.monotonic() + CLOSE_LIMIT_S
        # The accepting thread first, which is the only one to start others: from then
        # on neither the threads nor the open connections become more.
        self._threads[0].join(CLOSE_LIMIT_S)
        with self._lock:
            for connection in self._open:
                _cut(connection)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for own in (self._ready, self._listening, self._wake, self._waker):
            own.close()
        if late := [thread.name for thread in self._threads if thread.is_alive()]:
            raise RuntimeError(f"threads of a test server did not end: {late}")


def _held_by_client(connection: socket.socket) -> bool:
    """Whether the client has not closed its end.

    The thread that serves the connection may not have noticed it yet, and a client
    that closes one connection before it opens the next must not be counted twice.
    """
    try:
        # The plain socket's method: a TLS socket has no flags.
        peeked = socket.socket.recv(
            connection, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT
        )
    except BlockingIOError:
        return True
    except OSError:
        return False
    return peeked != b""


def _cut(connection: socket.socket) -> None:
    """Wake the thread that uses a connection; it closes it."""
    with contextlib.suppress(OSError):
        # The plain socket's method: a TLS socket's would drop the state that the
        # other thread is using.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
