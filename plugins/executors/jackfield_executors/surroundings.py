"""What a task finds around it: the script's directory, and no other task's changes.

Directory, umask and environment belong to a process, and a task that changes one of
them changes it for all that comes after it there. So they are put back, in a worker of
``processes`` before its next task (``Surroundings``), and in the process of some other
pool after each call (``run_there``). Threads share them with the script and with each
other; there nothing can be done.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, Final

from jackfield import serialize

_CHANGES: Final = frozenset({"os.chdir", "os.putenv", "os.unsetenv"})
"""Python's audit events for changes of the directory and the environment."""


def present_directory() -> str | None:
    """Return the directory in which this process is; ``None`` if it is gone."""
    try:
        return os.getcwd()  # noqa: PTH109  (for each message; a str is wanted)
    except FileNotFoundError:
        return None


class Surroundings:
    """Directory, umask and environment of a worker's process, as tasks shall find them.

    To look at all three for each task would take as long as a short task does. Python
    tells of changes by its audit events, so they are looked at after such an event. The
    umask has none, but is set in a moment.

    A watchdog may call ``follow`` while the main thread is in ``restore``. It sets the
    directory first and ``changed`` last; ``restore`` clears ``changed`` first and then
    reads the directory. So a directory that comes meanwhile is entered now or next.

    Attributes:
        changed: Whether something may have changed, so that ``restore`` is due.
        umask: The umask that tasks shall have.
    """

    def __init__(self) -> None:
        self.changed: bool = False
        self.umask: int = _umask()
        self._directory: str | None = None
        self._is_chosen = False
        self._environment: dict[str, str] = dict(os.environ)
        self._restoring = False

    def settle(self) -> None:
        """Take what there is as right, after the user's initializer.

        If that has changed the directory, tasks stay where it has gone.
        """
        here = present_directory()
        self._is_chosen = self._directory is not None and here != self._directory
        self._directory = here or self._directory
        self.umask = _umask()
        self._environment = dict(os.environ)
        sys.addaudithook(self._note)

    def _note(self, event: str, _: tuple[Any, ...]) -> None:
        if event in _CHANGES and not self._restoring:
            self.changed = True

    def follow(self, directory: str | None) -> None:
        """Have the next tasks run in another directory; ``None`` stays."""
        if directory is not None and not self._is_chosen:
            self._directory = directory
            self.changed = True

    def adopt_imports(self) -> None:
        """Keep the variables that modules have set while a function was loaded."""
        self._environment = dict(os.environ)
        self.restore()

    def restore(self) -> None:
        """Put back what a task has changed.

        Raises:
            OSError: The directory cannot be entered.
        """
        self.changed = False
        self._restoring = True
        try:
            _restore_environment(self._environment)
            _enter(self._directory)
        except BaseException:
            self.changed = True  # or the next task would run in a wrong place
            raise
        finally:
            self._restoring = False


def _enter(directory: str | None) -> None:
    if directory is None:
        return
    try:
        os.chdir(directory)
    except OSError as error:
        reason = f"a task cannot run where the script is: {error.strerror}"
        raise OSError(error.errno, reason, directory) from None


def _umask() -> int:
    umask = os.umask(0o077)  # there is no way to read it alone
    os.umask(umask)
    return umask


def _restore_environment(wanted: dict[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    # Those that look the same too: `os.putenv` changes what `os.environ` does not show.
    os.environ.update(wanted)


def run_there(directory: str | None, function: bytes, call: bytes) -> serialize.Packed:
    """Run a call as ``serialize.run_packed`` does, in a directory; undo its changes.

    For processes of pools that are not ours: they are left as they were.
    """
    before, umask, environment = present_directory(), _umask(), dict(os.environ)
    try:
        _enter(directory)
        return serialize.run_packed(function, call)
    except OSError as error:  # of `_enter`; the other one never raises
        return serialize.pack_error(error)
    finally:
        os.umask(umask)
        if dict(os.environ) != environment:
            _restore_environment(environment)
        if before is not None:
            with suppress(OSError):
                os.chdir(before)
