"""The scripts and commands of the tutorials, and of the page on apps, do as is printed.

A block of Python is saved and run in one directory for the page; each block of text
that follows is what it then prints, at the first run, the second and so on. A block of
TOML is the configuration from there on. Of shell, each command has to succeed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    "reference/apps.md",
    "tutorial/atlas.md",
    "tutorial/plugin.md",
    "index.md",
    pytest.param("tutorial/cluster.md", marks=pytest.mark.slow),
]
BLOCK = re.compile(r"^```(python|text|toml|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LIMIT_S = 120.0


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_as_it_says(page: str, tmp_path: Path) -> None:
    text = (DOCS / page).read_text("utf-8")
    blocks: list[tuple[str, str]] = BLOCK.findall(text)
    script = tmp_path / "atlas.py"
    ran = 0
    for kind, content in blocks:
        if kind == "toml":
            (tmp_path / "jackfield.toml").write_text(content)
        elif kind == "python":
            script.write_text(content)
            ran += 1
        elif kind == "text" and not content.startswith("[executors"):
            assert run(tmp_path, sys.executable, "atlas.py") == content
        elif kind == "sh":
            for line in content.splitlines():
                program, *arguments = line.split()
                assert program == "jackfield"
                run(tmp_path, sys.executable, "-m", program, *arguments)
    assert ran


def run(cwd: Path, *command: str) -> str:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD_")}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environ,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
