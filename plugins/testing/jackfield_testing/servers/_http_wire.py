"""HTTP/1.1 as bytes: requests read from a socket, answers made for one."""

from __future__ import annotations

import contextlib
import http
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_LINE: Final = 65536
MAX_HEADERS: Final = 200
BLOCK: Final = 65536


class BadRequestError(Exception):
    """The client does not speak HTTP, or not as this server understands it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server has read it.

    Attributes:
        method: ``"GET"`` and so on.
        target: What stands in the request line, with the query.
        headers: Values by name in lower case; repeated ones are joined by a comma.
    """

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        """The target without the query, as it was sent (not decoded)."""
        return self.target.partition("?")[0]

    @property
    def range(self) -> str | None:
        """The ``Range`` header."""
        return self.headers.get("range")


@dataclass(slots=True)
class Answer:
    """What is about to be sent. A fault may change any of it.

    Attributes:
        status: The status code.
        headers: In the order in which they are sent.
        body: The body; not sent for HEAD, 204 and 304.
        start: Where in the file the body begins.
        raw: Sent in place of the status line and the headers.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    start: int = 0
    raw: bytes | None = None

    @classmethod
    def of(cls, status: int, body: bytes = b"", kind: str = "text/plain") -> Answer:
        """Make an answer with a body of a content type, and its length."""
        headers = {"Content-Type": kind, "Content-Length": str(len(body))}
        return cls(status, headers, body)

    def head(self) -> bytes:
        """Give the status line and the headers as they are sent."""
        if self.raw is not None:
            return self.raw
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class Channel:
    """A connection, with a buffer for bytes that have come and are not yet asked for.

    Every method raises ``OSError`` when the client has gone or the server is closed.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        self._connection.sendall(data)

    def line(self) -> bytes:
        """Read a line, and give it without its end; ``EOFError`` if there is none."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_LINE:
                raise BadRequestError("a line is too long")
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes, but at least one; ``EOFError`` at the end."""
        if not self._buffer:
            self._fill()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _fill(self) -> None:
        data = self._connection.recv(BLOCK)
        if not data:
            raise EOFError
        self._buffer += data

    def finish(self) -> None:
        """End the stream in good order: the client reads all, and then the end.

        Shut down rather than closed, because a process forked meanwhile may hold the
        connection too.
        """
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._connection, socket.SHUT_WR)

    def reset(self) -> None:
        """Let closing the connection send a TCP reset."""
        linger = struct.pack("ii", 1, 0)  # on, for no time at all
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def read_request(channel: Channel) -> Request:
    """Read the head of a request.

    Raises:
        EOFError: The client has closed the connection.
        BadRequestError: It is not a request.
    """
    line = channel.line().decode("latin-1")
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequestError(f"not a request line: {line!r}")
    headers = _read_headers(channel)
    if words[2] == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return Request(words[0], words[1], headers)


def _read_headers(channel: Channel) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        line = channel.line().decode("latin-1")
        if not line:
            return headers
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    raise BadRequestError("too many headers")


class Upload:
    """The body of a request, read as it is asked for."""

    def __init__(self, channel: Channel, request: Request) -> None:
        self._blocks = _body(channel, request)
        self._over = b""

    def read(self, size: int) -> bytes:
        """Read exactly ``size`` bytes; fewer only at the end of the body."""
        data = self._over
        while len(data) < size and (block := next(self._blocks, b"")):
            data += block
        self._over = data[size:]
        return data[:size]

    def rest(self) -> bytes:
        """Read what is left."""
        return b"".join([self._over, *self._blocks])


def _body(channel: Channel, request: Request) -> Iterator[bytes]:
    if request.headers.get("transfer-encoding", "").lower() == "chunked":
        yield from _chunks(channel)
    else:
        yield from _counted(channel, _number(request.headers.get("content-length"), 10))


def _counted(channel: Channel, left: int) -> Iterator[bytes]:
    while left:
        block = channel.read(left)
        left -= len(block)
        yield block


def _chunks(channel: Channel) -> Iterator[bytes]:
    while size := _number(channel.line().partition(b";")[0].decode("latin-1"), 16):
        yield from _counted(channel, size)
        channel.line()
    while channel.line():
        pass  # trailers


def _number(text: str | None, base: int) -> int:
    try:
        return int(text or "0", base)
    except ValueError:
        raise BadRequestError(f"not a length: {text!r}") from None
