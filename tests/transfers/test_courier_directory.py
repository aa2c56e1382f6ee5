"""The directory of a task that moves its files itself, and is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TASK = """\
import os, sys
from jackfield_transfers.courier import Courier

with Courier(app="app", sites={}, inputs=[], outputs=[]).moving():
    print(*os.listdir(os.environ["TMPDIR"]))
    sys.stdout.flush()
    if sys.argv[1:] == ["dies"]:
        os.kill(os.getpid(), 9)
"""


def run(temporary: Path, *args: str) -> tuple[int, list[str]]:
    """Run a task; return how it ended, and which directories there were meanwhile."""
    done = subprocess.run(
        [sys.executable, "-c", TASK, *args],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.split()


def test_what_a_killed_task_has_left_is_removed_by_the_next_one(
    tmp_path: Path,
) -> None:
    code, (left,) = run(tmp_path, "dies")
    assert code == -signal.SIGKILL
    assert (tmp_path / left).is_dir()

    code, there = run(tmp_path)

    assert code == 0
    assert left not in there
    assert list(tmp_path.iterdir()) == []
