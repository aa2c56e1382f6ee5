"""Readies the places of files that tasks write; warns where two write one at once."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from jackfield.files import File, redact
from jackfield.states import FINAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from logging import Logger

    from jackfield.graph.task import Extras, Task


class Writers:
    """Knows which task was the last to be launched that writes a file.

    It is told of launches, on any thread: a call that finds a result writes nothing.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._lock: threading.Lock = threading.Lock()
        self._last: WeakValueDictionary[str, Task] = WeakValueDictionary()
        self._told: set[frozenset[str]] = set()

    def note(self, task: Task, extras: Extras) -> None:
        """Ready the places of a launched task; warn, once for each pair of apps."""
        if task.spec.kind == "join":
            return  # its inner tasks make its outputs
        for place in _written(extras):
            with self._lock:
                other, self._last[place] = self._last.get(place), task
            # What a task waits for has ended before it is launched.
            if other is None or other is task or other.state in FINAL:
                continue
            apps = frozenset((task.spec.name, other.spec.name))
            special = Path(place).exists() and not Path(place).is_file()
            if special or apps in self._told:
                continue  # several may fill a directory, and a device is no file
            self._told.add(apps)
            self._log.warning(
                f"{redact(place)} is written by task {other.title} and by task "
                f"{task.title}, and neither waits for the other: what it holds in the "
                f"end is chance. Have one depend on the other, or give each its own.",
                extra={"told": True},
            )


def _written(extras: Extras) -> Iterator[str]:
    """Give the URLs of what a task sends, and the real paths of what it makes here.

    The directories of these are made. Left out are streams that the call says are
    appended to: others may mean to do so.
    """
    written: list[Any] = list(extras.outputs)
    for stream in extras.streams.values():
        place, mode = stream if isinstance(stream, tuple) else (stream, "")
        written += [] if "a" in mode else [place]
    for one in written:
        if isinstance(one, File) and one.remote:
            yield one.url
            continue
        copied = isinstance(one, File) and one.url.startswith("file:")
        directory, name = os.path.split(os.fsdecode(one.path if copied else one))
        if not os.path.isdir(directory):  # noqa: PTH112  (strs are at hand)
            with suppress(OSError):  # the app itself tells it better
                os.makedirs(directory, exist_ok=True)  # noqa: PTH103  (as above)
        yield os.path.join(_real(directory), name)  # noqa: PTH118  (strs are at hand)


_real = lru_cache(1_000)(os.path.realpath)
"""Directories, without links: asking the file system for each task would cost more."""
