"""The remote files of one kernel: tasks that want the same file share one transfer.

How a file is moved is the business of its site. Here it is known which file is wanted,
and by how many tasks. The first task that names a file starts its
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
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from jackfield.errors import ConfigurationError
from jackfield.files import raw_path, redact
from jackfield.staging import mover
from jackfield.staging.remote import Stop
from jackfield_system.local_names import safe_name
from jackfield_transfers.courier import Courier
from jackfield_transfers.movement import Movement
from jackfield_transfers.site import unserved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from logging import Logger

    from jackfield.files import File
    from jackfield.staging.mover import Progress
    from jackfield.staging.remote import RemoteInfo
    from jackfield_transfers.host_site import HostSite, OnProgress


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


class _SharedFetch:
    """One file that is staged in, and how many tasks want it."""

    __slots__ = ("future", "wanted")

    def __init__(self, future: Future[File]) -> None:
        self.future: Future[File] = future
        self.wanted: int = 0


class SharedMover(mover.Mover):
    """Starts the transfers of a kernel's files; a subclass makes the sites.

    Sites are found without a lock. Two threads that ask for a new one at the same time
    may both make it. The two are equal, and the later one is kept.

    Attributes:
        around: What the mover has got of its kernel.
        warn: Writes a sentence to the run's log, once.
    """

    def __init__(self, around: mover.MoverContext) -> None:
        self.around: mover.MoverContext = around
        self.warn: WarnOnce = WarnOnce(around.log)
        self._copies: bool = around.staging.get("file", {}).get("copy") is True
        self._schemes: tuple[str, ...] | None = around.transfers.get("schemes")
        self._sites: dict[tuple[object, ...], HostSite] = {}
        self._lock: threading.RLock = threading.RLock()
        self._fetches: dict[File, _SharedFetch] = {}
        self._numbers: count[int] = count(1)
        self._stops: dict[Stop, None] = {}

    # -- sites

    @abstractmethod
    def make_site(self, scheme: str, host: str, provider: mover.Provider) -> HostSite:
        """Make the site of a scheme and host; the host may have a port but no user.

        Called once for each, and again when the plugins of the scheme have changed.

        Raises:
            ConfigurationError: What is configured for it is wrong.
        """

    @abstractmethod
    def verify(self, file: File) -> File:
        """Compare a local file with what its user declares; return it.

        Raises:
            FileNotFoundError: There is no such file.
            TransferError: It has another size or digest.
        """

    def site(self, file: File) -> HostSite:
        """Return the site of a file.

        It is made anew when the plugins that serve the scheme have changed.

        Raises:
            ConfigurationError: The scheme is not allowed, or options are wrong.
            PluginError: The plugin that serves the scheme cannot be used.
        """
        host = file.netloc.rpartition("@")[2]
        provider = self.around.provider(file.scheme)
        key = file.scheme, host, provider.stage_in
        site = self._sites.get(key)
        if site is None:
            self._check_allowed(file)
            site = self.make_site(file.scheme, host, provider)
            self._sites[key] = site
        return site

    def look(self, file: File) -> RemoteInfo | None:
        """Ask what the other side says of a file, and move nothing."""
        return self.site(file).look(file, Stop())

    def _check_allowed(self, file: File) -> None:
        if self._schemes is not None and file.scheme not in self._schemes:
            raise ConfigurationError(
                f"{redact(file.url)}: transfers.schemes does not allow "
                f"{file.scheme!r}; it allows {', '.join(self._schemes) or 'none'}."
            )

    # -- in

    def fetch(self, file: File) -> Future[File]:
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

    def _starter(self, file: File) -> Callable[[], Future[File]]:
        """Return a function that submits the task that brings a file.

        A local file is not moved but compared with what its user declares. Errors of
        the file or the configuration are raised here, before the lock is taken.
        """
        if not file.remote and not self._copies:
            return partial(self._compare, file)
        site = self.site(file)
        if not site.provider.stage_in:
            raise unserved(site.provider, file.url)

        def start() -> Future[File]:
            stop, number = Stop(), next(self._numbers)
            action = partial(self._stage_in, file, site, stop, number)
            return self._submit("stage_in", action, file, site, stop)

        return start

    def _compare(self, file: File) -> Future[File]:
        return self.around.start("verify", partial(self.verify, file))

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

    def _stage_in(self, file: File, site: HostSite, stop: Stop, number: int) -> File:
        """Bring a file into a directory of its own; runs on a transfer thread."""
        directory = self._make_directory(f"in-{number}")
        try:
            on_progress = self._reporter(number, file, "in")
            return site.stage_in(file, directory, stop, on_progress)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise

    # -- out

    def send(self, file: File) -> Future[File]:
        """Start to stage an output out, or to compare a local one."""
        if not (file.remote or (self._copies and file.url.startswith("file:"))):
            return self._compare(file)
        site, stop = self.site(file), Stop()
        on_progress = self._reporter(next(self._numbers), file, "out")
        action = partial(site.stage_out, file, stop, on_progress)
        return self._submit("stage_out", action, file, site, stop)

    def place_output(self, file: File, task: int) -> File:
        """Return a remote output with the local path that the app shall write.

        Raises:
            NoProviderError: No plugin serves the scheme.
            ConfigurationError: The scheme is not allowed, or options are wrong, or it
                is a pattern.
        """
        site = self.site(file)
        if not site.provider.stage_out:
            raise unserved(site.provider, file.url)
        if file.tree and "*" in raw_path(file.url):
            raise ConfigurationError(
                f"{redact(file.url)} is a pattern, and an output is one file or "
                f"directory; a star that belongs to its name is written %2A."
            )
        directory = self._make_directory(f"out-{task}-{next(self._numbers)}")
        return file.at(directory / safe_name(file.filename))

    # -- both

    def _make_directory(self, name: str) -> Path:
        """Make a directory for one file, closed to other users."""
        try:
            os.mkdir(f"{self.around.directory}/{name}", 0o700)  # noqa: PTH102  (once for each file)
        except FileNotFoundError:  # it is the first file of the run
            self.around.directory.mkdir(0o700, exist_ok=True)
            return self._make_directory(name)
        except FileExistsError:  # made by something else in the run's directory
            return Path(mkdtemp(prefix=f"{name}-", dir=self.around.directory))
        return self.around.directory / name

    def in_task(self, files: Iterable[File]) -> bool:
        """Tell whether the configuration says so for one of these files."""
        moved = (file for file in files if file.remote or self._copies)
        return any(self.site(file).in_task for file in moved)

    def courier(
        self, app: str, inputs: Sequence[File], outputs: Sequence[File]
    ) -> Courier:
        """Return what takes the sites of a task's files to its worker."""
        sites = {file.url: self.site(file) for file in (*outputs, *inputs)}
        return Courier(app, sites, inputs, outputs)

    def _submit(
        self,
        errand: mover.Errand,
        action: Callable[[], File],
        file: File,
        site: HostSite,
        stop: Stop,
    ) -> Future[File]:
        host = f"{file.scheme}://{file.netloc.rpartition('@')[2]}"
        width = site.connections
        movement = Movement(self._stoppable(action, stop), host, width, stop)
        return self.around.start(errand, movement)

    def _stoppable(self, action: Callable[[], File], stop: Stop) -> Callable[[], File]:
        """Return an action that ``stop_all`` can stop while it runs."""

        def run() -> File:
            # First the entry, then the look at the flag; a thread that cuts the run
            # short sets the flag first and then calls ``stop_all``. So it finds the
            # entry, or we find the flag, or both.
            self._stops[stop] = None
            try:
                if self.around.cut_short.is_set():
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
                self.around.log.info(
                    "Transfer of %s: attempt %d failed, another in %.1f s: %s",
                    redact(file.url), progress.attempt, progress.delay, progress.error,
                )  # fmt: skip
            self.around.note(number, redact(file.url), direction, progress)

        return on_progress


def _failed(future: Future[File]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)
