"""Names of S3 objects, and signed requests for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from jackfield import RemoteInfo, TransferError
from jackfield_staging._s3_errors import read_refusal

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from jackfield import Remote
    from jackfield_staging._s3_client import Client

ERROR_STATUS: Final = 300


@dataclass(frozen=True, slots=True)
class Target:
    """An object, or all whose keys begin alike."""

    bucket: str
    key: str
    version: str = ""


def target_of(remote: Remote) -> Target:
    """Read a remote's URL.

    Raises:
        TransferError: It names no bucket, or has a query or fragment with a meaning
            that is not known.
    """
    parts = urlsplit(remote.url)
    bucket = parts.netloc.rpartition("@")[2]
    if not bucket or ":" in bucket:
        raise TransferError(str(remote), "it names no bucket; write s3://BUCKET/KEY")
    query = parse_qs(parts.query, keep_blank_values=True)
    version = query.pop("versionId", [""])[0]
    if query or parts.fragment:
        reason = "write a ? in a key as %3F, and a # as %23; only versionId= may follow"
        raise TransferError(str(remote), reason)
    return Target(bucket, unquote(parts.path)[1:], version)


def object_of(remote: Remote) -> Target:
    """Read the URL of one object.

    Raises:
        TransferError: As for ``target_of``, or there is no key.
    """
    target = target_of(remote)
    if not target.key:
        raise TransferError(str(remote), "it names no object; write s3://BUCKET/KEY")
    return target


@contextmanager
def exchange(
    client: Client,
    remote: Remote,
    method: str,
    target: Target,
    headers: Mapping[str, str],
    *,
    query: Mapping[str, str] | None = None,
    body: Any = None,
) -> Iterator[HTTPResponse]:
    """Make a request about an object and give the answer, which is a good one.

    Asks a second time where the bucket turns out to be in another region.

    Raises:
        TransferError: The store refuses, or the connection fails.
    """
    if client.account.options.requester_pays:
        headers = {**headers, "x-amz-request-payer": "requester"}
    path = f"/{quote(target.key, safe='/~')}"
    path += f"?{urlencode(query)}" if query else ""
    for again in (True, False):
        place = client.place(remote, target.bucket)
        url = place.base + path
        signed = _sign(client, remote, place.region, method, url, headers, body)
        with client.connections.request(remote, method, url, signed, body) as response:
            if response.status < ERROR_STATUS:
                yield response
                return
            refusal = read_refusal(response)
        if not again or refusal.region in ("", place.region):
            raise refusal.error(remote)
        client.relocate(remote, target.bucket, refusal.region)


def _sign(
    client: Client,
    remote: Remote,
    region: str,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: Any,
) -> dict[str, str]:
    """Return the headers with a signature, which covers the body."""
    from botocore.awsrequest import AWSRequest

    signer = client.signer(remote, region)
    if signer is None:
        return dict(headers)
    request = AWSRequest(method, url, headers=dict(headers), data=body)
    signer.add_auth(request)
    return dict(request.headers.items())


def told(response: HTTPResponse, size: int | None) -> RemoteInfo:
    """Return what an answer with an object tells of it; it is of one version."""
    headers = response.headers
    modified = headers.get("Last-Modified")
    return RemoteInfo(size, headers.get("ETag"), modified, settled=True)
