"""The examples' Slurm of one node, for the tests of what runs in its jobs."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import one_node_slurm

needs_slurm = pytest.mark.skipif(
    bool(one_node_slurm.missing()),
    reason=f"{one_node_slurm.missing()}: needs root, and apt-get install slurmctld "
    "slurmd slurm-client munge slurm-wlm-basic-plugins",
)


@contextmanager
def started() -> Iterator[Path]:
    """Start munge and Slurm; give their directory. They end with the block."""
    with one_node_slurm.started() as here:
        yield here
        gc.collect()  # files in there that dask-jobqueue has not closed


def output(*command: str) -> str:
    """Run a command, and return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout
