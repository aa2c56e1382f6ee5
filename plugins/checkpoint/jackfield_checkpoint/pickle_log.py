"""Results in an append-only log, ``pickle:///results``: two files in a directory.

A batch is appended under a lock and then entered into the index, so that records have
one order for all processes, and a look-up takes a few reads however many records there
are. No lock is needed for reading: what is written stays as it is, and is checked.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from jackfield.abc import CheckpointEntry, CheckpointRecord, CheckpointStore
from jackfield.errors import CheckpointError
from jackfield.hookspecs import hookimpl
from jackfield_checkpoint import _compaction, _frames, _guard, _index, _log_files
from jackfield_checkpoint._index import DELETED, RetiredIndexError, StaleIndexError
from jackfield_checkpoint._log_access import Access
from jackfield_checkpoint._meta import check_record
from jackfield_checkpoint._notices import log
from jackfield_checkpoint._options import Options, parse

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jackfield_checkpoint._frames import Head
    from jackfield_checkpoint._index import Header
    from jackfield_checkpoint._log_files import Files, Log

FIRST_READ: Final = 4096
"""Bytes read at a location: most records are shorter."""

JOINED_SIZE: Final = 2**20
"""Up to here, pieces are joined to be written at once; larger ones are not copied."""

_ATTEMPTS: Final = 5
_SETTLE_S: Final = 2.0


@hookimpl
def jackfield_open_checkpoint(
    url: str, options: Mapping[str, Any]
) -> CheckpointStore | None:
    """Open the log of a URL such as ``pickle:///results``."""
    if url.partition(":")[0].lower() != "pickle":
        return None
    return PickleLogStore(parse(url, options))


