"""What goes wrong with S3, in the kernel's terms."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore import exceptions as botocore

from jackfield import Remote, TransferError
from jackfield import errors as kernel
from jackfield_staging._http_rules import failure, retry_after
from jackfield_staging._http_wire import small

if TYPE_CHECKING:
    import aiohttp

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


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a store answered instead of doing what it was asked for.

    ``region`` is where the bucket is, if the store said so.
    """

    status: int
    code: str
    text: str
    retry_after: str
    region: str = ""

    def error(self, remote: Remote) -> TransferError:
        """Return the error to raise."""
        place, status = str(remote), self.status
        code = self.code.removeprefix(str(status))  # HEAD's has no other
        told = ": ".join(word for word in (code, self.text) if word)
        reason = f"the store answers {status} {told}"
        if status in (412, 416):
            return kernel.RemoteChangedError(place, reason)
        # What a store says in words outweighs the status, such as 400 for all of it.
        status = MEANT.get(self.code, status)
        return failure(place, status, reason, retry_after(self.retry_after))


async def read_refusal(answer: aiohttp.ClientResponse, idle_s: float) -> Refusal:
    """Read an answer with a status of 300 and more."""
    text = (await small(answer, MOST_TEXT, idle_s)).decode("utf-8", "replace")
    return refusal_of(answer.status, text, answer)


def refusal_of(status: int, text: str, answer: aiohttp.ClientResponse) -> Refusal:
    """Read the text of an answer that says why something is not done."""
    headers = answer.headers
    code = element(text, "Code") or answer.reason or ""
    region = headers.get("x-amz-bucket-region") or element(text, "Region")
    message, retry_after = element(text, "Message"), headers.get("Retry-After", "")
    return Refusal(status, code, message, retry_after, region)


@contextmanager
def explained(remote: Remote) -> Iterator[None]:
    """Turn botocore's errors into the kernel's."""
    try:
        yield
    except botocore.ClientError as error:  # of who lends credentials, such as STS
        told = error.response
        status = int(told.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        status = MEANT.get(told.get("Error", {}).get("Code", ""), status)
        raise failure(str(remote), status, str(error)) from error
    except NO_LOGIN as error:
        raise kernel.RemoteForbiddenError(
            str(remote), f"no credentials: {error}"
        ) from error
    except botocore.BotoCoreError as error:
        broken = botocore.HTTPClientError | botocore.ConnectionError
        passing = isinstance(error, broken) and not isinstance(error, botocore.SSLError)
        reason = str(error) or type(error).__name__
        raise TransferError(str(remote), reason, passing) from error


def element(text: str, name: str) -> str:
    """Return what the first element of a name holds, or nothing."""
    # No more of it than a sentence: a character's number may have a million digits.
    found = re.search(f"<{name}>([^<]{{,1000}})</{name}>", text)
    return html.unescape(found[1]).strip() if found else ""
