"""One request with its redirects, and its answer.

The session is that of fsspec's ``HTTPFileSystem``, on fsspec's thread. Its own
``get_file`` is not used: it follows redirects anywhere, decodes bodies, gives up
healthy downloads after five minutes and cannot go on where another left off.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
from fsspec.asyn import get_loop
from yarl import URL

from jackfield import TransferError
from jackfield.errors import RemoteForbiddenError
from jackfield.files import redact
from jackfield_staging import _http_rules as rules
from jackfield_staging import _http_sessions as sessions
from jackfield_staging._http_errors import understood
from jackfield_staging._http_options import (
    HttpOptions,
    own_headers,
    proxy_for,
    tls_context,
    without_user,
)
from jackfield_staging._loop import BLOCK, Pull

if TYPE_CHECKING:
    from types import TracebackType

    from jackfield import Remote

LINGER_S: Final = 0.2
"""Seconds that a block may wait for more bytes before it is handed over."""

_SLICE: Final = 1 << 16
"""Bytes that are sent at a time; the idle timeout is for each."""

_LITERAL: Final = re.compile(r"[!-~]+")
"""A URL that can be sent as it is, so that what has been signed stays as it was."""

_PLAIN: Final = re.compile(r"https?://[!\"$->A-~]+(?:\?[!\"$-?A-~]+)?")
"""Such a URL with nothing in it that is not sent: see ``without_user``."""


class Call:
    """Requests for one URL: made on a transfer's thread, awaited on fsspec's.

    As a context manager, it closes on leaving whatever answer is still open.

    Attributes:
        response: The last answer; its body may be unread.
    """

    response: aiohttp.ClientResponse

    def __init__(self, remote: Remote, options: HttpOptions) -> None:
        self._remote: Remote = remote
        self._options: HttpOptions = options
        self._first: URL = self._parsed(remote.url)
        self._own_headers: dict[str, str] = own_headers(remote, options)
        self._at: URL = self._first
        self._away: bool = False  # led to another origin, by redirects
        self._guarded: bool = False
        self._open: aiohttp.ClientResponse | None = None
        self._use: ExitStack = ExitStack()

    def __enter__(self) -> Self:
        self._use.enter_context(sessions.used())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._use:
            left = self._open
            # After an error, an answer may be coming in at this moment.
            if error is not None or (left is not None and left.connection is not None):
                get_loop().call_soon_threadsafe(self.close)

    def close(self) -> None:
        """Close the answer. One that was not read to its end costs the connection."""
        if self._open is not None:
            self._open.close()

    @property
    def url(self) -> str:
        """Where the last request went."""
        return str(self._at)

    @property
    def directories(self) -> list[str]:
        """The directories above the URL, from the top, without the top itself."""
        parents = list(
            itertools.accumulate(self._first.raw_parts[1:-1], "{}/{}".format)
        )
        return [str(self._first.origin()) + f"/{parent}/" for parent in parents]

    async def ask(
        self,
        method: str,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Body] | None = None,
        *,
        at: str | None = None,
        again: bool = False,
    ) -> aiohttp.ClientResponse:
        """Send a request, follow redirects, and return the answer's head.

        Args:
            method: ``GET``, ``HEAD``, ...
            headers: More of them.
            body: Makes the body, for each request anew.
            at: Another URL of the same site to ask.
            again: Whether to ask where redirects have led before.

        Raises:
            TransferError: There is no answer, or a redirect that is not followed.
        """
        if not again:
            self._at = self._first if at is None else self._parsed(at)
            self._away = self._guarded = False
        for _ in range(self._options.max_redirects + 1):
            with understood(self._remote):
                await self._ask_once(method, headers or {}, body)
            if self.response.status not in rules.REDIRECTS:
                return self.response
            await self._follow(body is not None)
        limit = self._options.max_redirects
        raise self._refusal(f"there are more than {limit} redirects (max_redirects)")

    async def _ask_once(
        self,
        method: str,
        headers: Mapping[str, str],
        body: Callable[[], Body] | None,
    ) -> None:
        self.close()
        at, own = self._at, {} if self._away else self._own_headers
        secure = at.scheme == "https"
        proxy = proxy_for(at.scheme, at.host or "", self._options)
        timeouts = self._remote.timeouts
        # A proxy may well have a private address.
        session = await sessions.session(guarded=self._guarded and proxy is None)
        try:
            self.response = self._open = await session.request(
                method,
                at,
                headers={**own, "Accept-Encoding": "identity", **headers},
                data=body() if body else None,
                allow_redirects=False,
                proxy=proxy,
                ssl=tls_context(self._options) if secure else True,
                timeout=aiohttp.ClientTimeout(
                    connect=timeouts.connect,
                    sock_connect=timeouts.connect,
                    sock_read=timeouts.idle,
                ),
            )
        except aiohttp.ClientConnectorError as error:
            if self._guarded and error.os_error.errno == errno.EACCES:
                raise self._private() from error
            raise

    # -- redirects

    async def _follow(self, has_body: bool) -> None:
        status, before = self.response.status, self._at
        location = self.response.headers.get("Location", "")
        self.close()
        if has_body and status not in rules.SAME_METHOD:
            raise self._refusal(f"the server answered {status}: a redirect to a page")
        target = self._at = self._target(location)
        if target.origin() == before.origin():
            return
        upgraded = (before.scheme, before.port, target.scheme, target.port) == (
            ("http", 80, "https", 443)
        )
        self._away = self._away or not (upgraded and target.host == before.host)
        if not self._options.private_redirects:
            self._guarded = self._guarded or await _is_public(before)
            if self._guarded and _is_private_literal(target):
                raise self._private()

    def _target(self, location: str) -> URL:
        target = self._at.join(self._parsed(location, self._at))
        allowed = {"https"} if self._at.scheme == "https" else {"http", "https"}
        if target.scheme not in allowed:
            where = redact(str(target))
            raise self._refusal(f"the server redirects to {where!r}; not followed")
        return target

    def _private(self) -> TransferError:
        reason = (
            f"a public host redirects to {self._at.host!r}, which has a private "
            f"address; private_redirects = true allows it"
        )
        return RemoteForbiddenError(str(self._remote), reason)

    def _refusal(self, reason: str) -> TransferError:
        return TransferError(str(self._remote), reason)

    def _parsed(self, url: str, base: URL | None = None) -> URL:
        try:
            plain = _PLAIN.fullmatch(url) is not None
            text = url if plain else without_user(url)
            parsed = URL(text, encoded=plain or bool(_LITERAL.fullmatch(text)))
            known = (parsed if base is None else base.join(parsed)).host is not None
        except ValueError:  # its text may hold a password
            parsed, known = URL(), False
        if not known:
            raise self._refusal("this is no URL that can be asked")
        return parsed

    # -- bodies

    async def block(self) -> list[bytes]:
        """Return about ``BLOCK`` bytes of the body, in parts; none at its end.

        Fewer if no more come for a moment: a slow body is progress, too.

        Raises:
            TransferError: The body broke off.
        """
        content = self.response.content
        with understood(self._remote):
            parts = [await content.readany()]
        size = len(parts[0])
        if size >= BLOCK or content.at_eof():
            return [part for part in parts if part]
        # An error comes again the next time; what is there is handed over first.
        with suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while parts[-1] and size < BLOCK:
                    parts.append(await content.readany())
                    size += len(parts[-1])
        return [part for part in parts if part]

    async def first(self) -> tuple[list[bytes], bool]:
        """Return the first block, and whether it is all; an error is the next's."""
        try:
            parts = await self.block()
        except TransferError:
            return [], False
        return parts, self.response.content.at_eof()

    def body(self, pull: Pull, size: int) -> Callable[[], Body]:
        """Return what makes a request's body of blocks of a file."""
        return lambda: Body(pull, size, self._remote.timeouts.idle)


class Body(aiohttp.Payload):
    """The body of a PUT; if it is sent once more, from its beginning."""

    def __init__(self, pull: Pull, size: int, idle: float) -> None:
        super().__init__(None, content_type="application/octet-stream")
        self._pull: Pull = pull
        self._size: int | None = size
        self._idle: float = idle

    async def write(self, writer: Any) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        del content_length  # it is the size
        offset, size = 0, self._size or 0
        while offset < size:
            block = memoryview(await self._pull(offset))[: size - offset]
            if not block:
                raise EOFError("the file became shorter while it was sent")
            for start in range(0, len(block), _SLICE):
                async with asyncio.timeout(self._idle):
                    await writer.write(block[start : start + _SLICE])
            offset += len(block)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        del encoding, errors
        raise TypeError("the body of a file is not text")


async def _is_public(url: URL) -> bool:
    """Whether a host has a public address, or none that is known here."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            url.host, url.port, type=socket.SOCK_STREAM
        )
    except OSError:
        return True
    return any(rules.is_public(str(address[0])) for *_, address in found)


def _is_private_literal(url: URL) -> bool:
    try:
        socket.getaddrinfo(url.host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return url.host == "localhost"
    return not rules.is_public(url.host or "")
