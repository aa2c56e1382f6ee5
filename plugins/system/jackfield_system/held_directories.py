"""Temporary directories that are removed, also if their process was killed.

A process that is killed removes nothing. So a directory made here is *held*: its
process has a lock on it, which the operating system takes away with the process,
however that ends. Whoever comes next on that machine removes what nobody holds
(``sweep``). A process id would not do in place of a lock: ids are used again, and a
container has its own. What cleans temporary directories for the system, as
``systemd-tmpfiles`` does, leaves those alone that have such a lock.

- *One is swept between its making and its lock.* The maker waits for the lock, finds
  its directory gone, and makes another.
- *Two sweep at a time.* The second one does not get the lock, and goes on.
- *Children.* One that is forked without ``exec`` holds the directory, too.
- *Somebody else puts a directory of such a name there.* It belongs to another user, or
  it is a link, which is not followed: it is left alone.
- *Other machines see the same directory.* A lock may not count there, so nobody sweeps.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jackfield_system.mounts import shared_kind

if TYPE_CHECKING:
    from types import TracebackType

_PREFIX: Final = "jackfield-"
_SUFFIX: Final = ".held"
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class HeldDirectory:
    """A new directory of this process's own, closed to other users.

    Attributes:
        path: Where it is.

    Args:
        name: Becomes a part of its name.
        within: Where to make it; by default, where temporary files are.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, name: str, within: Path | None = None) -> None:
        prefix = f"{_PREFIX}{name}-"
        held: int | None = None
        while held is None:
            made = tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=within)
            self.path: Path = Path(made)
            held = _locked(self.path, wait=True)
        self._held: int | None = held

    def remove(self) -> None:
        """Remove it with all that is in it; what cannot be removed is left."""
        held, self._held = self._held, None
        if held is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(held)

    def __enter__(self) -> Path:
        """Return where it is."""
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the directory."""
        self.remove()


def sweep(within: Path | None = None) -> None:
    """Remove this user's directories whose processes are gone. Raises nothing.

    Args:
        within: Where to look; by default, where temporary files are.
    """
    try:
        place = Path(tempfile.gettempdir()) if within is None else within
        if shared_kind(place):
            return
        names = os.listdir(place)  # noqa: PTH208  (there may be many)
    except OSError:
        return
    for name in names:
        if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
            _sweep_one(place / name)


@cache
def sweep_once(within: Path | None = None) -> None:
    """Call ``sweep``, but only the first time in this process."""
    sweep(within)


def _sweep_one(path: Path) -> None:
    try:
        held = _locked(path, wait=False)
    except OSError:  # it is held, or of a kind that cannot be, or gone
        return
    if held is None:
        return
    try:
        if os.fstat(held).st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(held)


def _locked(path: Path, *, wait: bool) -> int | None:
    """Lock a directory; return the descriptor, or nothing if it is not there any more.

    Where directories cannot be locked, a maker does without: nobody sweeps it then.

    Raises:
        OSError: Without ``wait``: it cannot be locked.
    """
    try:
        number = os.open(path, _FLAGS)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            if not wait:
                raise
        if os.path.samestat(os.fstat(number), os.stat(path, follow_symlinks=False)):  # noqa: PTH116  (nothing is followed)
            return number
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(number)
        raise
    os.close(number)
    return None
