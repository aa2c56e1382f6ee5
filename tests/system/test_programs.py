"""Programs are found by their mark, and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jackfield_system import programs
from jackfield_testing.footprint import WAIT_S, alive, settled

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


FORKED = """
import os, signal, sys, time
from jackfield_system import programs

mark, environment = programs.environment(programs.ends)
if os.fork() == 0:  # the command, which has not become a program yet
    with open(sys.argv[1], "w") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(0.3)
    os.execvpe("sleep", ["sleep", "600"], environment)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read().endswith("\\n"):
    time.sleep(0.001)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_command_ends_whose_process_was_killed_between_its_fork_and_exec(
    tmp_path: Path,
) -> None:
    place = tmp_path / "pid"

    done = subprocess.run(
        [sys.executable, "-c", FORKED, place], check=False, timeout=WAIT_S
    )

    assert done.returncode == -signal.SIGKILL
    command = int(place.read_text())
    try:
        assert settled(lambda: not alive(command), WAIT_S)
    finally:
        if alive(command):
            os.kill(command, signal.SIGKILL)
