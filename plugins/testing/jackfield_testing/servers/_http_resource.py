"""What an honest server answers for a file: validators, conditions, ranges.

After RFC 9110: sections 8.8 (validators), 13 (conditional requests), 14 (ranges).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from jackfield_testing.servers._http_wire import Answer

if TYPE_CHECKING:
    from jackfield_testing.servers._http_wire import Request

FIRST_DATE: Final = 1_704_067_200
"""Seconds since the epoch: when the first version of every file was made."""

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the server can do for a file, and whether its answers can be trusted.

    Attributes:
        etag: Whether there is an ``ETag``.
        weak: Whether it is a weak one, which says nothing about bytes.
        last_modified: Whether there is a ``Last-Modified``.
        ranges: Whether ranges are served.
        advertised: Whether ``Accept-Ranges: bytes`` is sent.
        if_range: Whether ``If-Range`` is heeded.
        elsewhere: Whether a range begins elsewhere than was asked, which
            ``Content-Range`` admits.
    """

    etag: bool = True
    weak: bool = False
    last_modified: bool = True
    ranges: bool = True
    advertised: bool = True
    if_range: bool = True
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a file: its content, and how many came before."""

    content: bytes
    number: int = 0

    def validators(self, policy: Policy) -> dict[str, str]:
        """Return the headers by which a client tells this version from another."""
        headers = {}
        if policy.etag:
            headers["ETag"] = ("W/" if policy.weak else "") + etag(self.content)
        if policy.last_modified:
            date = formatdate(FIRST_DATE + self.number, usegmt=True)
            headers["Last-Modified"] = date
        return headers


def etag(content: bytes) -> str:
    """Give the strong entity tag of a content, with its quotes."""
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def represent(version: Version, policy: Policy, request: Request) -> Answer:
    """Answer a GET or a HEAD."""
    validators = version.validators(policy)
    failed = failed_condition(request, validators)
    if failed is not None:
        return failed
    answer = Answer.of(200, version.content, "application/octet-stream")
    answer.headers.update(validators)
    if policy.advertised:
        answer.headers["Accept-Ranges"] = "bytes"
    if policy.ranges and request.method == "GET" and request.range is not None:
        _cut_range(answer, policy, request)
    return answer


def failed_condition(
    request: Request, validators: dict[str, str], *, exists: bool = True
) -> Answer | None:
    """Give the answer to a request whose condition is not met."""
    tag = validators.get("ETag")
    match = request.headers.get("if-match")
    if match is not None and not _listed(match, tag, exists=exists, weakly=False):
        return Answer.of(412, b"the file is another one\n")
    none = request.headers.get("if-none-match")
    if none is None or not _listed(none, tag, exists=exists, weakly=True):
        return None
    if request.method in ("GET", "HEAD"):
        return Answer(304, dict(validators))
    return Answer.of(412, b"the file exists\n")


def _listed(header: str, tag: str | None, *, exists: bool, weakly: bool) -> bool:
    if header.strip() == "*":
        return exists
    if tag is None:
        return False
    tags = [item.strip() for item in header.split(",")]
    if weakly:
        return tag.removeprefix("W/") in [item.removeprefix("W/") for item in tags]
    return tag in tags and not tag.startswith("W/")


def _cut_range(answer: Answer, policy: Policy, request: Request) -> None:
    condition = request.headers.get("if-range")
    if condition is not None and policy.if_range and not _is(answer, condition):
        return
    total = len(answer.body)
    asked = _asked(request.range or "", total)
    if asked is None:
        return
    start, stop = asked
    if policy.elsewhere:
        start = start // 2 if start else min(1, stop - 1)
    if start >= stop:
        answer.status = 416
        answer.body = b""
        answer.headers["Content-Range"] = f"bytes */{total}"
    else:
        answer.status = 206
        answer.start, answer.body = start, answer.body[start:stop]
        answer.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
    answer.headers["Content-Length"] = str(len(answer.body))


def _is(answer: Answer, condition: str) -> bool:
    """Whether an ``If-Range`` names this version; a weak tag never does."""
    if condition.startswith(("W/", '"')):
        return condition == answer.headers.get("ETag") and condition[0] == '"'
    return condition == answer.headers.get("Last-Modified")


def _asked(header: str, total: int) -> tuple[int, int] | None:
    """Read a single range as start and stop; None if it is anything else."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(0, total - int(last)), total
    stop = min(int(last) + 1, total) if last else total
    return int(first), stop
