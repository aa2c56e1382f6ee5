"""The page about runs: complete, and what it prints is what is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from click.testing import CliRunner

from jackfield_cli import main
from jackfield_monitoring.commands import runs
from jackfield_monitoring.fields import Code, Program, Record
from jackfield_monitoring.runs import State

TEXT = (Path(__file__).parents[2] / "docs/runs.md").read_text("utf-8")
LIMIT_S = 60.0

FIT = """
import sys, time
import jackfield as jf

@jf.python_app
def degree(text):
    return int(text)

@jf.python_app
def fit(number):
    return number

with jf.load() as kernel:
    futures = [fit(number) for number in range(3)]
    if sys.argv[2] == "x":
        futures.append(degree(sys.argv[2]))
    for future in futures:
        future.exception()
"""


def printed(command: str) -> list[str]:
    return (
        TEXT.partition(f"$ jackfield {command}\n")[2].partition("\n```")[0].split("\n")
    )


def test_each_field_is_told() -> None:
    names = {*Record.__annotations__, *Program.__annotations__, *Code.__annotations__}
    section = TEXT.partition("## run.json")[2]
    for name in names:
        assert f"`{name}`" in section, name


def test_each_state_is_told() -> None:
    told = re.findall(r"^\| `(\w+)` \| (?:Its|It|There)", TEXT, re.MULTILINE)

    assert told == list(get_args(State))


def test_each_command_is_told() -> None:
    told = re.findall(r"^\| `jackfield runs (\w+)", TEXT, re.MULTILINE)

    assert sorted(told) == sorted(runs.commands)


def test_lists_look_as_they_are_shown(tmp_path: Path) -> None:
    (tmp_path / "fit.py").write_text(FIT)
    for degree in ("2", "x"):
        subprocess.run(
            [sys.executable, "fit.py", "--degree", degree],
            cwd=tmp_path,
            check=True,
            timeout=LIMIT_S,
        )

    def now(*arguments: str) -> list[str]:
        command = ["runs", *arguments, "--dir", str(tmp_path / "runs")]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        return result.output.splitlines()

    for told, line in zip(printed("runs ls")[:2], now("ls"), strict=True):
        assert _shape(told) == _shape(line)
    told_facts = [line.split()[0] for line in printed("runs show 1")]
    facts = [line.split()[0] for line in now("show", "1")]
    assert facts == [
        fact for fact in told_facts if fact != "commit"
    ]  # in no repository
    assert now("show", "1")[-1] == printed("runs show 1")[-1]


def _shape(line: str) -> str:
    """Return a line without what differs from run to run, and from Python to Python.

    How wide a column is depends on the other lines.
    """
    line = re.sub(r"python[\d.]*", "python", line)
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d+\.\d s", "WHEN", line)
    return re.sub(" {2,}", "  ", line)
