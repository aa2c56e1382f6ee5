"""The two files of a log, opened together, and how they come to fit each other.

``records.log`` is the store; ``index`` can always be made from it. Whoever changes
either holds a lock on the log. A log is rewritten, and an index rebuilt, beside the
old one, which is told to be retired and then replaced: whoever still has it open reads
on until it sees that.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jackfield.errors import CheckpointError, CorruptCheckpointError
from jackfield_checkpoint import _frames, _guard, _index
from jackfield_checkpoint._index import Index, StaleIndexError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jackfield_checkpoint._index import Header
    from jackfield_checkpoint._notices import Notices
    from jackfield_checkpoint._options import Options

LOG: Final = "records.log"
INDEX: Final = "index"
NEW: Final = ".new"

BOOT: Final = _index.boot_id()

_POLL_S: Final = (0.0005, 0.05)
"""Shortest and longest pause between two attempts at the lock."""


class Log:
    """An open log. Closed when nobody refers to it any more.

    Attributes:
        descriptor: The file.
        identity: The number in its header; 0 if that is damaged.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int = descriptor
        self.identity: int = 0

    def __del__(self) -> None:
        os.close(self.descriptor)

    @property
    def end(self) -> int:
        """Its length."""
        return os.fstat(self.descriptor).st_size


@dataclass(frozen=True, slots=True)
class Files:
    """A log and the index that fits it."""

    log: Log
    index: Index


# -- Opening


def prepare(options: Options) -> None:
    """Make the directory and an empty log if they are missing; see who may write.

    Raises:
        CheckpointError: They are missing and may not be made, or others could have
            written them.
    """
    directory = options.path
    try:
        if not _guard.check_directory(directory, options):
            if options.read_only:
                raise CheckpointError("it does not exist.", str(directory))
            _guard.make_directory(directory, options)
        if _guard.check_file(directory / LOG, options) is None:
            _make(options)
        _guard.check_file(directory / INDEX, options)
    except OSError as error:
        raise _guard.unusable(directory, "open", error) from error


def _make(options: Options) -> None:
    directory = options.path
    others = [name for name in _names(directory) if not _is_ours(name)]
    if options.read_only or others:
        held = f" but others, such as {others[0]!r}" if others else ""
        raise CheckpointError(
            f"the directory holds no {LOG}{held}. Choose another one.", str(directory)
        )
    made = _guard.temporary(directory / LOG)
    try:
        descriptor = _guard.make_file(made, options)
        try:
            _index.write_at(descriptor, _frames.log_header(new_identity()), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _guard.publish(made, directory / LOG)
    finally:
        made.unlink(missing_ok=True)
    if options.sync == "power":
        _guard.sync_directory(directory)
        _guard.sync_directory(directory.parent)


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _is_ours(name: str) -> bool:
    return name in {LOG, INDEX} or name.endswith(NEW)


def new_identity() -> int:
    """Return a number for a log, never 0."""
    return secrets.randbits(63) | 1


def open_log(options: Options) -> Log:
    """Open the log.

    Raises:
        CheckpointError: It is none, or of a newer format.
    """
    path = options.path / LOG
    mode = os.O_RDONLY if options.read_only else os.O_RDWR
    try:
        log = Log(os.open(path, mode | os.O_CLOEXEC))
        identify(options, log)
    except OSError as error:
        raise _guard.unusable(path, "open", error) from error
    return log


def identify(options: Options, log: Log) -> None:
    """Read the identity of a log from its header.

    Raises:
        CheckpointError: It is none, or of a newer format.
    """
    path = str(options.path / LOG)
    data = os.pread(log.descriptor, _frames.START, 0)
    known = _frames.parse_log_header(data)
    if known is not None:
        version, log.identity = known
        if version != _frames.FORMAT:
            raise CheckpointError(
                f"its format is {version}, and this Jackfield knows {_frames.FORMAT}. "
                f"Upgrade Jackfield, or choose another directory.",
                path,
            )
        return
    log.identity = 0
    if not data:
        raise CheckpointError(
            "it is an empty file. If nothing else needs it, remove it.", path
        )
    pieces = _frames.scan(log.descriptor, _frames.START, log.end)
    if not any(isinstance(piece, _frames.Head) for piece in pieces):
        raise CorruptCheckpointError(
            "it is no log of results, or damaged throughout. Choose another "
            "directory, or move it aside.",
            path,
        )


def open_index(options: Options, log: Log) -> Index:
    """Open the index of a log.

    Raises:
        StaleIndexError: There is none that fits.
    """
    mode = os.O_RDONLY if options.read_only else os.O_RDWR
    try:
        descriptor = os.open(options.path / INDEX, mode | os.O_CLOEXEC)
    except OSError as error:
        raise StaleIndexError(str(error)) from error
    index = Index(descriptor)
    header = index.header()
    if header.retired or header.log != log.identity or not log.identity:
        raise StaleIndexError("it belongs to another log")
    if header.covered > log.end:
        raise StaleIndexError("it covers more than there is")
    if os.fstat(descriptor).st_size < _index.size_of(header):
        raise StaleIndexError("it was cut")
    if header.boot not in (bytes(16), BOOT):
        raise StaleIndexError("the machine has been started anew since")
    return index


def same_file(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), named)


