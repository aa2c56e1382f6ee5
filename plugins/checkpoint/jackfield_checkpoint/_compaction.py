"""Rewriting a log without what deletions have made useless."""

from __future__ import annotations

import fcntl
import os
from array import array
from typing import TYPE_CHECKING, Final
from zlib import crc32

from jackfield_checkpoint import _frames, _guard, _index, _log_files
from jackfield_checkpoint._index import Index
from jackfield_checkpoint._log_files import INDEX, LOG, NEW, Files, Log

if TYPE_CHECKING:
    from jackfield_checkpoint._frames import Head
    from jackfield_checkpoint._index import Header
    from jackfield_checkpoint._log_access import Access

SMALLEST_WASTE: Final = 2**20
"""Bytes for which a log is not yet rewritten."""

_PIECE: Final = 2**20


def is_due(header: Header) -> bool:
    """Whether more than half of the log is useless."""
    return header.dead > max(SMALLEST_WASTE, header.covered // 2)


def compact(access: Access, files: Files) -> None:
    """Put a copy of log and index, with the live records alone, in their place.

    Only under the log's lock; the new log is locked before it gets its name. A process
    that dies on the way leaves the old log, or the new one with an index that is
    retired, and so made anew.

    Raises:
        OSError: There is no room for a copy; nothing has changed.
    """
    directory = access.options.path
    log_path, index_path = directory / (LOG + NEW), directory / (INDEX + NEW)
    try:
        for path in (log_path, index_path):
            path.unlink(missing_ok=True)  # of a process that died
        log = Log(_guard.make_file(log_path, access.options))
        index = Index(_guard.make_file(index_path, access.options))
        header = _copy(access, files, log, index)
        _log_files.write_header(index, header)
        _log_files.flush(log.descriptor)
        fcntl.flock(log.descriptor, fcntl.LOCK_EX)
        _retire(files.index)
        log_path.replace(directory / LOG)
        index_path.replace(directory / INDEX)
        access.replace(Files(log, index))
        _guard.sync_directory(directory)
    finally:
        for path in (log_path, index_path):
            path.unlink(missing_ok=True)


def _retire(index: Index) -> None:
    header = index.header()
    header.retired = 1
    _log_files.write_header(index, header)


def _copy(access: Access, files: Files, log: Log, index: Index) -> Header:
    """Copy what is live; return the state of the new index."""
    log.identity = _log_files.new_identity()
    _index.write_at(log.descriptor, _frames.log_header(log.identity), 0)
    hashes, locations = array("Q"), array("Q")
    offset = _frames.START
    for location in files.index.locations():
        data = _frames.read_at(files.log.descriptor, location, _frames.HEAD.size)
        head = _frames.parse_head(data, location)
        if head is None or not _copy_frame(files.log, head, log, offset):
            access.notices.damaged(f"the record at offset {location} is damaged")
            continue
        hashes.append(_index.hash_of(head.key))
        locations.append(offset)
        offset += head.end - head.start
    os.ftruncate(log.descriptor, offset)
    return _index.build(index.descriptor, log.identity, offset, hashes, locations)


def _copy_frame(source: Log, head: Head, target: Log, offset: int) -> bool:
    """Copy a frame to another offset; tell whether it was sound."""
    _index.write_at(target.descriptor, _frames.moved(head, offset), offset)
    total, done = 0, _frames.HEAD.size
    while done < head.end - head.start:
        size = min(_PIECE, head.end - head.start - done)
        data = _frames.read_at(source.descriptor, head.start + done, size)
        if not data:
            return False
        _index.write_at(target.descriptor, data, offset + done)
        total = crc32(data, total)
        done += len(data)
    return total == head.checksum
