"""Runs that are made up, ended in every way, and searched for what they have left.

Each is a program of its own (``generated_run``), with tasks that wait, sleep, fork, go
into the background, write to pipes and die. Afterwards, soon, there is no
process, no descriptor, no pending future and no file of it. A run that fails is made
again from the number that the failure names::

    GENERATED_RUNS=1234 pytest tests/faults/test_generated_endings.py
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("generated_run.py")
TAG = "GENERATED_RUN"

LIMIT_S = 150.0
"""More than a program waits for what does not come, at each of its steps."""

GONE_S = 60.0
AT_ONCE = 8
"""So many runs at once: they mostly wait."""

ENDINGS = [
    "cancel", "walltime", "exception", "sys_exit", "exit", "ctrl_c", "ctrl_c_twice",
    "SIGTERM", "SIGHUP", "SIGKILL",
]  # fmt: skip
OF_PROCESSES = ["kill_workers", "kill_server"]
COMMANDS = [
    "sleep", "children", "group", "timeout", "session", "daemon", "stubborn", "loop",
    "pipe", "fifo", "left", "left_session", "fails", "dies", "short",
]  # fmt: skip
ANYWHERE = ["sleeps", "spins", "returns", "raises", "body_sleeps"]
IN_PROCESSES = ["forks", "forks_away", "starts", "fills_a_pipe", "exits", "killed"]
"""What they start, open or end would be the program's own on a thread."""


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def make_plan(number: int) -> dict[str, Any]:
    """Make a run up. The first ones go through all ways to end."""
    dice = random.Random(number)
    plugin = ["processes", "threads"][number % 2]
    endings = ENDINGS + (OF_PROCESSES if plugin == "processes" else [])
    ending = endings[number // 2 % len(endings)]
    names = COMMANDS + (IN_PROCESSES if plugin == "processes" else [])
    # The walltime of a thread does not end a call into C.
    soft = plugin == "threads" and ending == "walltime"
    names += ["spins", "returns", "raises"] if soft else ANYWHERE
    tasks: list[tuple[str, list[int]]] = []
    for place in range(dice.randint(1, 6)):
        name = dice.choice(names)
        if dice.random() < 0.15 and name != "body_sleeps":
            name = f"join:{name}"
        parents = [one for one in range(place) if dice.random() < 0.15]
        tasks.append((name, parents))
    workers = dice.randint(1, 4)
    config = {
        "executors": {"x": {"plugin": plugin, "workers": workers}},
        "exit_grace": dice.choice([0.0, 0.1, 0.3]),
        "retries": dice.choice([0, 0, 1]),
    }
    delay = dice.choice([0.0, 0.05, 0.3, 0.6])
    return {"tasks": tasks, "config": config, "ending": ending, "delay": delay}


def processes(tag: str) -> dict[int, str]:
    """Return the processes of a run, with their command lines."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                if f"{TAG}={tag}\0".encode() in (path / "environ").read_bytes():
                    line = (path / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(path.name)] = line.decode(errors="replace")[:200]
    return found


def family(tag: str, driver: int) -> tuple[list[int], list[int]]:
    """Return the fork server and the workers of a run."""
    servers: list[int] = []
    workers: list[int] = []
    for pid, line in processes(tag).items():
        if "jackfield_executors.processes.forkserver" in line:
            parent = int(
                Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
            )
            (servers if parent == driver else workers).append(pid)
    return servers, workers


def strike(program: subprocess.Popen[str], ending: str, tag: str) -> None:
    """Do to a program what its plan leaves to us."""
    if ending in {"ctrl_c", "ctrl_c_twice"}:
        program.send_signal(signal.SIGINT)
        if ending == "ctrl_c_twice":
            time.sleep(0.1)
            program.send_signal(signal.SIGINT)
    elif ending.startswith("SIG"):
        program.send_signal(signal.Signals[ending])
    elif ending in OF_PROCESSES:
        with contextlib.suppress(OSError):
            servers, workers = family(tag, program.pid)
            for pid in servers if ending == "kill_server" else workers:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        program.send_signal(signal.SIGINT)


def run(number: int, directory: Path) -> str:
    """Run a plan; return what is wrong with its end, or ``""``."""
    plan, tag = make_plan(number), uuid.uuid4().hex
    (directory / "tmp").mkdir(parents=True)
    environment = os.environ | {TAG: tag, "TMPDIR": str(directory / "tmp")}
    with (directory / "err").open("w") as err:
        program = subprocess.Popen(
            [sys.executable, PROGRAM, json.dumps(plan)],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    try:
        wrong = _look(program, plan, tag, directory)
    finally:
        for pid in processes(tag):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        program.communicate()
    if not wrong:
        return ""
    told = (directory / "err").read_text()[-2000:]
    return f"GENERATED_RUNS={number}: {wrong}\n{json.dumps(plan)}\n{told}"


def _look(
    program: subprocess.Popen[str], plan: dict[str, Any], tag: str, directory: Path
) -> str:
    assert program.stdout is not None
    if program.stdout.readline() != "ready\n":
        return "it did not begin"
    time.sleep(plan["delay"])
    strike(program, plan["ending"], tag)
    try:
        program.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"it does not end; {processes(tag)}"
    deadline = time.monotonic() + GONE_S
    while (left := processes(tag)) and time.monotonic() < deadline:
        time.sleep(0.02)
    if left:
        return f"processes are left: {left}"
    if files := list((directory / "tmp").iterdir()):
        return f"files are left: {files}"
    report = program.stdout.read()
    dead = plan["ending"] in {"exit", "ctrl_c_twice"} or plan["ending"].startswith(
        "SIG"
    )
    if not report:
        return "" if dead else f"it ended with code {program.returncode}"
    rest = {what: which for what, which in json.loads(report).items() if which}
    return f"left: {rest}" if rest else ""


def run_all(numbers: range | list[int], directory: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = [
            pool.submit(run, number, directory / str(place))
            for place, number in enumerate(numbers)
        ]
        wrong = [end.result() for end in ends]
    assert not any(wrong), "\n\n".join(filter(None, wrong))


def test_made_up_runs_end_and_leave_nothing(tmp_path: Path) -> None:
    asked = os.environ.get("GENERATED_RUNS", "")
    run_all(list(map(int, asked.split(","))) if asked else range(30), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_hundreds_of_made_up_runs_end_and_leave_nothing(
    tmp_path: Path, part: int
) -> None:
    run_all(range(1000 + 25 * part, 1025 + 25 * part), tmp_path)
