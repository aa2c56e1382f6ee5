"""The scripts of the page on writing apps run as they are printed."""

from __future__ import annotations

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
