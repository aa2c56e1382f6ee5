"""Results in append-only logs, ``pickle:///results``: a directory of segments.

Each store that writes appends to a segment of its own, a new one or one that nobody
writes, so that no writer waits for another; it looks a key up in all. Of several frames
of a key, the one with the highest *order* counts. Who writes first sees what others
have put and goes on from the highest order met: what is put after another put has
returned is newer. Of two at the same time either may be; a number that each store draws
is in the order too, so that all agree on which.

The name of one more file, ``format-2``, tells the format, and its length how often the
set of segments has changed: a byte is added each time. A store looks at that before
every look-up; it is exact, where a directory's time stamp is not.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from array import array
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import CheckpointEntry, CheckpointRecord, CheckpointStore
from jackfield.errors import CheckpointError
from jackfield.hookspecs import hookimpl
from jackfield_checkpoint import _frames, _guard
from jackfield_checkpoint._frames import HEAD
from jackfield_checkpoint._meta import check_record, shown, to_json
from jackfield_checkpoint._notices import Notices, log
from jackfield_checkpoint._options import Options, parse
from jackfield_checkpoint._runs import DELETED, OFFSET, File, hash_of, newest
from jackfield_checkpoint._segments import FIRST_READ, NAMES, RUN_SUFFIX, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

FORMAT: Final = "format-2"
SMALLEST_WASTE: Final = 2**20  # bytes for which nothing is copied yet
MOST: Final = 8  # if there are more segments, one is made of some
SMALL: Final = 2**24  # of those that have at most so many bytes
NO_KEY: Final = b"jackfield: no record has such a key"[:32]  # keys are hashes
_decode: Final = json.JSONDecoder().decode
_TIE: Final = 20  # bits of an order that are drawn by chance

JACKFIELD_SHOWN = ("sync", "trust", "busy_timeout")


@hookimpl
def jackfield_open_checkpoint(
    url: str, options: Mapping[str, Any]
) -> CheckpointStore | None:
    """Open the log of a URL such as ``pickle:///results``."""
    if url.partition(":")[0].lower() != "pickle":
        return None
    return PickleLogStore(parse(url, options))


@hookimpl
def jackfield_check_options(name: str, options: Mapping[str, Any]) -> bool:
    """Check a store's URL and table."""
    parse(name, options)
    return True


