"""Directories and patterns: URLs that stand for many files, staged together."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

from jackfield.errors import RemoteNotFoundError, TransferError
from jackfield.files import File, raw_path, redact
from jackfield.staging.remote import Stop
from jackfield_system.local_names import safe_name
from jackfield_transfers.fetch import fetch
from jackfield_transfers.local import discard, files_below, part_name
from jackfield_transfers.retrying import call_with_retries
from jackfield_transfers.send import send
from jackfield_transfers.site import Site, ask

if TYPE_CHECKING:
    from jackfield.staging.remote import RemoteInfo
    from jackfield_transfers.host_site import OnProgress

T = TypeVar("T")

_STRENGTH: Final = ("digest", "etag", "size", "none")
"""The values of ``File.verified``, the surest first."""

_LONGEST: Final = 1 << 14
"""Most characters of a quoted name below a directory. A path of Linux has 4096 bytes,
and a quoted byte three characters."""

_MAGIC: Final = "*"
"""The only special character of patterns; ``?`` and ``[`` are common in names."""


def fetch_tree(
    file: File, site: Site, directory: Path, stop: Stop, on_progress: OnProgress
) -> File:
    """Bring all files below a URL, or all that fit a pattern, into a directory.

    Several are moved at the same time. The directory gets its final name when all of
    them are there, so that it is either complete or absent.

    Raises:
        RemoteNotFoundError: No file fits the pattern.
        TransferError: A file did not arrive, or the provider cannot list files.
    """
    base, pattern = _split(file)
    listed = _listing(site, base, stop, on_progress)
    wanted = _matching(listed, base, pattern)
    if not wanted and pattern:
        raise RemoteNotFoundError(redact(file.url), "no file fits this pattern")
    name = safe_name(PurePosixPath(File(base).path).name)
    part = part_name(directory)
    part.mkdir(mode=0o700)
    places = _places(part, wanted)
    actions = [
        partial(_fetch_one, File(url), site, place, on_progress=on_progress)
        for url, place in places.items()
    ]
    staged = _side_by_side(actions, site.rules.connections, stop)
    target = directory / name
    part.rename(target)
    # A tree counts as verified like its weakest file; without files it is "none".
    weakest = max((_STRENGTH.index(str(one.verified)) for one in staged), default=-1)
    return file.at(target, verified=_STRENGTH[weakest])


def send_tree(file: File, site: Site, stop: Stop, on_progress: OnProgress) -> File:
    """Take all files below a local directory to their places below a URL.

    Several are moved at the same time. After a failure, those that are there stay.
    Links are followed; of a directory without files nothing is sent. A name that is no
    text in the system's encoding is sent as the bytes that it is.

    Raises:
        TransferError: A file could not be sent, or something below is no file.
    """
    top = file.filepath
    actions = [
        partial(
            send,
            File(file.url + quote(os.fsencode(path.removeprefix(top).lstrip("/")))).at(
                path
            ),
            site,
            on_progress=on_progress,
        )
        for path in files_below(file.url, top)
    ]
    _side_by_side(actions, site.rules.connections, stop)
    return file


def _fetch_one(
    file: File, site: Site, place: Path, stop: Stop, *, on_progress: OnProgress
) -> File:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # Where letters and their capitals are the same, two names may mean one file.
        # Only the thread that comes first can make it.
        place.touch(exist_ok=False)
    except FileExistsError:
        reason = f"its local name {place.name!r} is taken by one that differs in case"
        raise TransferError(redact(file.url), reason) from None
    directory = part_name(place.parent)
    directory.mkdir(mode=0o700)
    try:
        return fetch(file, site, directory, stop, on_progress, place=place)[0]
    finally:
        discard(directory)


def _side_by_side(
    actions: Sequence[Callable[[Stop], File]], width: int, stop: Stop
) -> list[File]:
    """Call all actions on threads, each with a ``Stop`` of its own; return the files.

    At most ``width`` run at the same time, and ``stop`` stops all. After a failure no
    further action begins, those that run are stopped, and the failure is raised.
    """
    # Threads of our own: those of ``ThreadPoolExecutor`` run nothing any more when a
    # program is at its end, and a kernel may still have transfers then.
    futures: list[Future[File]] = [Future() for _ in actions]
    left = deque(zip(futures, actions, strict=True))
    with _one_of(stop) as together:
        threads = _start(min(width, len(actions)), partial(_run_all, left, together))
        try:
            ended, running = wait(futures, return_when=FIRST_EXCEPTION)
            left.clear()
            if running:  # `wait` has returned before all had ended: one has failed
                together.stop()
        finally:
            for thread in threads:
                thread.join()
        # Those that ended before the stop come first, so that the failure is raised,
        # and not the error of an action that was stopped because of it.
        for future in ended:
            future.result()
        return [future.result() for future in futures]


@contextmanager
def _one_of(whole: Stop) -> Iterator[Stop]:
    """Give a Stop for a part of what ``whole`` stops.

    It is stopped when that is; to stop or interrupt it leaves ``whole`` alone.
    """
    part = Stop()
    if not whole.add(part.stop):
        part.stop()
    try:
        yield part
    finally:
        whole.remove(part.stop)


def _start(number: int, run: Callable[[], None]) -> list[Thread]:
    """Start threads: as many as can be had, and at least one."""
    threads: list[Thread] = []
    for n in range(number):
        thread = Thread(target=run, name=f"jackfield-tree-{n}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not threads:
                raise
            break
        threads.append(thread)
    return threads


def _run_all(
    left: deque[tuple[Future[File], Callable[[Stop], File]]], together: Stop
) -> None:
    """Run the actions that no other thread has taken."""
    with suppress(IndexError):  # there are no more
        while True:
            future, action = left.popleft()
            try:
                with _one_of(together) as stop:
                    file = action(stop)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(file)


# -- What is there


def _split(file: File) -> tuple[str, str]:
    """Return the URL of the directory to list, and the pattern below it, if any."""
    path = raw_path(file.url)
    if _MAGIC not in path:
        return file.url, ""
    fixed = path.partition(_MAGIC)[0].rpartition("/")[0] + "/"
    parts = urlsplit(file.url)
    return f"{parts.scheme}://{parts.netloc}{fixed}", path[len(fixed) :]


def _listing(
    site: Site, base: str, stop: Stop, on_progress: OnProgress
) -> Mapping[str, RemoteInfo]:
    remote = site.remote(base, stop)
    kind: type[Mapping[str, RemoteInfo]] = Mapping  # type: ignore[type-abstract]  # for isinstance only
    hooks = site.provider.list
    listed = call_with_retries(
        lambda _: ask(site, hooks, remote, kind), site.rules, stop, on_progress
    )
    if listed is None:
        scheme = remote.scheme
        raise TransferError(str(remote), f"the plugin for {scheme}: cannot list files")
    for url in listed:
        if not url.startswith(base):
            reason = f"the listing has {redact(url)}, which is not below it"
            raise TransferError(str(remote), reason)
        if len(url) - len(base) > _LONGEST:
            reason = f"its listing has a name of more than {_LONGEST} letters"
            raise TransferError(str(remote), reason)
    return listed


def _matching(
    listed: Mapping[str, RemoteInfo], base: str, pattern: str
) -> dict[str, tuple[str, ...]]:
    """Return the wanted URLs, each with the parts of its path below ``base``."""
    fits = re.compile(_regex(pattern), re.DOTALL) if pattern else None
    top = len(PurePosixPath(File(base).path).parts)
    found: dict[str, tuple[str, ...]] = {}
    for url in sorted(listed):
        below = _decoded(url[len(base) :])
        if below and (fits is None or fits.fullmatch(below)):
            found[url] = PurePosixPath(File(url).path).parts[top:]
    return found


def _regex(pattern: str) -> str:
    """Translate a pattern: ``*`` fits any name or part of one, ``**`` also slashes.

    The rest is decoded, as names are before they are compared: one provider writes
    ``%20`` where another, or the user, writes a space.
    """
    first, *rest = re.split(r"(\*\*/|\*+)", pattern)
    translated = [re.escape(_decoded(first))]
    for number, star in enumerate(rest[::2]):
        text = re.escape(_decoded(rest[2 * number + 1]))
        if star == "**/":
            translated.append(f"(?:.*/)?{text}")
        elif star == "*" and text and 2 * number + 2 < len(rest):
            # This star is followed by a text, and that by another star, which fits what
            # comes between. So the first place where the text stands is as good as any
            # later one, and the match never goes back to try those (``?>``).
            # With several stars it would try every combination of places, which takes
            # for ever with a name that a server has made for that.
            translated.append(f"(?>[^/]*?{text})")
        else:
            translated.append(f"{'[^/]*' if star == '*' else '.*'}{text}")
    return "".join(translated)


def _decoded(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _places(top: Path, wanted: Mapping[str, tuple[str, ...]]) -> dict[str, Path]:
    """Return a local path below ``top`` for each URL, no two the same.

    Raises:
        TransferError: A path would lead out of ``top``, or two URLs have the same local
            name, because making names safe has made them equal, or one is a file and
            the directory of another, as it may be in an object store.
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
    for url, place in places.items():
        for parent in place.parents:
            if parent in taken:
                reason = (
                    f"its local directory would be the file {redact(taken[parent])}"
                )
                raise TransferError(redact(url), reason)
    return places
