"""Single requests over HTTP, whose connections are kept: those of S3 go here, too.

The session is that of fsspec's ``HTTPFileSystem``. What differs between transfers
(time-outs, certificates, proxies, credentials) goes with each request.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

from jackfield import ConfigurationError, Remote, TransferError
from jackfield.files import redact
from jackfield_staging._core_files import BLOCK, Files, Runs
from jackfield_staging._core_trust import broken
from jackfield_staging._http_rules import failure, is_public

if TYPE_CHECKING:
    from yarl import URL

    from jackfield.staging.remote import Timeouts
    from jackfield_staging._core_calls import Outgoing

PATIENCE: Final = 10  # idle time-outs that a small answer may take in all
BUFFER: Final = 1 << 19  # bytes taken in ahead of who reads them; up to twice as many
LINGER_S: Final = 0.2  # that a block may wait for more bytes before it is handed over
LONGEST_LINE: Final = 1 << 16  # bytes of a header, or of a redirect's URL
MOST_HEADERS: Final = 1000
SLICE: Final = 1 << 16  # bytes sent at a time; the idle time-out is for each


class HTTPWire(Files, HTTPFileSystem):  # type: ignore[misc]  # fsspec has no types
    """fsspec's filesystem, reduced to requests that do what they are told.

    Its own methods are not used: they follow redirects anywhere, decode bodies, give up
    healthy downloads after five minutes and cannot go on where another left off.
    """

    runs = Runs.LOOP
    cachable = False  # what fsspec caches is never closed
    protocol = ()  # no options from fsspec's own files

    def __init__(self) -> None:
        # Not "asynchronous", it would be closed by a finalizer, also in a forked child.
        super().__init__(asynchronous=True, get_client=_open)
        self._guarded: aiohttp.ClientSession | None = None

    def explain(self, remote: Remote, error: Exception) -> None:
        explain(remote, error)

    async def leave(self) -> None:
        for session in (self._session, self._guarded):
            if session is not None:
                await session.close()
        self._session: aiohttp.ClientSession | None = None
        self._guarded = None

    async def request(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        trust: Callable[[], ssl.SSLContext],
        *,
        guarded: bool = False,
        **given: Any,
    ) -> aiohttp.ClientResponse:
        """Send one request as it is, and return the head of its answer.

        ``trust`` says whom, by TLS; a ``guarded`` one connects to public addresses.
        What else is given (``data``, ``proxy``, ``cookies``) is aiohttp's.
        The time-out for bytes is kept by aiohttp, which starts it anew with any, were
        it those of one "100 Continue" after another. So there is one for the head, too.
        """
        if guarded and self._guarded is None:
            self._guarded = await _open(_public_socket)
        session: Any = self._guarded if guarded else await self.set_session()
        try:
            async with asyncio.timeout(timeouts.connect + timeouts.idle) as limit:
                if isinstance(given.get("data"), Body):
                    given["data"].limit = limit
                answer: aiohttp.ClientResponse = await session.request(
                    method,
                    url,
                    headers={"Accept-Encoding": "identity", **headers},
                    allow_redirects=False,
                    ssl=trust() if url.scheme == "https" else True,
                    timeout=aiohttp.ClientTimeout(
                        connect=timeouts.connect,
                        sock_connect=timeouts.connect,
                        sock_read=timeouts.idle,
                    ),
                    **given,
                )
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            if given.get("proxy"):
                error.add_note(via(given["proxy"]))  # for ``explain``
            raise


async def _open(factory: Any = None, **_: object) -> aiohttp.ClientSession:
    # asyncio makes a buffer of 256 KiB for whatever it receives. The C library maps and
    # unmaps the memory for each, until it has seen that larger ones come and go, too.
    bytearray(BLOCK)
    # The kernel limits how many connections a host gets; a second limit here could
    # only make transfers wait that are counted as running.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, socket_factory=factory),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=BUFFER,
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_LINE,
        max_headers=MOST_HEADERS,
    )


def _public_socket(target: Any) -> socket.socket:
    """Make the socket for an address that was resolved, if it is a public one.

    Here and not before, because a name may be resolved to something else each time.
    """
    family, kind, protocol, _, address = target
    if not is_public(address[0]):
        raise OSError(errno.EACCES, "the address is not a public one")
    return socket.socket(family, kind, protocol)


def via(proxy: str) -> str:
    """Say through which proxy something was asked."""
    return f", asked through the proxy {redact(proxy)}"


def _in_networks(host: str, listed: str) -> bool:
    """Tell whether an address is in a network of ``no_proxy``, as in 10.0.0.0/8."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    for one in listed.split(","):
        with suppress(ValueError):  # it is a name, as most are
            if "/" in one and address in ip_network(one.strip(), strict=False):
                return True
    return False


