"""What travels with a call to a worker that does not see the driver's disk, and back.

A *parcel* has the call's input files, and says where its outputs and streams are to be.
The worker lays the files out in a directory of the call's own, in which the call runs:
what the script has below its working directory has the same relative name there. What
the call has made is given back with its outcome, and the directory is removed.

``File`` objects among arguments and results are pickled with their places, at whatever
depth they are: the driver's as the place in that directory, a worker's as the path that
the driver knows. Pickling is done on one thread, which knows what it is doing for whom.
"""

from __future__ import annotations

import copyreg
import os
import pickle
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import current_thread, local, main_thread
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jackfield.errors import MissingOutputs, TransferError
from jackfield.files import File
from jackfield_executors.remote.trees import (
    TooLargeError,
    Tree,
    read_tree,
    size_of,
    write_tree,
)
from jackfield_executors.surroundings import present_directory
from jackfield_serialize import Packed, pack_error, run_packed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HERE: Final = "here"
"""The directory of a call's own in which it runs."""

Returned: TypeAlias = tuple[str, list[tuple[int, Tree]], list[tuple[int, bytes]]]
"""The call's directory on the worker, its outputs by number, and its streams."""


@dataclass(slots=True)
class Parcel:
    """What a worker is told of a call's files. It is sent as a plain tuple.

    Attributes:
        app: The app's name, for messages.
        limit: How ``carry`` was set, for messages.
        room: Bytes that may come back.
        inputs: Places, each with what is to be there.
        outputs: By number: the place, and the path that the driver knows it by.
        streams: The same for files that need not be made.
    """

    app: str
    limit: str
    room: int
    inputs: list[tuple[str, Tree]] = field(default_factory=list)
    outputs: dict[int, tuple[str, str]] = field(default_factory=dict)
    streams: dict[int, tuple[str, str]] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return the parcel as it is sent."""
        plain = self.app, self.limit, self.room, self.inputs, self.outputs, self.streams
        return pickle.dumps(plain, 5)


_thread = local()


@contextmanager
def pickling_files(reduce: Callable[[File], tuple[Any, ...] | None]) -> Iterator[None]:
    """Have this thread pickle each ``File`` as a function says, or as it is."""
    outer = getattr(_thread, "reduce", None)
    _thread.reduce = reduce
    try:
        yield
    finally:
        _thread.reduce = outer


def note_files() -> None:
    """Have ``met_file`` tell from now on, for this thread."""
    _thread.met = False


def met_file() -> bool:
    """Whether this thread has pickled a file since ``note_files``."""
    return bool(_thread.met)


def _reduce_file(file: File) -> Any:
    _thread.met = True
    reduce = getattr(_thread, "reduce", None)
    return (reduce and reduce(file)) or file.__reduce_ex__(5)


# Picklers ask the types in this table first, ours as well as cloudpickle's.
copyreg.pickle(File, _reduce_file)


class Placed:
    """Stands for a path in a call; pickled as what finds it on the worker."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return path_at, (self._place,)


def path_at(place: str) -> str:
    """Return where a place is on this worker, for the call that is being loaded."""
    return os.path.join(_thread.directory, place)  # noqa: PTH118  (strs are at hand)


def file_at(place: str, url: str, sha256: str | None, size: int | None) -> File:
    """Return a file that has come with the call that is being loaded."""
    declared = "digest" if sha256 else "size" if size is not None else None
    return File(url, sha256=sha256, size=size).at(path_at(place), verified=declared)


def file_of(url: str, local_path: str | None, *facts: Any) -> File:
    """Return a file as the driver knows it."""
    sha256, size, verified = facts
    file = File(url, sha256=sha256, size=size)
    return file if local_path is None else file.at(local_path, verified)


def run_parcel(
    function: bytes,
    call: bytes,
    data: bytes,
    directory: str,
    run: Callable[[bytes, bytes], Packed] = run_packed,
) -> tuple[Packed, Returned]:
    """Run a call with its files. In a worker.

    Args:
        function: See ``run_packed``, as for ``call`` and ``run``.
        call: The arguments.
        data: What ``Parcel.dump`` has returned.
        directory: One that is there and empty, and is the call's alone. It is not
            removed.
        run: What does the work.
    """
    parcel = Parcel(*pickle.loads(data))
    top = os.path.realpath(directory)
    try:
        _lay_out(parcel, Path(top))
    except OSError as error:
        reason = f"the call's files cannot be written on its worker: {error.strerror}"
        failure = TransferError(str(error.filename), reason)
        return pack_error(failure, skip_frames=0), (top, [], [])
    # The directory belongs to the process, and other threads may have calls of theirs.
    alone = current_thread() is main_thread()
    before = present_directory()
    outer = getattr(_thread, "directory", None)
    _thread.directory = top
    try:
        if alone:
            os.chdir(os.path.join(top, HERE))  # noqa: PTH118  (strs are at hand)
        with pickling_files(lambda file: _sent_home(file, parcel, top)):
            packed = run(function, call)
    finally:
        _thread.directory = outer
        if alone and before is not None:
            os.chdir(before)
    return _collected(parcel, top, packed)


