"""Files over HTTP: what a transfer asks for, in requests and answers.

A file that has arrived is looked at once more, so that no mixture of two versions is
taken for either. A later attempt goes on from what is there if the
server named that version by a strong ETag, which ``If-Range`` asks for again.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import closing
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from jackfield import Remote, RemoteInfo, Transfer, TransferError
from jackfield.errors import RemoteChangedError
from jackfield_staging import _http_rules as rules
from jackfield_staging import _http_wire as wire
from jackfield_staging._core_files import Head, Place, Tally, check_same
from jackfield_staging._core_trust import warn_insecure
from jackfield_staging._http_index import entries
from jackfield_staging._http_trail import Trail

if TYPE_CHECKING:
    from jackfield_staging._core_calls import Outgoing

_FILE: Final = frozenset({200, 206, 416})  # what is answered where there is one
_MD5_ETAG_LENGTH: Final = 34  # of the quotes and 32 digits

# An index with more directories within each other, or such pages, has no end.
_DEEPEST: Final = 16
_MOST: Final = {"files": 100_000, "directories": 10_000}
_PAGE: Final = 1 << 20  # bytes


class HTTPFiles(wire.HTTPWire):
    """fsspec's filesystem with what transfers need beyond it. A path is a ``Trail``."""

    async def look(
        self, remote: Remote, path: Trail, method: str = "HEAD"
    ) -> RemoteInfo:
        """Ask for a file's head; where that fails in any way, for its first byte.

        Servers that know no HEAD refuse it, hang up or say that there is no such file,
        and signed URLs may be for GET alone. Both are asked where the trail has led.
        """
        byte = {} if method == "HEAD" else {"Range": "bytes=0-0"}
        trail = copy(path)
        try:
            async with await self._ask(method, trail, byte) as answer:
                if answer.status in _FILE:
                    return rules.describe(answer.status, answer.headers)
                if method == "GET":
                    raise trail.failure(answer)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientError, TimeoutError):
            if method == "GET":
                raise
        return await self.look(remote, path, "GET")

    async def _confirm(
        self, remote: Remote, trail: Trail, info: RemoteInfo
    ) -> RemoteInfo:
        """Look again at a file that has arrived; raise if there is another version.

        If it cannot be looked at, such as by a link that is good for one request, only
        its size is known to be right. The kernel would do it, too, but would be led to
        another mirror, whose copy has another date; and where all came in one piece,
        this saves a change of threads.
        """
        try:
            after = await self.look(remote, trail)
            if info.differs(after):
                # Some servers answer HEAD with headers that are not those of GET.
                after = await self.look(remote, trail, "GET")
        except (aiohttp.ClientError, TimeoutError, TransferError):
            return replace(info, etag=None, modified=None, settled=True)
        check_same(remote, info, after)
        return replace(info, settled=info.etag is None or after.etag is not None)

    async def stream(self, transfer: Transfer, path: Trail) -> AsyncGenerator[Any]:
        answer, start = await self._rest_or_all(transfer, path)
        with closing(answer):
            info = _described(transfer, path, answer, start)
            yield Head(info, start)
            idle_s = path.timeouts.idle
            first = last = parts = await wire.block(answer, idle_s)
            while parts:
                yield parts
                last, parts = parts, await wire.block(answer, idle_s)
            if last is first and not start and _is_proven(first, info):
                yield replace(info, settled=True)
            elif transfer.sha256 is None:  # which would prove more
                yield await self._confirm(transfer, path, info)

    async def _rest_or_all(
        self, transfer: Transfer, trail: Trail
    ) -> tuple[aiohttp.ClientResponse, int]:
        """Ask for the rest, if there is any, else for all; say where it begins."""
        etag = transfer.known.etag  # a weak one does not stand for the very bytes
        if not transfer.offset or etag is None or etag.startswith("W/"):
            return await self._ask("GET", trail), 0
        wanted = {"Range": f"bytes={transfer.offset}-", "If-Range": etag}
        answer = await self._ask("GET", trail, wanted)
        start, _ = rules.content_range(answer.headers.get("Content-Range"))
        if answer.status == 206 and start == transfer.offset:
            seen = answer.headers.get("ETag")
            if seen != etag:
                answer.close()
                reason = f"its etag was {etag!r} and is {seen!r}"
                raise RemoteChangedError(str(transfer), reason)
            return answer, transfer.offset
        if answer.status not in (206, 416):
            return answer, 0
        answer.close()  # another part than the one that was asked for, or none
        trail.restart()
        return await self._ask("GET", trail), 0

    async def send(self, file: Outgoing, path: Trail) -> RemoteInfo:
        """PUT a file; a server shows it when it is complete."""
        async with await self._ask("PUT", path, body=wire.Body(file)) as answer:
            if answer.status not in (200, 201, 204):
                raise path.failure(answer)
        return RemoteInfo()

    def listed(
        self, call: Callable[..., Any], remote: Remote, path: Trail
    ) -> dict[str, RemoteInfo]:
        """Follow the links of an index downwards.

        Its pages are read on the transfer's thread: the loop is everybody's.
        """
        found: dict[str, RemoteInfo] = {}
        tally, seen, pending = Tally(remote, **_MOST), {""}, [""]
        while pending:
            directory = pending.pop()
            if directory.count("/") > _DEEPEST:
                raise path.refusal(f"its index is over {_DEEPEST} directories deep")
            page = call(self._page, remote, path, directory)
            tally.add("bytes", len(page))
            for entry in entries(page, str(path.at), remote.check):
                below = directory + entry
                if below in seen:
                    continue
                seen.add(below)
                if below.endswith("/"):
                    tally.add("directories")
                    pending.append(below)
                else:
                    tally.add("files")
                    # An index rounds sizes and shows local times: no use for comparing.
                    found[below] = RemoteInfo()
        return found

    async def _page(self, remote: Remote, trail: Trail, directory: str) -> bytes:
        trail.restart(trail.parsed(remote.url + directory))
        async with await self._ask("GET", trail) as answer:
            if answer.status != 200:
                raise trail.failure(answer)
            if rules.media_type(answer.headers) not in rules.PAGE_TYPES:
                raise trail.refusal("the server shows no index of this directory")
            return await wire.page(remote, answer, _PAGE, trail.timeouts.idle)

    async def _ask(
        self,
        method: str,
        trail: Trail,
        headers: Mapping[str, str] | None = None,
        *,
        body: wire.Body | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request, follow redirects, and return the answer's head."""
        options = trail.options
        for _ in range(options.max_redirects + 1):
            at, proxy = trail.at, None
            if options.trust_env:
                proxy = wire.proxy_for(at.host or "", at.port, at.scheme, "all")
            trail.proxy = proxy
            guarded = trail.guarded and proxy is None  # it may have a private address
            try:
                answer = await self.request(
                    method,
                    at,
                    {**trail.headers, **(headers or {})},
                    trail.timeouts,
                    trail.trust,
                    guarded=guarded,
                    data=body,
                    proxy=proxy,
                    cookies=trail.cookies,
                )
            except aiohttp.ClientConnectorError as error:
                if guarded and error.os_error.errno == errno.EACCES:
                    raise trail.private() from error
                raise
            trail.heed(answer)
            if answer.status not in rules.REDIRECTS:
                return answer
            answer.close()
            if body is not None and answer.status not in rules.SAME_METHOD:
                reason = f"the server answered {answer.status}: a redirect to a page"
                raise trail.refusal(reason)
            await trail.follow(answer.headers.get("Location", ""))
        most = options.max_redirects
        raise trail.refusal(f"there are more than {most} redirects (max_redirects)")


def _described(
    transfer: Transfer, trail: Trail, answer: aiohttp.ClientResponse, start: int
) -> RemoteInfo:
    """Return what is told of a file; raise if the body is something else than it."""
    status, headers = answer.status, answer.headers
    if status != (206 if start else 200):
        raise trail.failure(answer)
    if rules.is_encoded(headers) and not trail.options.accept_encoded:
        encoding = headers["Content-Encoding"]
        raise trail.refusal(
            f"the server sends it with Content-Encoding {encoding!r} unasked; "
            f"accept_encoded = true takes it as it is sent"
        )
    if rules.is_unlikely(transfer.url, rules.media_type(headers)):
        transfer.warn(
            f"{transfer}: the server sent a page of HTML, perhaps one to log in; if "
            f"the file's sha256 or size were declared, that would be an error"
        )
    return rules.describe(status, headers)


def _is_proven(first: list[bytes], info: RemoteInfo) -> bool:
    """Whether a whole body is what its ETag names: its MD5, as object stores give it.

    Nothing else proves it. A server may read even a small file piece by piece, while
    it is overwritten.
    """
    if info.etag is None or len(info.etag) != _MD5_ETAG_LENGTH:
        return False
    digest = hashlib.md5(b"".join(first), usedforsecurity=False).hexdigest()
    return info.etag == f'"{digest}"'


def reach(remote: Remote) -> Place:
    """Say how to reach a URL. One filesystem serves all: it keeps no secrets."""
    trail = Trail(remote)
    if trail.options.insecure and remote.scheme == "https":
        warn_insecure(remote, "https: insecure = true")
    return Place("http", trail, HTTPFiles)
