"""All that is needed to move the files of one scheme and host, in one value.

A site can be pickled: it goes to workers that move files themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from jackfield.errors import NoProviderError, TransferError, one_line
from jackfield.files import redact
from jackfield.staging.cache import Cache  # noqa: TC001  (a field of a dataclass)
from jackfield.staging.credentials import Credentials  # noqa: TC001  (likewise)
from jackfield.staging.remote import Remote, RemoteInfo, Stop
from jackfield.staging.retrying import persist
from jackfield.staging.rules import Rules  # noqa: TC001  (likewise)
from jackfield.staging.secrecy import harmless
from jackfield.staging.steps import Step, Told

Hook: TypeAlias = Callable[[Any], Any]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Provider:
    """Who moves the files of a scheme: functions, asked in order.

    Attributes:
        stage_in: Compiled ``jackfield_stage_in``.
        stage_out: Compiled ``jackfield_stage_out``.
        stat: Compiled ``jackfield_stat_file``.
        list: Compiled ``jackfield_list_files``.
        names: What messages call the plugin of each function.
        served: The schemes for which a plugin is installed.
    """

    stage_in: tuple[Hook, ...] = ()
    stage_out: tuple[Hook, ...] = ()
    stat: tuple[Hook, ...] = ()
    list: tuple[Hook, ...] = ()
    names: Mapping[Hook, str] | None = None
    served: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """Where files are, who moves them, and how.

    Attributes:
        provider: Who moves them.
        rules: How.
        options: The provider's own.
        credentials: Gives them by the name that the rules have.
        cache: Files of earlier runs, or ``None``.
    """

    provider: Provider
    rules: Rules
    options: Mapping[str, Any]
    credentials: Credentials
    cache: Cache | None = None

    def remote(self, url: str, stop: Stop) -> Remote:
        """Return a remote place of this site."""
        return Remote(url=url, stop=stop, **self.common())

    def common(self) -> dict[str, Any]:
        """Return the fields that every remote place of this site shares."""
        return {
            "options": self.options,
            "credentials": self.credentials.get(self.rules.credentials),
            "timeouts": self.rules.timeouts,
        }

    def unserved(self, url: str) -> NoProviderError:
        """Make the error that nobody serves a URL."""
        shown = redact(url)
        scheme = shown.partition("://")[0]
        return NoProviderError(scheme, shown, self.provider.served)


def ask_again(
    site: Site, hooks: tuple[Hook, ...], remote: Remote, kind: type[T], told: Told
) -> T | None:
    """Ask until somebody answers, as often as the rules allow it."""

    def attempt(number: int) -> T | None:
        del number
        return ask(site, hooks, remote, kind)

    def retry(number: int, error: BaseException, delay: float) -> None:
        told(Step("retrying", number, error=error, delay=delay))

    return persist(attempt, site.rules, remote.stop, retry)


def ask(site: Site, hooks: tuple[Hook, ...], remote: Remote, kind: type[T]) -> T | None:
    """Return the first answer that is not ``None``.

    Raises:
        TransferError: The answer is none of ``kind``; or in the place of an error
            that would have shown a secret, or that would have ended the thread.
        Exception: What a plugin raised, with a note that names it.
    """
    try:
        return _first(site, hooks, remote, kind)
    except BaseException as error:
        remote.check()  # cancelled: what broke then does not matter
        stand_in = harmless(remote.url, remote.credentials, error)
        if stand_in is None and isinstance(error, Exception):
            raise
        if stand_in is None:
            notes = getattr(error, "__notes__", ())
            reason = " ".join([one_line(error), *notes])
            raise TransferError(str(remote), reason) from error
    raise stand_in  # outside, so that the other is not its context


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
