"""Remote files of one kernel: one transfer for each, on the kernel's own threads.

What a transfer is stands in ``jackfield.staging``. Here is who wants which file: the
first task that names one starts its transfer, others share it, and it is stopped when
none of them is left.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import ConfigurationError
from jackfield.executors.pool import INTERNAL, TRANSFERS
from jackfield.files import redact
from jackfield.graph.task import AppSpec
from jackfield.staging.cache import Cache
from jackfield.staging.credentials import Credentials
from jackfield.staging.local import safe_name
from jackfield.staging.remote import Stop
from jackfield.staging.rules import rules_and_options
from jackfield.staging.site import Provider, Site
from jackfield.staging.stage import stage_in, stage_out, verify_in_place
from jackfield.transfers.executor import Movement

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from jackfield.executors.pool import Route
    from jackfield.files import File
    from jackfield.futures import AppFuture
    from jackfield.staging.steps import Step, Told
    from jackfield.steps.engine import Engine

STAGE_IN: Final = AppSpec("stage_in", kind="transfer", executors=(TRANSFERS,))
VERIFY: Final = AppSpec("verify", kind="transfer", executors=(INTERNAL,))
STAGE_OUT: Final = AppSpec("stage_out", kind="transfer", executors=(TRANSFERS,))

DEFAULT_QUOTA: Final = 20 * 10**9
"""Bytes that the cache may take, if there is one."""


class _Flight:
    """One file on its way in, and how many tasks want it."""

    __slots__ = ("future", "wanted")

    def __init__(self, future: AppFuture[File]) -> None:
        self.future: AppFuture[File] = future
        self.wanted: int = 0


class Staging:
    """Moves a kernel's files."""

    def __init__(self, engine: Engine, run_dir: Path) -> None:
        self._engine: Engine = engine
        self._directory: Path = run_dir / "files"
        self._lock: threading.Lock = threading.Lock()
        self._flights: dict[File, _Flight] = {}
        self._sites: dict[tuple[object, ...], Site] = {}
        self._numbers: count[int] = count(1)
        self._stops: dict[Stop, None] = {}
        transfers = engine.config.transfers
        self._schemes: tuple[str, ...] | None = transfers.get("schemes")
        self._cache: Cache | None = _cache(transfers)
        self._credentials: Credentials | None = None

    # -- in

    def fetch(self, file: File) -> AppFuture[File]:
        """Return the future of a remote file's local copy; equal files share one.

        Each call counts as one who wants it; see ``release``.

        Raises:
            NoProviderError: No plugin serves the scheme.
            ConfigurationError: The scheme is not allowed, or options are wrong.
        """
        start = self._arrival(file)
        with self._lock:
            flight = self._flights.get(file)
            if flight is None or _failed(flight.future):
                flight = self._flights[file] = _Flight(start())
            flight.wanted += 1
            return flight.future

    def _arrival(self, file: File) -> Callable[[], AppFuture[File]]:
        """Return what starts a file's transfer."""
        if not file.remote and not self._engine.copies:
            verify = partial(verify_in_place, file)
            return partial(self._engine.submit_internal, VERIFY, verify)
        site = self.site(file)
        if not site.provider.stage_in:
            raise site.unserved(file.url)

        def start() -> AppFuture[File]:
            stop, number = Stop(), next(self._numbers)
            action = partial(self._stage_in, file, site, stop, number)
            return self._submit(STAGE_IN, action, file, site, stop)

        return start

    def release(self, files: Mapping[File, Future[Any] | None]) -> None:
        """Count down who wants files; stop the transfers that nobody does.

        Args:
            files: What ``fetch`` was asked for, and what it gave.
        """
        for file, future in files.items():
            with self._lock:
                flight = self._flights.get(file)
                if flight is None or flight.future is not future:
                    continue
                flight.wanted -= 1
                if flight.wanted > 0 or flight.future.done():
                    continue
                del self._flights[file]
            flight.future.cancel()

    def _stage_in(self, file: File, site: Site, stop: Stop, number: int) -> File:
        directory = self._room(f"in-{number}")
        try:
            told = self._teller(number, file, "in")
            return stage_in(file, site, directory, stop, told)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise

    # -- out

    def send(self, file: File) -> AppFuture[File]:
        """Return the future of an output's way to its remote place."""
        site, stop = self.site(file), Stop()
        told = self._teller(next(self._numbers), file, "out")
        action = partial(stage_out, file, site, stop, told)
        return self._submit(STAGE_OUT, action, file, site, stop)

    def place_output(self, file: File, task: int) -> File:
        """Return a remote output with the local path that the app shall write.

        Raises:
            NoProviderError: No plugin serves the scheme.
            ConfigurationError: The scheme is not allowed, or options are wrong.
        """
        site = self.site(file)
        if not site.provider.stage_out:
            raise site.unserved(file.url)
        directory = self._room(f"out-{task}-{next(self._numbers)}")
        return file.at(directory / safe_name(file.filename))

    # -- both

    def _room(self, name: str) -> Path:
        """Make a directory for one file, closed to others."""
        try:
            os.mkdir(f"{self._directory}/{name}", 0o700)  # noqa: PTH102  (once for each file)
        except FileNotFoundError:  # the first one
            self._directory.mkdir(parents=True, exist_ok=True)
            return self._room(name)
        except FileExistsError:  # somebody else has taken the name
            return Path(mkdtemp(prefix=f"{name}-", dir=self._directory))
        return self._directory / name

    def in_task(self, files: Iterable[File], route: Route) -> bool:
        """Tell whether a task moves its remote files itself."""
        if not all(e.capabilities.shared_filesystem for e in route.entries):
            return True
        moved = (file for file in files if file.remote or self._engine.copies)
        return any(self.site(file).rules.in_task for file in moved)

    def site(self, file: File) -> Site:
        """Return where a file is and who moves it.

        Raises:
            ConfigurationError: The scheme is not allowed, or options are wrong.
            PluginError: The plugin that serves the scheme cannot be used.
        """
        manager = self._engine.manager
        host = file.netloc.rpartition("@")[2]
        hooks = manager.staging(file.scheme, "jackfield_stage_in")
        key = file.scheme, host, hooks
        site = self._sites.get(key)
        if site is None:
            self._check_allowed(file)
            config = self._engine.config
            table = config.staging.get(file.scheme, {})
            rules, options = rules_and_options(config.transfers, table, host)
            provider, secrets = self._provider(file.scheme), self._secrets()
            site = Site(provider, rules, options, secrets, self._cache)
            self._sites[key] = site
        return site

    def _check_allowed(self, file: File) -> None:
        if self._schemes is not None and file.scheme not in self._schemes:
            raise ConfigurationError(
                f"{redact(file.url)}: transfers.schemes does not allow "
                f"{file.scheme!r}; it allows {', '.join(self._schemes) or 'none'}."
            )

    def _provider(self, scheme: str) -> Provider:
        manager = self._engine.manager
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
            hooks = self._engine.manager.hooks.credentials
            file = self._engine.config.transfers.get("credentials_file")
            self._credentials = Credentials(hooks, file)
        return self._credentials

    def _submit(
        self,
        spec: AppSpec,
        action: Callable[[], File],
        file: File,
        site: Site,
        stop: Stop,
    ) -> AppFuture[File]:
        host = f"{file.scheme}://{file.netloc.rpartition('@')[2]}"
        width = site.rules.connections
        movement = Movement(self._stoppable(action, stop), host, width, stop)
        return self._engine.submit_internal(spec, movement)

    def _stoppable(self, action: Callable[[], File], stop: Stop) -> Callable[[], File]:
        def run() -> File:
            self._stops[stop] = None
            try:
                if self._engine.stopped.is_set():
                    stop.stop()
                return action()
            finally:
                del self._stops[stop]

        return run

    def stop_all(self) -> None:
        """Stop what is on its way."""
        for stop in list(self._stops):
            stop.stop()

    def _teller(self, number: int, file: File, direction: str) -> Told:
        engine = self._engine

        def told(step: Step) -> None:
            if step.stage == "retrying":
                engine.log.info(
                    "Transfer of %s: attempt %d failed, another in %.1f s: %s",
                    redact(file.url), step.attempt, step.delay, step.error,
                )  # fmt: skip
            events = engine.transfer_events
            if events is not None:
                events.note_transfer(number, redact(file.url), direction, step)

        return told


def _cache(transfers: Any) -> Cache | None:
    directory = transfers.get("cache")
    if not directory:
        return None
    quota = transfers.get("cache_quota", DEFAULT_QUOTA)
    return Cache(Path(directory).expanduser(), quota)


def _failed(future: AppFuture[File]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)
