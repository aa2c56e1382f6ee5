"""Remote files of one kernel: one transfer for each, shared by all who want the file.

How a file is moved stands in ``jackfield.staging``. Here is who wants which file: the
first task that names one starts its transfer, which is a task of the kernel's own, so
that the graph needs nothing special for files. Others share it, and it is stopped when
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

from jackfield.files import redact
from jackfield.graph.route import INTERNAL, TRANSFERS
from jackfield.graph.task import AppSpec
from jackfield.staging.local import safe_name
from jackfield.staging.remote import Stop
from jackfield.staging.stage import stage_in, stage_out, verify_in_place
from jackfield.transfers.executor import Movement

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from logging import Logger

    from jackfield.files import File
    from jackfield.futures import AppFuture
    from jackfield.graph.events import Observation
    from jackfield.graph.route import Route
    from jackfield.graph.state import Closing
    from jackfield.staging.progress import OnProgress, Progress
    from jackfield.staging.site import Site
    from jackfield.transfers.sites import Sites

STAGE_IN: Final = AppSpec("stage_in", kind="transfer", executors=(TRANSFERS,))
VERIFY: Final = AppSpec("verify", kind="transfer", executors=(INTERNAL,))
STAGE_OUT: Final = AppSpec("stage_out", kind="transfer", executors=(TRANSFERS,))


class _Flight:
    """One file on its way in, and how many tasks want it."""

    __slots__ = ("future", "wanted")

    def __init__(self, future: AppFuture[File]) -> None:
        self.future: AppFuture[File] = future
        self.wanted: int = 0


class SharedTransfers:
    """Moves a kernel's files.

    Args:
        directory: Where local copies of remote files lie, in the run's directory; made
            when it is needed.
        sites: Knows who moves which file, and how.
        submit: Submits a task of the kernel's own.
        copies: Whether ``file:`` URLs are staged like those of other schemes.
        closing: Whether anything is still moved.
        observation: Observers that are on_progress of transfers.
        log: The run's log.
    """

    def __init__(
        self,
        directory: Path,
        sites: Sites,
        submit: Callable[[AppSpec, Callable[[], File]], AppFuture[File]],
        *,
        copies: bool,
        closing: Closing,
        observation: Observation,
        log: Logger,
    ) -> None:
        self._directory: Path = directory
        self._sites: Sites = sites
        self._submit_task: Callable[[AppSpec, Callable[[], File]], AppFuture[File]] = (
            submit
        )
        self._copies: bool = copies
        self._closing: Closing = closing
        self._observation: Observation = observation
        self._log: Logger = log
        self._lock: threading.Lock = threading.Lock()
        self._flights: dict[File, _Flight] = {}
        self._numbers: count[int] = count(1)
        self._stops: dict[Stop, None] = {}

    def site(self, file: File) -> Site:
        """Return where a file is and who moves it; see ``Sites.of``."""
        return self._sites.of(file)

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
        if not file.remote and not self._copies:
            verify = partial(verify_in_place, file)
            return partial(self._submit_task, VERIFY, verify)
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
            on_progress = self._teller(number, file, "in")
            return stage_in(file, site, directory, stop, on_progress)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise

    # -- out

    def send(self, file: File) -> AppFuture[File]:
        """Return the future of an output's way to its remote place."""
        site, stop = self.site(file), Stop()
        on_progress = self._teller(next(self._numbers), file, "out")
        action = partial(stage_out, file, site, stop, on_progress)
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
        moved = (file for file in files if file.remote or self._copies)
        return any(self.site(file).rules.in_task for file in moved)

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
        return self._submit_task(spec, movement)

    def _stoppable(self, action: Callable[[], File], stop: Stop) -> Callable[[], File]:
        def run() -> File:
            self._stops[stop] = None
            try:
                if self._closing.cut_short.is_set():
                    stop.stop()
                return action()
            finally:
                del self._stops[stop]

        return run

    def stop_all(self) -> None:
        """Stop what is on its way."""
        for stop in list(self._stops):
            stop.stop()

    def _teller(self, number: int, file: File, direction: str) -> OnProgress:
        def on_progress(step: Progress) -> None:
            if step.stage == "retrying":
                self._log.info(
                    "Transfer of %s: attempt %d failed, another in %.1f s: %s",
                    redact(file.url), step.attempt, step.delay, step.error,
                )  # fmt: skip
            events = self._observation.transfers
            if events is not None:
                events.note_transfer(number, redact(file.url), direction, step)

        return on_progress


def _failed(future: AppFuture[File]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)
