"""Where the requests for one URL go, and who asks: there, and where it redirects."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from netrc import NetrcParseError, netrc
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
from yarl import URL

from jackfield import ConfigurationError, Remote, TransferError
from jackfield.errors import RemoteForbiddenError
from jackfield.files import redact
from jackfield_staging import _http_rules as rules
from jackfield_staging._core_trust import login_of, tls_context
from jackfield_staging._http_wire import via

# Spaces, control characters and what is not ASCII may not stand in a request, and are
# quoted. All else is sent as it was written, because a signature may be made of it.
_TO_QUOTE: Final = re.compile(r"[^!-~]+")


# Headers that a transfer is made of.
_RESERVED: Final = frozenset(
    {"accept-encoding", "content-length", "if-range", "range", "transfer-encoding"}
)


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """The tables ``[staging.http]`` and ``[staging.https]``: see docs/staging.md."""

    headers: Mapping[str, str] | None = None
    max_redirects: int = 10
    private_redirects: bool = False
    accept_encoded: bool = False
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    insecure: bool = False
    netrc: bool = False
    trust_env: bool = False


def read_options(remote: Remote) -> HttpOptions:
    """Return the options of a place; raise if one is unknown or wrong."""
    options = remote.read_options(HttpOptions)
    table = f"staging.{remote.scheme}"
    headers = options.headers or {}
    texts = [*headers, *headers.values()] if isinstance(headers, Mapping) else [None]
    if not all(isinstance(one, str) and not {*"\r\n\0"} & {*one} for one in texts):
        raise ConfigurationError(f"{table}.headers must be a table of text.")
    for name in headers:
        if name.lower() in _RESERVED:
            raise ConfigurationError(f"{table}.headers cannot have {name!r}.")
    if options.client_key and not options.client_cert:
        raise ConfigurationError(f"{table}.client_key needs a client_cert.")
    return options


def own_headers(remote: Remote, options: HttpOptions) -> dict[str, str]:
    """Return the headers that are for the place alone, not for where it redirects."""
    headers = dict(options.headers or {})
    given = _authorization(remote, options)
    if given is not None:
        # The names of headers count in any case. If the user's own were sent beside
        # ours, the server might take either of the two.
        kept = {k: v for k, v in headers.items() if k.lower() != "authorization"}
        headers = {**kept, "Authorization": given}
    return headers


def _authorization(remote: Remote, options: HttpOptions) -> str | None:
    """Return what says who asks: of the credentials, else the URL, else netrc."""
    if "token" in remote.credentials:
        return f"Bearer {remote.credentials['token']}"
    found = login_of(remote)
    if found is None and options.netrc:
        found = _netrc(urlsplit(remote.url).hostname or "")
    if found is None:
        return None
    login = ":".join(found).encode("utf-8", "surrogateescape")
    return f"Basic {base64.b64encode(login).decode('ascii')}"


def _netrc(host: str) -> tuple[str, str] | None:
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        found = _read_netrc(path).authenticators(host)
    except FileNotFoundError:
        return None
    except NetrcParseError as error:
        reason = f"{str(path)!r}, line {error.lineno}, is none of a netrc file."
        raise ConfigurationError(reason) from None  # the line may hold a password
    return (found[0], found[2] or "") if found else None


def _read_netrc(path: Path) -> netrc:
    """Read a netrc file in UTF-8, or else in Latin-1, of which all bytes are some."""
    try:
        return netrc(path)
    except UnicodeDecodeError:
        with TemporaryFile() as copy:
            copy.write(path.read_text("latin-1").encode())
            copy.seek(0)
            return netrc(os.dup(copy.fileno()))  # type: ignore[arg-type]  # what ``open`` takes


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

    def __init__(self, remote: Remote) -> None:
        options = self.options = read_options(remote)
        self.timeouts = remote.timeouts
        self._remote = remote
        self._first = self.parsed(remote.url)
        self._own_headers = own_headers(remote, options)
        self._jar: aiohttp.CookieJar | None = None
        self.proxy: str | None = None
        self.restart()

    def trust(self) -> ssl.SSLContext:
        """Return what TLS connections are made with."""
        given = self.options
        return tls_context(
            given.ca_file, given.client_cert, given.client_key, insecure=given.insecure
        )

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
            # What is connected to is looked at again. But a proxy may connect instead.
            if self.guarded and not await _is_public(target):
                raise self.private()

    def private(self) -> TransferError:
        """Return the error that a redirect leads into a private network."""
        reason = (
            f"a public host redirects to {self.at.host!r}, which has a private "
            f"address; private_redirects = true allows it"
        )
        return RemoteForbiddenError(str(self._remote), reason)

    def failure(self, answer: aiohttp.ClientResponse) -> TransferError:
        """Return the error that an answer stands for."""
        status = answer.status
        phrases = {one.value: f" {one.phrase}" for one in HTTPStatus}
        asked = via(self.proxy) if self.proxy else ""
        reason = f"the server answered {status}{phrases.get(status, '')}{asked}"
        wait = rules.retry_after(answer.headers.get("Retry-After"))
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
