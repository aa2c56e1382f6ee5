"""What Parsl's scripts use of its ``utils``."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

RESULTS = "results.db"
"""Name of the store in a run's checkpoint directory."""


class RepresentationMixin:
    """Base of what is configured: shows the parameters that it was made with."""

    def __repr__(self) -> str:
        names = inspect.signature(type(self)).parameters
        shown = (f"{name}={getattr(self, name, '?')!r}" for name in names)
        return f"{type(self).__name__}({', '.join(shown)})"


def get_all_checkpoints(rundir: str = "runinfo") -> Sequence[str]:
    """Return the checkpoint directories of all runs, the oldest first."""
    root = Path(rundir)
    runs = [one for one in root.glob("*") if one.name.isdigit()]
    places = (one / "checkpoint" for one in sorted(runs, key=lambda run: int(run.name)))
    return [str(one.absolute()) for one in places if one.is_dir()]


def get_last_checkpoint(rundir: str = "runinfo") -> Sequence[str]:
    """Return that of the last run that has one, in a list."""
    return get_all_checkpoints(rundir)[-1:]


@contextmanager
def wait_for_file(path: str, seconds: float = 10) -> Iterator[None]:
    """Wait until a file is there, but not longer than some seconds."""
    end = time.monotonic() + seconds
    while not Path(path).exists() and time.monotonic() < end:
        time.sleep(0.05)
    yield


@contextmanager
def time_limited_open(path: str, mode: str, seconds: float = 1) -> Iterator[IO[Any]]:
    """Open a file as soon as it is there."""
    with wait_for_file(path, seconds), Path(path).open(mode) as file:
        yield file
