"""Finds runs, and tells how they are, from the files that they have written.

Nothing here asks a kernel: a run that was killed cannot answer, and one on another
machine is not there to be asked.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from jackfield_monitoring.facts import place_of_pids, start_of
from jackfield_monitoring.fields import BEAT_S, FILE_NAME
from jackfield_monitoring.plain import open_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jackfield_monitoring.store.records import RerunRow

State: TypeAlias = Literal["running", "done", "failed", "lost", "unknown"]

LOG_NAME: Final = "jackfield.log"

MOST_BYTES: Final = 10_000_000
"""Characters beyond which a record is not read: none of ours is so long."""

NUMBER_MOST: Final = 255
"""Digits that a run's number may have, since its directory is called so."""

FAILURES_READ: Final = 10
"""Failures that are read of a history where ``run.json`` does not have them."""

SILENT_BEATS: Final = 4
"""Beats that a run on another machine may miss before it counts as lost."""

LATEST_S: Final = 1e11
"""Seconds since the epoch beyond which ``time`` knows no date."""

ID_LEAST: Final = 4
"""Characters of a run's id that must be given to name it."""


class RunError(Exception):
    """A run cannot be found, read or removed; the text says which and what now."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run's directory, and what its record says.

    Attributes:
        path: The directory.
        record: What was in ``run.json``, or what the run's history has of that; empty
            if there is neither that can be read.
        problem: Why there is no ``run.json``, or ``None``.
    """

    path: Path
    record: dict[str, Any]
    problem: str | None = None

    @property
    def number(self) -> int | None:
        """The run's number, which is its directory's name."""
        return int(self.path.name) if self.path.name.isdecimal() else None

    @property
    def id(self) -> str:
        """The run's id, or ``""``."""
        return self.text("id")

    @property
    def began(self) -> float:
        """When it began, in seconds since the epoch.

        Where the record does not tell it, this is when its directory last changed.
        """
        began = self.seconds("began")
        if began is not None:
            return began
        try:
            return self.path.stat().st_mtime
        except OSError:
            return 0.0

    @property
    def state(self) -> State:
        """How the run is, or how it has ended.

        ``"lost"`` is a run that was killed, and ``"unknown"`` one of which there is
        neither a record nor a history that can be read.
        """
        told = self.record.get("state")
        if told in ("done", "failed"):
            return "failed" if told == "failed" else "done"
        if told != "running":
            return "unknown"
        return "running" if self._is_alive() else "lost"

    def _is_alive(self) -> bool:
        """Tell whether the driver, the process of the run, may still be there.

        On the machine and in the container where it began, its pid and the time when
        the process started tell it for certain. Elsewhere, or when the machine was
        started anew, there are only the record's beats to go by, and the clocks of two
        machines may differ.
        """
        program = self.table("program")
        pid, started = program.get("pid"), program.get("started")
        here = (os.uname().nodename, *place_of_pids())
        there = tuple(program.get(name) for name in ("host", "boot", "namespace"))
        if here == there and isinstance(pid, int) and isinstance(started, int):
            return start_of(pid) == started
        beat = self.seconds("beat") or 0.0
        return time.time() - beat < SILENT_BEATS * BEAT_S

    @property
    def elapsed(self) -> float | None:
        """Seconds that it has taken, so far or in all; ``None`` if that is unknown."""
        elapsed = self.seconds("elapsed")
        if elapsed is not None and self.state == "running":
            return max(elapsed, time.time() - self.began)
        return elapsed

    @property
    def counts(self) -> dict[str, int]:
        """State to number of tasks."""
        return {
            name: count
            for name, count in self.table("counts").items()
            if isinstance(count, int) and count > 0
        }

    @property
    def failures(self) -> list[str]:
        """The first failures, a line each."""
        return _texts(self.record.get("failures"))

    @property
    def argv(self) -> list[str]:
        """The command line; ``["notebook"]`` for what Jupyter starts for a notebook."""
        argv = _texts(self.table("program").get("argv"))
        notebook = len(argv) > 1 and Path(argv[1]).name == "ipykernel_launcher.py"
        return ["notebook"] if notebook else argv

    # -- whatever else the record has, if it has the type that it should

    def seconds(self, name: str) -> float | None:
        """Return a number of seconds that clocks can show."""
        value = self.record.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if 0 <= value < LATEST_S else None

    def text(self, *names: str) -> str:
        """Return a text of the record, or of a table in it; or ``""``."""
        value: Any = self.record
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, str) else ""

    def table(self, name: str) -> dict[str, Any]:
        """Return a table of the record, or an empty one."""
        value = self.record.get(name)
        return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    texts = value if isinstance(value, list) else []
    return [text for text in texts if isinstance(text, str)]


