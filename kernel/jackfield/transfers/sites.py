"""Finds a file's site: whose plugin moves its bytes, and by which rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.errors import ConfigurationError
from jackfield.files import redact
from jackfield.plugins.manager import ANY_SCHEME
from jackfield.staging.mover import Provider

if TYPE_CHECKING:
    from logging import Logger

    from jackfield.config import Config
    from jackfield.files import File
    from jackfield.plugins.manager import PluginManager
    from jackfield.staging.mover import Mover, Site


class WarnOnce:
    """Writes warnings to the log of a run, each once however often it is given."""

    def __init__(self, log: Logger) -> None:
        self._log: Logger = log
        self._told: set[str] = set()

    def __call__(self, text: str) -> None:
        """Write a sentence; two threads that come at once may write it twice."""
        if text not in self._told:
            self._told.add(text)
            self._log.warning("%s", text)


class Sites:
    """The sites of a kernel's files: one for each scheme and host.

    May be asked on any thread, without a lock. Two threads that ask for a new site at
    the same time may both make it. The two are equal, and the later one is kept.
    ``mover`` makes them.
    """

    def __init__(self, config: Config, manager: PluginManager, mover: Mover) -> None:
        self._manager: PluginManager = manager
        self._mover: Mover = mover
        self._sites: dict[tuple[object, ...], Site] = {}
        self._schemes: tuple[str, ...] | None = config.transfers.get("schemes")

    def of(self, file: File) -> Site:
        """Return the site of a file.

        It is made anew when the plugins that serve the scheme have changed.

        Raises:
            ConfigurationError: The scheme is not allowed, or options are wrong.
            PluginError: The plugin that serves the scheme cannot be used.
        """
        host = file.netloc.rpartition("@")[2]
        hooks = self._manager.staging(file.scheme, "jackfield_stage_in")
        key = file.scheme, host, hooks
        site = self._sites.get(key)
        if site is None:
            self._check_allowed(file)
            provider = self._provider(file.scheme)
            site = self._sites[key] = self._mover.site(file.scheme, host, provider)
        return site

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
        # The plugin that is named ``any`` serves other schemes, and none of that name.
        served = tuple(one for one in manager.installed("staging") if one != ANY_SCHEME)
        return Provider(stage_in, out, stat, listing, names, served)
