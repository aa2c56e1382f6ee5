"""What a task finds around it: the script's directory, and no other task's changes.

Directory, umask and environment belong to a process, and a task that changes one of
them changes it for all that comes after it there. So they are put back, in a worker of
``processes`` before its next task (``Surroundings``), and in the process of some other
pool after each call (``Visit``). Threads share them with the script and with each
other; there nothing can be done.
"""

from __future__ import annotations

import functools
import os
import posix
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import jackfield_serialize as serialize

if TYPE_CHECKING:
    from collections.abc import Callable

_set_umask: Final = os.umask
_CHANGES: Final = frozenset({"os.chdir", "os.putenv", "os.unsetenv"})
"""Python's audit events for changes of the directory and the environment."""
_BY_C: Final = "ctypes.dlsym", "umask"
"""The audit event of a function of C that Python looks up, and which one."""


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
    umask has none, so ``os.umask`` is another function in a worker, which tells too.

    A watchdog may call ``follow`` while the main thread is in ``restore``. It sets the
    directory first and ``changed`` last; ``restore`` clears ``changed`` first and then
    reads the directory. So a directory that comes meanwhile is entered now or next.

    Attributes:
        changed: Whether something may have changed, so that ``restore`` is due.
        umask: The umask that tasks shall have. It is put back after it was set.
    """

    def __init__(self) -> None:
        self.changed: bool = False
        self.umask: int = _umask()
        self._directory: str | None = None
        self._is_chosen = False
        self._environment: dict[str, str] = dict(os.environ)
        self._restoring = False
        self._always = False  # whether it may be changed without a word

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
        posix.umask = os.umask = self._set_umask

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES and not self._restoring:
            self.changed = True
        elif event == _BY_C[0] and arguments[-1] == _BY_C[1]:
            self.changed = self._always = True

    def _set_umask(self, mask: int, /) -> int:
        """Set the current numeric umask and return the previous umask."""
        self.changed = True
        return _set_umask(mask)

    def follow(self, directory: str | None) -> None:
        """Have the next tasks run in another directory; ``None`` stays."""
        if directory is not None and not self._is_chosen:
            self._directory = directory
            self.changed = True

    def set_variable(self, name: str, value: str) -> None:
        """Have the next tasks find a variable of the environment like this."""
        self._environment[name] = value
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
        self.changed = self._always
        self._restoring = True
        try:
            _set_umask(self.umask)
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
    umask = _set_umask(0o077)  # there is no way to read it alone
    _set_umask(umask)
    return umask


def _restore_environment(wanted: dict[str, str]) -> None:
    zone = os.environ.get("TZ")
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    # Those that look the same too: `os.putenv` changes what `os.environ` does not show.
    os.environ.update(wanted)
    if zone != wanted.get("TZ"):
        time.tzset()  # the C library looks at it only then


class Visit:
    """A process of some other pool while calls run there, one after another.

    Each call finds directory, umask and environment as the first one did. ``leave``
    puts the process back where it was.

    Args:
        directory: Where the calls run; ``None`` stays.
    """

    def __init__(self, directory: str | None) -> None:
        _listen()
        self._before = present_directory()
        self._directory = directory or self._before
        self._umask = _umask()
        self._environment = dict(os.environ)
        self._error = _try_to_enter(self._directory)

    def run(
        self,
        function: bytes,
        call: bytes | tuple[Any, ...],
        pack: Callable[[object], serialize.Packed] | None = None,
    ) -> serialize.Packed:
        """Run a call as ``serialize.run_packed`` does, and undo its changes."""
        if self._error is not None:
            return serialize.pack_error(self._error)
        before = _changes.number
        packed = serialize.run_packed(function, call, pack=pack)
        _set_umask(self._umask)
        if _changes.number != before:
            _restore_environment(self._environment)
            self._error = _try_to_enter(self._directory)
        return packed

    def leave(self) -> None:
        """Go back to the directory that the process was in."""
        _try_to_enter(self._before)


def _try_to_enter(directory: str | None) -> OSError | None:
    try:
        _enter(directory)
    except OSError as error:
        return error
    return None


class _Changes:
    """Counts changes of this process's directory and environment, by audit events.

    To compare the environment after each call would take as long as thirty short calls.
    """

    number = 0

    def note(self, event: str, _: tuple[Any, ...]) -> None:
        if event in _CHANGES:
            self.number += 1


_changes = _Changes()


@functools.cache
def _listen() -> None:
    """Begin to count. An audit hook stays as long as its process."""
    sys.addaudithook(_changes.note)
