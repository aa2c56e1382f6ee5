"""Faults of the answer: another status, another content, another version."""

from __future__ import annotations

import functools
import gzip
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from jackfield_testing.servers._http_fault import HTTPFault
from jackfield_testing.servers._http_wire import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jackfield_testing.servers._http_fault import Exchange
    from jackfield_testing.servers._http_resource import Policy

MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True)
class Status(HTTPFault):
    """An error, or any other status, with a page of text; a PUT is not stored.

    Attributes:
        code: The status code.
        retry_after: The ``Retry-After`` header: seconds, or a date as text.
        body: The page.
    """

    code: int
    retry_after: int | str | None = None
    body: bytes = b"error page"

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        del normal, exchange
        answer = Answer.of(self.code, self.body)
        if self.retry_after is not None:
            answer.headers["Retry-After"] = str(self.retry_after)
        return answer


@dataclass(frozen=True)
class Redirect(HTTPFault):
    """A redirection to ``to``: a path, or a URL of any scheme. May be a loop."""

    to: str
    status: int = 302

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        del normal, exchange
        answer = Answer.of(self.status, b"moved\n")
        answer.headers["Location"] = self.to
        return answer


@dataclass(frozen=True)
class ChangeAfter(HTTPFault):
    """The file becomes ``new_content`` when ``after`` bytes of it have been sent.

    What follows comes from the new content, under the old headers, so it should be as
    long as the old one.
    """

    after: int
    new_content: bytes
    methods: ClassVar[tuple[str, ...]] = ("GET",)

    def stream(self, answer: Answer, exchange: Exchange) -> Iterator[bytes]:
        stop = answer.start + len(answer.body)
        yield answer.body[: self.after]
        exchange.files[exchange.request.path] = self.new_content
        yield self.new_content[answer.start + self.after : stop]


@dataclass(frozen=True)
class ChangeBetween(HTTPFault):
    """The file becomes ``new_content`` just after it was answered with the old one."""

    new_content: bytes
    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        answer = normal()
        # Before a byte is sent: a client that has read all must see the new one.
        exchange.files[exchange.request.path] = self.new_content
        return answer


@dataclass(frozen=True)
class Gzip(HTTPFault):
    """The body is compressed with ``Content-Encoding: gzip``, whatever was accepted."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")
    lasting: ClassVar[bool] = True

    def policy(self, policy: Policy) -> Policy:
        return replace(policy, ranges=False)

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        del exchange
        answer = normal()
        if answer.status == 200:
            answer.body = gzip.compress(answer.body, mtime=0)
            answer.headers["Content-Encoding"] = "gzip"
            answer.headers["Content-Length"] = str(len(answer.body))
        return answer


@dataclass(frozen=True)
class Bomb(HTTPFault):
    """A small body with ``Content-Encoding: gzip`` which becomes ``size`` zeros."""

    size: int = 64 * MEBIBYTE
    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        del normal, exchange
        answer = Answer.of(200, _zeros(self.size), "application/octet-stream")
        answer.headers["Content-Encoding"] = "gzip"
        return answer


@functools.lru_cache(maxsize=1)
def _zeros(size: int) -> bytes:
    packer = zlib.compressobj(wbits=31)  # with the frame of gzip
    whole, left = divmod(size, MEBIBYTE)
    blocks = [packer.compress(bytes(MEBIBYTE)) for _ in range(whole)]
    return b"".join([*blocks, packer.compress(bytes(left)), packer.flush()])


@dataclass(frozen=True)
class BadRange(HTTPFault):
    """Ranges are offered but not to be trusted.

    Attributes:
        how: ``"ignored"``: 200 with the whole file. ``"elsewhere"``: 206 with another
            part of the file than was asked for, as ``Content-Range`` tells.
            ``"if-range"``: 206 even if ``If-Range`` names another version.
    """

    how: Literal["ignored", "elsewhere", "if-range"] = "ignored"
    lasting: ClassVar[bool] = True

    def policy(self, policy: Policy) -> Policy:
        if self.how == "ignored":
            return replace(policy, ranges=False)
        if self.how == "elsewhere":
            return replace(policy, elsewhere=True)
        return replace(policy, if_range=False)


@dataclass(frozen=True)
class NoETag(HTTPFault):
    """There is no ``ETag``; without ``last_modified`` no ``Last-Modified`` either."""

    last_modified: bool = True
    lasting: ClassVar[bool] = True

    def policy(self, policy: Policy) -> Policy:
        return replace(policy, etag=False, last_modified=self.last_modified)


@dataclass(frozen=True)
class WeakETag(HTTPFault):
    """The ``ETag`` is a weak one."""

    lasting: ClassVar[bool] = True

    def policy(self, policy: Policy) -> Policy:
        return replace(policy, weak=True)


@dataclass(frozen=True)
class NoRanges(HTTPFault):
    """Ranges are neither offered nor served: the answer is the whole file."""

    lasting: ClassVar[bool] = True

    def policy(self, policy: Policy) -> Policy:
        return replace(policy, ranges=False, advertised=False)


@dataclass(frozen=True)
class Portal(HTTPFault):
    """200 with the login page of a captive portal in place of the file."""

    page: bytes = b"<!DOCTYPE html><title>Log in</title><form>Who are you?</form>"

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        del normal, exchange
        return Answer.of(200, self.page, "text/html; charset=utf-8")
