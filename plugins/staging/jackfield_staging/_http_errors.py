"""What aiohttp raises, in our words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from jackfield import Remote, TransferError
from jackfield.errors import RemoteForbiddenError


@contextmanager
def understood(remote: Remote) -> Iterator[None]:
    """Turn what the block raises into errors that say what to do about it.

    Raises:
        TransferError: The other side cannot be reached or understood.
    """
    try:
        yield
    except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
        raise _unspeakable(remote, error) from None  # they show the URL's query
    except (aiohttp.ClientError, TimeoutError) as error:
        reason, transient = _reason(remote, error)
        # Where a request could not be written, aiohttp's own text has the whole URL.
        written = isinstance(error, aiohttp.ClientConnectionError)
        cause = error.__cause__ if written else None
        raise TransferError(str(remote), reason, transient) from cause or error


def _unspeakable(remote: Remote, error: aiohttp.ClientError) -> TransferError:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        reason = f"the proxy answered {error.status}"
        if error.status == 407:
            return RemoteForbiddenError(str(remote), reason)
        return TransferError(str(remote), reason, transient=error.status >= 500)
    if isinstance(error, aiohttp.ClientResponseError):
        return TransferError(str(remote), f"the answer is not HTTP: {error.message}")
    return TransferError(str(remote), "this is no URL that can be asked")


def _reason(remote: Remote, error: Exception) -> tuple[str, bool]:
    """Return what went wrong, and whether it may go well a moment later."""
    timeouts = remote.timeouts
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no connection within {timeouts.connect:g} s", True
        case TimeoutError():
            return f"nothing came for {timeouts.idle:g} s", True
        case aiohttp.ClientConnectorDNSError():
            return f"the host is not known: {_words(error.os_error)}", True
        case aiohttp.ClientConnectorCertificateError():
            untrusted = error.certificate_error
            return f"the server's certificate is not trusted: {untrusted}", False
        case aiohttp.ClientSSLError():
            return f"no TLS connection: {_words(error.os_error)}", _broke(error)
        case aiohttp.ClientConnectorError():
            return f"no connection: {_words(error.os_error)}", True
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed before there was an answer", True
        case aiohttp.ClientPayloadError():
            return "the body ended before it was complete", True
        case _:
            return f"the connection broke: {_words(error.__cause__ or error)}", True


def _words(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientError):
        return type(error).__name__
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _broke(error: aiohttp.ClientSSLError) -> bool:
    """Whether a handshake ended by itself, rather than in a disagreement."""
    return isinstance(
        error.os_error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError
    )