class PickleLogStore(CheckpointStore):
    """See the module. Made open; ``close`` it.

    Raises:
        CheckpointError: It cannot be opened.
    """

    def __init__(self, options: Options) -> None:
        self._access: Access = Access(options)
        self._broken: str = ""
        self._dirty: bool = False

    # -- Reading

    def get(self, key: bytes) -> CheckpointRecord | None:
        """See ``CheckpointStore``."""
        files, location = self._find(key)
        if location is None or location & DELETED:
            return None
        data = self._read(files, location, FIRST_READ)
        head = _frames.parse_head(data, location)
        if head is None:
            self._tell_damage(location, key)
            return None
        return self._record(files, head, data) if head.key == key else None

    def _find(self, key: bytes) -> tuple[Files, int | None]:
        """Return where the key's last frame is, and in which log."""
        files = self._access.files()
        for _ in range(_ATTEMPTS):
            try:
                return files, files.index.find(key)
            except (RetiredIndexError, StaleIndexError) as error:
                files = self._access.renewed(files, error)
            except OSError as error:
                path = self._access.options.path
                raise _guard.unusable(path, "read", error) from error
        raise self._out_of_order()

    def _out_of_order(self) -> CheckpointError:
        return CheckpointError(
            "its index is damaged again and again; is the disk failing?",
            self._access.path,
        )

    def _record(self, files: Files, head: Head, data: bytes) -> CheckpointRecord | None:
        begin = _frames.HEAD.size + head.facts
        if begin + head.size <= len(data):
            facts = data[_frames.HEAD.size : begin]
            value = data[begin : begin + head.size]
        else:
            facts = self._read(files, head.start + _frames.HEAD.size, head.facts)
            value = self._read(files, head.start + begin, head.size)
        if crc32(value, crc32(facts)) != head.checksum:
            self._tell_damage(head.start, head.key)
            return None
        app, manifest = json.loads(facts)
        return CheckpointRecord(head.key, value, app, head.created, manifest)

    def _read(self, files: Files, offset: int, size: int) -> bytes:
        try:
            return _frames.read_at(files.log.descriptor, offset, size)
        except OSError as error:  # of this record, not of the store
            log.warning("%s: cannot read at %d: %s", self._access.path, offset, error)
            return b""

    def _tell_damage(self, location: int, key: bytes | None = None) -> None:
        whose = f" (key {key.hex()})" if key is not None else ""
        what = f"the record at offset {location}{whose} is damaged"
        self._access.notices.damaged(what)

    def keys(self) -> Iterator[bytes]:
        """See ``CheckpointStore``."""
        return (head.key for _, head in self._heads())

    def scan(self, app: str | None = None) -> Iterator[CheckpointEntry]:
        """See ``CheckpointStore``."""
        heads = self._heads() if app is None else self._heads_of(app)
        for files, head in heads:
            facts = self._read(files, head.start + _frames.HEAD.size, head.facts)
            try:
                name, manifest = json.loads(facts)
            except ValueError:
                self._tell_damage(head.start, head.key)
            else:
                yield CheckpointEntry(head.key, name, head.created, head.size, manifest)

    def _heads(self) -> Iterator[tuple[Files, Head]]:
        files, locations = self._locations()
        for location in locations:
            head = self._head(files, location)
            if head is not None:
                yield files, head

    def _heads_of(self, app: str) -> Iterator[tuple[Files, Head]]:
        """Give the heads of an app's frames, the last one first.

        Of the others' only the first bytes of the facts are read, where the app is.
        """
        files, locations = self._locations()
        begin = _frames.facts_begin(app)
        for location in reversed(locations):
            found = self._read(files, location + _frames.HEAD.size, len(begin))
            head = self._head(files, location) if found == begin else None
            if head is not None:
                yield files, head

    def _locations(self) -> tuple[Files, array[int]]:
        files = self._access.files()
        for _ in range(_ATTEMPTS):
            try:
                return files, files.index.locations()
            except (RetiredIndexError, StaleIndexError) as error:
                files = self._access.renewed(files, error)
        raise self._out_of_order()

    def _head(self, files: Files, location: int) -> Head | None:
        data = self._read(files, location, _frames.HEAD.size)
        head = _frames.parse_head(data, location)
        if head is None:
            self._tell_damage(location)
        return head

    # -- Writing

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        """See ``CheckpointStore``."""
        for record in records:
            check_record(record)
        latest = {record.key: record for record in records}
        with self._access.exclusive("write") as files:
            end = files.log.end
            pieces: list[bytes] = []
            frames = []
            for key, record in latest.items():
                start = end
                frame = _frames.frame_of(record, start)
                end += sum(map(len, frame))
                pieces += frame
                frames.append((key, start, end))
            self._append(files, files.index.header(), pieces, frames)

    def delete(self, keys: Iterable[bytes]) -> None:
        """See ``CheckpointStore``."""
        wanted = set(keys)
        with self._access.exclusive("delete from") as files:
            try:
                self._delete(files, wanted)
            except StaleIndexError as error:
                self._delete(self._access.rebuilt(files, error), wanted)

    def _delete(self, files: Files, wanted: set[bytes]) -> None:
        header = files.index.header()
        end = files.log.end
        pieces: list[bytes] = []
        frames = []
        for key in wanted:
            location = files.index.find(key)
            if location is None or location & DELETED:
                continue
            start, end = end, end + _frames.HEAD.size
            pieces.append(_frames.deletion_of(key, start))
            frames.append((key, start | DELETED, end))
            head = self._head(files, location)
            header.dead += _frames.HEAD.size
            header.dead += head.end - head.start if head is not None else 0
        if _compaction.is_due(self._append(files, header, pieces, frames)):
            try:
                _compaction.compact(self._access, self._access.files())
            except OSError as error:  # no room for a copy: another time
                log.warning("%s: cannot be rewritten: %s", self._access.path, error)

    def _append(
        self,
        files: Files,
        header: Header,
        pieces: list[bytes],
        frames: list[tuple[bytes, int, int]],
    ) -> Header:
        """Write frames to the log, then enter them into the index."""
        if self._broken:
            raise CheckpointError(self._broken, self._access.path)
        self._dirty = True
        self._write(files.log, pieces)
        try:
            header = _index.enter(files.index, header, frames)
        except StaleIndexError as error:
            return self._access.rebuilt(files, error).index.header()
        _log_files.write_header(files.index, header)
        if self._access.options.sync == "power" and not any(_log_files.BOOT):
            # Nothing will tell that the machine has been started anew.
            _log_files.flush(files.index.descriptor)
        return header

    def _write(self, to: Log, pieces: list[bytes]) -> None:
        start = offset = to.end
        try:
            for data in _joined(pieces):
                _index.write_at(to.descriptor, data, offset)
                offset += len(data)
        except BaseException:
            with contextlib.suppress(OSError):  # what stays is an unfinished record
                os.ftruncate(to.descriptor, start)
            raise
        if self._access.options.sync == "power":
            self._flush(to)

    def _flush(self, what: Log) -> None:
        try:
            _log_files.flush(what.descriptor)
        except OSError as error:
            # A second attempt would report success for pages that are lost.
            self._broken = f"it cannot be brought to the disk: {error.strerror}."
            raise

    # -- Life

    def close(self) -> None:
        """See ``CheckpointStore``."""
        if not self._access.is_open:
            return
        try:
            if self._dirty and not self._broken:
                self._settle()
        finally:
            self._access.close()

    def _settle(self) -> None:
        """Make the index count after the machine has been started anew, too."""
        try:
            with self._access.exclusive("flush", _SETTLE_S) as files:
                _log_files.flush(files.log.descriptor)
                _log_files.flush(files.index.descriptor)
                header = files.index.header()
                _log_files.write_header(files.index, header, flushed=True)
        except CheckpointError as error:  # then it is made anew some day
            log.info("%s", error)


def _joined(pieces: list[bytes]) -> Iterator[bytes]:
    """Join small pieces for fewer system calls."""
    small: list[bytes] = []
    size = 0
    for piece in pieces:
        if size + len(piece) > JOINED_SIZE:
            yield b"".join(small)
            small, size = [], 0
        if len(piece) > JOINED_SIZE:
            yield piece
        else:
            small.append(piece)
            size += len(piece)
    yield b"".join(small)
