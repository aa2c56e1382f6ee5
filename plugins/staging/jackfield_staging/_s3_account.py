"""One account's way to a store: s3fs's client, where buckets are, and signatures.

botocore finds credentials, regions and end points, and signs. What is asked for goes
over ``HTTPWire``: through botocore, a small object costs three times as much, and an
answer may be as large as it likes.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from botocore import exceptions as botocore
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.httpsession import where
from s3fs import S3FileSystem
from yarl import URL

from jackfield import ConfigurationError, Remote, TransferError, clock
from jackfield.errors import RemoteChangedError, RemoteForbiddenError
from jackfield_staging._core_files import Files, Runs
from jackfield_staging._core_trust import login_of, tls_context
from jackfield_staging._http_rules import failure, retry_after
from jackfield_staging._http_wire import Body, HTTPWire, explain, proxy_for, small

if TYPE_CHECKING:
    import ssl

    import aiohttp

    from jackfield.staging.remote import Timeouts

LEAST_PART: Final = 5 << 20  # bytes that a store takes as one of several parts
# Seconds that credentials are used before botocore is asked whether they end soon; it
# renews them many minutes before they do.
FRESH_S: Final = 60.0

MOST_TEXT: Final = 1 << 16
MEANT: Final = {
    **dict.fromkeys(("NoSuchKey", "NoSuchBucket", "NoSuchVersion"), 404),
    **dict.fromkeys(("ExpiredToken", "InvalidToken", "TokenRefreshRequired"), 403),
    **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted"), 503),
    **dict.fromkeys(("RequestTimeout", "SlowDown"), 503),
    **dict.fromkeys(("Throttling", "ThrottlingException"), 503),
}
NO_LOGIN: Final = (
    botocore.NoCredentialsError,
    botocore.CredentialRetrievalError,
    botocore.PartialCredentialsError,
    botocore.TokenRetrievalError,
)

NOTHING: Final = hashlib.sha256().hexdigest()  # of a body that there is not


@dataclass(frozen=True, slots=True)
class S3Options:
    """The table ``[staging.s3]``: see docs/staging.md."""

    endpoint_url: str = ""
    region: str = ""
    profile: str = ""
    anonymous: bool = False
    addressing_style: str = "auto"
    ca_file: str = ""
    verify: bool = True
    requester_pays: bool = False
    create_only: bool = False
    server_side_encryption: str = ""
    storage_class: str = ""
    part_size: int = 64 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """Who talks to a store, and how: what transfers share. It holds secrets."""

    options: S3Options
    timeouts: Timeouts
    login: ReadOnlyCredentials | None


@dataclass(frozen=True, slots=True)
class Target:
    """An object, or all whose keys begin alike."""

    bucket: str
    key: str
    version: str = ""

    @property
    def query(self) -> dict[str, str]:
        """What is asked for besides the key."""
        return {"versionId": self.version} if self.version else {}


class _Region(NamedTuple):
    """Where a bucket's objects are, and by what way."""

    base: str
    name: str  # what requests are signed for
    proxy: str | None  # kept, because looking for it costs as much as signing


