"""Files that earlier runs have staged in, found by URL and version.

An entry is one file. Its name is ``KEY-DIGEST``: the key is a digest of the URL and the
version (see ``_key``), the other is the digest of the content. Its time of modification
says when it was used last. A copy that is taken from here is compared with its digest
first, so that a file that was damaged on the disk is dropped and fetched anew.

Runs and processes share the directory without a lock, except to evict. This is safe
because an entry gets its name by a rename when it is whole, and because a file that is
evicted while somebody copies it stays readable until it is closed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from jackfield.errors import ConfigurationError
from jackfield.files import redact
from jackfield_transfers.local import discard, part_name

if TYPE_CHECKING:
    from jackfield.staging.remote import RemoteInfo

log: Final = logging.getLogger("jackfield.staging")

BLOCK: Final = 1 << 20

_AFTER_EVICTION: Final = 0.9
"""Share of the quota that an eviction leaves in use: not each file is to evict anew."""


class Cache:
    """A directory of files that were staged in, shared by runs and processes.

    May be used on several threads at once. The directory is made on first use, closed
    to other users. ``quota`` is how many bytes the files may take together; see
    ``_evict`` for how exactly.
    """

    def __init__(self, directory: Path, quota: int) -> None:
        self.directory: Path = directory
        self.quota: int = quota
        # How many bytes this object may still add before it counts the directory.
        self._free: int = 0

    def take(self, url: str, info: RemoteInfo, target: Path) -> bool:
        """Copy this version of a file from the cache; tell whether it was there.

        ``info`` is what the server says of it now, which tells the version. ``target``
        must not exist, and if the answer is no, it does not exist afterwards either.

        Raises:
            ConfigurationError: Other users could put files into the directory.
        """
        key = _key(url, info)
        entry = self._find(key) if key is not None else None
        if entry is None:
            return False
        digest = _copy(entry, target)
        if digest is None:
            return False
        if digest != entry.name.partition("-")[2]:
            log.warning("A cached copy of %s is damaged; it is dropped", redact(url))
            discard(entry)
            discard(target)
            return False
        with suppress(OSError):
            os.utime(entry)
        return True

    def keep(self, url: str, info: RemoteInfo, path: Path) -> None:
        """Copy a verified file into the cache. A failure is only logged.

        Raises:
            ConfigurationError: Other users could put files into the directory.
        """
        key = _key(url, info)
        if key is None or path.stat().st_size > self.quota:
            return
        try:
            self._keep(key, path)
        except OSError as error:
            log.warning("%s is not cached: %s", redact(url), error)

    def _keep(self, key: str, path: Path) -> None:
        folder = self._open() / key[:2]
        folder.mkdir(mode=0o700, exist_ok=True)
        part = part_name(folder)
        try:
            digest = _copy(path, part)
            if digest is not None:
                part.replace(folder / f"{key}-{digest}")
        finally:
            discard(part)
        self._free -= path.stat().st_size
        if self._free < 0:
            with self._locked():
                self._free = self._evict()

    def _find(self, key: str) -> Path | None:
        folder = self._open() / key[:2]
        return next(iter(folder.glob(f"{key}-*")), None)

    def _open(self) -> Path:
        """Return the directory, made if there is none.

        Raises:
            ConfigurationError: Other users could put files into it.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.directory.stat()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
            raise ConfigurationError(
                f"The cache {str(self.directory)!r} must be yours, and closed to "
                f"others (chmod 700): what lies there is given to tasks."
            )
        return self.directory

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other threads and processes from evicting."""
        handle = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _evict(self) -> int:
        """Drop the files used longest ago, if there are too many; return what is free.

        Counting reads the whole directory, so it is not done for each file. A process
        counts what it adds by itself, and counts the directory when that exceeds what
        was free the last time. It does not know what other processes add meanwhile:
        each may fill the same free bytes once. So with n processes, the directory may
        grow by up to n - 1 times the free bytes beyond the quota before one of them
        counts again. If two threads of a process add a file in the same moment, one of
        the two may go uncounted until the next count.
        """
        entries = [(path, path.stat()) for path in self.directory.glob("??/*-*")]
        total = sum(status.st_size for _, status in entries)
        if total <= self.quota:
            return self.quota - total
        entries.sort(key=lambda entry: entry[1].st_mtime_ns)
        for path, status in entries:
            if total <= self.quota * _AFTER_EVICTION:
                break
            discard(path)
            total -= status.st_size
        return self.quota - total


def _key(url: str, info: RemoteInfo) -> str | None:
    """Return a digest that stands for one version of a file at a URL.

    Credentials in the URL do not count. ``None`` if the server says too little to tell
    one version from another: a strong ETag, or both size and time, are needed.
    """
    strong = info.etag is not None and not info.etag.startswith("W/")
    if not strong and (info.size is None or info.modified is None):
        return None
    parts = urlsplit(url)
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    facts = [place, info.etag, info.size, info.modified]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _copy(source: Path, target: Path) -> str | None:
    """Copy to a new file and return the digest; ``None`` if there is no source."""
    digest = hashlib.sha256()
    try:
        with source.open("rb") as reader, target.open("xb") as writer:
            while block := reader.read(BLOCK):
                digest.update(block)
                writer.write(block)
    except FileNotFoundError:  # another process has evicted it just now
        discard(target)
        return None
    return digest.hexdigest()
