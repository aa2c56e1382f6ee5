"""Who may have written a file: a stored result runs code when it is read.

The rules are those that ssh has for its keys. A file must belong to this user (or to
root, who can do anything anyhow) and nobody else may write it. Directories on the
way are asked less, as far as records are signed; see ``check_parent``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

from jackfield.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield_checkpoint._options import Options

_TEAM: Final = (
    "If it is a team's store, signed with the team's key, set shared = true in "
    "[checkpoint]"
)


def check_file(path: Path, options: Options) -> os.stat_result | None:
    """Refuse a file of a store that somebody else could have written.

    Returns:
        Its status, or ``None`` if it does not exist.

    Raises:
        CheckpointError: It names the reason and the way out.
    """
    status = _status(path)
    if status is None:
        return None
    if stat.S_ISLNK(status.st_mode):
        if options.trust != "any":
            raise CheckpointError(
                f"it is a symbolic link; name the file: {os.fspath(path.resolve())!r}.",
                str(path),
            )
        status = _followed(path)
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError("it is not a regular file.", str(path))
    _check_owner(path, status, options)
    _check_mode(path, status, options)
    return status


def check_directory(path: Path, options: Options) -> bool:
    """Refuse a store's own directory as ``check_file`` refuses a file.

    Returns:
        Whether it exists.
    """
    status = _status(path)
    if status is None:
        return False
    if stat.S_ISLNK(status.st_mode):
        status = _followed(path)  # the directory itself is checked, wherever it is
    if not stat.S_ISDIR(status.st_mode):
        raise CheckpointError("it is not a directory.", str(path))
    _check_owner(path, status, options)
    _check_mode(path, status, options)
    return True


def check_parent(path: Path, options: Options) -> None:
    """Refuse a directory in which others could put files beside the store's.

    With signed records, such files can do little harm: a directory of the group, as
    a home directory's often are, passes. Without, it must be this user's alone.
    """
    status = _status(path)
    if status is None or options.trust == "any" or options.shared:
        return
    if stat.S_ISLNK(status.st_mode):
        status = _followed(path)
    if options.trust == "owner":
        _check_owner(path, status, options)
    writers = stat.S_IWOTH | (stat.S_IWGRP if options.trust == "owner" else 0)
    if status.st_mode & writers and not status.st_mode & stat.S_ISVTX:
        raise CheckpointError(
            f"others may put files beside the store's (mode {_mode(status)}). Choose "
            f"another directory, or run: chmod go-w {os.fspath(path)!r}.",
            str(path),
        )


def _check_owner(path: Path, status: os.stat_result, options: Options) -> None:
    if status.st_uid in (os.geteuid(), 0) or options.shared or options.trust == "any":
        return
    raise CheckpointError(
        f"it belongs to {_user(status.st_uid)}, and you are {_user(os.geteuid())}: a "
        f"stored result can run code when it is read. {_TEAM}; if you trust whatever "
        f"it holds as you trust a program, trust = 'any'.",
        str(path),
    )


def _check_mode(path: Path, status: os.stat_result, options: Options) -> None:
    writers = stat.S_IWOTH | (0 if options.shared else stat.S_IWGRP)
    if not status.st_mode & writers or options.trust == "any":
        return
    raise CheckpointError(
        f"others may write to it (mode {_mode(status)}): a stored result can run code "
        f"when it is read. If nobody has, run: chmod go-w {os.fspath(path)!r}. "
        f"{_TEAM}.",
        str(path),
    )


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(path, "look at", error) from error


def _followed(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise unusable(path, "follow", error) from error


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o}"


def _user(uid: int) -> str:
    import pwd

    with contextlib.suppress(KeyError):
        return f"user {pwd.getpwuid(uid).pw_name!r}"
    return f"user {uid}"


def unusable(path: Path, doing: str, error: OSError) -> CheckpointError:
    """Return the error for a system call that failed; chain it from ``error``."""
    why = error.strerror or str(error)
    return CheckpointError(
        f"cannot {doing} it as user {os.geteuid()}: {why}", str(path)
    )


def check_usable(path: Path, pid: int, *, closed: bool) -> None:
    """Refuse to use a store that is closed, or belongs to another process."""
    if os.getpid() != pid:
        raise CheckpointError(
            f"it was opened by process {pid}, from which this one was forked; open it "
            f"again here.",
            str(path),
        )
    if closed:
        raise CheckpointError("it is closed.", str(path))


# -- Making


def make_directory(path: Path, options: Options) -> None:
    """Make a directory and those above it that are missing, for this user alone.

    Raises:
        CheckpointError: It cannot be made.
    """
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        try:
            directory.mkdir(mode=0o700)
            directory.chmod(0o2770 if options.shared else 0o700)
        except FileExistsError:
            continue  # another process was quicker
        except OSError as error:
            raise unusable(directory, "make", error) from error


def make_file(path: Path, options: Options) -> int:
    """Make a file that does not exist, whatever the umask; return its descriptor.

    Raises:
        OSError: As ``os.open`` does.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o660 if options.shared else 0o600)
    return descriptor


def temporary(path: Path) -> Path:
    """Return a name beside ``path`` for what is to become it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")


def publish(made: Path, path: Path) -> None:
    """Give a finished file its name, unless another process has just done so.

    Nobody ever sees a half-made store under its own name.
    """
    try:
        os.link(made, path)
    except FileExistsError:
        pass
    except (
        OSError
    ):  # no hard links here: two processes may race, once in a store's life
        if not path.exists():
            made.rename(path)
            return
    made.unlink()


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
