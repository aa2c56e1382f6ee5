"""Staging in and out for files of every kind: single ones, cached ones, directories."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from jackfield.errors import TransferError
from jackfield.staging.mover import Progress
from jackfield.staging.remote import UNKNOWN
from jackfield_system.local_names import safe_name
from jackfield_transfers.fetch import fetch
from jackfield_transfers.host_site import OnProgress, ignore_progress
from jackfield_transfers.local import expect, mismatch, part_name, publish
from jackfield_transfers.send import send
from jackfield_transfers.site import Site, look
from jackfield_transfers.trees import fetch_tree, send_tree

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield.staging.remote import Stop
    from jackfield_transfers.cache import Cache


def stage_in(
    file: File,
    site: Site,
    directory: Path,
    stop: Stop,
    on_progress: OnProgress = ignore_progress,
) -> File:
    """Bring a file, or the directory or pattern that its URL means.

    See ``fetch`` for the arguments and errors, and ``fetch_tree``. Where there is a
    cache, and the provider can ask for a file's version, the cache is tried first.
    """
    if file.tree:
        return fetch_tree(file, site, directory, stop, on_progress)
    if site.cache is None or not site.provider.stat:
        return fetch(file, site, directory, stop, on_progress)[0]
    return _cached(file, site, site.cache, directory, stop, on_progress)


def stage_out(
    file: File, site: Site, stop: Stop, on_progress: OnProgress = ignore_progress
) -> File:
    """Take a file, or a whole directory, to its URL; see ``send`` and ``send_tree``."""
    if file.tree:
        return send_tree(file, site, stop, on_progress)
    return send(file, site, stop, on_progress)


def verify_in_place(file: File) -> File:
    """Compare a local file with the size and digest that its user declares; return it.

    Raises:
        FileNotFoundError: There is no such file.
        TransferError: It has another size or digest, or is no file.
    """
    path = Path(file.filepath)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file.path)
    expect(file.url, path)
    wrong = mismatch(file, path)
    if wrong is not None:
        raise TransferError(file.url, wrong)
    return file.at(path, verified="size" if file.sha256 is None else "digest")


def _cached(
    file: File,
    site: Site,
    cache: Cache,
    directory: Path,
    stop: Stop,
    on_progress: OnProgress,
) -> File:
    remote = site.remote(file.url, stop)
    info = look(site, remote) or UNKNOWN  # then nothing of it is cached
    target = directory / safe_name(PurePosixPath(file.path).name)
    part = part_name(directory)
    if cache.take(file.url, info, part):
        wrong = mismatch(file, part)
        if wrong is None:
            publish(part, target, sync=site.rules.sync)
            verified = "etag" if info.etag is not None else "size"
            if file.sha256 is not None:
                verified = "digest"
            size = target.stat().st_size
            on_progress(Progress("done", 0, size, size, verified=verified))
            return file.at(target, verified=verified)
        part.unlink()
    staged, brought = fetch(file, site, directory, stop, on_progress)
    # The key in the cache is made of the first answer, ``info``, so the bytes must be
    # of that version. They are if the answers before, during and after the transfer
    # agree; otherwise the file is good, but it is not cached.
    if staged.verified != "none" and info.differs(brought) is None:
        after = look(site, remote)
        if after is not None and info == replace(after, settled=info.settled):
            cache.keep(file.url, info, Path(staged.filepath))
    return staged
