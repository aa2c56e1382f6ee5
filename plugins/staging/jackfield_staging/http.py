"""Files on HTTP and HTTPS servers: GET, HEAD, PUT, and indexes as directories.

Plugin names: ``http`` and ``https``. Options: see ``HttpOptions``. Credentials:
``token`` (sent as a bearer's), or ``user`` and ``password``.

A file's first block comes with its head, and a file that has arrived is looked at once
more, so that no mixture of two versions is taken for either; a small file costs two
requests and one hand-over between threads. A later attempt goes on from what is there
if the server named that version by a strong ETag, which ``If-Range`` asks for again.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from jackfield import (
    ConfigurationError,
    Remote,
    RemoteInfo,
    Transfer,
    TransferError,
    hookimpl,
)
from jackfield.errors import RemoteChangedError, RemoteNotFoundError
from jackfield_staging import _http_rules as rules
from jackfield_staging import _loop
from jackfield_staging._http_index import entries
from jackfield_staging._http_options import HttpOptions, read_options

if TYPE_CHECKING:
    from jackfield_staging._http_client import Call

SCHEMES: Final = frozenset({"http", "https"})

_NO_HEAD: Final = frozenset({400, 403, 405, 501})
"""Statuses of servers that know no HEAD, or whose signed URLs are for GET alone."""

_MD5_ETAG_LENGTH: Final = 34
"""Of the quotes and 32 digits."""

_PAGE_LIMIT: Final = 64 << 20
"""Bytes that the index of one directory may have."""

log: Final = logging.getLogger("jackfield.staging.http")

_warned: set[str] = set()


def _client() -> ModuleType:
    try:
        from jackfield_staging import _http_client
    except ImportError as error:
        raise ConfigurationError(
            f"http and https need aiohttp: pip install 'jackfield[http]' ({error})"
        ) from error
    return _http_client


def _call(remote: Remote, options: HttpOptions) -> Call:
    made: Call = _client().Call(remote, options)
    return made


# -- stage in


@dataclass(frozen=True, slots=True)
class _Opened:
    """An answer to GET, as far as it came in one piece."""

    info: RemoteInfo
    start: int
    first: list[bytes]
    ended: bool


@hookimpl
def jackfield_stage_in(transfer: Transfer) -> RemoteInfo | None:
    """GET a file, or what is missing of it."""
    if transfer.scheme not in SCHEMES:
        return None
    options = read_options(transfer)
    with _call(transfer, options) as call:
        opened = _loop.run(transfer, _get(call, transfer, options))
        source = _bytes_of(opened, call, transfer)
        info = transfer.receive(source, opened.info, start=opened.start)
        if not opened.ended:
            info = _loop.run(transfer, _confirmed(call, transfer, info))
        return info


def _bytes_of(opened: _Opened, call: Call, transfer: Transfer) -> Iterator[bytes]:
    if opened.ended:
        return iter(opened.first)
    rest = _loop.blocks(transfer, call.block)
    return chain(opened.first, chain.from_iterable(rest))


async def _get(call: Call, transfer: Transfer, options: HttpOptions) -> _Opened:
    start = await _ask_for_rest(call, transfer)
    if start is None:
        start = 0
        await call.ask("GET")
    answer = call.response
    if answer.status != (206 if start else 200):
        raise rules.failure(str(transfer), answer.status, answer.headers)
    _check_content(transfer, options, answer.headers)
    info = rules.describe(answer.status, answer.headers)
    first, ended = await call.first()
    if ended and not start and _is_proven(first, info):
        info = replace(info, settled=True)
    elif ended:
        info = await _confirmed(call, transfer, info)
    return _Opened(info, start, first, ended)


async def _ask_for_rest(call: Call, transfer: Transfer) -> int | None:
    """Ask to go on; return where the answer begins, or ``None`` to ask for all.

    Raises:
        RemoteChangedError: The server gives a part of another version.
    """
    etag = transfer.known.etag
    if not transfer.offset or etag is None or not rules.is_strong(etag):
        return None
    wanted = {"Range": f"bytes={transfer.offset}-", "If-Range": etag}
    answer = await call.ask("GET", wanted)
    if answer.status == 206:
        start, _ = rules.content_range(answer.headers.get("Content-Range"))
        if start != transfer.offset:
            return None
        if answer.headers.get("ETag") != etag:
            seen = answer.headers.get("ETag")
            reason = f"its etag was {etag!r} and is {seen!r}"
            raise RemoteChangedError(str(transfer), reason)
        return start
    return None if answer.status == 416 else 0


def _check_content(
    transfer: Transfer, options: HttpOptions, headers: Mapping[str, str]
) -> None:
    """See that the body is the file, as far as the headers tell.

    Raises:
        TransferError: It is something else.
    """
    if rules.is_encoded(headers) and not options.accept_encoded:
        encoding = headers["Content-Encoding"]
        reason = (
            f"the server sends it with Content-Encoding {encoding!r} unasked; "
            f"accept_encoded = true takes it as it is sent"
        )
        raise TransferError(str(transfer), reason)
    kind = rules.media_type(headers)
    if options.expect_type:
        if not fnmatchcase(kind, options.expect_type.lower()):
            reason = f"it is {kind!r}; expected {options.expect_type!r} (expect_type)"
            raise TransferError(str(transfer), reason)
    elif rules.is_unlikely(transfer.url, kind):
        _warn_of_page(transfer)


def _warn_of_page(transfer: Transfer) -> None:
    host = urlsplit(transfer.url).hostname or ""
    if host not in _warned:
        _warned.add(host)
        log.warning(
            "%s: the server sent a page of HTML, perhaps one to log in; the option "
            "expect_type makes that an error",
            transfer,
        )


def _is_proven(first: list[bytes], info: RemoteInfo) -> bool:
    """Whether a whole body is what its ETag names: its MD5, as object stores give it.

    Nothing else proves it. A server may read even a small file piece by piece, while
    it is overwritten.
    """
    if info.etag is None or len(info.etag) != _MD5_ETAG_LENGTH:
        return False
    digest = hashlib.md5(usedforsecurity=False)
    for part in first:
        digest.update(part)
    return info.etag == f'"{digest.hexdigest()}"'


async def _confirmed(call: Call, transfer: Transfer, info: RemoteInfo) -> RemoteInfo:
    """Look again at a file that has arrived.

    The kernel would do it, too, but would be led to another mirror, whose copy has
    another date; and where all came in one piece, this saves a hand-over.

    Raises:
        RemoteChangedError: There is another version by now.
    """
    try:
        after = await _look(call, transfer, again=True)
        if info.differs(after):
            # Some servers answer HEAD with headers that are not those of GET.
            after = await _look(call, transfer, "GET", again=True)
    except RemoteNotFoundError as error:
        raise RemoteChangedError(str(transfer), "it is gone") from error
    difference = info.differs(after)
    if difference is not None:
        raise RemoteChangedError(str(transfer), difference)
    return replace(info, settled=info.etag is None or after.etag is not None)


# -- stat


@hookimpl
def jackfield_stat_file(remote: Remote) -> RemoteInfo | None:
    """Ask for a file's head; where HEAD is refused, for its first byte."""
    if remote.scheme not in SCHEMES:
        return None
    with _call(remote, read_options(remote)) as call:
        return _loop.run(remote, _look(call, remote))


