"""What goes wrong with S3, in the kernel's terms."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jackfield import TransferError
from jackfield.errors import (
    RemoteChangedError,
    RemoteForbiddenError,
    RemoteNotFoundError,
)

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from jackfield import Remote

MOST_TEXT: Final = 1 << 16

MISSING: Final = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchVersion"})
FORBIDDEN: Final = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
PASSING: Final = frozenset(
    {
        "ConditionalRequestConflict",
        "OperationAborted",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
    }
)
PASSING_STATUS: Final = frozenset({408, 425, 429})


class Refusal:
    """What a store answered instead of doing what it was asked for.

    ``region`` is where the bucket is, if the store said so.
    """

    def __init__(
        self, status: int, code: str, text: str, retry_after: str, region: str = ""
    ) -> None:
        self.status: int = status
        self.code: str = code
        self.text: str = text
        self.retry_after: float | None = _seconds(retry_after)
        self.region: str = region

    def error(self, remote: Remote) -> TransferError:
        """Return the error to raise."""
        place = str(remote)
        code = self.code.removeprefix(str(self.status))  # HEAD's has no other
        told = ": ".join(word for word in (code, self.text) if word)
        reason = f"the store answers {self.status} {told}"
        if self.code in MISSING or self.status in (404, 410):
            return RemoteNotFoundError(place, reason)
        if self.code in FORBIDDEN or self.status in (401, 403):
            return RemoteForbiddenError(place, reason)
        if self.status in (412, 416):
            return RemoteChangedError(place, reason)
        return TransferError(place, reason, self._passing(), self.retry_after)

    def _passing(self) -> bool:
        status = self.status
        known = self.code in PASSING or status in PASSING_STATUS
        return known or status >= 500


def read_refusal(response: HTTPResponse) -> Refusal:
    """Read an answer with a status of 300 and more."""
    text = response.read(MOST_TEXT).decode("utf-8", "replace")
    retry_after = response.headers.get("Retry-After", "")
    code = _element(text, "Code") or response.reason
    region = response.headers.get("x-amz-bucket-region") or _element(text, "Region")
    message = _element(text, "Message")
    return Refusal(response.status, code, message, retry_after, region)


@contextmanager
def explained(remote: Remote) -> Iterator[None]:
    """Turn botocore's errors into the kernel's."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refused(error.response).error(remote) from error
    except BotoCoreError as error:
        raise _failed(remote, error) from error


def _refused(answer: Mapping[str, object]) -> Refusal:
    told = _mapping(answer.get("Error"))
    data = _mapping(answer.get("ResponseMetadata"))
    headers = _mapping(data.get("HTTPHeaders"))
    return Refusal(
        int(str(data.get("HTTPStatusCode", 0))),
        str(told.get("Code", "")),
        str(told.get("Message", "")),
        str(headers.get("retry-after", "")),
    )


def _failed(remote: Remote, error: Exception) -> TransferError:
    from botocore import exceptions as known

    place = str(remote)
    no_login = (
        known.NoCredentialsError,
        known.CredentialRetrievalError,
        known.PartialCredentialsError,
        known.TokenRetrievalError,
    )
    if isinstance(error, no_login):
        return RemoteForbiddenError(place, f"no credentials: {error}")
    broken = known.HTTPClientError, known.ConnectionError
    passing = isinstance(error, broken) and not isinstance(error, known.SSLError)
    return TransferError(place, str(error) or type(error).__name__, passing)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _element(text: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    return html.unescape(found[1]).strip() if found else ""


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() else None
