"""Sending a file to S3: in one request, or in parts that are all or nothing."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import logging
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from fsspec.asyn import get_loop

from jackfield import RemoteInfo
from jackfield_staging._s3_requests import exchange, told

if TYPE_CHECKING:
    from jackfield import Transfer
    from jackfield_staging._s3_client import Client, S3Options
    from jackfield_staging._s3_requests import Target

log: logging.Logger = logging.getLogger("jackfield.staging.s3")

MOST_PARTS: Final = 10_000
ABORT_S: Final = 5.0
"""Seconds that a failed upload waits for its parts to be given up."""


class Section(io.RawIOBase):
    """Some bytes of a file, as a body to be signed and sent."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file: BinaryIO = file
        self._start: int = start
        self._size: int = size
        self._position: int = 0
        file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        self._position = base[whence] + offset
        self._file.seek(self._start + self._position)
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._position
        data = self._file.read(left if size < 0 else min(size, left))
        if left and not data:
            raise OSError(f"the file became shorter while it was sent: {left} bytes")
        self._position += len(data)
        return data


def upload(client: Client, transfer: Transfer, target: Target) -> RemoteInfo:
    """Send the transfer's file; the object is replaced at once or not at all."""
    options = client.account.options
    with transfer.open() as file:
        size = os.fstat(file.fileno()).st_size
        if size <= options.part_size:
            return _upload_whole(client, transfer, target, file, size)
        return _upload_parts(client, transfer, target, file, size)


def _upload_whole(
    client: Client, transfer: Transfer, target: Target, file: BinaryIO, size: int
) -> RemoteInfo:
    headers = {"Content-Length": str(size), **_wishes(client.account.options)}
    body = Section(file, 0, size) if size else None
    with exchange(client, transfer, "PUT", target, headers, body=body) as response:
        response.read()
        return told(response, size)


def _upload_parts(
    client: Client, transfer: Transfer, target: Target, file: BinaryIO, size: int
) -> RemoteInfo:
    name = {"Bucket": target.bucket, "Key": target.key, **_payer(client)}
    wishes = _arguments(client.account.options)
    begun = client.call(transfer, "create_multipart_upload", **name, **wishes)
    name["UploadId"] = begun["UploadId"]
    try:
        parts = _send_parts(client, transfer, target, file, size, begun["UploadId"])
        if client.account.options.create_only:
            name["IfNoneMatch"] = "*"
        done = client.call(
            transfer,
            "complete_multipart_upload",
            **name,
            MultipartUpload={"Parts": parts},
        )
    except BaseException:
        name.pop("IfNoneMatch", None)
        _give_up(client, transfer, name)
        raise
    return RemoteInfo(size, done.get("ETag"), settled=True)


def _send_parts(
    client: Client,
    transfer: Transfer,
    target: Target,
    file: BinaryIO,
    size: int,
    upload_id: str,
) -> list[dict[str, Any]]:
    """Send the parts one after another; return what completes them."""
    step = max(client.account.options.part_size, -(-size // MOST_PARTS))
    parts: list[dict[str, Any]] = []
    for number, start in enumerate(range(0, size, step), 1):
        length = min(step, size - start)
        body = Section(file, start, length)
        headers = {"Content-Length": str(length)}
        query = {"partNumber": str(number), "uploadId": upload_id}
        with exchange(
            client, transfer, "PUT", target, headers, query=query, body=body
        ) as response:
            response.read()
            parts.append({"PartNumber": number, "ETag": response.headers["ETag"]})
    return parts


def _give_up(client: Client, transfer: Transfer, name: dict[str, Any]) -> None:
    """Have the store forget the parts, also when nobody wants the transfer any more."""
    aborting = asyncio.run_coroutine_threadsafe(
        client.ask("abort_multipart_upload", name), get_loop()
    )
    try:
        aborting.result(ABORT_S)
    except (Exception, concurrent.futures.CancelledError) as error:
        log.warning(
            "%s: the parts of a failed upload may be left there, as upload %s: %s",
            transfer,
            name["UploadId"],
            error or type(error).__name__,
        )


def _wishes(options: S3Options) -> dict[str, str]:
    """Return the headers that say how an object is to be kept."""
    wishes = {
        "If-None-Match": "*" if options.create_only else "",
        "x-amz-server-side-encryption": options.server_side_encryption,
        "x-amz-storage-class": options.storage_class,
    }
    return {name: value for name, value in wishes.items() if value}


def _arguments(options: S3Options) -> dict[str, str]:
    """Return the same for botocore; whether it may exist is asked at the end."""
    wishes = {
        "ServerSideEncryption": options.server_side_encryption,
        "StorageClass": options.storage_class,
    }
    return {name: value for name, value in wishes.items() if value}


def _payer(client: Client) -> dict[str, str]:
    pays = client.account.options.requester_pays
    return {"RequestPayer": "requester"} if pays else {}
