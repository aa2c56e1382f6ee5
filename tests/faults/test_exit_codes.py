"""What a program's exit code tells of tasks that it has not waited for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

LIMIT_S = 60.0

PROGRAM = """
import atexit, os, sys, time
from pathlib import Path
import jackfield as jf

plugin, grace, ending = sys.argv[1:4]
begun = Path("begun")
begun.unlink(missing_ok=True)

@jf.python_app
def work(seconds):
    Path("begun").touch()
    time.sleep(seconds)
    Path("ended").touch()

def at_exit():
    print("at exit", file=sys.stderr)
    sys.stderr.flush()

atexit.register(at_exit)
kernel = jf.load({
    "exit_grace": float(grace),
    "executors": {"x": {"plugin": plugin, "workers": 1}},
})
future = work(float(sys.argv[4]))
if ending == "more":
    kernel.add_executors({"y": {"plugin": "processes", "workers": 1}})
if ending == "done":
    future.result()
if ending == "queued":
    work(future)
while not begun.exists():
    time.sleep(0.01)
if ending == "closed":
    sys.stderr.close()
if ending == "raise":
    raise ValueError
if ending == "exit":
    sys.exit(3)
"""


def end(
    tmp_path: Path, *arguments: str, how: Sequence[str] = ("program.py",)
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "program.py").write_text(PROGRAM)
    return subprocess.run(
        [sys.executable, *how, *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize("plugin", ["threads", "processes"])
@pytest.mark.parametrize(
    ("ending", "seconds", "code"),
    [
        ("plain", "600", 120),
        ("queued", "0.3", 120),
        ("plain", "0.3", 0),
        ("done", "0.1", 0),
        ("raise", "600", 1),
        ("exit", "600", 3),
        ("exit", "0.3", 3),
    ],
)
def test_a_program_that_cuts_tasks_short_says_so_by_its_exit_code(
    tmp_path: Path, plugin: str, ending: str, seconds: str, code: int
) -> None:
    grace = "0.2" if seconds == "600" else "30"

    ended = end(tmp_path, plugin, grace, ending, seconds)

    assert ended.returncode == code, ended.stderr
    assert "at exit" in ended.stderr
    assert (tmp_path / "ended").exists() is (seconds != "600")
    told = "the program ends with" in ended.stderr
    assert told is (ending != "done")


@pytest.mark.parametrize("how", [("-m", "program"), ("-c", PROGRAM)], ids=["m", "c"])
def test_so_do_programs_that_are_no_scripts(tmp_path: Path, how: Sequence[str]) -> None:
    assert end(tmp_path, "threads", "0.2", "plain", "600", how=how).returncode == 120
    assert end(tmp_path, "threads", "30", "plain", "0.2", how=how).returncode == 0


def test_a_running_task_has_its_grace_when_executors_came_later(tmp_path: Path) -> None:
    ended = end(tmp_path, "processes", "30", "more", "0.3")

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "ended").exists()


def test_a_closed_standard_error_is_no_traceback(tmp_path: Path) -> None:
    ended = end(tmp_path, "threads", "0.2", "closed", "600")

    assert ended.returncode == 120
    assert "Traceback" not in ended.stderr
