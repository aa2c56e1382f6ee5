"""Keeping passwords and keys out of error messages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote, urlsplit

from jackfield.errors import TransferError, one_line
from jackfield.files import redact
from jackfield_transfers.retrying import is_transient

_PUBLIC = frozenset({"user", "username", "profile", "region", "endpoint_url"})
"""Keys of credentials whose values may be shown."""


def without_secrets(
    url: str, credentials: Mapping[str, str], error: BaseException
) -> TransferError | None:
    """Return an error to raise in place of one that shows a secret; else ``None``.

    Secrets are the password and the query of the URL, and all credentials but a few
    harmless ones. The new error has the same class if that is one of ours, the same
    message with ``***`` for each secret, and is transient if the other is. It has
    neither the cause nor the traceback of the other, because the variables of its
    frames hold the secret.
    """
    secrets = _secrets(url, credentials)
    if not any(secret in text for text in _texts(error) for secret in secrets):
        return None
    reason = error.reason if isinstance(error, TransferError) else one_line(error)
    for secret in secrets:
        reason = reason.replace(secret, "***")
    kind = type(error) if isinstance(error, TransferError) else TransferError
    after = error.retry_after if isinstance(error, TransferError) else None
    return kind(redact(url), reason, is_transient(error), after)


def _secrets(url: str, credentials: Mapping[str, str]) -> list[str]:
    """List the secrets, also as in URLs; longest first, since one may hold another."""
    found = {value for name, value in credentials.items() if name not in _PUBLIC}
    found |= _as_header(credentials.get("user", ""), credentials.get("password", ""))
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
    basic = _as_header(unquote(parts.username or ""), unquote(password))
    return {parts.query, password, unquote(password), *basic}


def _as_header(user: str, password: str) -> set[str]:
    """Return what HTTP makes of both, which a server may send back."""
    return {b64encode(f"{user}:{password}".encode()).decode()} if password else set()


def _texts(error: BaseException | None) -> Iterator[str]:
    """Give the texts that a traceback would show of an error and of its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield from (str(error), repr(error), *getattr(error, "__notes__", ()))
        error = error.__cause__ or error.__context__