def read(path: Path) -> Run:
    """Read a run's record, and what its history knows better."""
    run = _recorded(path)
    if run.state not in ("unknown", "lost"):
        return run
    return Run(path, run.record | _told_by_store(path, run), run.problem)


def _recorded(path: Path) -> Run:
    """Read a run's record; of a directory without one, less is known."""
    file = path / FILE_NAME
    try:
        with open(
            file, encoding="utf-8", errors="replace", opener=open_plain
        ) as opened:
            text = opened.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return Run(path, {}, f"It has no {FILE_NAME}.")
    except OSError as error:
        return Run(path, {}, f"{file} cannot be read: {error.strerror}.")
    if len(text) > MOST_BYTES:
        return Run(path, {}, f"{file} is larger than any that Jackfield writes.")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return Run(path, {}, f"{file} is damaged: it holds no JSON object.")
    return Run(path, record)


def _told_by_store(path: Path, run: Run) -> dict[str, Any]:
    """Return what a run's history tells, as ``run.json`` should.

    It is asked where there is no record that can be read, and where the record does not
    have the end. A history is written ten times a second, a record each half minute: of
    a run that was killed the history knows more. Where the disk was full at the end, or
    the directory could not be written to, one of the two may have the end and the other
    not. The one that has it is right.
    """
    from jackfield_monitoring.store.reader import Store, StoreError

    try:
        with Store(path) as store:
            facts = store.run()
            counts = store.counts(own=False)
            failures = store.first_failures(FAILURES_READ)
    except StoreError:
        return {}
    last = facts.beat if facts.ended is None else facts.ended
    told: dict[str, Any] = {
        "beat": facts.wall_of(last),
        "elapsed": (last - facts.monotonic) / 1e6,
        "counts": {state.value: number for state, number in counts.items()},
        "failures": failures,
    }
    if facts.ended is not None:
        told |= {"state": facts.state, "ended": told["beat"]}
    if run.state == "unknown":
        program = {
            "argv": list(facts.argv),
            "cwd": facts.cwd,
            "host": facts.host,
            "user": facts.user,
            "pid": facts.pid,
            "python": facts.python,
        }
        about = {"id": facts.uuid, "began": facts.wall / 1e6, "state": facts.state}
        versions = {"jackfield": facts.jackfield}
        return about | {"program": program, "versions": versions} | told
    if facts.ended is None and told["beat"] < (run.seconds("beat") or 0.0):
        return {}  # it could not be written for a while
    return told


def reruns_of(run: Run) -> list[RerunRow]:
    """Return what ran again only to have a lost result; only a history tells."""
    from jackfield_monitoring.store.reader import Store, StoreError

    try:
        with Store(run.path) as store:
            return store.reruns()
    except StoreError:
        return []


def runs_in(parent: Path) -> list[Run]:
    """Return the runs of a directory, the newest last.

    Raises:
        RunError: There is no such directory, or it is that of a run.
    """
    if (parent / FILE_NAME).exists():
        raise RunError(f"{parent} is one run: name it as RUN, without --dir.")
    try:
        inner = [one for one in parent.iterdir() if one.name.isdecimal()]
    except NotADirectoryError:
        raise RunError(f"{parent} is no directory of runs.") from None
    except OSError as error:
        raise RunError(
            f"There are no runs in {parent.absolute()}: {error.strerror}. "
            f"Name the directory with --dir, or see run_dir in `jackfield config show`."
        ) from error
    found = [read(one) for one in inner if one.is_dir() and not one.is_symlink()]
    return sorted(found, key=lambda run: (run.began, run.number or 0))