def proxy_for(host: str, port: int | None, *schemes: str) -> str | None:
    """Return the first proxy for a host that the environment names, as a URL."""
    proxies = getproxies()
    named = [proxies[scheme] for scheme in schemes if scheme in proxies]
    if not named or proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return None
    if _in_networks(host, proxies.get("no", "")):
        return None
    url = named[0] if "://" in named[0] else f"http://{named[0].lstrip('/')}"
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        )
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            f"The environment names a proxy for {host}, {redact(url)}, which is no URL "
            f"of a proxy that speaks HTTP, such as http://proxy.example.org:3128."
        )
    return url


async def block(answer: aiohttp.ClientResponse, idle_s: float) -> list[bytes]:
    """Return about ``BLOCK`` bytes of an answer's body, in parts; none at its end.

    Fewer if no more come for a moment: a slow body is progress, too. What comes and is
    none of the body, such as a chunk's extension, does not count as a byte.
    """
    content = answer.content
    async with asyncio.timeout(idle_s):
        parts = [await content.readany()]
    size = len(parts[0])
    if size < BLOCK and not content.at_eof():
        # An error comes again the next time; what is there is handed over first.
        with suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while parts[-1] and size < BLOCK:
                    parts.append(await content.readany())
                    size += len(parts[-1])
    return [part for part in parts if part]


async def page(
    remote: Remote, answer: aiohttp.ClientResponse, most: int, idle_s: float
) -> bytes:
    """Return a page of a listing, or raise that it is too large."""
    body = await small(answer, most, idle_s)
    if len(body) > most:
        reason = f"a page of its listing has more than {most} bytes"
        raise TransferError(str(remote), reason)
    return body


async def small(answer: aiohttp.ClientResponse, most: int, idle_s: float) -> bytes:
    """Return a body that has to be small; of a larger one, a little more than ``most``.

    It is one answer, and no file: it has to come in time, too. The connection is free
    for others afterwards, or closed if there is more.
    """
    body = bytearray()
    async with answer, asyncio.timeout(PATIENCE * idle_s):
        while len(body) <= most and (parts := await block(answer, idle_s)):
            body += b"".join(parts)
    return bytes(body)


class Body(aiohttp.Payload):
    """A part of a file, as the body of a request.

    Where a connection that was kept turns out to be closed, aiohttp sends it once more;
    each time from its beginning.
    """

    def __init__(self, file: Outgoing, start: int = 0, size: int | None = None) -> None:
        super().__init__(None, content_type="application/octet-stream")
        self.limit: asyncio.Timeout | None = None  # of the whole request
        self._file = file
        self._start = start
        self._size: int | None = file.size - start if size is None else size

    async def write(self, writer: Any) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        """Send the bytes; give up where the other side takes none for too long."""
        del content_length  # it is the size
        idle_s = self._file.transfer.timeouts.idle
        offset, end = self._start, self._start + (self._size or 0)
        while offset < end:
            part = memoryview(await self._file.read(offset))[: end - offset]
            for start in range(0, len(part), SLICE):
                async with asyncio.timeout(idle_s):
                    await writer.write(part[start : start + SLICE])
                self._moves(idle_s)
            offset += len(part)

    def _moves(self, idle_s: float) -> None:
        """Say that bytes have gone; after the last, an answer may take a while."""
        self._file.moves()
        if self.limit is not None:
            with suppress(RuntimeError):  # the answer is here before all has gone
                self.limit.reschedule(asyncio.get_running_loop().time() + idle_s)

    def decode(self, encoding: str = "", errors: str = "") -> str:  # noqa: ARG002  (not ours)
        raise TypeError("the body of a file is not text")


def explain(remote: Remote, error: Exception) -> None:
    """Raise what an error of aiohttp means, and what to do about it; leave others."""
    place, notes = str(remote), "".join(getattr(error, "__notes__", ()))
    match error:  # the first three show the URL's query
        case aiohttp.ClientHttpProxyError():
            reason = f"the proxy answered {error.status}{notes}"
            raise failure(place, error.status, reason) from None
        case aiohttp.ClientResponseError():
            reason = f"the answer is not HTTP: {error.message}"
            raise TransferError(place, reason) from None
        case aiohttp.InvalidURL():
            raise TransferError(place, "this is no URL that can be asked") from None
        case aiohttp.ClientError() | TimeoutError():
            reason, transient = _reason(remote, error)
            # Of a request that could not be written, aiohttp's text has the whole URL.
            written = isinstance(error, aiohttp.ClientConnectionError)
            cause = error.__cause__ if written else None
            raise TransferError(place, reason + notes, transient) from cause or error


def _reason(remote: Remote, error: Exception) -> tuple[str, bool]:
    """Return what went wrong, and whether it may go well a moment later."""
    timeouts = remote.timeouts
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no connection within {timeouts.connect:g} s", True
        case TimeoutError():
            return f"nothing came for {timeouts.idle:g} s", True
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed before there was an answer", True
        case aiohttp.ClientPayloadError():
            return "the body ended before it was complete", True
    behind: Any = error.__cause__ or error
    for name in ("os_error", "certificate_error"):
        behind = getattr(error, name, behind)
    words = getattr(behind, "strerror", None) or type(error).__name__
    return broken(remote, behind) or (f"no connection: {words}", True)
