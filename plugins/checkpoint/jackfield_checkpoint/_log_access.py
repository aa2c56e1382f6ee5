"""How a store holds its two files: for reading without a lock, for writing with one."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jackfield.errors import CheckpointError
from jackfield_checkpoint import _guard, _log_files
from jackfield_checkpoint._index import RetiredIndexError, StaleIndexError
from jackfield_checkpoint._log_files import INDEX, LOG, Files
from jackfield_checkpoint._notices import Notices, log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield_checkpoint._options import Options


class Access:
    """The files of one open store. Whoever got them may use them until it is done.

    Files are replaced, never closed, when the log is rewritten or the index rebuilt,
    by this process or another: a thread that reads keeps what it has.
    """

    def __init__(self, options: Options) -> None:
        self.options: Options = options
        self.notices: Notices = Notices(options.path)
        self.path: str = str(options.path / LOG)
        self._pid: int = os.getpid()
        self._mutex: threading.RLock = threading.RLock()
        _log_files.prepare(options)
        self._files: Files | None = self._open()

    def files(self) -> Files:
        """Return the files as they are, for reading.

        Raises:
            CheckpointError: They are closed, or another process's.
        """
        if os.getpid() != self._pid:
            raise CheckpointError(
                f"it was opened by process {self._pid}, from which this one was "
                f"forked; open it again here.",
                self.path,
            )
        files = self._files
        if files is None:
            raise CheckpointError("it is closed.", self.path)
        return files

    @property
    def is_open(self) -> bool:
        """Whether there is something to close here."""
        return self._files is not None and os.getpid() == self._pid

    def close(self) -> None:
        """Let the files go, as soon as nobody reads them."""
        with self._mutex:
            self._files = None

    # -- Opening and renewing

    def _open(self) -> Files:
        """Open both, and make the index if none fits."""
        options = self.options
        opened = _log_files.open_log(options)
        try:
            return Files(opened, _log_files.open_index(options, opened))
        except StaleIndexError as error:
            if options.read_only:
                return self._with_new_index(opened, error)
        _log_files.lock(opened.descriptor, options.busy_timeout, self.path)
        try:
            if not _log_files.same_file(opened.descriptor, options.path / LOG):
                return self._open()  # it was being rewritten
            _log_files.identify(options, opened)
            return Files(opened, _log_files.open_index(options, opened))
        except StaleIndexError as error:
            return self._with_new_index(opened, error)
        finally:
            _log_files.unlock(opened.descriptor)

    def _with_new_index(self, opened: _log_files.Log, why: Exception) -> Files:
        log.info("%s: the index is made anew: %s", self.path, why)
        try:
            return Files(opened, _log_files.rebuild(self.options, opened, self.notices))
        except OSError as error:
            raise _guard.unusable(self.options.path, "index", error) from error

    def renewed(self, stale: Files, why: Exception) -> Files:
        """Return files in place of some that proved to be out of date or damaged."""
        with self._mutex:
            current = self.files()
            if current is not stale:
                return current  # another thread has met the same
            if not self.options.read_only:
                with self._locked(self.options.busy_timeout) as files:
                    return files if files is not stale else self.rebuilt(files, why)
            if isinstance(why, RetiredIndexError):
                self._files = self._open()
            else:
                self._files = self._with_new_index(stale.log, why)
            return self._files

    def rebuilt(self, files: Files, why: Exception) -> Files:
        """Make a new index for a log; only under its lock."""
        self._files = self._with_new_index(files.log, why)
        return self._files

    def replace(self, files: Files) -> None:
        """Use other files from now on; only under both logs' locks."""
        self._files = files

    # -- Locking

    @contextmanager
    def exclusive(self, doing: str, seconds: float | None = None) -> Iterator[Files]:
        """Hold the lock, with all of the log entered into the index.

        Args:
            doing: For messages: a verb.
            seconds: How long to wait for other processes, if not as configured.

        Raises:
            CheckpointError: The lock cannot be had, or the files not be written.
        """
        self.files()
        if self.options.read_only:
            raise CheckpointError("it was opened to be read only.", self.path)
        if seconds is None:
            seconds = self.options.busy_timeout
        try:
            with self._mutex, self._locked(seconds) as files:
                yield self._caught_up(files)
        except OSError as error:
            raise _guard.unusable(self.options.path / LOG, doing, error) from error

    @contextmanager
    def _locked(self, seconds: float) -> Iterator[Files]:
        """Hold the lock of the files that have their names now."""
        while True:
            files = self.files()
            _log_files.lock(files.log.descriptor, seconds, self.path)
            if self._are_current(files):
                break
            _log_files.unlock(files.log.descriptor)
            self._files = self._open()
        try:
            yield files
        finally:
            _log_files.unlock(files.log.descriptor)
            if self._files is not None and self._files.log is not files.log:
                _log_files.unlock(self._files.log.descriptor)

    def _are_current(self, files: Files) -> bool:
        directory = self.options.path
        return _log_files.same_file(
            files.log.descriptor, directory / LOG
        ) and _log_files.same_file(files.index.descriptor, directory / INDEX)

    def _caught_up(self, files: Files) -> Files:
        try:
            header = files.index.header()
            if header.retired:  # by a process that died before it had replaced it
                raise StaleIndexError("it was to be replaced")  # noqa: TRY301  (as a damaged one)
            _log_files.catch_up(self.options, files, header, self.notices)
        except StaleIndexError as error:
            return self.rebuilt(files, error)
        return files
