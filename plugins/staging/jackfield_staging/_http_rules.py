"""What HTTP's headers and statuses mean for a transfer. Knows no library.

After RFC 9110: sections 8.8 (validators), 10.2.3 (Retry-After), 14.4 (Content-Range),
15 (statuses).
"""

from __future__ import annotations

import ipaddress
import mimetypes
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from jackfield import RemoteInfo, TransferError
from jackfield.errors import RemoteForbiddenError, RemoteNotFoundError

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
SAME_METHOD: Final = frozenset({307, 308})  # a body is sent there again

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64: Final = ipaddress.IPv6Network("64:ff9b:1::/48")

_MISSING: Final = frozenset({404, 410})
_FORBIDDEN: Final = frozenset({401, 403, 407})
_TRANSIENT: Final = frozenset({408, 423, 425, 429})
_UNABLE: Final = frozenset({501, 505})  # what a server will answer the next time, too

_RANGE: Final = re.compile(r"bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)", re.IGNORECASE)
_MOST_DIGITS: Final = 18
PAGE_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})
_PAGE_SUFFIXES: Final = frozenset(
    {"", ".asp", ".aspx", ".cgi", ".htm", ".html", ".jsp", ".php", ".shtml", ".xhtml"}
)


def describe(status: int, headers: Mapping[str, str]) -> RemoteInfo:
    """Return what an answer with a file, or with a part of it, tells of the whole."""
    size = _whole_number(headers.get("Content-Length"))
    if status in (206, 416):
        size = content_range(headers.get("Content-Range"))[1]
    if is_encoded(headers):
        size = None  # it is that of what is sent, not of the file
    return RemoteInfo(size, headers.get("ETag"), headers.get("Last-Modified"))


def content_range(value: str | None) -> tuple[int | None, int | None]:
    """Return where a partial body begins and how long the whole file is."""
    found = _RANGE.fullmatch((value or "").strip())
    if found is None:
        return None, None
    return _whole_number(found[1]), _whole_number(found[3])


def _whole_number(text: str | None) -> int | None:
    """Read a number; one of more digits than any size has is taken for a large one."""
    if not (text and text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) <= _MOST_DIGITS else 10**_MOST_DIGITS


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Whether the body is something else than the file, such as compressed."""
    coding = headers.get("Content-Encoding", "").strip().lower()
    return coding not in ("", "identity")


def retry_after(value: str | None) -> float | None:
    """Return in how many seconds a server wants to be asked again."""
    number = _whole_number((value or "").strip())
    if number is not None:
        return float(number)
    try:
        moment = parsedate_to_datetime(value or "")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


def failure(
    url: str, status: int, reason: str, retry_after: float | None = None
) -> TransferError:
    """Return the error that a status stands for, as one for ``url``, as it is shown."""
    if status in _MISSING:
        return RemoteNotFoundError(url, reason)
    if status in _FORBIDDEN:
        return RemoteForbiddenError(url, reason)
    later = status in _TRANSIENT or (status >= 500 and status not in _UNABLE)
    return TransferError(url, reason, later, retry_after if later else None)


def media_type(headers: Mapping[str, str]) -> str:
    """Return the type of a body without its parameters, or ``""``."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def is_unlikely(url: str, kind: str) -> bool:
    """Whether a page of text has come for a URL that is named like something else."""
    if kind not in PAGE_TYPES:
        return False
    name = PurePosixPath(unquote(urlsplit(url).path))
    page = name.suffix.lower() in _PAGE_SUFFIXES
    return not page and mimetypes.guess_type(name.name)[0] not in PAGE_TYPES


def is_public(address: str) -> bool:
    """Whether an IP address is one of the whole internet's.

    One of version 6 may hold one of version 4, to which gateways pass on what is sent
    to it. Then that one has to be public, too.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped.is_global
        if ip in _LOCAL_NAT64 or not all(one.is_global for one in _embedded(ip)):
            return False
    return ip.is_global and not ip.is_multicast


def _embedded(ip: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """Give the addresses of version 4 in one of 6: RFC 3056, 4380, 5214, 6052."""
    if ip.sixtofour is not None:
        yield ip.sixtofour
    if ip.teredo is not None:
        yield from ip.teredo
    last = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    before = int(ip) >> 32
    compatible = before == 0 and int(last) > 1
    isatap = before & 0xFFFF_FFFF in (0x0000_5EFE, 0x0200_5EFE)
    if ip in _NAT64 or compatible or isatap:
        yield last
