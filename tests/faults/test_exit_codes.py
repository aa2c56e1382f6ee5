"""What a program's exit code tells of tasks that it has not waited for."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

LIMIT_S = 120.0

TOLD = "the program ends with"
"""What is printed when the program has nothing left but to wait for its tasks."""

NEVER = "never"

PROGRAM = """
import atexit, os, sys, time
from pathlib import Path
import jackfield as jf

plugin, grace, ending = sys.argv[1:4]
begun = Path("begun")
begun.unlink(missing_ok=True)

@jf.python_app
def work(until):
    Path("begun").touch()
    while until not in Path("err").read_text():
        time.sleep(0.01)
    Path("ended").touch()

def at_exit():
    print("at exit", file=sys.stderr)
    sys.stderr.flush()

atexit.register(at_exit)
kernel = jf.load({
    "exit_grace": float(grace),
    "executors": {"x": {"plugin": plugin, "workers": 1}},
})
future = work(sys.argv[4])
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
    """Run the program, which has a task that ends when a text is printed."""
    (tmp_path / "program.py").write_text(PROGRAM)
    told = tmp_path / "err"
    with told.open("w") as stderr:
        ended = subprocess.run(
            [sys.executable, *how, *arguments],
            cwd=tmp_path,
            stderr=stderr,
            timeout=LIMIT_S,
            check=False,
        )
    return subprocess.CompletedProcess(
        ended.args, ended.returncode, stderr=told.read_text()
    )


@pytest.mark.parametrize("plugin", ["threads", "processes"])
@pytest.mark.parametrize(
    ("ending", "until", "code"),
    [
        ("plain", NEVER, 120),
        ("queued", TOLD, 0),
        ("queued", NEVER, 120),
        ("plain", TOLD, 0),
        ("done", "", 0),
        ("raise", NEVER, 1),
        ("exit", NEVER, 3),
        ("exit", TOLD, 3),
    ],
)
def test_a_program_that_cuts_tasks_short_says_so_by_its_exit_code(
    tmp_path: Path, plugin: str, ending: str, until: str, code: int
) -> None:
    grace = "0.2" if until == NEVER else "60"

    ended = end(tmp_path, plugin, grace, ending, until)

    assert ended.returncode == code, ended.stderr
    assert "at exit" in ended.stderr
    assert (tmp_path / "ended").exists() is (until != NEVER)
    assert (TOLD in ended.stderr) is (ending != "done")


@pytest.mark.parametrize("how", [("-m", "program"), ("-c", PROGRAM)], ids=["m", "c"])
def test_so_do_programs_that_are_no_scripts(tmp_path: Path, how: Sequence[str]) -> None:
    assert end(tmp_path, "threads", "0.2", "plain", NEVER, how=how).returncode == 120
    assert end(tmp_path, "threads", "60", "plain", TOLD, how=how).returncode == 0


def test_a_running_task_has_its_grace_when_executors_came_later(tmp_path: Path) -> None:
    ended = end(tmp_path, "processes", "60", "more", TOLD)

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "ended").exists()


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
import jackfield as jf

@jf.python_app
def work():
    Path("begun").touch()
    time.sleep(600)

jf.load({"exit_grace": 60, "executors": {"x": {"plugin": sys.argv[1], "workers": 1}}})
work()
while not Path("begun").exists():
    time.sleep(0.01)
"""


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_a_ctrl_c_at_the_programs_end_ends_it_as_a_shell_expects(
    tmp_path: Path, plugin: str
) -> None:
    (tmp_path / "program.py").write_text(INTERRUPTED)
    program = subprocess.Popen(
        [sys.executable, "program.py", plugin],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that pytest may be started with SIGINT ignored
    )
    try:
        assert program.stderr is not None
        told = program.stderr.readline()  # from then on it waits for the task
        program.send_signal(signal.SIGINT)
        _, rest = program.communicate(timeout=LIMIT_S)
    finally:
        program.kill()

    assert "the program ends with 1 unfinished tasks" in told
    assert program.returncode == -signal.SIGINT, rest  # which a shell calls 130
    assert "Traceback" not in rest


def test_a_closed_standard_error_is_no_traceback(tmp_path: Path) -> None:
    ended = end(tmp_path, "threads", "0.2", "closed", NEVER)

    assert ended.returncode == 120
    assert "Traceback" not in ended.stderr