def _lay_out(parcel: Parcel, top: Path) -> None:
    (top / HERE).mkdir()
    places = [place for place, _ in parcel.inputs]
    made = [*parcel.outputs.values(), *parcel.streams.values()]
    for place in (*places, *(place for place, _ in made)):
        (top / place).parent.mkdir(parents=True, exist_ok=True)
    for place, tree in parcel.inputs:
        write_tree(tree, top / place)


def _sent_home(file: File, parcel: Parcel, top: str) -> tuple[Any, ...] | None:
    """Tell how a file of the call's directory is pickled for the driver."""
    if file.local_path is None:
        return None
    place = os.path.relpath(file.local_path, top)
    for known, path in (*parcel.outputs.values(), *parcel.streams.values()):
        if known == place:
            return file_of, (file.url, path, file.sha256, file.size, None)
    return None


def _collected(parcel: Parcel, top: str, packed: Packed) -> tuple[Packed, Returned]:
    """Read what a call has made; a call that has not made all of it has failed."""
    room = parcel.room
    streams: list[tuple[int, bytes]] = []
    outputs: list[tuple[int, Tree]] = []
    missing: list[str] = []
    try:
        for number, (place, path) in parcel.streams.items():
            tree = _read(os.path.join(top, place), path, room, parcel)  # noqa: PTH118  (strs are at hand)
            if tree is not None:
                room -= size_of(tree)
                streams.append((number, tree[0][2]))
        if packed[0] != "ok":
            return packed, (top, [], streams)
        for number, (place, path) in parcel.outputs.items():
            tree = _read(os.path.join(top, place), path, room, parcel)  # noqa: PTH118  (strs are at hand)
            if tree is None:
                missing.append(path)
            else:
                room -= size_of(tree)
                outputs.append((number, tree))
    except TransferError as error:
        if packed[0] == "ok":
            packed = pack_error(error, skip_frames=0)
        return packed, (top, [], streams)
    if missing:
        lacking = MissingOutputs(parcel.app, tuple(missing))
        return pack_error(lacking, skip_frames=0), (top, [], streams)
    return packed, (top, outputs, streams)


def _read(place: str, path: str, room: int, parcel: Parcel) -> Tree | None:
    """Read what was made; ``None`` if it was not.

    Raises:
        TransferError: It cannot be read, or is too large.
    """
    if not os.path.lexists(place):
        return None
    try:
        return read_tree(place, room)
    except TooLargeError as error:
        reason = too_large(parcel.room - room + error.args[0], parcel.limit)
        raise TransferError(path, f"it was made, but {reason}") from None
    except OSError as error:
        reason = f"it was made, but cannot be read: {error.strerror}"
        raise TransferError(path, reason) from None


def too_large(size: int, limit: str) -> str:
    """Say that a call's files are too many bytes, and what to do."""
    return (
        f"with it the files of its call have {size / 1e6:,.1f} MB or more, and the "
        f"executor's option carry = {limit!r} lets no more travel with a call to "
        f"workers that do not see this machine's disk: raise it, or keep the file "
        f"where workers can reach it, as File('s3://...') or another URL, which is "
        f"staged there"
    )


def told_at_home(error: BaseException, top: str, paths: Mapping[str, str]) -> None:
    """Have an error name the driver's paths, and not those on its worker.

    Args:
        error: One that has come from there.
        top: The call's directory there.
        paths: The driver's paths, by places.
    """
    names = {os.path.join(top, place): path for place, path in paths.items()}  # noqa: PTH118  (strs are at hand)

    def told(value: Any) -> Any:
        if type(value) is str and top in value:
            for name in sorted(names, key=len, reverse=True):
                value = value.replace(name, names[name])
        elif type(value) is tuple:
            value = tuple(map(told, value))
        return value

    if isinstance(error, OSError) and type(error.filename) is str:
        error.filename = told(error.filename)
    error.args = tuple(map(told, error.args))
    for name, value in list(vars(error).items()):
        if name == "__notes__":
            value[:] = map(told, value)
        else:
            setattr(error, name, told(value))
