"""S3 accounts: one client of s3fs for each way of talking to a store.

botocore finds credentials, regions and end points, signs, and makes the calls about
objects. The bytes of objects go over connections of ``_s3_wire``: through botocore
and the one thread of all its coroutines, a small object costs three times as much.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from fsspec.asyn import get_loop

from jackfield import ConfigurationError
from jackfield_staging import _loop
from jackfield_staging._s3_wire import Connections

if TYPE_CHECKING:
    from botocore.auth import S3SigV4Auth
    from s3fs import S3FileSystem

    from jackfield import Remote
    from jackfield.staging.remote import Timeouts

POOL_SIZE: Final = 64
"""Requests that one client has under way at most; botocore's 10 would queue them."""

FRESH_S: Final = 60.0
"""Seconds that credentials are used before botocore is asked whether they end soon;
it renews them many minutes before they do."""

CLOSING_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class S3Options:
    """The table ``[staging.s3]``.

    Attributes:
        endpoint_url: The store, if it is not Amazon's: ``"https://s3.example.org"``.
        region: Its region. A bucket in another one is found, by one more request.
        profile: Which profile of ``~/.aws`` to take instead of the default one.
        anonymous: Whether to send no credentials at all, for public buckets.
        addressing_style: ``"path"``, ``"virtual"`` or ``"auto"``.
        ca_file: Certificates to trust instead of the usual ones.
        verify: Whether to verify the store's certificate. Only ever to be turned off
            to find a fault.
        requester_pays: Whether to agree to pay for what is read.
        create_only: Whether to send an output only where there is no object yet.
        server_side_encryption: How outputs are encrypted: ``"AES256"``, ``"aws:kms"``.
        storage_class: Where outputs are kept: such as ``"STANDARD_IA"``.
        part_size: Bytes up to which an output is sent in one request; a larger one
            is sent in parts of this many.
    """

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
    """What tells one client from another; it holds secrets."""

    options: S3Options
    timeouts: Timeouts
    key: str | None
    secret: str | None
    token: str | None
    pid: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket's objects are, and what requests to it are signed for."""

    base: str
    region: str


@dataclass(eq=False, repr=False)
class Client:
    """One account's client, shared by all transfers that use it."""

    account: Account
    filesystem: S3FileSystem
    connections: Connections
    users: int = 0
    places: dict[str, Place] = field(default_factory=dict)
    _signers: dict[str, tuple[float, S3SigV4Auth]] = field(default_factory=dict)
    _api: Any = None

    def call(self, remote: Remote, operation: str, **arguments: Any) -> Any:
        """Make one call of botocore's and return its answer."""
        return _loop.run(remote, self.ask(operation, arguments))

    def place(self, remote: Remote, bucket: str) -> Place:
        """Say where a bucket is. The first time, botocore works it out, offline."""
        place = self.places.get(bucket)
        if place is None:
            place = self.places[bucket] = self._find(remote, bucket)
        return place

    def relocate(self, remote: Remote, bucket: str, region: str) -> None:
        """Take note that a bucket is in another region.

        botocore finds the end point there, when it is shown the store's refusal.
        """
        from botocore.exceptions import ClientError

        with suppress(ClientError):  # who may read it may not look at it
            self.call(remote, "head_bucket", Bucket=bucket)
        self.places[bucket] = Place(self._find(remote, bucket).base, region)

    def signer(self, remote: Remote, region: str) -> S3SigV4Auth | None:
        """Return what signs requests to a region; ``None`` if nothing is signed."""
        if self.account.options.anonymous:
            return None
        made, signer = self._signers.get(region, (0.0, None))
        if signer is None or time.monotonic() - made > FRESH_S:
            signer = self._sign_for(remote, region)
            self._signers[region] = time.monotonic(), signer
        return signer

    def close(self) -> None:
        """Close its connections."""
        self.connections.close()
        if self._api is not None:
            closing = asyncio.run_coroutine_threadsafe(self._api.close(), get_loop())
            closing.result(CLOSING_S)

    async def ask(self, operation: str, arguments: dict[str, Any]) -> Any:
        """Make one call, as a coroutine for the loop of fsspec."""
        self._api = await self.filesystem.set_session()
        return await getattr(self._api, operation)(**arguments)

    def _find(self, remote: Remote, bucket: str) -> Place:
        """Read the place off a URL that botocore makes for an object there."""
        arguments = {
            "ClientMethod": "get_object",
            "Params": {"Bucket": bucket, "Key": "k"},
        }
        parts = urlsplit(self.call(remote, "generate_presigned_url", **arguments))
        scope = parse_qs(parts.query).get("X-Amz-Credential", ["/////"])[0].split("/")
        base = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/k')}"
        return Place(base, scope[-3])

    def _sign_for(self, remote: Remote, region: str) -> S3SigV4Auth:
        from botocore.auth import S3SigV4Auth
        from botocore.exceptions import NoCredentialsError

        credentials = _loop.run(remote, self._credentials())
        if credentials is None:
            raise NoCredentialsError
        return S3SigV4Auth(credentials, "s3", region)

    async def _credentials(self) -> Any:
        from botocore.credentials import ReadOnlyCredentials

        account = self.account
        if account.key is not None:
            return ReadOnlyCredentials(account.key, account.secret, account.token)
        self._api = await self.filesystem.set_session()
        session: Any = self.filesystem.session  # set by then
        found = await session.get_credentials()
        return found and await found.get_frozen_credentials()


