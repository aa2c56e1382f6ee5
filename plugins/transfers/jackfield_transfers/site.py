"""A site: all that is needed to move the files of one scheme and host.

It is one value that can be pickled, because workers that move files themselves get it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from jackfield.errors import (
    ConfigurationError,
    NoProviderError,
    RemoteChangedError,
    TransferError,
    one_line,
)
from jackfield.files import redact
from jackfield.staging.mover import Hook, Provider  # noqa: TC001  (a field too)
from jackfield.staging.remote import Remote, RemoteInfo, Stop, warn_alone
from jackfield_transfers.cache import Cache  # noqa: TC001  (a field of a dataclass)
from jackfield_transfers.credentials import Credentials  # noqa: TC001  (a field too)
from jackfield_transfers.rules import Rules  # noqa: TC001  (a field too)
from jackfield_transfers.secrecy import without_secrets

T = TypeVar("T")


def unserved(provider: Provider, url: str) -> NoProviderError:
    """Return the error that no plugin serves a URL."""
    shown = redact(url)
    return NoProviderError(shown.partition(":")[0], shown, provider.served)


@dataclass(frozen=True, slots=True)
class Site:
    """Where files are, who moves them, and how.

    Attributes:
        provider: The plugins' functions that move them.
        rules: The configuration's limits.
        options: The provider's own options.
        credentials: Looks up the credentials that the rules name.
        cache: Files of earlier runs, or ``None``.
        warn: Takes warnings of providers: of a run, into its log.
    """

    provider: Provider
    rules: Rules
    options: Mapping[str, Any]
    credentials: Credentials
    cache: Cache | None = None
    warn: Callable[[str], object] = warn_alone

    def remote(self, url: str, stop: Stop) -> Remote:
        """Return a URL of this site as what providers get."""
        return Remote(url=url, stop=stop, **self.common())

    def common(self) -> dict[str, Any]:
        """Return those fields of ``Remote`` that all URLs of the site share."""
        return {
            "options": self.options,
            "credentials": self.credentials.get(self.rules.credentials),
            "timeouts": self.rules.timeouts,
            "warn": self.warn,
        }


def look(site: Site, remote: Remote) -> RemoteInfo | None:
    """Ask what the server says of a file; ``None`` if it says nothing.

    It may refuse: a place that takes files need not show them, and a link may be good
    for one request. What has been moved is not wrong for that, but less is known of it.
    """
    try:
        return ask(site, site.provider.stat, remote, RemoteInfo)
    except (ConfigurationError, RemoteChangedError):
        raise
    except Exception:
        remote.check()
        return None


def ask(site: Site, hooks: tuple[Hook, ...], remote: Remote, kind: type[T]) -> T | None:
    """Call plugins' functions in order; return the first answer that is not ``None``.

    Raises:
        TransferCancelledError: The transfer was stopped.
        TransferError: The answer is no ``kind``; or a plugin raised what would show a
            secret, or what would end the thread, and this stands for it.
        Exception: What a plugin raised, with a note that names the plugin.
    """
    try:
        return _first(site, hooks, remote, kind)
    except BaseException as error:
        remote.check()  # if it was stopped, this is the consequence and no error
        stand_in = without_secrets(remote.url, remote.credentials, error)
        if stand_in is None and isinstance(error, Exception):
            raise
        if stand_in is None:
            notes = getattr(error, "__notes__", ())
            reason = " ".join([one_line(error), *notes])
            raise TransferError(str(remote), reason) from error
    # Raised outside of the handler, or Python would keep the other error, and with it
    # the secret, as the context of this one.
    raise stand_in


def _first(
    site: Site, hooks: tuple[Hook, ...], remote: Remote, kind: type[T]
) -> T | None:
    for hook in hooks:
        try:
            answer = hook(remote)
            if answer is not None:
                _check(answer, kind, remote)
        except BaseException as error:
            name = (site.provider.names or {}).get(hook)
            if name:
                error.add_note(f"Raised by {name}.")
            raise
        if answer is not None:
            return answer  # type: ignore[no-any-return]  # checked
    return None


def _check(answer: object, kind: type, remote: Remote) -> None:
    if not isinstance(answer, kind):
        given = type(answer).__name__
        expected = "jackfield.RemoteInfo" if kind is RemoteInfo else "mapping"
        reason = f"a staging plugin answered {given}, not a {expected}"
        raise TransferError(str(remote), reason)