async def _look(
    call: Call, remote: Remote, method: str = "HEAD", *, again: bool = False
) -> RemoteInfo:
    answer = None
    if method == "HEAD":
        answer = await call.ask("HEAD", again=again)
    if answer is None or answer.status in _NO_HEAD:
        answer = await call.ask("GET", {"Range": "bytes=0-0"}, again=again)
    if answer.status not in (200, 206, 416):
        raise rules.failure(str(remote), answer.status, answer.headers)
    return rules.describe(answer.status, answer.headers)


# -- stage out


@hookimpl
def jackfield_stage_out(transfer: Transfer) -> RemoteInfo | None:
    """PUT a file; a server shows it when it is complete."""
    if transfer.scheme not in SCHEMES:
        return None
    options = read_options(transfer)
    size = transfer.path.stat().st_size

    def send(pull: _loop.Pull) -> Coroutine[Any, Any, None]:
        return _put(call, transfer, options, call.body(pull, size))

    with _call(transfer, options) as call, transfer.open() as file:
        _loop.feed(transfer, file, send)
    return RemoteInfo()


async def _put(call: Call, transfer: Transfer, options: HttpOptions, body: Any) -> None:
    answer = await call.ask(options.method, body=body)
    if answer.status in (404, 409) and options.create_directories:
        await _make_directories(call, transfer)
        answer = await call.ask(options.method, body=body)
    if answer.status not in (200, 201, 204):
        raise rules.failure(str(transfer), answer.status, answer.headers)


async def _make_directories(call: Call, remote: Remote) -> None:
    for directory in call.directories:
        answer = await call.ask("MKCOL", at=directory)
        # 405: it is there. What is refused otherwise may be there as well, such as
        # the directories above the user's own; the PUT tells.
        if answer.status >= 500:
            raise rules.failure(str(remote), answer.status, answer.headers)


# -- directories


@hookimpl
def jackfield_list_files(remote: Remote) -> Mapping[str, RemoteInfo] | None:
    """Follow the links of an index downwards."""
    if remote.scheme not in SCHEMES:
        return None
    options = read_options(remote)
    with _call(remote, options) as call:
        return _loop.run(remote, _walk(call, remote, options))


async def _walk(
    call: Call, remote: Remote, options: HttpOptions
) -> dict[str, RemoteInfo]:
    found: dict[str, RemoteInfo] = {}
    pending = [""]
    while pending:
        directory = pending.pop()
        if directory.count("/") > options.list_depth:
            raise _beyond(remote, f"list_depth = {options.list_depth} directories deep")
        for entry in await _entries(call, remote, directory):
            if entry.endswith("/"):
                pending.append(directory + entry)
            else:
                # An index rounds sizes and shows local times: no use for comparing.
                found[remote.url + directory + entry] = RemoteInfo()
        if len(found) > options.list_files:
            raise _beyond(remote, f"list_files = {options.list_files} files")
    return found


def _beyond(remote: Remote, limit: str) -> TransferError:
    return TransferError(str(remote), f"its index has more than {limit}")


async def _entries(call: Call, remote: Remote, directory: str) -> list[str]:
    answer = await call.ask("GET", at=remote.url + directory)
    if answer.status != 200:
        raise rules.failure(str(remote), answer.status, answer.headers)
    if rules.media_type(answer.headers) not in rules.PAGE_TYPES:
        raise TransferError(str(remote), "the server shows no index of this directory")
    page = bytearray()
    while parts := await call.block():
        page += b"".join(parts)
        if len(page) > _PAGE_LIMIT:
            raise _beyond(remote, f"{_PAGE_LIMIT} bytes")
    return entries(page.decode(answer.charset or "utf-8", "replace"), call.url)


# -- the end


@hookimpl
def jackfield_kernel_closing() -> None:
    """Close the connections that are kept, unless another kernel uses some."""
    sessions = sys.modules.get("jackfield_staging._http_sessions")
    if sessions is not None:
        sessions.close_idle()
