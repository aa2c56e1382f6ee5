"""Finds a file's site: the plugin that moves it, and by which rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import ConfigurationError
from jackfield.files import redact
from jackfield.staging.cache import Cache
from jackfield.staging.credentials import Credentials
from jackfield.staging.rules import rules_and_options
from jackfield.staging.site import Provider, Site

if TYPE_CHECKING:
    from logging import Logger

    from jackfield.config import Config
    from jackfield.files import File
    from jackfield.plugins.manager import PluginManager

DEFAULT_QUOTA: Final = 20 * 10**9
"""Bytes that the cache may take, if there is one and no other number is configured."""


class Sites:
    """The sites of a kernel's files: one for each scheme and host.

    May be asked on any thread, without a lock. Two threads that ask for a new site at
    the same time may both make it. The two are equal, and the later one is kept. Rules,
    options of plugins and the cache come from ``config``. Warnings go to ``log``.
    """

    def __init__(self, config: Config, manager: PluginManager, log: Logger) -> None:
        self._config: Config = config
        self._manager: PluginManager = manager
        self._sites: dict[tuple[object, ...], Site] = {}
        self._schemes: tuple[str, ...] | None = config.transfers.get("schemes")
        self._cache: Cache | None = _cache(config.transfers)
        self._credentials: Credentials | None = None
        self._log: Logger = log
        self._warned: set[str] = set()

    def of(self, file: File) -> Site:
        """Return the site of a file.

        It is made anew when the plugins that serve the scheme have changed.

        Raises:
            ConfigurationError: The scheme is not allowed, or options are wrong.
            PluginError: The plugin that serves the scheme cannot be used.
        """
        manager = self._manager
        host = file.netloc.rpartition("@")[2]
        hooks = manager.staging(file.scheme, "jackfield_stage_in")
        key = file.scheme, host, hooks
        site = self._sites.get(key)
        if site is None:
            self._check_allowed(file)
            config = self._config
            table = config.staging.get(file.scheme, {})
            rules, options = rules_and_options(config.transfers, table, host)
            provider, secrets = self._provider(file.scheme), self._secrets()
            site = Site(provider, rules, options, secrets, self._cache, self._warn)
            self._sites[key] = site
        return site

    def _warn(self, text: str) -> None:
        """Write a provider's warning to the log of the run, once."""
        if text not in self._warned:
            self._warned.add(text)
            self._log.warning("%s", text)

    def _check_allowed(self, file: File) -> None:
        if self._schemes is not None and file.scheme not in self._schemes:
            raise ConfigurationError(
                f"{redact(file.url)}: transfers.schemes does not allow "
                f"{file.scheme!r}; it allows {', '.join(self._schemes) or 'none'}."
            )

    def _provider(self, scheme: str) -> Provider:
        manager = self._manager
        stage_in = manager.staging(scheme, "jackfield_stage_in")
        out = manager.staging(scheme, "jackfield_stage_out")
        stat = manager.staging(scheme, "jackfield_stat_file")
        listing = manager.staging(scheme, "jackfield_list_files")
        names = {
            hook: manager.describe(hook) for hook in (*stage_in, *out, *stat, *listing)
        }
        served = manager.installed("staging")
        return Provider(stage_in, out, stat, listing, names, served)

    def _secrets(self) -> Credentials:
        if self._credentials is None:
            hooks = self._manager.hooks.credentials
            file = self._config.transfers.get("credentials_file")
            self._credentials = Credentials(hooks, file)
        return self._credentials


def _cache(transfers: Any) -> Cache | None:
    directory = transfers.get("cache")
    if not directory:
        return None
    quota = transfers.get("cache_quota", DEFAULT_QUOTA)
    return Cache(Path(directory).expanduser(), quota)
