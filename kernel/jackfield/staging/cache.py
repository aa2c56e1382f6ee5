"""Files of earlier runs, by URL and version.

An entry is one file, named by the digest of what it stands for and by its own. Its
time of modification says when it was used last. Whatever is taken from here is
compared with its digest once more: a cache must not be the place where a bit turns.
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
from jackfield.staging.local import discard, part_name

if TYPE_CHECKING:
    from jackfield.staging.remote import RemoteInfo

log: Final = logging.getLogger("jackfield.staging")

BLOCK: Final = 1 << 20

_AFTER_EVICTION: Final = 0.9
"""Share of the quota that is left in use, so that not every file evicts another."""


class Cache:
    """A directory of files that were staged in, shared by runs and processes.

    Args:
        directory: Made on first use, closed to others.
        quota: Bytes that it may take.
    """

    def __init__(self, directory: Path, quota: int) -> None:
        self.directory: Path = directory
        self.quota: int = quota
        self._room: int = 0  # bytes that may come before all is counted again

    def take(self, url: str, info: RemoteInfo, target: Path) -> bool:
        """Copy what is known of this version of a file; tell whether it was there.

        Args:
            url: Where the file is.
            info: What the other side tells of it now.
            target: What to write.
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
        """Keep a verified file. A failure is logged and does no harm."""
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
        self._room -= path.stat().st_size
        if self._room < 0:
            with self._locked():
                self._room = self._evict()

    def _find(self, key: str) -> Path | None:
        folder = self._open() / key[:2]
        return next(iter(folder.glob(f"{key}-*")), None)

    def _open(self) -> Path:
        """Return the directory.

        Raises:
            ConfigurationError: Others could put files there.
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
        handle = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _evict(self) -> int:
        """Drop what was used longest ago, if there is too much; return what is free.

        Others may fill that at the same time, each once: so much the quota may be
        exceeded before it is counted again.
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
    """Return what stands for one version of a file; ``None`` if none can be told."""
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
    except FileNotFoundError:  # evicted just now
        discard(target)
        return None
    return digest.hexdigest()