def find(name: str, parent: Path) -> Run:
    """Return the run that a name means.

    Args:
        name: ``last``, a number (``7`` is directory ``007``), the beginning of an id,
            or a path.
        parent: The directory of runs.

    Raises:
        RunError: None is meant, or more than one.
    """
    if "/" in name or name in (".", ".."):
        return _at(Path(name))
    runs = runs_in(parent)
    if name == "last":
        if not runs:
            raise RunError(f"There are no runs in {parent.absolute()} yet.")
        return runs[-1]
    if name.isdecimal() and len(name) <= NUMBER_MOST:
        same = [run for run in runs if run.number == int(name)]
        if same:
            return same[0]
    if len(name) >= ID_LEAST:
        same = [run for run in runs if run.id.startswith(name.lower())]
        if len(same) == 1:
            return same[0]
        if same:
            numbers = ", ".join(run.path.name for run in same)
            raise RunError(f"{name!r} begins the ids of several runs: {numbers}.")
    for path in (parent / name, Path(name)):
        if name and _is_directory(path):
            return _at(path)
    raise RunError(
        f"There is no run {name!r} in {parent.absolute()}"
        f"{_last_of(runs)}. A run is a number, a path, the beginning of an id "
        f"({ID_LEAST} characters at least), or `last`."
    )


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it is longer than any name
        return False


def _at(path: Path) -> Run:
    if not _is_directory(path):
        raise RunError(f"There is no run at {path.absolute()}.")
    run = read(path)
    if run.problem and not (path / LOG_NAME).exists():
        inner = any(one.name.isdecimal() for one in _in(path))
        hint = f" If it is a directory of runs, say --dir {path}." if inner else ""
        raise RunError(f"{path.absolute()} is no run's directory: {run.problem}{hint}")
    return run


def _in(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:  # it is closed to us
        return []


def _last_of(runs: Sequence[Run]) -> str:
    return f"; the last one is {runs[-1].path.name}" if runs else ""


def remove(run: Run) -> None:
    """Remove a run's directory with all that is in it.

    Raises:
        RunError: It goes on, is no run, or cannot be removed.
    """
    if run.problem and not (run.path / LOG_NAME).exists():
        raise RunError(f"{run.path} stays: {run.problem} It may be no run's directory.")
    if run.state == "running":
        raise RunError(f"{run.path} stays: the run goes on.")
    try:
        shutil.rmtree(run.path)
    except OSError as error:
        raise RunError(f"{run.path} cannot be removed: {error}.") from error


def tail(run: Run, lines: int, follow_s: float | None = None) -> Iterator[str]:
    """Give the last lines of a run's log and, if it is followed, those that come.

    Args:
        run: The run.
        lines: How many of those that are there.
        follow_s: Seconds between two looks at the log, until the run has ended: a log
            may grow on file systems that tell nobody. ``None`` for one look.

    Raises:
        RunError: It has none that can be read.
    """
    path = run.path / LOG_NAME
    try:
        log = path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}.") from error
    with log:
        yield from deque(log, maxlen=lines)
        goes_on, begun = follow_s is not None, ""
        while goes_on:
            # A run writes into its record that it has ended, and shortly afterwards the
            # last lines of its log. So the state is read first; then comes the pause,
            # then the log. Only when the state says "ended" and the log has not grown
            # since is nothing more to come.
            goes_on = read(run.path).state == "running"
            time.sleep(follow_s or 0.0)
            for line in log:
                goes_on = True
                begun += line  # the run may be in the middle of a line
                if begun.endswith("\n"):
                    yield begun
                    begun = ""
        if begun:
            yield begun
