"""The driver's side of files that travel: packed with a call, and put in their places.

What a call takes and makes is found in its arguments. An output is what ``outputs=``
names, and any other local ``File`` is an input, at whatever depth it is. ``parcels``
tells what becomes of them on the worker.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jackfield.errors import TransferError
from jackfield.files import CALLED_IN, KEPT_STDERR, File
from jackfield_executors.remote.parcels import (
    HERE,
    Parcel,
    Placed,
    Returned,
    file_at,
    pickling_files,
    told_at_home,
    too_large,
)
from jackfield_executors.remote.trees import (
    HostileNameError,
    TooLargeError,
    check_tree,
    publish_tree,
    read_tree,
    size_of,
)
from jackfield_executors.surroundings import present_directory
from jackfield_serialize import dump_call, load_outcome
from jackfield_system.own_files import open_no_link

if TYPE_CHECKING:
    import jackfield_serialize as serialize
    from jackfield.abc import Outcome, Work

_STREAMS = ("stdout", "stderr", KEPT_STDERR)
_PATHS = (str, os.PathLike)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many bytes may travel with a call, in each direction.

    Attributes:
        size: So many.
        text: The same as the user has written it.
        label: The executor, for messages.
    """

    size: int
    text: str
    label: str


@dataclass(slots=True)
class Packed:
    """A call as it is sent, and what the driver keeps of it until its files are back.

    Attributes:
        call: Its pickled arguments.
        parcel: Its pickled parcel, or ``b""`` if it has no files.
        outputs: By number, where to put what comes back.
        streams: By number, the file of a stream and the mode to open it with.
        paths: The driver's paths, by their places on the worker.
    """

    call: bytes
    parcel: bytes = b""
    outputs: dict[int, str] = field(default_factory=dict)
    streams: dict[int, tuple[str, str]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that are sent."""
        return len(self.call) + len(self.parcel)


def pack(work: Work, limit: Limit) -> Packed:
    """Pickle a work's arguments, with the files that it needs.

    Raises:
        SerializationError: An argument cannot be pickled.
        FileNotFoundError: An input is not there.
        TransferError: An input cannot be read, is too large, or is not what is declared
            of it.
    """
    packing = _Packing(work)
    kwargs = packing.rewritten()
    with pickling_files(packing.reduce):
        call = dump_call(work.name, work.function, work.args, kwargs)
    return packing.packed(call, limit)


class _Packing:
    """Finds the files of one call while its arguments are pickled."""

    def __init__(self, work: Work) -> None:
        self._work = work
        called_in = work.kwargs.get(CALLED_IN)
        self._base = called_in or present_directory() or "/"
        self._staged = _staged_urls(work.function)
        self._numbers: dict[str, int] = {}  # of absolute paths
        self._places: dict[str, str] = {}
        self._inputs: dict[str, File] = {}
        self._streams: dict[str, str] = {}  # modes, by path
        outputs = _files(work.kwargs.get("outputs"))
        self._output_ids = {id(one) for one in outputs}
        self._outputs = {self._path(one) for one in outputs if self._is_local(one)}
        # One that is an input, too, may be the same object.
        named = [*work.args, *_files(work.kwargs.get("inputs"))]
        self._output_ids -= {id(one) for one in named}
        for path in sorted(self._outputs):
            self._place(path)

    def _is_local(self, file: File) -> bool:
        return (not file.remote or file.local_path is not None) and (
            file.url not in self._staged
        )

    def _path(self, file: File) -> str:
        return os.path.normpath(os.path.join(self._base, file.filepath))  # noqa: PTH118  (strs are at hand)

    def _place(self, path: str) -> str:
        """Return where a path is in the call's directory on the worker."""
        if path not in self._places:
            number = self._numbers[path] = len(self._numbers)
            below = os.path.relpath(path, self._base)
            inside = below != ".." and not below.startswith("../")
            name = os.path.basename(path) or "root"  # noqa: PTH119  (strs are at hand)
            place = os.path.join(HERE, below) if inside else f"{number}/{name}"  # noqa: PTH118  (strs are at hand)
            self._places[path] = os.path.normpath(place)
        return self._places[path]

    # -- what is pickled

    def rewritten(self) -> dict[str, Any]:
        """Return the keyword arguments, with places for the paths that are texts."""
        kwargs = dict(self._work.kwargs)
        for name in _STREAMS:
            if name in kwargs:
                kwargs[name] = self._stream(kwargs[name])
        if CALLED_IN in kwargs:
            kwargs[CALLED_IN] = Placed(HERE)
        return kwargs

    def _stream(self, value: Any) -> Any:
        pair = isinstance(value, tuple) and len(value) == 2
        path, mode = value if pair else (value, "a")
        if isinstance(path, File) and self._is_local(path):
            path = self._path(path)
        if not isinstance(path, _PATHS) or isinstance(path, File):
            return value
        path = os.path.join(self._base, os.fsdecode(path))  # noqa: PTH118  (strs are at hand)
        if path.startswith("/dev/"):
            return value
        path = os.path.normpath(path)
        place = Placed(self._place(path))
        if path not in self._outputs:
            self._streams[path] = str(mode)
        return (place, mode) if pair else place

    def reduce(self, file: File) -> tuple[Any, ...] | None:
        """Tell how one file is pickled; ``None`` as it is."""
        if not self._is_local(file):
            return None
        path = self._path(file)
        if path.startswith("/dev/"):
            return None
        if path not in self._outputs or id(file) not in self._output_ids:
            self._inputs[path] = file
        return file_at, (self._place(path), file.url, file.sha256, file.size)

    # -- what is sent

    def packed(self, call: bytes, limit: Limit) -> Packed:
        """Read the inputs, and return all that is sent."""
        if not self._places and CALLED_IN not in self._work.kwargs:
            return Packed(call)
        parcel = Parcel(self._work.name, limit.text, limit.size)
        room = limit.size
        for path, file in self._inputs.items():
            tree = self._read(path, file, limit, room)
            room -= size_of(tree)
            parcel.inputs.append((self._places[path], tree))
        numbers, places = self._numbers, self._places
        parcel.outputs = {numbers[p]: (places[p], p) for p in sorted(self._outputs)}
        parcel.streams = {numbers[p]: (places[p], p) for p in self._streams}
        return Packed(
            call,
            parcel.dump(),
            {numbers[path]: path for path in self._outputs},
            {numbers[path]: (path, mode) for path, mode in self._streams.items()},
            {place: path for path, place in places.items()} | {HERE: self._base},
        )

    def _read(self, path: str, file: File, limit: Limit, room: int) -> Any:
        try:
            tree = read_tree(path, room)
        except TooLargeError as error:
            reason = too_large(limit.size - room + error.args[0], limit.text)
            if file.remote:  # before there was any worker, it was staged here
                reason = (
                    f"it was staged on this machine, and is too large for the option "
                    f"carry = {limit.text!r}: with shared_filesystem = false it is "
                    f"staged where the task runs"
                )
            raise TransferError(path, f"executor {limit.label!r}: {reason}") from None
        except FileNotFoundError:
            raise FileNotFoundError(
                errno.ENOENT,
                f"{self._work.name!r} is to run on executor {limit.label!r}, whose "
                f"workers do not see this machine's disk; so its files are sent, but "
                f"this one is not there (what the task makes belongs into outputs=)",
                path,
            ) from None
        except OSError as error:
            reason = f"it cannot be sent to a worker: {error.strerror}"
            raise TransferError(path, reason) from error
        self._verify(path, file, tree)
        return tree

    def _verify(self, path: str, file: File, tree: Any) -> None:
        """Compare a file with what is declared of it, as for tasks on this machine."""
        size = size_of(tree)
        if file.size is not None and size != file.size:
            reason = f"it has {size} bytes, size= declares {file.size}"
            raise TransferError(path, reason)
        if file.sha256 is not None:
            import hashlib

            digest = hashlib.sha256(tree[0][2]).hexdigest()
            if digest != file.sha256.lower():
                reason = f"its sha256 is {digest}, expected {file.sha256}"
                raise TransferError(path, reason)


def _files(value: Any) -> list[File]:
    listed = value if isinstance(value, list | tuple | set | frozenset) else ()
    return [one for one in listed if isinstance(one, File)]


def _staged_urls(function: Any) -> frozenset[str]:
    """Return the URLs of files that a task's function itself stages on its worker."""
    while getattr(type(function), "wraps_tasks", False):
        sites = getattr(function, "sites", None)
        if isinstance(sites, Mapping):
            return frozenset(url for url in sites if File(url).remote)
        function = function.function
    return frozenset()


# -- Back in the driver


def land(
    work: Work,
    outcome: serialize.Packed,
    packed: Packed,
    returned: Returned | None,
) -> Outcome:
    """Put what a call has made in its place, and return its outcome."""
    error, value = load_outcome(work.name, outcome)
    if returned is None and error is not None:  # it has not ended by itself
        return work, error, None
    failure = put_in_place(packed, returned, complete=error is None)
    if error is not None:
        with contextlib.suppress(Exception):  # an error may have any attributes
            tell_at_home(error, packed, returned)
        return work, error, None
    return (work, None, value) if failure is None else (work, failure, None)


def put_in_place(
    packed: Packed, returned: Returned | None, *, complete: bool
) -> Exception | None:
    """Put what a call has made where the driver wants it; return what went wrong.

    Only what the call was asked for is taken, and nothing is made before all of it has
    been looked at. ``complete`` says that all of its outputs have to be there.
    """
    try:
        if returned is None:
            raise HostileNameError("it has no files")  # noqa: TRY301
        _, outputs, streams = returned
        _check(packed, outputs, streams, complete=complete)
        for number, tree in outputs:
            publish_tree(tree, Path(packed.outputs[number]))
        for number, data in streams:
            _write_stream(*packed.streams[number], data)
    except HostileNameError as error:
        return TransferError(_first_path(packed), f"what came back is refused: {error}")
    except OSError as error:
        if isinstance(error, TransferError):
            return error
        path = str(error.filename or _first_path(packed))
        failure = TransferError(path, f"it cannot be put in its place: {error}")
        failure.__cause__ = error
        return failure
    except Exception as error:  # it is not even made of what it should be
        return TransferError(
            _first_path(packed), f"what came back is refused: {error!r}"
        )
    return None


def _first_path(packed: Packed) -> str:
    return next(iter(packed.paths.values()), "")


def _check(packed: Packed, outputs: Any, streams: Any, *, complete: bool) -> None:
    if complete and {number for number, _ in outputs} != packed.outputs.keys():
        raise HostileNameError("it has not the files that were asked for")
    for number, tree in outputs:
        if number not in packed.outputs:
            raise HostileNameError("it has a file that was not asked for")
        check_tree(tree)
    for number, data in streams:
        if number not in packed.streams or not isinstance(data, bytes):
            raise HostileNameError("it has a stream that was not asked for")


def _write_stream(path: str, mode: str, data: bytes) -> None:
    """Write a stream as its mode says, by one write or in one step."""
    if "a" not in mode:
        if "x" in mode and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "It is there already", path)
        publish_tree([("", 0o666, data)], Path(path))
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    number = open_no_link(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with os.fdopen(number, "ab", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]


def tell_at_home(error: BaseException, packed: Packed, returned: Any) -> None:
    """Have an error of a call name the driver's paths."""
    told_at_home(error, str(returned[0]), packed.paths)
