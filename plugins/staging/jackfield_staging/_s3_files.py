"""Objects of S3: what a transfer asks for."""

from __future__ import annotations

import asyncio
import hashlib
import html
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from jackfield import Remote, RemoteInfo, Transfer, TransferError
from jackfield.errors import RemoteChangedError, RemoteNotFoundError, one_line
from jackfield_staging._core_files import BLOCK, Head, Place, Tally, escape
from jackfield_staging._core_trust import warn_insecure
from jackfield_staging._http_rules import content_range
from jackfield_staging._http_wire import Body, block, page, small
from jackfield_staging._s3_account import (
    MOST_TEXT,
    S3Account,
    Target,
    account_of,
    element,
    target_of,
)

if TYPE_CHECKING:
    import aiohttp

    from jackfield_staging._core_calls import Outgoing

MOST_PAGE: Final = 4 << 20  # bytes that a thousand keys of 1024 letters may take
MOST_PARTS: Final = 10_000
ABORT_S: Final = 5.0  # that a failed upload waits for its parts to be given up


class S3Files(S3Account):
    """s3fs's filesystem with what transfers need beyond it. A path is a ``Target``."""

    async def look(self, remote: Remote, path: Target) -> RemoteInfo:
        _check_key(remote, path)
        answer = await self.exchange(remote, "HEAD", path, {}, query=path.query)
        answer.release()
        return replace(_told(answer, answer.content_length), settled=False)

    def listed(
        self, call: Callable[..., Any], remote: Remote, path: Target
    ) -> dict[str, RemoteInfo]:
        """List the objects below a prefix; keys that end with ``/`` are no files.

        botocore would take a page of any size, and read it on the loop.
        """
        tally, found, token = Tally(remote), dict[str, RemoteInfo](), ""
        while True:
            data = call(self._page, remote, path, token)
            tally.add("bytes", len(data))
            try:
                objects, more = read_page(data)
            except (ValueError, LookupError, ArithmeticError, SyntaxError) as error:
                reason = f"its listing cannot be understood: {one_line(error)}"
                raise TransferError(str(remote), reason) from error
            tally.add("files", len(objects))
            found |= {key[len(path.key) :]: objects[key] for key in objects}
            if more in ("", token):
                break
            token = more
        if path.key and not found:
            raise RemoteNotFoundError(str(remote), "no object's key begins with this")
        return {escape(key): found[key] for key in found if key[-1:] not in ("", "/")}

    async def _page(self, remote: Remote, path: Target, token: str) -> bytes:
        """Ask for some of the keys that begin alike, from a token on."""
        query = {"encoding-type": "url", "list-type": "2", "prefix": path.key}
        query |= {"continuation-token": token} if token else {}
        whole = replace(path, key="")
        answer = await self.exchange(remote, "GET", whole, {}, query=query)
        return await page(remote, answer, MOST_PAGE, self.account.timeouts.idle)

    async def stream(self, transfer: Transfer, path: Target) -> AsyncGenerator[Any]:
        """Fetch an object in one request, which answers with one version of it."""
        _check_key(transfer, path)
        headers: dict[str, str] = {}
        if transfer.offset and transfer.known.etag is not None:
            rest = f"bytes={transfer.offset}-"
            headers = {"Range": rest, "If-Match": transfer.known.etag}
        answer = await self.exchange(transfer, "GET", path, headers, query=path.query)
        with closing(answer):
            size, start = answer.content_length, 0
            if answer.status == 206:
                span = answer.headers.get("Content-Range")
                begins, size = content_range(span)
                start = transfer.offset
                if begins != start or size is None:
                    reason = f"the store sends {span!r}, not what comes after {start}"
                    raise TransferError(str(transfer), reason, transient=True)
            yield Head(_told(answer, size), start)
            while parts := await block(answer, self.account.timeouts.idle):
                yield parts

    async def send(self, file: Outgoing, path: Target) -> RemoteInfo:
        """Send a file; the object is replaced at once or not at all."""
        remote, options = file.transfer, self.account.options
        _check_key(remote, path)
        if path.version:
            raise TransferError(str(remote), "a version of an object cannot be written")
        try:
            if file.size > options.part_size:
                return await self._send_in_parts(file, path)
            headers = {**self._wishes, **self._condition}
            answer = await self._store(file, path, (0, file.size), headers)
            return _told(answer, file.size)
        except RemoteChangedError as error:  # nothing else is asked on condition
            reason = "there is an object already, and create_only is set"
            raise TransferError(str(remote), reason) from error

    @property
    def _wishes(self) -> dict[str, str]:
        """The headers of what the user wishes for an object."""
        options = self.account.options
        wishes = {
            "x-amz-server-side-encryption": options.server_side_encryption,
            "x-amz-storage-class": options.storage_class,
        }
        return {name: value for name, value in wishes.items() if value}

    @property
    def _condition(self) -> dict[str, str]:
        return {"If-None-Match": "*"} if self.account.options.create_only else {}

    async def _store(
        self,
        file: Outgoing,
        target: Target,
        span: tuple[int, int],
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send an object or a part of one, ``span`` being its start and size."""
        held = file.held(*span)
        if held is None:
            digest = await file.work(_digest_of, *span)
        else:
            digest = hashlib.sha256(held).hexdigest()
        body = Body(file, *span) if held is None else held
        answer = await self.exchange(
            file.transfer, "PUT", target, headers, query=query, body=body, sha256=digest
        )
        await small(answer, MOST_TEXT, self.account.timeouts.idle)
        return answer

    async def _send_in_parts(self, file: Outgoing, target: Target) -> RemoteInfo:
        """Send parts one after another, of which the store makes an object at last."""
        remote, options = file.transfer, self.account.options
        step = max(options.part_size, -(-file.size // MOST_PARTS))
        told = partial(self.told, remote, "POST", target)
        upload = element(await told(self._wishes, query={"uploads": ""}), "UploadId")
        if not upload:
            raise TransferError(str(remote), "the store names no upload of parts")
        whole = "<CompleteMultipartUpload>"
        try:
            for number, start in enumerate(range(0, file.size, step), 1):
                span = start, min(step, file.size - start)
                query = {"partNumber": str(number), "uploadId": upload}
                answer = await self._store(file, target, span, {}, query)
                etag = html.escape(answer.headers.get("ETag", ""))
                part = f"<PartNumber>{number}</PartNumber><ETag>{etag}</ETag>"
                whole += f"<Part>{part}</Part>"
            body = f"{whole}</CompleteMultipartUpload>".encode()
            digest, query = hashlib.sha256(body).hexdigest(), {"uploadId": upload}
            done = await told(self._condition, query=query, body=body, sha256=digest)
        except BaseException:
            await self._give_up(remote, target, upload)
            raise
        return RemoteInfo(file.size, element(done, "ETag") or None, settled=True)

    async def _give_up(self, remote: Remote, target: Target, upload: str) -> None:
        """Have the store forget the parts, also when nobody wants the transfer now."""
        try:
            async with asyncio.timeout(ABORT_S):
                query = {"uploadId": upload}
                await self.told(remote, "DELETE", target, {}, query=query)
        except Exception as error:
            remote.warn(
                f"{remote}: the parts of a failed upload may be left there, as upload "
                f"{upload}: {one_line(error)}"
            )


def _check_key(remote: Remote, target: Target) -> None:
    if not target.key:
        raise TransferError(str(remote), "it names no object; write s3://BUCKET/KEY")


def _digest_of(file: BinaryIO, start: int, size: int) -> str:
    """Return the SHA-256 of a part of a file, which its signature covers."""
    digest = hashlib.sha256()
    file.seek(start)
    while size and (part := file.read(min(size, BLOCK))):
        digest.update(part)
        size -= len(part)
    return digest.hexdigest()


def _told(answer: aiohttp.ClientResponse, size: int | None) -> RemoteInfo:
    """Return what an answer with an object tells of it; it is of one version."""
    headers = answer.headers
    modified = headers.get("Last-Modified")
    return RemoteInfo(size, headers.get("ETag"), modified, settled=True)


def read_page(data: bytes) -> tuple[dict[str, RemoteInfo], str]:
    """Read a page of a listing: its objects by key, and the next one's token, if any.

    What it raises where the page is none is of many sorts.
    """
    if b"<!DOCTYPE" in data:  # of which stores have none: it could define anything
        raise ValueError("there is a DOCTYPE in it")
    top = ElementTree.fromstring(data)  # noqa: S314  (no definitions, and not too large)
    plain = top.findtext("{*}EncodingType") != "url"
    objects = {}
    for one in top.iterfind("{*}Contents"):
        told = {part.tag.rpartition("}")[2]: part.text or "" for part in one}
        when = datetime.fromisoformat(told["LastModified"]).astimezone(UTC)
        date = format_datetime(when, usegmt=True)  # as in the headers of objects
        info = RemoteInfo(int(told["Size"]), told.get("ETag"), date)
        objects[told["Key"] if plain else unquote_plus(told["Key"])] = info
    more = top.findtext("{*}IsTruncated", "").strip() == "true"
    return objects, top.findtext("{*}NextContinuationToken", "") if more else ""


def reach(remote: Remote) -> Place:
    """Say how to reach a URL, and by which account."""
    target, account = target_of(remote), account_of(remote)
    if not account.options.verify:
        warn_insecure(remote, "s3: verify = false")
    return Place(account, target, lambda: S3Files(account))
