"""Keeping secrets out of what is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote, urlsplit

from jackfield.errors import TransferCancelledError, TransferError, one_line
from jackfield.files import redact

_PUBLIC = frozenset({"user", "username", "profile", "region", "endpoint_url"})
"""Parts of credentials that may be shown."""


def harmless(
    url: str, credentials: Mapping[str, str], error: BaseException
) -> TransferError | None:
    """Return what stands for an error that gives a secret away, if it does.

    The stand-in is of the same kind where the kind is ours, and says whether it is
    worth to try again. It carries nothing of the other: not its cause, not its
    traceback, whose frames hold what they held.
    """
    secrets = _secrets(url, credentials)
    if not any(secret in text for text in _texts(error) for secret in secrets):
        return None
    reason = error.reason if isinstance(error, TransferError) else one_line(error)
    for secret in secrets:
        reason = reason.replace(secret, "***")
    if isinstance(error, TransferCancelledError):
        return TransferCancelledError(redact(url))
    kind = type(error) if isinstance(error, TransferError) else TransferError
    transient = isinstance(error, ConnectionError | TimeoutError | EOFError)
    retry_after = None
    if isinstance(error, TransferError):
        transient, retry_after = error.transient, error.retry_after
    return kind(redact(url), reason, transient, retry_after)


def _secrets(url: str, credentials: Mapping[str, str]) -> list[str]:
    """List what is not to be shown, longest first."""
    found = {value for name, value in credentials.items() if name not in _PUBLIC}
    if redact(url) != url:
        found |= _in_url(url)
    found |= {quote(one, safe="") for one in found}
    return sorted((str(one) for one in found if one), key=len, reverse=True)


def _in_url(url: str) -> set[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return {url}
    password = parts.password or ""
    return {parts.query, password, unquote(password)}


def _texts(error: BaseException | None) -> Iterator[str]:
    """Give what a traceback would show of an error and of those behind it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield from (str(error), repr(error), *getattr(error, "__notes__", ()))
        error = error.__cause__ or error.__context__