class _Signer(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """botocore's, told what the body's digest is: it would read it on the loop."""

    def payload(self, request: Any) -> Any:
        return request.context["sha256"]


class S3Account(Files, S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """s3fs's filesystem with one account: its calls, and signed requests."""

    runs = Runs.LOOP
    cachable = False  # what fsspec caches is never closed

    def __init__(self, account: Account) -> None:
        super().__init__(**_arguments(account))
        self.account = account
        self.wire = HTTPWire()
        self._regions: dict[str, _Region] = {}
        self._credentials: tuple[float, Any] = 0.0, None

    def explain(self, remote: Remote, error: Exception) -> None:
        explain(remote, error)
        place, reason = str(remote), str(error) or type(error).__name__
        if isinstance(error, botocore.ClientError):  # of who lends credentials: STS
            told = error.response
            status = int(told.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            status = MEANT.get(told.get("Error", {}).get("Code", ""), status)
            raise failure(place, status, reason) from error
        if isinstance(error, NO_LOGIN):
            raise RemoteForbiddenError(place, f"no credentials: {reason}") from error
        if isinstance(error, botocore.BotoCoreError):
            broken = botocore.HTTPClientError | botocore.ConnectionError
            passing = not isinstance(error, botocore.SSLError)
            passing = passing and isinstance(error, broken)
            raise TransferError(place, reason, passing) from error

    async def leave(self) -> None:
        await self.wire.leave()
        if self._s3 is not None:
            await self._s3.close()

    async def told(
        self, remote: Remote, method: str, target: Target, *given: Any, **more: Any
    ) -> str:
        """Do what ``exchange`` does, and return the text that is answered: a short one.

        botocore would take one of any length.
        """
        answer = await self.exchange(remote, method, target, *given, **more)
        text = await self._text(answer)
        if "<Error>" in text:  # what takes long may fail when its head has been sent
            raise _refusal(remote, 500, text, answer)
        return text

    async def _text(self, answer: aiohttp.ClientResponse) -> str:
        data = await small(answer, MOST_TEXT, self.account.timeouts.idle)
        return data.decode("utf-8", "replace")

    async def exchange(
        self,
        remote: Remote,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        *,
        query: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
        sha256: str = NOTHING,
    ) -> aiohttp.ClientResponse:
        """Make a signed request about an object, and return the answer: a good one.

        Asks a second time where the bucket turns out to be in another region.
        """
        if self.account.options.requester_pays:
            headers = {**headers, "x-amz-request-payer": "requester"}
        tail = f"?{urlencode(query)}" if query else ""
        known = ""
        while True:
            region = await self._region(target.bucket)
            url = f"{region.base}/{quote(target.key, safe='/~')}{tail}"
            signed = await self._sign(region.name, method, url, headers, sha256)
            answer = await self.wire.request(
                method,
                URL(url, encoded=True),
                signed,
                self.account.timeouts,
                self._trust,
                data=body,
                proxy=region.proxy,
            )
            if answer.status < 300:
                return answer
            text = await self._text(answer)
            there = answer.headers.get("x-amz-bucket-region", element(text, "Region"))
            if known or there in ("", region.name):
                raise _refusal(remote, answer.status, text, answer)
            known = there
            await self._relocate(target.bucket, known)

    def _trust(self) -> ssl.SSLContext:
        """Trust whom botocore would trust."""
        given, verify = self.account.options.ca_file, self.account.options.verify
        usual = os.environ.get("AWS_CA_BUNDLE") or where()
        return tls_context(given or usual, insecure=not (given or verify))

    async def _region(self, bucket: str) -> _Region:
        """Say where a bucket is: read it off a URL that botocore makes, offline."""
        if bucket in self._regions:
            return self._regions[bucket]
        api = await self.set_session()
        named = {"Bucket": bucket, "Key": "k"}
        parts = urlsplit(await api.generate_presigned_url("get_object", Params=named))
        scope = parse_qs(parts.query).get("X-Amz-Credential", ["/////"])[0].split("/")
        base = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/k')}"
        port = parts.port or (443 if parts.scheme == "https" else 80)
        proxy = proxy_for(parts.hostname or "", port, parts.scheme)
        region = self._regions[bucket] = _Region(base, scope[-3], proxy)
        return region

    async def _relocate(self, bucket: str, name: str) -> None:
        """Take note that a bucket is in another region.

        botocore finds the end point there, when it is shown the store's refusal.
        """
        api = await self.set_session()
        with suppress(botocore.ClientError):  # who may read it may not look at it
            await api.head_bucket(Bucket=bucket)
        self._regions.pop(bucket, None)
        self._regions[bucket] = (await self._region(bucket))._replace(name=name)

    async def _sign(
        self,
        region: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        sha256: str,
    ) -> dict[str, str]:
        """Return the headers with a signature, which covers the body."""
        if self.account.options.anonymous:
            return dict(headers)
        made, login = self._credentials
        if login is None or clock.monotonic() - made > FRESH_S:
            login = await self._find_credentials()
            self._credentials = clock.monotonic(), login
        # botocore would read the host off the URL, at a quarter of what signing costs.
        host = {"Host": url.split("/", 3)[2]}
        request = AWSRequest(method, url, headers={**host, **headers})
        request.context["sha256"] = sha256
        _Signer(login, "s3", region).add_auth(request)
        return dict(request.headers.items())

    async def _find_credentials(self) -> Any:
        if self.account.login is not None:
            return self.account.login
        await self.set_session()
        session: Any = self.session  # set by then
        found = await session.get_credentials()
        if found is None:
            raise botocore.NoCredentialsError
        return await found.get_frozen_credentials()


def target_of(remote: Remote) -> Target:
    """Read a remote's URL, or raise that it names no bucket, or has an odd query."""
    parts = urlsplit(remote.url)
    bucket = parts.netloc.rpartition("@")[2]
    if not bucket or ":" in bucket:
        raise TransferError(str(remote), "it names no bucket; write s3://BUCKET/KEY")
    query = parse_qs(parts.query, keep_blank_values=True)
    version = query.pop("versionId", [""])[0]
    if query or parts.fragment:
        reason = "write a ? in a key as %3F, and a # as %23; only versionId= may follow"
        raise TransferError(str(remote), reason)
    try:
        return Target(bucket, unquote(parts.path, errors="strict")[1:], version)
    except UnicodeDecodeError as error:
        reason = "its key is no UTF-8, as those of objects have to be"
        raise TransferError(str(remote), reason) from error


def account_of(remote: Remote) -> Account:
    """Read a remote's options and credentials, or raise that an option is bad."""
    options = remote.read_options(S3Options)
    if options.part_size < LEAST_PART:
        raise ConfigurationError(
            f"staging.s3.part_size is {options.part_size}; stores take parts of "
            f"{LEAST_PART} bytes and more."
        )
    given, token = login_of(remote, "key", "secret"), remote.credentials.get("token")
    login = ReadOnlyCredentials(*given, token) if given else None
    return Account(options, remote.timeouts, login)


def _refusal(
    remote: Remote, status: int, text: str, answer: aiohttp.ClientResponse
) -> TransferError:
    """Return what a store means that does something else than it was asked for."""
    code = element(text, "Code") or answer.reason or ""
    told = ": ".join(filter(None, (code, element(text, "Message"))))
    reason = f"the store answers {status} {told}"
    if status in (412, 416):
        return RemoteChangedError(str(remote), reason)
    # Some stores answer 400 whatever is wrong. So the code in the text decides, and the
    # status only where that code means nothing to us.
    wait = retry_after(answer.headers.get("Retry-After"))
    return failure(str(remote), MEANT.get(code, status), reason, wait)


def element(text: str, name: str) -> str:
    """Return what the first element of a name holds, or nothing."""
    # No more of it than a sentence: a character's number may have a million digits.
    found = re.search(f"<{name}>([^<]{{,1000}})</{name}>", text)
    return html.unescape(found[1]).strip() if found else ""


def _arguments(account: Account) -> dict[str, Any]:
    """Return what s3fs makes such a client of."""
    options, timeouts = account.options, account.timeouts
    client: dict[str, Any] = {}
    if options.ca_file or not options.verify:  # else it would outrank AWS_CA_BUNDLE
        client["verify"] = options.ca_file or options.verify
    if options.region:
        client["region_name"] = options.region
    config: dict[str, Any] = {
        "connect_timeout": timeouts.connect,
        "read_timeout": timeouts.idle,
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "s3": {"addressing_style": options.addressing_style},
    }
    if not options.anonymous:
        config["signature_version"] = "s3v4"
    return {
        "anon": options.anonymous,
        "endpoint_url": options.endpoint_url or None,
        **dict(zip(("key", "secret", "token"), account.login or (), strict=False)),
        "client_kwargs": client,
        "config_kwargs": config,
        "asynchronous": True,  # or a finalizer would close it, also in a forked child
        "use_listings_cache": False,
        **({"profile": options.profile} if options.profile else {}),
    }