class PickleLogStore(CheckpointStore):
    """See the module. Made open, or raises ``CheckpointError``; ``close`` it."""

    def __init__(self, options: Options) -> None:
        self._options: Options = options
        self._path: Path = options.path
        self._notices: Notices = Notices(options.path)
        self._pid: int = os.getpid()
        self._closed: bool = False
        self._mutex: threading.RLock = threading.RLock()
        self._segments: tuple[Segment, ...] = ()
        self._mark: int = -1
        self._own: Segment | None = None
        self._tie: int = secrets.randbits(_TIE)
        self._kept_waste: int = 0
        self._broken: str = "it was opened to be read only." * options.read_only
        with self._telling("open"):
            self._prepare()
            mark = os.open(self._path / FORMAT, os.O_RDONLY | os.O_CLOEXEC)
            self._changes: File = File(mark)
            self._renew()

    @contextmanager
    def _telling(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _guard.unusable(self._path, doing, error) from error

    def _prepare(self) -> None:
        """See that it is a store, and whose; make one of an empty directory."""
        options, path = self._options, self._path
        if not _guard.check_directory(path, options):
            if options.read_only:
                raise CheckpointError("it does not exist.", str(path))
            _guard.make_directory(path, options)
        for one in (path / FORMAT, *path.glob(NAMES), *path.glob(f"*{RUN_SUFFIX}")):
            _guard.check_file(one, options)
        names = sorted(one.name for one in path.iterdir())
        if FORMAT in names:
            return
        if names or options.read_only:
            raise CheckpointError(
                f"the directory holds no {FORMAT!r}, which marks a store, but "
                f"{', '.join(names[:3]) or 'nothing'}. If a newer Jackfield has made "
                f"it, upgrade this one; else choose another directory.",
                str(path),
            )
        with suppress(FileExistsError):  # another process makes the store too
            os.close(_guard.make_file(path / FORMAT, options))
        _guard.sync_directory(path)
        _guard.sync_directory(path.parent)

    def _current(self) -> tuple[Segment, ...]:
        """Return the segments, with all that has been put so far."""
        _guard.check_usable(self._path, self._pid, closed=self._closed)
        status = os.fstat(self._changes.descriptor)
        if not status.st_nlink:
            raise CheckpointError("it has been removed.", str(self._path))
        # The mark is read before the segments, as another thread sets it after them.
        if status.st_size == self._mark:
            segments = self._segments
            if not any(map(Segment.has_news, segments)):
                return segments
        with self._mutex:
            return self._renew()

    def _renew(self) -> tuple[Segment, ...]:
        """List the directory if it has changed; then see what has been appended."""
        # The mark is read first: what changes after that is listed in the next round.
        while (mark := os.fstat(self._changes.descriptor).st_size) != self._mark:
            known = {one.path: one for one in self._segments}
            for one in self._segments:
                one.seen = min(one.seen, -1)  # it may have been cut, and grown again
            with suppress(FileNotFoundError):  # one was just gathered: once more
                self._segments = tuple(
                    known.get(path) or Segment(path, self._options, self._notices)
                    for path in sorted(self._path.glob(NAMES))
                )
                self._mark = mark
        for one in self._segments:
            if one.has_news():
                one.catch_up()
        return self._segments

    def get(self, key: bytes) -> CheckpointRecord | None:
        """See ``CheckpointStore``."""
        try:
            segment, offset = self._find(key)
        except OSError as error:
            raise _guard.unusable(self._path, "read", error) from error
        found = segment.frame(offset) if segment is not None else None
        if found is None or found[0].key != key:  # another key has the same hash
            return None
        head, body = found
        app, manifest = _decode(str(body[: head.facts], "ascii"))
        value = bytes(body[head.facts :])
        return CheckpointRecord(key, value, app, head.created, manifest)

    def _find(self, key: bytes) -> tuple[Segment | None, int]:
        """Return where the record of a key is, if it has one."""
        hashed, where, highest = hash_of(key), None, 0
        for segment in self._current():
            stamp = segment.find(hashed)
            if stamp > highest:
                where, highest = segment, stamp
        return (None if highest & DELETED else where), highest & OFFSET

    def keys(self) -> Iterator[bytes]:
        """See ``CheckpointStore``."""
        return (entry.key for entry in self.scan())

    def scan(self, app: str | None = None) -> Iterator[CheckpointEntry]:
        """See ``CheckpointStore``."""
        begin = b"" if app is None else to_json([shown(app)])[:-1] + b","
        with self._telling("read"):
            places = self._places()
        for segment, offsets in places:
            for offset in reversed(offsets):
                data = segment.read(offset, FIRST_READ)
                known = data[HEAD.size :].startswith(begin)
                if known and (head := segment.head(offset, data)):
                    facts = data[HEAD.size : HEAD.size + head.facts]
                    if len(facts) < head.facts:
                        facts = segment.read(offset + HEAD.size, head.facts)
                    with suppress(ValueError):  # damaged: ``get`` tells
                        name, manifest = _decode(str(facts, "ascii"))
                        yield CheckpointEntry(
                            head.key, name, head.created, head.size, manifest
                        )

    def _places(
        self, sources: Sequence[Segment] = (), *, deletions: bool = False
    ) -> list[tuple[Segment, array[int]]]:
        """Return where the newest frames of all keys are, in order.

        Where a frame stands twice, it is taken from a source. If one could be left to
        another process, that one might leave it to this one.
        """
        segments = sorted(self._current(), key=lambda one: one in sources)
        found = [array("Q") for _ in segments]
        for entry, number in newest([one.known for one in segments]):
            stamp = int.from_bytes(entry, "big")
            if deletions or not stamp & DELETED:
                found[number].append(stamp & OFFSET)
        found = [array("Q", sorted(offsets)) for offsets in found]
        places = zip(segments, found, strict=True)
        return sorted(places, key=lambda place: place[0].newest, reverse=True)

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        """See ``CheckpointStore``."""
        for record in records:
            check_record(record)
        latest = {record.key: record for record in records}
        with self._writing("write") as (own, order):
            own.append(_frames.frame_of(record, order) for record in latest.values())

    def delete(self, keys: Iterable[bytes]) -> None:
        """See ``CheckpointStore``."""
        wanted = set(keys)
        with self._writing("delete from") as (own, order):
            found = [(key, *self._find(key)) for key in wanted]
            heads = [(key, one.head(at)) for key, one, at in found if one is not None]
            own.append(
                (_frames.deletion_of(key, head, order), ()) for key, head in heads
            )
            self._tidy()

    @contextmanager
    def _writing(self, doing: str) -> Iterator[tuple[Segment, int]]:
        """Lend this store's own segment, and the order that is next."""
        with self._telling(doing):
            self._current()
            if self._broken:
                raise CheckpointError(self._broken, str(self._path))
            with self._mutex:
                own = self._writable()
                highest = max(one.newest for one in self._current())
                yield own, ((highest >> _TIE) + 1) << _TIE | self._tie
                if self._options.sync == "power":
                    self._broken = "it could not be brought to the disk."
                    self._writable().flush()
                    self._broken = ""  # else a second attempt would seem to succeed

    def _writable(self) -> Segment:
        """Return this store's own segment, and take one if it has none."""
        if self._own is None or not self._own.owned:
            free = sorted(self._current(), key=Segment.size, reverse=True)
            own = next((one for one in free if one.lock()), None) or self._made()
            self._announce()
            self._own = own
        return self._own

    def _made(self) -> Segment:
        """Make an empty segment, which is locked before others can see it."""
        path = self._path / f"{secrets.token_hex(8)}.log"
        new = path.with_suffix(".new")
        os.close(_guard.make_file(new, self._options))
        made = Segment(new, self._options, self._notices)
        made.lock()
        made.path = new.rename(path)
        _guard.sync_directory(self._path)
        self._segments = (*self._segments, made)
        self._announce()
        return made

    def _announce(self) -> None:
        """Let other processes, and this one, list the directory once more."""
        with (self._path / FORMAT).open("ab") as file:
            file.write(b".")

    def _tidy(self) -> None:
        """Gather all if more than half is useless, the small ones if they are many."""
        segments = self._current()
        waste = sum(one.dead for one in segments) - self._kept_waste
        size = sum(one.size() for one in segments)
        much, many = waste > max(SMALLEST_WASTE, size // 2), len(segments) > MOST
        if much or many:
            some = [one for one in segments if much or one.size() <= SMALL]
            try:
                sources = [one for one in some if one.owned or one.lock()]
                if much or len(sources) > 1:
                    self._gather(sources)
            except OSError as error:  # no room for a copy: another time
                log.warning("%s: cannot be copied: %s", self._path, error)
            finally:
                for one in self._segments:
                    if one is not self._own:
                        one.unlock()
            # What stays, as others write there, is not counted a second time.
            self._kept_waste = sum(one.dead for one in self._current())

    def _gather(self, sources: list[Segment]) -> None:
        """Copy what counts in segments, which must be locked, into a new one.

        At whatever instant this process dies, nothing is lost: a frame that stands
        twice is the same frame. Until others list the directory anew, they read what
        was there before, which nobody writes any more. Deletions are copied unless all
        is in one segment: if this process died between the removal of two, a record
        would be back whose deletion was in the first. The highest order is kept, by a
        deletion of nothing: who listed the directory before the removal, and is not
        told to do so again as this process dies, must find newer what is put later.
        """
        old = self._current()
        places = self._places(sources, deletions=len(old) > 1)
        target = self._made()
        highest = max(one.newest for one in old)
        target.append([(_frames.deletion_of(NO_KEY, None, highest), ())])
        for source, offsets in places:
            for offset in offsets if source in sources else ():
                if frame := source.frame(offset):
                    target.append([(frame[0][:7], (frame[1],))])
                elif head := source.head(offset):  # older ones must not come back
                    gone = _frames.deletion_of(head.key, None, head.order)
                    target.append([(gone, ())])
        target.seal()
        _guard.sync_directory(self._path)
        for one in sources:
            one.remove()
        if self._own in sources:
            self._own = target
        self._announce()

    def close(self) -> None:
        """See ``CheckpointStore``."""
        if self._closed or self._pid != os.getpid():
            return
        with self._mutex:
            try:
                if self._own is not None and not self._broken:
                    self._own.seal()
                    self._tidy()
            except (OSError, CheckpointError) as error:  # all that was put is there
                log.info("%s: %s", self._path, error)
            self._closed = True
            for one in self._segments:
                one.unlock()
            self._segments = ()
