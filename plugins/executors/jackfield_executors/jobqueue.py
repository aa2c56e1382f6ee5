"""What a batch system tells of jobs, beyond what dask-jobqueue asks it."""

from __future__ import annotations

import getpass
import math
import signal
import subprocess
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from jackfield_executors.foreign.engine import ANSWER_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

MESSAGE: Final = 500
"""Characters of what a batch system says that are shown."""

_OVER: Final = frozenset(
    {"CANCELLED", "COMPLETED", "COMPLETING", "FAILED", "NODE_FAIL", "TIMEOUT"}
)
"""States in which a job of Slurm's will run nothing more."""

_importing: Final = threading.Lock()


def dask_jobqueue() -> ModuleType:
    """Import dask-jobqueue, and leave the program's handlers of signals as they are.

    A module of its, for clusters below ``mpirun``, has Ctrl-C call ``sys.exit`` as soon
    as it is imported. A script that uses the package for jobs alone would then end on
    Ctrl-C with the exit code of a success; and on a thread other than the main one,
    such as ``jackfield doctor`` starts executors on, the import would fail. So the
    calls of ``signal.signal`` that this thread makes during the import do nothing.
    Those of other threads go through, and a second import waits, lest it take the
    first one's replacement for the function itself.

    Raises:
        ImportError: It is not installed.
    """
    with _importing:
        if "dask_jobqueue" in sys.modules:  # whoever has imported it wants its handler
            return sys.modules["dask_jobqueue"]
        real, here = signal.signal, threading.get_ident()

        def kept(number: Any, handler: Any) -> Any:
            if threading.get_ident() == here:
                return signal.getsignal(number)
            return real(number, handler)

        signal.signal = kept  # type: ignore[assignment]  # of these arguments, too
        try:
            return import_module("dask_jobqueue")
        finally:
            signal.signal = real


class JobQueue:
    """Asks about jobs. ``kind`` is the option ``cluster`` of the plugin ``dask``."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def states(self, ids: Mapping[str, str | None]) -> Mapping[str, str]:
        """Return the jobs that are not over, by name, and why they do not run yet.

        Of other systems than Slurm that is not known: there a job counts as running
        until it has lost its workers.

        Args:
            ids: Name to the batch system's id, ``None`` while it is not known.

        Raises:
            OSError: The batch system does not answer.
            subprocess.SubprocessError: The same.
        """
        if self._kind != "slurm":
            return dict.fromkeys(ids, "")
        told = squeue()
        found: dict[str, str] = {}
        for name, job in ids.items():
            state, reason = told.get(str(job), ("", ""))
            if job is None:
                found[name] = "it is being submitted"
            elif state == "PENDING":
                found[name] = f"job {job} is pending ({reason})"
            elif state and state not in _OVER:
                found[name] = ""
        return found

    def threads(self, options: Mapping[str, Any]) -> int:
        """Return how many threads the workers of one job have together."""
        if self._kind == "local":
            return int(options.get("threads_per_worker") or 1)
        return int(options.get("cores") or self.default("cores") or 1)

    def default(self, name: str) -> Any:
        """Return what Dask's own configuration says of jobs."""
        from dask import config

        return config.get(f"jobqueue.{self._kind}.{name}", None)

    def walltime(self, options: Mapping[str, Any]) -> float:
        """Return how many seconds a job lasts by the options of its cluster.

        Infinite if it is not limited, or it is not known.
        """
        if self._kind in {"", "local"}:
            return math.inf
        walltime = options.get("walltime") or self.default("walltime")
        return seconds_of(walltime, self._kind)


def squeue() -> Mapping[str, tuple[str, str]]:
    """Return state and reason of all our jobs that Slurm has, by id."""
    command = [
        "squeue",
        "--noheader",
        f"--user={getpass.getuser()}",
        "--format=%i|%T|%r",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=ANSWER_S, check=False
    )
    if done.returncode:
        raise OSError(said(done.stderr) or f"squeue ended with {done.returncode}")
    rows = (line.strip().split("|", 2) for line in done.stdout.splitlines())
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}


def said(text: str) -> str:
    """Return what a program of a batch system has said, in a line.

    Of dask-jobqueue's report on it, which has its own words and the name of a temporary
    file in front, the part of the program's standard error.
    """
    _, found, errors = text.partition("\nstderr:\n")
    lines = (errors if found else text).splitlines()
    return "; ".join(filter(None, map(str.strip, lines)))[:MESSAGE]


def seconds_of(walltime: Any, kind: str) -> float:
    """Read a walltime as batch systems write it; infinite if it cannot be read.

    ``"02:00:00"``, ``"1-12:00:00"``, ``"90"``: minutes. Of two numbers, LSF means hours
    and minutes, and the others minutes and seconds.
    """
    days, _, clock = str(walltime or "").rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        total = 86_400.0 * int(days or 0)
    except ValueError:
        return math.inf
    if days or len(parts) == 3:  # after days, hours come first
        units = (3600, 60, 1)
    elif len(parts) == 2:
        units = (3600, 60, 0) if kind == "lsf" else (60, 1, 0)
    else:
        units = (60, 0, 0)
    total += sum(part * unit for part, unit in zip(parts, units, strict=False))
    return total or math.inf
