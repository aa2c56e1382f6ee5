"""Staging a file, whatever kind it is: one, a tree of many, or one that is cached."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from jackfield.errors import TransferError
from jackfield.staging.fetch import fetch, fetch_known
from jackfield.staging.local import mismatch, part_name, publish, safe_name
from jackfield.staging.remote import RemoteInfo
from jackfield.staging.send import send
from jackfield.staging.site import Site, ask_again
from jackfield.staging.steps import Step, Told, nobody
from jackfield.staging.trees import fetch_tree, send_tree

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield.staging.cache import Cache
    from jackfield.staging.remote import Stop


def stage_in(
    file: File, site: Site, directory: Path, stop: Stop, told: Told = nobody
) -> File:
    """Bring a file, or all that it stands for; see ``fetch`` and ``fetch_tree``."""
    if file.tree:
        return fetch_tree(file, site, directory, stop, told)
    if site.cache is None or not site.provider.stat:
        return fetch(file, site, directory, stop, told)
    return _cached(file, site, site.cache, directory, stop, told)


def stage_out(file: File, site: Site, stop: Stop, told: Told = nobody) -> File:
    """Take a file to its place, or a directory; see ``send`` and ``send_tree``."""
    if file.tree:
        return send_tree(file, site, stop, told)
    return send(file, site, stop, told)


def verify_in_place(file: File) -> File:
    """Compare a local file with what its user declares; return it.

    Raises:
        FileNotFoundError: There is none.
        TransferError: It is another one.
    """
    path = Path(file.path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file.path)
    wrong = mismatch(file, path)
    if wrong is not None:
        raise TransferError(file.url, wrong)
    return file.at(path, verified="size" if file.sha256 is None else "digest")


def _cached(
    file: File, site: Site, cache: Cache, directory: Path, stop: Stop, told: Told
) -> File:
    remote, stat = site.remote(file.url, stop), site.provider.stat
    info = ask_again(site, stat, remote, RemoteInfo, told) or RemoteInfo()
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
            told(Step("done", 0, size, size, verified=verified))
            return file.at(target, verified=verified)
        part.unlink()
    staged, brought = fetch_known(file, site, directory, stop, told)
    # What was brought is what was looked at first only if neither look says otherwise.
    if staged.verified != "none" and info.differs(brought) is None:
        after = ask_again(site, stat, remote, RemoteInfo, told)
        if after is not None and info == replace(after, settled=info.settled):
            cache.keep(file.url, info, Path(staged.filepath))
    return staged