# -- Making them fit. Under the lock, where the file system's own index is concerned.


def rebuild(options: Options, log: Log, notices: Notices) -> Index:
    """Make the index anew from the log, whose header is mended if it has to be.

    A store that is only read keeps its index in a temporary file, for itself.

    Raises:
        OSError: It cannot be written.
    """
    if not log.identity:
        _mend_header(options, log, notices)
    if options.read_only:
        with tempfile.TemporaryFile(prefix="jackfield-") as file:
            index = Index(os.dup(file.fileno()), private=True)
        _build(options, log, index, notices)
        return index
    path = options.path / (INDEX + NEW)
    path.unlink(missing_ok=True)
    index = Index(_guard.make_file(path, options))
    write_header(index, _build(options, log, index, notices))
    path.replace(options.path / INDEX)
    return index


def _build(options: Options, log: Log, index: Index, notices: Notices) -> Header:
    hashes, locations = array("Q"), array("Q")
    for head in sound_frames(options, log, _frames.START, notices):
        hashes.append(_index.hash_of(head.key))
        locations.append(location_of(head))
    covered = log.end  # after the end of the log has been mended
    return _index.build(index.descriptor, log.identity, covered, hashes, locations)


def _mend_header(options: Options, log: Log, notices: Notices) -> None:
    notices.damaged(f"the header of {LOG} is damaged")
    log.identity = new_identity()
    if not options.read_only:
        _index.write_at(log.descriptor, _frames.log_header(log.identity), 0)


def location_of(head: _frames.Head) -> int:
    """Return what the index holds for a frame."""
    return head.start | (_index.DELETED if head.kind == _frames.DELETE else 0)


def sound_frames(
    options: Options, log: Log, start: int, notices: Notices
) -> Iterator[_frames.Head]:
    """Give the sound frames from an offset on, and tell of what is none.

    What an interrupted write has left at the end is cut off.
    """
    for piece in _frames.scan(log.descriptor, start, log.end):
        if isinstance(piece, _frames.Head):
            yield piece
        elif piece.torn:
            notices.damaged(
                f"the last {piece.end - piece.start} bytes of {LOG} are an unfinished "
                f"record"
            )
            if not options.read_only:
                os.ftruncate(log.descriptor, piece.start)
        else:
            notices.damaged(
                f"{piece.end - piece.start} bytes of {LOG} are damaged, from offset "
                f"{piece.start} on"
            )


def catch_up(
    options: Options, files: Files, header: Header, notices: Notices
) -> Header:
    """Enter what a process has appended that died before it had entered it.

    Raises:
        StaleIndexError: The index has to be rebuilt.
    """
    if header.covered > files.log.end:
        raise StaleIndexError("it covers more than there is")
    if header.covered == files.log.end:
        return header
    heads = sound_frames(options, files.log, header.covered, notices)
    frames = ((head.key, location_of(head), head.end) for head in heads)
    header = _index.enter(files.index, header, frames)
    header.covered = files.log.end
    write_header(files.index, header)
    return header


def write_header(index: Index, header: Header, *, flushed: bool = False) -> None:
    """Write the state of an index, which counts until the machine is started anew."""
    header.boot = bytes(16) if flushed else BOOT
    _index.write_at(index.descriptor, header.pack(), 0)


def flush(descriptor: int) -> None:
    """Bring a file's contents to the disk.

    Raises:
        OSError: They may be lost, also if a second attempt seems to succeed.
    """
    import fcntl

    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync stops at the disk's cache
    else:
        os.fdatasync(descriptor)


# -- The lock


def lock(descriptor: int, seconds: float, path: str) -> None:
    """Take the lock of a log.

    Raises:
        CheckpointError: Another process has held it for so long, or the file system
            has no locks.
    """
    import fcntl

    deadline = time.monotonic() + seconds
    pause = _POLL_S[0]
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise CheckpointError(
                    f"another process has been writing for {seconds:g} seconds; raise "
                    f"busy_timeout, or end that process.",
                    path,
                ) from error
        except OSError as error:
            raise CheckpointError(
                f"its file system has no locks ({error.strerror}); use a local disk.",
                path,
            ) from error
        else:
            return
        time.sleep(pause)
        pause = min(2 * pause, _POLL_S[1])


def unlock(descriptor: int) -> None:
    """Give the lock back."""
    import fcntl

    with contextlib.suppress(OSError):  # closing the file will do it
        fcntl.flock(descriptor, fcntl.LOCK_UN)
