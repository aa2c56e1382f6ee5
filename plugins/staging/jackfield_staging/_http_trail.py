"""Where the requests for one URL go: there, and to where its servers redirect."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping
from http import HTTPStatus
from itertools import accumulate
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
from yarl import URL

from jackfield import Remote, TransferError
from jackfield.errors import RemoteForbiddenError
from jackfield.files import redact
from jackfield_staging import _http_rules as rules
from jackfield_staging._http_options import HttpOptions, own_headers
from jackfield_staging._http_wire import via

# Spaces, control characters and what is not ASCII may not stand in a request, and are
# quoted. All else is sent as it was written, because a signature may be made of it.
_TO_QUOTE: Final = re.compile(r"[^!-~]+")


class Trail:
    """The way from a URL to what serves it, over redirects that may be followed.

    Attributes:
        options: Of the place that the URL names.
        timeouts: How long to wait for it.
        at: Where the next request goes.
        away: Whether that is another origin, where credentials are not to go.
        guarded: Whether it must be a public address, as the way began at one.
        proxy: Whom the last request was sent to instead.
    """

    def __init__(self, remote: Remote, options: HttpOptions) -> None:
        self.options = options
        self.timeouts = remote.timeouts
        self._remote = remote
        self._first = self.parsed(remote.url)
        self._own_headers = own_headers(remote, options)
        self._jar: aiohttp.CookieJar | None = None
        self.proxy: str | None = None
        self.restart()

    def restart(self, at: URL | None = None) -> None:
        """Go back to the URL, or to another one of the same site."""
        self.at: URL = at or self._first
        self.away: bool = False
        self.guarded: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """What is said to the place itself, and to nobody that it redirects to."""
        return {} if self.away else self._own_headers

    @property
    def cookies(self) -> Mapping[str, Any] | None:
        """What has been set on this way for the place where it has come to."""
        return None if self._jar is None else self._jar.filter_cookies(self.at)

    def heed(self, answer: aiohttp.ClientResponse) -> None:
        """Keep the cookies of an answer until the end of the way."""
        if "Set-Cookie" in answer.headers:
            self._jar = self._jar or aiohttp.CookieJar(unsafe=True)  # hosts by number
            self._jar.update_cookies(answer.cookies, answer.url)

    @property
    def directories(self) -> list[URL]:
        """The directories above the URL, from the top, without the top itself."""
        parents = accumulate(self._first.raw_parts[1:-1], "{}/{}".format)
        origin = self._first.origin()
        return [URL(f"{origin}/{parent}/", encoded=True) for parent in parents]

    async def follow(self, location: str) -> None:
        """Go to where an answer redirects, or raise that it is not to be followed."""
        before = self.at
        target = self.at = before.join(self.parsed(location, before))
        allowed = {"https"} if before.scheme == "https" else {"http", "https"}
        if target.scheme not in allowed:
            where = redact(str(target))
            raise self.refusal(f"the server redirects to {where!r}; not followed")
        if target.origin() == before.origin():
            return
        upgraded = (before.scheme, before.port, target.scheme, target.port) == (
            ("http", 80, "https", 443)
        )
        self.away = self.away or not (upgraded and target.host == before.host)
        if not self.options.private_redirects:
            self.guarded = self.guarded or await _is_public(before)
            if self.guarded and _is_private_literal(target):
                raise self.private()

    def private(self) -> TransferError:
        """Return the error that a redirect leads into a private network."""
        reason = (
            f"a public host redirects to {self.at.host!r}, which has a private "
            f"address; private_redirects = true allows it"
        )
        return RemoteForbiddenError(str(self._remote), reason)

    def failure(self, status: int, headers: Mapping[str, str]) -> TransferError:
        """Return the error that a status stands for."""
        phrases = {one.value: f" {one.phrase}" for one in HTTPStatus}
        asked = via(self.proxy) if self.proxy else ""
        reason = f"the server answered {status}{phrases.get(status, '')}{asked}"
        wait = rules.retry_after(headers.get("Retry-After"))
        return rules.failure(str(self._remote), status, reason, wait)

    def refusal(self, reason: str) -> TransferError:
        """Return the error that the URL is not to be had, for this reason."""
        return TransferError(str(self._remote), reason)

    def parsed(self, url: str, base: URL | None = None) -> URL:
        """Understand a URL, perhaps relative to another, or raise that it is none."""
        try:
            parsed = URL(_sendable(url), encoded=True)
            known = (parsed if base is None else base.join(parsed)).host is not None
        except ValueError:  # its text may hold a password
            parsed, known = URL(), False
        if not known:
            raise self.refusal("this is no URL that can be asked")
        return parsed


def _sendable(url: str) -> str:
    """Quote what cannot be sent of a URL, and leave the rest, but for a login."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    if not netloc.isascii():
        netloc = URL(f"//{netloc}").raw_authority
    text = urlunsplit(parts._replace(netloc=netloc))
    return _TO_QUOTE.sub(lambda one: quote(one[0], errors="surrogateescape"), text)


async def _is_public(url: URL) -> bool:
    """Whether a host has a public address, or none that is known here."""
    resolve = asyncio.get_running_loop().getaddrinfo
    try:
        found = await resolve(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError:
        return True
    return any(rules.is_public(str(address[0])) for *_, address in found)


def _is_private_literal(url: URL) -> bool:
    try:
        socket.getaddrinfo(url.host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return url.host == "localhost"
    return not rules.is_public(url.host or "")
