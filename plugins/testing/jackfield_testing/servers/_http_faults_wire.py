"""Faults of the connection: too little, too late, too slow, not HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jackfield_testing.servers._http_fault import HTTPFault
from jackfield_testing.servers._http_wire import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jackfield_testing.servers._http_fault import Exchange
    from jackfield_testing.servers._http_wire import Upload


@dataclass(frozen=True)
class Truncate(HTTPFault):
    """The connection ends after ``at`` bytes of a body whose length was declared."""

    at: int
    methods: ClassVar[tuple[str, ...]] = ("GET",)

    def stream(self, answer: Answer, exchange: Exchange) -> Iterator[bytes]:
        exchange.close()
        yield answer.body[: self.at]


@dataclass(frozen=True)
class TruncateChunked(HTTPFault):
    """The body comes in chunks and ends after ``at`` bytes without the last chunk."""

    at: int
    methods: ClassVar[tuple[str, ...]] = ("GET",)

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        del exchange
        answer = normal()
        answer.headers.pop("Content-Length", None)
        answer.headers["Transfer-Encoding"] = "chunked"
        return answer

    def stream(self, answer: Answer, exchange: Exchange) -> Iterator[bytes]:
        exchange.close()
        sent = answer.body[: self.at]
        if sent:  # an empty chunk would be the last one
            yield b"%x\r\n%b\r\n" % (len(sent), sent)


@dataclass(frozen=True)
class Reset(HTTPFault):
    """A TCP reset after ``after`` bytes of the body; None: before the headers.

    In a PUT the bytes of the request's body count; if it was read to its end it is
    stored, and only the answer is lost. A client may see fewer bytes than were sent,
    for a reset overtakes what is still under way. It comes late if this process was
    forked while the connection was open: the child holds it too.
    """

    after: int | None = 0
    methods: ClassVar[tuple[str, ...]] = ("GET", "PUT")

    def receive(self, upload: Upload, exchange: Exchange) -> bytes:
        body = upload.read(self.after or 0)
        if self.after is not None and not upload.read(1):
            exchange.files[exchange.request.path] = body
        exchange.reset()
        return body

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        if self.after is None:
            exchange.reset()
        return normal()

    def stream(self, answer: Answer, exchange: Exchange) -> Iterator[bytes]:
        yield answer.body[: self.after]
        exchange.reset()


@dataclass(frozen=True)
class NoLength(HTTPFault):
    """No length is declared; the body ends with the connection, after ``at`` bytes.

    With ``at=None`` it is complete, which a client cannot know.
    """

    at: int | None = None
    methods: ClassVar[tuple[str, ...]] = ("GET",)

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        exchange.close()
        answer = normal()
        answer.headers.pop("Content-Length", None)
        return answer

    def stream(self, answer: Answer, exchange: Exchange) -> Iterator[bytes]:
        del exchange
        yield answer.body[: self.at]


@dataclass(frozen=True)
class LieShort(HTTPFault):
    """``Content-Length`` is ``by`` bytes less than what is sent."""

    by: int = 1
    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        exchange.close()
        answer = normal()
        answer.headers["Content-Length"] = str(max(0, len(answer.body) - self.by))
        return answer


@dataclass(frozen=True)
class LieLong(HTTPFault):
    """``Content-Length`` is ``by`` bytes more than what is sent."""

    by: int = 1
    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        exchange.close()
        answer = normal()
        answer.headers["Content-Length"] = str(len(answer.body) + self.by)
        return answer


@dataclass(frozen=True)
class StallBeforeHeaders(HTTPFault):
    """Nothing comes, not even a status, until the server's ``release`` is set."""

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        exchange.stall()
        return normal()


@dataclass(frozen=True)
class StallMidBody(HTTPFault):
    """Nothing comes after ``after`` bytes until the server's ``release`` is set.

    In a PUT, the request's body is not read any further.
    """

    after: int
    methods: ClassVar[tuple[str, ...]] = ("GET", "PUT")

    def receive(self, upload: Upload, exchange: Exchange) -> bytes:
        begun = upload.read(self.after)
        exchange.stall()
        return begun + upload.rest()

    def stream(self, answer: Answer, exchange: Exchange) -> Iterator[bytes]:
        yield answer.body[: self.after]
        exchange.stall()
        yield answer.body[self.after :]


@dataclass(frozen=True)
class Drip(HTTPFault):
    """A slow but healthy body: ``pause`` seconds before each ``block`` of bytes."""

    block: int = 1
    pause: float = 0.01
    methods: ClassVar[tuple[str, ...]] = ("GET",)

    def stream(self, answer: Answer, exchange: Exchange) -> Iterator[bytes]:
        for start in range(0, len(answer.body), self.block):
            exchange.pause(self.pause)
            yield answer.body[start : start + self.block]


@dataclass(frozen=True)
class Garbage(HTTPFault):
    """Bytes that are not HTTP at all, and the end of the connection."""

    data: bytes = b"\x00\xff\x16\x03 this is not HTTP\r\n\r\n"

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        del normal
        exchange.close()
        return Answer(200, raw=self.data)


@dataclass(frozen=True)
class HugeHeaders(HTTPFault):
    """``count`` more headers of ``size`` bytes each."""

    count: int = 1000
    size: int = 1000
    lasting: ClassVar[bool] = True

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        del exchange
        answer = normal()
        more = {f"X-More-{number}": "x" * self.size for number in range(self.count)}
        answer.headers.update(more)
        return answer
