"""Objects of S3: what a transfer asks for."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from jackfield import Remote, RemoteInfo, Transfer, TransferError
from jackfield.errors import RemoteChangedError, RemoteNotFoundError
from jackfield_staging._core_files import BLOCK, Stream, escape
from jackfield_staging._http_wire import SLICE, Body, block, first_block
from jackfield_staging._s3_account import S3Account

if TYPE_CHECKING:
    import aiohttp

    from jackfield_staging._core_calls import Outgoing
    from jackfield_staging._s3_address import Target

log: Final = logging.getLogger("jackfield.staging.s3")

MOST_PARTS: Final = 10_000
ABORT_S: Final = 5.0  # that a failed upload waits for its parts to be given up
SOON_READ: Final = (
    1 << 16
)  # bytes whose digest takes less time than a change of threads


class S3Files(S3Account):
    """s3fs's filesystem with what transfers need beyond it. A path is a ``Target``."""

    async def look(self, remote: Remote, path: Target) -> RemoteInfo:
        named = _object(remote, path)
        if path.version:
            named["VersionId"] = path.version
        head = await self.ask(remote, "head_object", **named)
        modified = _date(head["LastModified"])
        return RemoteInfo(head["ContentLength"], head["ETag"], modified)

    async def below(self, remote: Remote, path: Target) -> dict[str, RemoteInfo]:
        """List the objects below a prefix; keys that end with ``/`` are no files."""
        named: dict[str, str] = {"Bucket": path.bucket, "Prefix": path.key}
        found: list[dict[str, Any]] = []
        more = True
        while more:
            page = await self.ask(remote, "list_objects_v2", **named)
            found += page.get("Contents", ())
            more = bool(page.get("IsTruncated"))
            named["ContinuationToken"] = page.get("NextContinuationToken", "")
        if path.key and not found:
            raise RemoteNotFoundError(str(remote), "no object's key begins with this")
        return {
            escape(one["Key"][len(path.key) :]): RemoteInfo(
                one["Size"], one["ETag"], _date(one["LastModified"])
            )
            for one in found
            if not one["Key"].endswith("/")
        }

    async def stream(self, transfer: Transfer, path: Target) -> Stream:
        """Fetch an object in one request, which answers with one version of it."""
        _object(transfer, path)
        headers: dict[str, str] = {}
        if transfer.offset and transfer.known.etag is not None:
            rest = f"bytes={transfer.offset}-"
            headers = {"Range": rest, "If-Match": transfer.known.etag}
        query = {"versionId": path.version} if path.version else None
        answer = await self.exchange(transfer, "GET", path, headers, query=query)
        try:
            size, start = answer.content_length, 0
            if answer.status == 206:
                size, start = _size_of_all(transfer, answer), transfer.offset
            info = _told(answer, size)
            first, ended = await first_block(answer)
        except BaseException:
            answer.close()
            raise
        if ended:
            return Stream(info, start, first)
        return Stream(info, start, first, lambda: block(answer), close=answer.close)

    async def send(self, file: Outgoing, path: Target) -> RemoteInfo:
        """Send a file; the object is replaced at once or not at all."""
        remote, options = file.transfer, self.account.options
        _object(remote, path)
        if path.version:
            raise TransferError(str(remote), "a version of an object cannot be written")
        try:
            if file.size > options.part_size:
                return await self._send_in_parts(file, path)
            wishes = {
                "If-None-Match": "*" if options.create_only else "",
                "x-amz-server-side-encryption": options.server_side_encryption,
                "x-amz-storage-class": options.storage_class,
            }
            headers = {name: value for name, value in wishes.items() if value}
            answer = await self._store(file, path, (0, file.size), headers)
            return _told(answer, file.size)
        except RemoteChangedError as error:  # nothing else is asked on condition
            reason = "there is an object already, and create_only is set"
            raise TransferError(str(remote), reason) from error

    async def _store(
        self,
        file: Outgoing,
        target: Target,
        span: tuple[int, int],
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send an object or a part of one, ``span`` being its start and size."""
        remote, held = file.transfer, file.held(*span)
        body = held if held and len(held) <= SLICE else Body(file, *span)
        digest = await _digest(file, *span)
        answer = await self.exchange(
            remote, "PUT", target, headers, query=query, body=body, sha256=digest
        )
        await answer.read()
        return answer

    async def _send_in_parts(self, file: Outgoing, target: Target) -> RemoteInfo:
        """Send parts one after another, of which the store makes an object at last."""
        remote, options = file.transfer, self.account.options
        step = max(options.part_size, -(-file.size // MOST_PARTS))
        named, wishes = _object(remote, target), {}
        if options.server_side_encryption:
            wishes["ServerSideEncryption"] = options.server_side_encryption
        if options.storage_class:
            wishes["StorageClass"] = options.storage_class
        begun = await self.ask(remote, "create_multipart_upload", **named, **wishes)
        upload = named["UploadId"] = begun["UploadId"]
        parts: list[dict[str, Any]] = []
        end: dict[str, Any] = {"MultipartUpload": {"Parts": parts}}
        if options.create_only:
            end["IfNoneMatch"] = "*"
        try:
            for number, start in enumerate(range(0, file.size, step), 1):
                span = start, min(step, file.size - start)
                query = {"partNumber": str(number), "uploadId": upload}
                answer = await self._store(file, target, span, {}, query)
                parts.append({"PartNumber": number, "ETag": answer.headers["ETag"]})
            done = await self.ask(remote, "complete_multipart_upload", **named, **end)
        except BaseException:
            await self._give_up(remote, named)
            raise
        return RemoteInfo(file.size, done.get("ETag"), settled=True)

    async def _give_up(self, remote: Remote, named: Mapping[str, str]) -> None:
        """Have the store forget the parts, also when nobody wants the transfer now."""
        try:
            async with asyncio.timeout(ABORT_S):
                await self.ask(remote, "abort_multipart_upload", **named)
        except Exception as error:
            log.warning(
                "%s: the parts of a failed upload may be left there, as upload %s: %s",
                remote,
                named["UploadId"],
                error or type(error).__name__,
            )


def _object(remote: Remote, target: Target) -> dict[str, str]:
    """Return what botocore calls an object, or raise that there is no key."""
    if not target.key:
        raise TransferError(str(remote), "it names no object; write s3://BUCKET/KEY")
    return {"Bucket": target.bucket, "Key": target.key}


async def _digest(file: Outgoing, start: int, size: int) -> str:
    """Return the SHA-256 of a part of a file, which its signature covers."""
    held = file.held(start, size) if size <= SOON_READ else None
    if held is not None:
        return hashlib.sha256(held).hexdigest()
    return await file.work(_digest_of, start, size)


def _digest_of(file: BinaryIO, start: int, size: int) -> str:
    digest = hashlib.sha256()
    file.seek(start)
    while size and (part := file.read(min(size, BLOCK))):
        digest.update(part)
        size -= len(part)
    return digest.hexdigest()


def _size_of_all(transfer: Transfer, answer: aiohttp.ClientResponse) -> int:
    """Return the size of an object of which the right part is coming, or raise."""
    span, _, size = answer.headers.get("Content-Range", "").partition("/")
    if not span.startswith(f"bytes {transfer.offset}-") or not size.isdecimal():
        reason = f"the store sends {span!r}, not what comes after {transfer.offset}"
        raise TransferError(str(transfer), reason, transient=True)
    return int(size)


def _told(answer: aiohttp.ClientResponse, size: int | None) -> RemoteInfo:
    """Return what an answer with an object tells of it; it is of one version."""
    headers = answer.headers
    modified = headers.get("Last-Modified")
    return RemoteInfo(size, headers.get("ETag"), modified, settled=True)


def _date(when: datetime) -> str:
    """Write a date as the headers of objects have it."""
    return format_datetime(when.astimezone(UTC), usegmt=True)
