"""The scripts of the page on writing apps run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/writing-apps.md").read_text("utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
EXPECTED = [
    "['north a', 'south a']\nsorted\n\n",
    "3\n",
    "1 wheel\n2 brake\n",
    "",  # it shows how apps ask for resources, and calls none
    "begun: 90\nbegun: 15\nbegun: 5\n",
]


@pytest.mark.parametrize("number", range(len(EXPECTED)))
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_script_prints_what_it_should(
    number: int, executor: str, tmp_path: Path
) -> None:
    assert len(SCRIPTS) == len(EXPECTED)
    (tmp_path / "script.py").write_text(SCRIPTS[number])
    toml = f'[executors.one]\nplugin = "{executor}"\nworkers = 2\n'
    (tmp_path / "jackfield.toml").write_text(toml)

    done = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )

    assert (done.stdout, done.stderr) == (EXPECTED[number], "")


LATE = """
import locale, os, sys
import jackfield as jf

def around():
    umask = os.umask(0)
    os.umask(umask)
    place, path = os.path.basename(os.getcwd()), "elsewhere" in sys.path
    locale_set = locale.setlocale(locale.LC_NUMERIC) == "C.UTF-8"
    return place, path, os.environ.get("LATE"), oct(umask), locale_set

os.environ["LATE"] = "before load"
with jf.load() as kernel:
    kernel.submit(around).result(60)
    os.mkdir("late")
    os.chdir("late")
    sys.path.append("elsewhere")
    os.environ["LATE"] = "after load"
    os.umask(0o027)
    locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")
    print(kernel.submit(around).result(60))
"""


@pytest.mark.parametrize(
    ("executor", "found"),
    [
        ("threads", ("late", True, "after load", "0o27", True)),
        ("processes", ("late", True, "before load", "0o22", False)),
    ],
)
def test_the_table_tells_what_a_task_finds_of_later_changes(
    executor: str, found: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(LATE)
    toml = f'[executors.one]\nplugin = "{executor}"\nworkers = 1\n'
    (tmp_path / "jackfield.toml").write_text(toml)

    done = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
        umask=0o022,
        env={**os.environ, "LC_ALL": "C"},
    )

    assert (done.stdout, done.stderr) == (f"{found}\n", "")
