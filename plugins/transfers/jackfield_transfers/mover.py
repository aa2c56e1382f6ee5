"""The mover: makes sites of what is configured, and moves their files.

It is a plugin behind ``jackfield_create_mover``, and its sites are used in two places:
on the threads of the executor ``transfers`` (see ``executor``), and inside tasks, on
workers that share no file system with the driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jackfield.hookspecs import hookimpl
from jackfield.staging.remote import RemoteInfo, warn_alone
from jackfield_transfers import stage
from jackfield_transfers.cache import Cache
from jackfield_transfers.credentials import Credentials
from jackfield_transfers.host_site import HostSite, OnProgress, ignore_progress
from jackfield_transfers.rules import rules_and_options
from jackfield_transfers.shared import SharedMover
from jackfield_transfers.site import Site, ask

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield.staging import mover
    from jackfield.staging.remote import Stop

JACKFIELD_API = ">=1,<2"

DEFAULT_QUOTA: Final = 20 * 10**9
"""Bytes that the cache may take, if there is one and no other number is configured."""


@hookimpl
def jackfield_create_mover(around: mover.MoverContext) -> mover.Mover:
    """Make the mover of one kernel."""
    return Mover(around)


class Mover(SharedMover):
    """Has what all sites of a kernel share: the cache, and the credentials."""

    def __init__(self, around: mover.MoverContext) -> None:
        super().__init__(around)
        transfers = around.transfers
        self._cache: Cache | None = _cache(transfers)
        self._secrets = Credentials(
            around.credentials, transfers.get("credentials_file")
        )

    def make_site(self, scheme: str, host: str, provider: mover.Provider) -> HostSite:
        """Make the site of a scheme and host, by the rules that hold there."""
        table = self.around.staging.get(scheme, {})
        rules, options = rules_and_options(self.around.transfers, table, host)
        return MovingSite(
            Site(provider, rules, options, self._secrets, self._cache, self.warn)
        )

    def verify(self, file: File) -> File:
        """Compare a local file with what its user declares; return it."""
        return stage.verify_in_place(file)


@dataclass(frozen=True, slots=True)
class MovingSite(HostSite):
    """What the kernel gets of a site; ``site`` is what our own functions take."""

    site: Site

    def __reduce__(self) -> tuple[Any, ...]:
        # Where it is loaded, there is no log of the run to warn into.
        return MovingSite, (replace(self.site, warn=warn_alone),)

    @property
    def provider(self) -> mover.Provider:
        """Who moves its bytes."""
        return self.site.provider

    @property
    def connections(self) -> int:
        """How many of its files may be moved at the same time."""
        return self.site.rules.connections

    @property
    def in_task(self) -> bool:
        """Whether tasks are to move their files themselves."""
        return self.site.rules.in_task

    def stage_in(
        self,
        file: File,
        directory: Path,
        stop: Stop,
        on_progress: OnProgress = ignore_progress,
    ) -> File:
        """Bring a file, or the directory or pattern that its URL means."""
        return stage.stage_in(file, self.site, directory, stop, on_progress)

    def stage_out(
        self, file: File, stop: Stop, on_progress: OnProgress = ignore_progress
    ) -> File:
        """Take a file or directory to its URL."""
        return stage.stage_out(file, self.site, stop, on_progress)

    def look(self, file: File, stop: Stop) -> RemoteInfo | None:
        """Ask what the other side says of a file."""
        remote = self.site.remote(file.url, stop)
        return ask(self.site, self.site.provider.stat, remote, RemoteInfo)


def _cache(transfers: Mapping[str, Any]) -> Cache | None:
    directory = transfers.get("cache")
    if not directory:
        return None
    quota = transfers.get("cache_quota", DEFAULT_QUOTA)
    return Cache(Path(directory).expanduser(), quota)
