"""Runs that a dashboard looks at: histories kept open, and one look-out for all.

However many browsers there are, one thread asks each history whether it has changed,
ten times a second, and only while somebody watches that run. What is made of a history
is made once for each change.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from jackfield_monitoring import runs as finding
from jackfield_monitoring.fields import FILE_NAME as RECORD
from jackfield_monitoring.pages.columns import pack, unit_for
from jackfield_monitoring.pages.details import details_of
from jackfield_monitoring.pages.overview import ids_of, name_of, overview_of
from jackfield_monitoring.runs import Run, RunError
from jackfield_monitoring.store.bulk import first_open, read_bulk
from jackfield_monitoring.store.reader import Store, StoreError
from jackfield_monitoring.store.schema import FILE_NAME as STORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOOK_S: Final = 0.1
"""Seconds between two looks at the histories that are watched."""

LIST_S: Final = 1.0
"""Seconds between two looks at the list of runs."""

OPEN_MOST: Final = 32
"""Histories that are kept open."""

EDGES_MOST: Final = 5_000_000


class History:
    """A run whose history is kept open. Any thread may ask.

    Attributes:
        path: The run's directory.
        used: When it was last asked for, on the monotonic clock.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self.used: float = time.monotonic()
        self._lock = threading.RLock()
        self._store: Store | None = None
        self._ended = False
        self._file: tuple[int, int] | None = None
        self._last: object = None
        self._made: dict[str, tuple[object, bytes]] = {}

    def close(self) -> None:
        """Close the history."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = self._file = None

    def end(self) -> None:
        """Close the history for good.

        A request may still be on its way when the dashboard ends, and would open the
        history again after it was closed; then nobody would close it any more.
        """
        with self._lock:
            self._ended = True
            self.close()

    def version(self) -> object:
        """Return what changes when there is something new to see."""
        with self._lock:
            record = _stamp(self.path / RECORD)
            try:
                store = self._opened()
                return record, self._file, store.data_version()
            except StoreError as error:
                self.close()
                return record, _stamp(self.path / STORE), str(error)

    def version_now(self) -> object:
        """Return what ``version`` does; the last one while something long is read.

        So one large run holds up nobody who watches another.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._last = self.version()
            finally:
                self._lock.release()
        return self._last

    def overview(self) -> bytes:
        """Return the overview, as JSON; of what ``run.json`` tells, if that is all.

        Raises:
            RunError: The run is not there any more.
        """
        return self._answer("overview", self._overview)

    def columns(self, first: int, unit: int) -> bytes:
        """Return columns of all tasks from a number on.

        Args:
            first: What the page has got, up to this task, is not read again.
            unit: The unit of the times that the page has; with another, all is read.

        Raises:
            StoreError: The history cannot be read.
        """
        return self._answer(
            f"columns {first} {unit}", lambda: self._columns(first, unit)
        )

    def details(self, task: int) -> dict[str, Any] | None:
        """Return all about a task.

        Raises:
            StoreError: The history cannot be read.
        """
        with self._lock:
            return details_of(self._run(), self._opened(), task)

    def _answer(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Make an answer, or give the last one if nothing has changed since."""
        kind = name.partition(" ")[0]
        with self._lock:
            version = name, self.version()
            known = self._made.get(kind)
            # The overview tells how long a run has taken so far, which changes though
            # nothing is written.
            if known is not None and known[0] == version and kind != "overview":
                return known[1]
            made = make()
            self._made[kind] = version, made
            return made

    def _overview(self) -> bytes:
        run = self._run()
        try:
            told = overview_of(run, self._opened())
        except StoreError as error:
            self.close()
            known = (self.path / STORE).exists()
            told = overview_of(run, None, str(error) if known else "")
        return json.dumps(told, separators=(",", ":")).encode()

    def _columns(self, first: int, unit: int) -> bytes:
        store = self._opened()
        with store.snapshot(), store.computing():
            facts = store.run()
            fitting = unit_for(facts.beat - facts.monotonic)
            if unit != fitting:
                first = 0
            bulk = read_bulk(store, first, EDGES_MOST)
            open_ = first_open(store)
            return pack(
                bulk, ids_of(store), first=first, origin=facts.monotonic, unit=fitting,
                settled=open_, small=False,
            )  # fmt: skip

    def _run(self) -> Run:
        if not self.path.is_dir():
            raise RunError(f"Run {self.path.name} is not there any more.")
        return finding.read(self.path)

    def _opened(self) -> Store:
        """Return the open history; anew if its file is another one than before.

        Raises:
            StoreError: It cannot be read.
        """
        if self._ended:
            raise StoreError("The dashboard has ended.")
        file = _identity(self.path / STORE)
        if self._store is None or file != self._file:
            self.close()
            self._store = Store(self.path / STORE)
            self._file = file
        return self._store


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


class Runs:
    """The runs of a directory, and who watches them.

    Args:
        parent: The directory.
    """

    def __init__(self, parent: Path) -> None:
        self.parent: Path = parent
        self._histories: dict[str, History] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._watched: dict[str, list[Any]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._look, name="jackfield-dashboard", daemon=True
        )

    def start(self) -> None:
        """Begin to look out."""
        self._thread.start()

    def stop(self) -> None:
        """End what waits for changes, and close all histories."""
        self._stopped.set()
        with self._lock:
            self._changed.notify_all()
        if self._thread.ident is not None:  # nothing could listen where it should
            self._thread.join()
        with self._lock:
            histories = list(self._histories.values())
        for history in histories:
            history.end()

    def history(self, name: str) -> History:
        """Return a run by its number, as its directory is called.

        Raises:
            RunError: There is none.
        """
        path = self.parent / name
        if not (name.isascii() and name.isdecimal()) or path.is_symlink():
            raise RunError("There is no such run.")
        if not path.is_dir():
            raise RunError(f"Run {name} is not there, or not any more.")
        with self._lock:
            if self.stopped:  # `stop` would not find it
                raise RunError("The dashboard has ended.")
            history = self._histories.setdefault(name, History(path))
            history.used = time.monotonic()
            spare = sorted(
                (key for key in self._histories if key not in self._watched),
                key=lambda key: self._histories[key].used,
            )[: max(0, len(self._histories) - OPEN_MOST)]
            closing = [self._histories.pop(key) for key in spare if key != name]
        for one in closing:
            one.close()
        return history

    def listed(self) -> bytes:
        """Return the list of runs, the newest first, as JSON."""
        try:
            found, problem = finding.runs_in(self.parent), ""
        except RunError as error:
            found, problem = [], str(error)
        told = [
            {
                "run": run.path.name,
                "name": name_of(run),
                "state": run.state,
                "problem": run.problem or "",
                "began": run.began,
                "took": run.elapsed,
                "tasks": sum(run.counts.values()) if run.record else None,
                "failed": run.counts.get("failed", 0),
                "stored": (run.path / STORE).exists(),
            }
            for run in reversed(found)
        ]
        about = {"runs": told, "problem": problem, "directory": str(self.parent)}
        return json.dumps(about, separators=(",", ":")).encode()

    # -- Watching

    @contextmanager
    def watching(self, name: str) -> Iterator[Callable[[int, float], int]]:
        """Watch a run, or the list of runs if the name is ``""``.

        Gives a function that waits until the number of changes is not that which it is
        told, or for so many seconds, and returns the number of changes.

        Raises:
            RunError: There is no such run.
        """
        if name:
            self.history(name)
        with self._lock:
            watched = self._watched.setdefault(name, [0, 0])
            watched[0] += 1
        try:
            yield lambda known, limit_s: self._wait(watched, known, limit_s)
        finally:
            with self._lock:
                watched[0] -= 1
                if not watched[0]:
                    del self._watched[name]

    @property
    def stopped(self) -> bool:
        """Whether the dashboard ends."""
        return self._stopped.is_set()

    def _wait(self, watched: list[Any], known: int, limit_s: float) -> int:
        with self._lock:
            self._changed.wait_for(
                lambda: watched[1] != known or self._stopped.is_set(), limit_s
            )
            return int(watched[1])

    def _look(self) -> None:
        """Look at what is watched, again and again; on a thread of its own."""
        seen: dict[str, object] = {}  # of what is watched now, and was at the last look
        listed = 0.0
        while not self._stopped.wait(LOOK_S):
            with self._lock:
                names = list(self._watched)
            seen = {name: seen[name] for name in names if name in seen}
            changed = []
            for name in names:
                if name in seen and not name and time.monotonic() - listed < LIST_S:
                    continue
                now = self._version(name)
                if not name:
                    listed = time.monotonic()
                # What is looked at for the first time counts as changed. It may have
                # changed since the page was made, when nobody had looked yet.
                if name not in seen or seen[name] != now:
                    changed.append(name)
                seen[name] = now
            if changed:
                with self._lock:
                    for name in changed:
                        if name in self._watched:
                            self._watched[name][1] += 1
                    self._changed.notify_all()

    def _version(self, name: str) -> object:
        if not name:
            return self._list_version()
        try:
            return self.history(name).version_now()
        except RunError as error:
            return str(error)

    def _list_version(self) -> object:
        try:
            with os.scandir(self.parent) as found:
                names = [one.name for one in found if one.name.isdecimal()]
        except OSError as error:
            return error.strerror
        return {name: _stamp(self.parent / name / RECORD) for name in names}
