"""Programs are found by their mark, and killed."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from jackfield_system import programs
from jackfield_testing.footprint import WAIT_S

pytestmark = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="needs processes with descriptors, as Linux's"
)


def started(*marks: str) -> subprocess.Popen[bytes]:
    """Start a program whose marks come behind more than one read returns."""
    filling = {f"FILLING_{n}": "x" * 100_000 for n in range(2)}
    assert sum(map(len, filling.values())) > programs.READ
    return subprocess.Popen(
        ["sleep", "600"], env={**filling, programs.MARK: f":{':'.join(marks)}:"}
    )


def test_only_programs_with_the_mark_are_killed() -> None:
    mark = f"{os.getpid()}.{os.urandom(4).hex()}"
    with started("1.first", mark) as ours, started(f"{mark}0") as other:
        try:
            programs.kill_marked(mark)

            assert ours.wait(WAIT_S) == -signal.SIGKILL
            assert other.poll() is None
        finally:
            for process in (ours, other):
                process.kill()
