"""The remote files of one kernel: tasks that want the same file share one transfer.

How a file is moved is the business of the mover, a plugin. Here it is known which
file is wanted, and by how many tasks. The first task that names a file starts its
transfer, which is a task of the kernel's own: those that want the file depend on its
future like on any other, so the graph needs nothing special for files. When the last
task that wants the file is cancelled, the transfer is cancelled too.

Tasks that want and tasks that do not want any more come on different threads. Both
change the number with the lock held. So when the number falls to zero and the transfer
is taken out of the table, no other task can want it, and one that comes next finds no
transfer and starts another. The cancel itself comes after the lock was given back, when
no task waits for that future any more.

The lock is reentrant, because it is held while a transfer is submitted. Where the
kernel is ending, the thread that submits works the inbox off itself, and may come back
here to release the files of a task that came too late. A signal handler, too, may
submit a task on the thread that it has interrupted.
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
from jackfield.files import raw_path, redact
from jackfield.graph.route import INTERNAL, TRANSFERS
from jackfield.graph.task import AppSpec
from jackfield.staging.local_names import safe_name
from jackfield.staging.movement import Movement
from jackfield.staging.remote import Stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from logging import Logger

    from jackfield.files import File
    from jackfield.futures import AppFuture
    from jackfield.graph.events import Observation
    from jackfield.graph.route import Route
    from jackfield.graph.state import Closing
    from jackfield.staging.mover import Mover, Site
    from jackfield.staging.progress import OnProgress, Progress
    from jackfield.transfers.sites import Sites

STAGE_IN: Final = AppSpec("stage_in", kind="transfer", executors=(TRANSFERS,))
VERIFY: Final = AppSpec("verify", kind="transfer", executors=(INTERNAL,))
STAGE_OUT: Final = AppSpec("stage_out", kind="transfer", executors=(TRANSFERS,))


class _SharedFetch:
    """One file that is staged in, and how many tasks want it."""

    __slots__ = ("future", "wanted")

    def __init__(self, future: AppFuture[File]) -> None:
        self.future: AppFuture[File] = future
        self.wanted: int = 0


class SharedTransfers:
    """Starts the transfers of a kernel's files.

    Args:
        directory: Where local copies of remote files lie; made when it is needed.
        mover: Compares local files with what is declared of them.
        sites: Finds the site of a file.
        submit: Submits a task of the kernel's own.
        copies: Whether ``file:`` URLs are staged like those of other schemes.
        warn: Writes a sentence to the run's log, once.
        closing: Says whether the run is being cut short.
        observation: The observers that are told of progress.
        log: The run's log.
    """

    def __init__(
        self,
        directory: Path,
        mover: Mover,
        sites: Sites,
        submit: Callable[[AppSpec, Callable[[], File]], AppFuture[File]],
        *,
        copies: bool,
        warn: Callable[[str], None],
        closing: Closing,
        observation: Observation,
        log: Logger,
    ) -> None:
        self._directory: Path = directory
        self._mover: Mover = mover
        self._sites: Sites = sites
        self._submit_task: Callable[[AppSpec, Callable[[], File]], AppFuture[File]] = (
            submit
        )
        self._copies: bool = copies
        self._warn: Callable[[str], None] = warn
        self._closing: Closing = closing
        self._observation: Observation = observation
        self._log: Logger = log
        self._lock: threading.RLock = threading.RLock()
        self._fetches: dict[File, _SharedFetch] = {}
        self._numbers: count[int] = count(1)
        self._stops: dict[Stop, None] = {}
        self._senders: dict[str, int] = {}

    def site(self, file: File) -> Site:
        """Return the site of a file; see ``Sites.of``."""
        return self._sites.of(file)

    # -- in

    def fetch(self, file: File) -> AppFuture[File]:
        """Return the future of a file's local copy, the same for equal files.

        Each call counts as one task that wants the file, until ``release``. A transfer
        that has failed is not shared: the next task tries anew.

        Raises:
            NoProviderError: No plugin serves the scheme.
            ConfigurationError: The scheme is not allowed, or options are wrong.
        """
        start = self._starter(file)
        with self._lock:
            fetch = self._fetches.get(file)
            if fetch is None or _failed(fetch.future):
                fetch = self._fetches[file] = _SharedFetch(start())
            fetch.wanted += 1
            return fetch.future

    def _starter(self, file: File) -> Callable[[], AppFuture[File]]:
        """Return a function that submits the task that brings a file.

        A local file is not moved but compared with what its user declares. Errors of
        the file or the configuration are raised here, before the lock is taken.
        """
        if not file.remote and not self._copies:
            verify = partial(self._mover.verify, file)
            return partial(self._submit_task, VERIFY, verify)
        site = self.site(file)
        if not site.provider.stage_in:
            raise site.provider.unserved(file.url)

        def start() -> AppFuture[File]:
            stop, number = Stop(), next(self._numbers)
            action = partial(self._stage_in, file, site, stop, number)
            return self._submit(STAGE_IN, action, file, site, stop)

        return start

    def release(self, files: Mapping[File, Future[Any] | None]) -> None:
        """Count a task out that wanted files; cancel the transfers that nobody wants.

        ``files`` has each file with the future that ``fetch`` has returned for it.
        """
        for file, future in files.items():
            with self._lock:
                fetch = self._fetches.get(file)
                if fetch is None or fetch.future is not future:
                    continue  # a failed one, which another has replaced since
                fetch.wanted -= 1
                if fetch.wanted > 0 or fetch.future.done():
                    continue  # a copy that is here stays for later tasks
                del self._fetches[file]
            fetch.future.cancel()

    def _stage_in(self, file: File, site: Site, stop: Stop, number: int) -> File:
        """Bring a file into a directory of its own; runs on a transfer thread."""
        directory = self._make_directory(f"in-{number}")
        try:
            on_progress = self._reporter(number, file, "in")
            return site.stage_in(file, directory, stop, on_progress)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise

    # -- out

    def send(self, file: File) -> AppFuture[File]:
        """Start to stage an output out; return the future of that."""
        site, stop = self.site(file), Stop()
        on_progress = self._reporter(next(self._numbers), file, "out")
        action = partial(site.stage_out, file, stop, on_progress)
        return self._submit(STAGE_OUT, action, file, site, stop)

    def place_output(self, file: File, task: int) -> File:
        """Return a remote output with the local path that the app shall write.

        Raises:
            NoProviderError: No plugin serves the scheme.
            ConfigurationError: The scheme is not allowed, or options are wrong, or it
                is a pattern.
        """
        site = self.site(file)
        if not site.provider.stage_out:
            raise site.provider.unserved(file.url)
        if file.tree and "*" in raw_path(file.url):
            raise ConfigurationError(
                f"{redact(file.url)} is a pattern, and an output is one file or "
                f"directory; a star that belongs to its name is written %2A."
            )
        if file.url in self._senders:
            self._warn(
                f"{redact(file.url)} is an output of task {self._senders[file.url]}, "
                f"and another one, too: what is sent last stays there, and that may be "
                f"either unless one task waits for the other"
            )
        self._senders.setdefault(file.url, task)
        directory = self._make_directory(f"out-{task}-{next(self._numbers)}")
        return file.at(directory / safe_name(file.filename))

    # -- both

    def _make_directory(self, name: str) -> Path:
        """Make a directory for one file, closed to other users."""
        try:
            os.mkdir(f"{self._directory}/{name}", 0o700)  # noqa: PTH102  (once for each file)
        except FileNotFoundError:  # it is the first file of the run
            self._directory.mkdir(0o700, exist_ok=True)
            return self._make_directory(name)
        except FileExistsError:  # made by something else in the run's directory
            return Path(mkdtemp(prefix=f"{name}-", dir=self._directory))
        return self._directory / name

    def in_task(self, files: Iterable[File], route: Route) -> bool:
        """Tell whether a task has to move its remote files itself.

        It has to where an executor that may run it does not see the driver's files, and
        where the configuration says so for one of the files.
        """
        if not all(e.capabilities.shared_filesystem for e in route.entries):
            return True
        moved = (file for file in files if file.remote or self._copies)
        return any(self.site(file).in_task for file in moved)

    def _submit(
        self,
        spec: AppSpec,
        action: Callable[[], File],
        file: File,
        site: Site,
        stop: Stop,
    ) -> AppFuture[File]:
        host = f"{file.scheme}://{file.netloc.rpartition('@')[2]}"
        width = site.connections
        movement = Movement(self._stoppable(action, stop), host, width, stop)
        return self._submit_task(spec, movement)

    def _stoppable(self, action: Callable[[], File], stop: Stop) -> Callable[[], File]:
        """Return an action that ``stop_all`` can stop while it runs."""

        def run() -> File:
            # First the entry, then the look at the flag; a thread that cuts the run
            # short sets the flag first and then calls ``stop_all``. So it finds the
            # entry, or we find the flag, or both.
            self._stops[stop] = None
            try:
                if self._closing.cut_short.is_set():
                    stop.stop()
                return action()
            finally:
                del self._stops[stop]

        return run

    def stop_all(self) -> None:
        """Stop all files that are on their way. Called after ``cut_short`` is set."""
        for stop in list(self._stops):
            stop.stop()

    def _reporter(self, number: int, file: File, direction: str) -> OnProgress:
        """Return what logs retries and tells observers of a transfer's progress."""

        def on_progress(progress: Progress) -> None:
            if progress.stage == "retrying":
                self._log.info(
                    "Transfer of %s: attempt %d failed, another in %.1f s: %s",
                    redact(file.url), progress.attempt, progress.delay, progress.error,
                )  # fmt: skip
            events = self._observation.transfers
            if events is not None:
                events.note_transfer(number, redact(file.url), direction, progress)

        return on_progress


def _failed(future: AppFuture[File]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)
