"""Which object an S3 URL names, and what the configuration says about reaching it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

from jackfield import ConfigurationError, Remote, TransferError

if TYPE_CHECKING:
    from jackfield.staging.remote import Timeouts

LEAST_PART: Final = 5 << 20  # bytes that a store takes as one of several parts


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
    key: str | None
    secret: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """An object, or all whose keys begin alike."""

    bucket: str
    key: str
    version: str = ""


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
    return Account(options, remote.timeouts, *_credentials(remote))


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