_clients: dict[Account, Client] = {}
_lock: threading.Lock = threading.Lock()


@contextmanager
def client_of(remote: Remote) -> Iterator[Client]:
    """Lend the client that a remote's options and credentials call for."""
    account = _account(remote)
    with _lock:
        client = _clients.get(account)
        if client is None:
            client = _clients[account] = _open(account)
        client.users += 1
    try:
        yield client
    finally:
        with _lock:
            client.users -= 1


def close_idle() -> None:
    """Close the clients that no transfer uses at the moment."""
    with _lock:
        idle = [account for account, client in _clients.items() if not client.users]
        closing = [_clients.pop(account) for account in idle]
    for client in closing:
        if client.account.pid == os.getpid():
            client.close()


def _account(remote: Remote) -> Account:
    options = remote.read_options(S3Options)
    if options.part_size < 5 << 20:
        raise ConfigurationError(
            f"staging.s3.part_size is {options.part_size}; stores take parts of "
            f"{5 << 20} bytes and more."
        )
    key, secret, token = _credentials(remote)
    return Account(options, remote.timeouts, key, secret, token, os.getpid())


def _credentials(remote: Remote) -> tuple[str | None, str | None, str | None]:
    """Return key, secret and token: by name, or from the URL; else none."""
    named = remote.credentials
    if "key" in named:
        return named["key"], named.get("secret"), named.get("token")
    login, mark, _ = urlsplit(remote.url).netloc.rpartition("@")
    if not mark:
        return None, None, None
    key, _, secret = login.partition(":")
    return unquote(key), unquote(secret), None


def _open(account: Account) -> Client:
    try:
        from s3fs import S3FileSystem
    except ImportError as error:
        raise ConfigurationError(
            "s3: URLs need s3fs: pip install 'jackfield[s3]'"
        ) from error
    options = account.options
    profile: dict[str, Any] = {"profile": options.profile} if options.profile else {}
    filesystem = S3FileSystem(
        anon=options.anonymous,
        endpoint_url=options.endpoint_url or None,
        key=account.key,
        secret=account.secret,
        token=account.token,
        client_kwargs=_client_arguments(options),
        config_kwargs=_configuration(account),
        skip_instance_cache=True,
        use_listings_cache=False,
        **profile,
    )
    verify = options.ca_file or options.verify
    return Client(account, filesystem, Connections(account.timeouts, verify))


def _client_arguments(options: S3Options) -> dict[str, Any]:
    arguments: dict[str, Any] = {"verify": options.ca_file or options.verify}
    if options.ca_file == "" and options.verify:
        del arguments["verify"]  # or it would outrank AWS_CA_BUNDLE
    if options.region:
        arguments["region_name"] = options.region
    return arguments


def _configuration(account: Account) -> dict[str, Any]:
    configuration: dict[str, Any] = {
        "connect_timeout": account.timeouts.connect,
        "read_timeout": account.timeouts.idle,
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "max_pool_connections": POOL_SIZE,
        "s3": {"addressing_style": account.options.addressing_style},
    }
    if not account.options.anonymous:
        configuration["signature_version"] = "s3v4"
    return configuration
