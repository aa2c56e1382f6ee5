"""Directories and patterns: many files that are staged as one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlsplit

from jackfield.errors import RemoteNotFoundError, TransferError
from jackfield.files import File, raw_path, redact
from jackfield.staging.fetch import fetch
from jackfield.staging.local import discard, part_name, safe_name
from jackfield.staging.send import send
from jackfield.staging.site import Site, ask_again

if TYPE_CHECKING:
    from jackfield.staging.remote import RemoteInfo, Stop
    from jackfield.staging.steps import Told

T = TypeVar("T")

_STRENGTH: Final = ("digest", "etag", "size", "none")
"""How a file may be verified, the surest first."""

_MAGIC: Final = "*"
"""What makes a pattern; see ``File.tree``. ``?`` and ``[`` are common in names, and
mean themselves."""


def fetch_tree(file: File, site: Site, directory: Path, stop: Stop, told: Told) -> File:
    """Bring all files below a URL into a directory of their own.

    They are moved side by side. The directory appears when all are there.

    Raises:
        RemoteNotFoundError: A pattern fits nothing.
        TransferError: One of them did not arrive, or the other side cannot list.
    """
    base, pattern = _split(file)
    listed = _listing(site, base, stop, told)
    wanted = _matching(listed, base, pattern)
    if not wanted and pattern:
        raise RemoteNotFoundError(redact(file.url), "no file fits this pattern")
    name = safe_name(PurePosixPath(File(base).path).name)
    part = part_name(directory)
    part.mkdir(mode=0o700)
    places = _places(part, wanted)
    actions = [
        partial(_fetch_one, File(url), site, place, told=told)
        for url, place in places.items()
    ]
    staged = _side_by_side(actions, site.rules.connections, stop)
    target = directory / name
    part.rename(target)
    weakest = max((_STRENGTH.index(str(one.verified)) for one in staged), default=-1)
    return file.at(target, verified=_STRENGTH[weakest])


def send_tree(file: File, site: Site, stop: Stop, told: Told) -> File:
    """Take all files below a local directory to their places below a URL.

    They are moved side by side. A failure leaves those that are there already.
    """
    top = Path(file.filepath)
    actions = [
        partial(send, File(_join(file.url, path, top)).at(path), site, told=told)
        for path in _walk(top)
    ]
    _side_by_side(actions, site.rules.connections, stop)
    return file


def _fetch_one(file: File, site: Site, place: Path, stop: Stop, *, told: Told) -> File:
    place.parent.mkdir(parents=True, exist_ok=True)
    directory = part_name(place.parent)
    directory.mkdir(mode=0o700)
    try:
        return fetch(file, site, directory, stop, told, place=place)
    finally:
        discard(directory)


def _side_by_side(
    actions: Sequence[Callable[[Stop], File]], width: int, stop: Stop
) -> list[File]:
    """Call all; after a failure, begin no other, stop those that run, and raise it."""
    if not actions:
        return []
    with (
        stop.child() as together,
        ThreadPoolExecutor(min(width, len(actions)), "jackfield-tree") as pool,
    ):
        futures = [pool.submit(_alone, action, together) for action in actions]
        ended, running = wait(futures, return_when=FIRST_EXCEPTION)
        if running:  # so there was a failure
            pool.shutdown(wait=False, cancel_futures=True)
            together.stop()
        for future in ended:  # the failure itself, before what it has stopped
            future.result()
        return [future.result() for future in futures]


def _alone(action: Callable[[Stop], File], together: Stop) -> File:
    with together.child() as stop:
        return action(stop)


# -- What is there


def _split(file: File) -> tuple[str, str]:
    """Return the URL of the directory to list, and the pattern below it, or ``""``."""
    path = raw_path(file.url)
    if _MAGIC not in path:
        return file.url, ""
    fixed = path.partition(_MAGIC)[0].rpartition("/")[0] + "/"
    parts = urlsplit(file.url)
    return f"{parts.scheme}://{parts.netloc}{fixed}", path[len(fixed) :]


def _listing(site: Site, base: str, stop: Stop, told: Told) -> Mapping[str, RemoteInfo]:
    remote = site.remote(base, stop)
    kind: type[Mapping[str, RemoteInfo]] = Mapping  # type: ignore[type-abstract]  # for isinstance only
    listed = ask_again(site, site.provider.list, remote, kind, told)
    if listed is None:
        scheme = remote.scheme
        raise TransferError(str(remote), f"the plugin for {scheme}: cannot list files")
    for url in listed:
        if not url.startswith(base):
            reason = f"the listing has {redact(url)}, which is not below it"
            raise TransferError(str(remote), reason)
    return listed


def _matching(
    listed: Mapping[str, RemoteInfo], base: str, pattern: str
) -> dict[str, tuple[str, ...]]:
    """Return the wanted URLs, each with the parts of its path below ``base``."""
    fits = re.compile(_regex(pattern)) if pattern else None
    top = len(PurePosixPath(File(base).path).parts)
    found: dict[str, tuple[str, ...]] = {}
    for url in sorted(listed):
        below = url[len(base) :]
        if below and (fits is None or fits.fullmatch(below)):
            found[url] = PurePosixPath(File(url).path).parts[top:]
    return found


def _regex(pattern: str) -> str:
    """Translate: ``*`` fits within one part of a path, ``**`` across parts."""
    translated = []
    for piece in re.split(r"(\*\*/|\*+)", pattern):
        if piece == "**/":
            translated.append("(?:.*/)?")
        elif piece == "*":
            translated.append("[^/]*")
        elif piece.startswith("*"):
            translated.append(".*")
        else:
            translated.append(re.escape(piece))
    return "".join(translated)


def _places(top: Path, wanted: Mapping[str, tuple[str, ...]]) -> dict[str, Path]:
    """Give each URL a local place below ``top``, no two the same.

    Raises:
        TransferError: A path leads out, or two names are one once made safe.
    """
    places: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for url, parts in wanted.items():
        if not parts or ".." in parts:
            raise TransferError(redact(url), "its name leads out of the directory")
        place = top.joinpath(*map(safe_name, parts))
        other = taken.setdefault(place, url)
        if other != url:
            reason = f"its local name would be that of {redact(other)}"
            raise TransferError(redact(url), reason)
        places[url] = place
    return places


def _walk(top: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(top):
        for name in sorted(names):
            yield Path(directory, name)


def _join(url: str, path: Path, top: Path) -> str:
    return url + quote(path.relative_to(top).as_posix())
