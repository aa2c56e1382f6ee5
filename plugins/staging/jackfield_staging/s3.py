"""Objects in S3 and in stores that speak like it: ``s3://bucket/key``.

A key is written in a URL as it is, but for ``%``, ``?``, ``#``, ``*`` and control
characters, which are written ``%25``, ``%3F``, ``%23``, ``%2A`` and so on; anything
else may be. ``?versionId=...`` names one version of an object to stage in.

Credentials are those named in the configuration (``key``, ``secret`` and perhaps
``token``), else the URL's ``key:secret@``, else what botocore finds: the environment,
``~/.aws``, the machine's role. Options: see ``S3Options``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final

from jackfield import RemoteInfo, TransferError, hookimpl
from jackfield.errors import RemoteChangedError, RemoteNotFoundError
from jackfield_staging._escape import escape
from jackfield_staging._s3_client import Client, S3Options, client_of, close_idle
from jackfield_staging._s3_errors import explained
from jackfield_staging._s3_requests import (
    Target,
    exchange,
    object_of,
    target_of,
    told,
)
from jackfield_staging._s3_upload import upload
from jackfield_staging._s3_wire import blocks

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from jackfield import DataFlowKernel, Remote, Transfer

__all__ = ["S3Options"]

PARTIAL_CONTENT: Final = 206


@hookimpl
def jackfield_stage_in(transfer: Transfer) -> RemoteInfo | None:
    """Fetch an object in one request, which answers with one version of it."""
    if transfer.scheme != "s3":
        return None
    target = object_of(transfer)
    query = {"versionId": target.version} if target.version else None
    with client_of(transfer) as client, explained(transfer):
        headers = _rest(transfer)
        with exchange(
            client, transfer, "GET", target, headers, query=query
        ) as response:
            return _receive(transfer, response)


@hookimpl
def jackfield_stage_out(transfer: Transfer) -> RemoteInfo | None:
    """Send a file; the store shows it whole, or what was there before."""
    if transfer.scheme != "s3":
        return None
    target = object_of(transfer)
    if target.version:
        raise TransferError(str(transfer), "a version of an object cannot be written")
    with client_of(transfer) as client:
        try:
            with explained(transfer):
                return upload(client, transfer, target)
        except RemoteChangedError as error:  # nothing else is asked on condition
            reason = "there is an object already, and create_only is set"
            raise TransferError(str(transfer), reason) from error


@hookimpl
def jackfield_stat_file(remote: Remote) -> RemoteInfo | None:
    """Ask for an object's headers."""
    if remote.scheme != "s3":
        return None
    target = object_of(remote)
    with client_of(remote) as client, explained(remote):
        head = client.call(remote, "head_object", **_arguments(client, target))
    return RemoteInfo(head["ContentLength"], head["ETag"], _date(head["LastModified"]))


@hookimpl
def jackfield_list_files(remote: Remote) -> Mapping[str, RemoteInfo] | None:
    """List the objects below a prefix; keys that end with ``/`` are no files."""
    if remote.scheme != "s3":
        return None
    prefix = target_of(remote)
    with client_of(remote) as client, explained(remote):
        found = list(_list(client, remote, prefix))
    if prefix.key and not found:
        raise RemoteNotFoundError(str(remote), "no object's key begins with this")
    return {
        remote.url + escape(one["Key"][len(prefix.key) :]): RemoteInfo(
            one["Size"], one["ETag"], _date(one["LastModified"])
        )
        for one in found
        if not one["Key"].endswith("/")
    }


@hookimpl
def jackfield_kernel_closing(kernel: DataFlowKernel) -> None:  # noqa: ARG001  (the hook's)
    """Close the connections that no transfer is using."""
    close_idle()


def _rest(transfer: Transfer) -> dict[str, str]:
    """Ask for what is missing of the very version that has been begun."""
    if not transfer.offset or transfer.known.etag is None:
        return {}
    return {"Range": f"bytes={transfer.offset}-", "If-Match": transfer.known.etag}


def _receive(transfer: Transfer, response: HTTPResponse) -> RemoteInfo:
    body = blocks(transfer, response)
    if response.status != PARTIAL_CONTENT:
        return transfer.receive(body, told(response, response.length))
    span, _, size = response.headers.get("Content-Range", "").partition("/")
    if not span.startswith(f"bytes {transfer.offset}-") or not size.isdecimal():
        reason = f"the store sends {span!r}, not what comes after {transfer.offset}"
        raise TransferError(str(transfer), reason, transient=True)
    return transfer.receive(body, told(response, int(size)), start=transfer.offset)


def _list(client: Client, remote: Remote, prefix: Target) -> Iterator[dict[str, Any]]:
    arguments = _arguments(client, Target(prefix.bucket, ""))
    del arguments["Key"]
    arguments["Prefix"] = prefix.key
    while True:
        page = client.call(remote, "list_objects_v2", **arguments)
        yield from page.get("Contents", ())
        if not page.get("IsTruncated"):
            return
        arguments["ContinuationToken"] = page["NextContinuationToken"]


def _arguments(client: Client, target: Target) -> dict[str, Any]:
    arguments = {"Bucket": target.bucket, "Key": target.key}
    if target.version:
        arguments["VersionId"] = target.version
    if client.account.options.requester_pays:
        arguments["RequestPayer"] = "requester"
    return arguments


def _date(when: datetime) -> str:
    """Write a date as the headers of objects have it."""
    return format_datetime(when.astimezone(UTC), usegmt=True)
