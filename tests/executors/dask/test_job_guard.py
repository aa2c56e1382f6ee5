"""The guard of jobs runs what is left to run when its driver has been killed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from jackfield_executors import job_guard
from jackfield_executors.job_guard import JobGuard
from jackfield_testing.footprint import WAIT_S, descendants, settled

DRIVER = """
import os, signal, sys
from jackfield_executors.job_guard import JobGuard

guard = JobGuard()
for command in sys.argv[1:]:
    guard.add(command)
guard.remove(sys.argv[1])
if os.fork() == 0:  # a child that holds the pipe open
    os.close(1)
    signal.pause()
os.kill(os.getpid(), signal.SIGKILL)
"""


def touch(path: Path) -> str:
    return shlex.join(["touch", str(path)])


def test_what_is_left_is_run_when_the_driver_has_been_killed(tmp_path: Path) -> None:
    over, *left = (tmp_path / f"the {name}" for name in ("first", "second", "third"))
    fails = "false 17"
    commands = [touch(over), fails, *map(touch, left)]

    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, *commands], start_new_session=True
    ) as driver:
        driver.wait(WAIT_S)
        try:
            assert settled(lambda: all(path.exists() for path in left), WAIT_S)
            assert not over.exists()
        finally:
            subprocess.run(["pkill", "-s", str(driver.pid)], check=False)


AGAIN = """
import os, signal, sys
from jackfield_executors.job_guard import JobGuard

JobGuard().add(sys.argv[1], again=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_command_that_may_come_too_early_is_run_again(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = shlex.join(["sh", "-c", f"echo >> {shlex.quote(str(runs))}"])

    with subprocess.Popen([sys.executable, "-c", AGAIN, command]) as driver:
        driver.wait(WAIT_S)

    assert settled(
        lambda: runs.exists() and runs.read_text() == "\n" * job_guard.TRIES, WAIT_S
    )


def test_nothing_is_run_at_the_end_of_a_driver_that_lives(tmp_path: Path) -> None:
    before, guard = descendants(), JobGuard()
    guard.add(touch(tmp_path / "job"))
    (process,) = descendants() - before
    assert Path(f"/proc/{process}/cmdline").read_text().count(job_guard.__file__) == 1

    guard.close()
    guard.close()

    assert descendants() <= before
    assert not (tmp_path / "job").exists()
