"""The page for midnight: what it shows is what its scripts print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import jackfield as jf
from jackfield_testing.footprint import settled

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/when-something-goes-wrong.md").read_text("utf-8")
SCRIPTS = dict(
    re.findall(r"^```python\n# (\S+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
)
SHOWN = dict(
    re.findall(
        r"^```python\n# (\S+)\n(?:(?!^```).)*^```\n\n```text\n(.*?)^```",
        TEXT,
        re.MULTILINE | re.DOTALL,
    )
)
LIMIT_S = 100.0


HANGING = """
import os, signal, sys, threading
from pathlib import Path
import jackfield as jf

@jf.python_app
def handled():
    signal.signal(signal.SIGABRT, signal.SIG_IGN)

@jf.python_app
def align():
    Path("pid").write_text(str(os.getpid()))
    Path("pid").rename("begun")
    threading.Event().wait()

if __name__ == "__main__":
    executors = {"cpu": {"plugin": "processes", "workers": 1}}
    with jf.load({"executors": executors}):
        handled().result()
        print(type(align().exception()).__name__)
"""


def test_an_aborted_worker_shows_in_which_line_its_task_was(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    script = subprocess.Popen(
        [sys.executable, "hanging.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert settled((tmp_path / "begun").exists, LIMIT_S)
        assert settled((tmp_path / "runs" / "000" / "run.json").exists, LIMIT_S)
        shown = run_command(tmp_path, "runs", "show", "last")
        os.kill(int((tmp_path / "begun").read_text()), signal.SIGABRT)
        out, told = script.communicate(timeout=LIMIT_S)
    finally:
        script.kill()

    assert "running" in shown
    assert "WorkerDiedError" in out
    assert re.search(r'hanging.py", line 14 in align', told), told


def run_command(place: Path, *arguments: str) -> str:
    """Run ``jackfield`` in a directory, and return what it prints."""
    return subprocess.run(
        [sys.executable, "-m", "jackfield", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    ).stdout


def run(place: Path, name: str, *arguments: str) -> tuple[int, str]:
    """Run a script of the page in a directory; return its code and all it prints."""
    (place / name).write_text(f"# {name}\n{SCRIPTS[name]}")
    environ = {**os.environ, "PYTHONWARNINGS": "default", "HOME": str(place)}
    done = subprocess.run(
        [sys.executable, str(place / name), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        cwd=place,
        env={**environ, "XDG_CONFIG_HOME": str(place / "config")},
        timeout=LIMIT_S,
    )
    return done.returncode, done.stdout.replace(str(place), "/home/you/project")


def test_the_page_has_these_scripts() -> None:
    assert list(SCRIPTS) == [
        "look.py",
        "unseen.py",
        "which.py",
        "command.py",
        "interrupted.py",
        "again.py",
        "texts.py",
        "meant.py",
    ]
    assert SCRIPTS.keys() - SHOWN.keys() == {"again.py"}


@pytest.mark.parametrize("name", list(SHOWN))
def test_what_is_shown_is_what_is_printed(name: str, tmp_path: Path) -> None:
    _, printed = run(tmp_path, name)

    before, dots, after = SHOWN[name].partition("...\n")
    if dots:  # of a traceback only both ends are shown
        assert printed.startswith(before)
        assert printed.endswith(after)
    else:
        assert printed == SHOWN[name]


def test_after_a_crash_the_results_are_there(tmp_path: Path) -> None:
    [shown] = re.findall(r"^```console\n.*?\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)

    killed, first = run(tmp_path, "again.py", "crash")
    code, second = run(tmp_path, "again.py")

    assert (killed, code) == (-9, 0)
    assert first + second == shown


def test_the_executors_failure_is_told_as_it_is_shown(tmp_path: Path) -> None:
    [shown] = [
        text
        for text in re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
        if "gpu" in text
    ]
    script = """
import os
import jackfield as jf

def give_up():
    os._exit(3)

if __name__ == "__main__":
    gpu = {"plugin": "processes", "workers": 1, "initializer": "mine:give_up"}
    executors = {"gpu": gpu, "cpu": {"plugin": "threads", "workers": 1}}
    with jf.load({"executors": executors, "retries": 1}) as kernel:
        assert sum(kernel.map(abs, range(50))) == 1225
"""
    (tmp_path / "mine.py").write_text("import os\ndef give_up(): os._exit(3)\n")
    SCRIPTS["gpu.py"] = script
    try:
        code, printed = run(tmp_path, "gpu.py")
    finally:
        del SCRIPTS["gpu.py"]

    assert code == 0, printed
    assert printed.startswith(shown.rstrip().removesuffix("."))


def test_every_state_that_lasts_is_explained() -> None:
    lasting = [one.value for one in jf.TaskState if not one.final]

    assert re.findall(r"^\| `(\w+)` \| ", TEXT, re.MULTILINE)[: len(lasting)] == lasting


def test_every_link_leads_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        if path:
            assert (ROOT / "docs" / path).exists(), target
        else:
            assert anchor in headings, target


def test_the_readme_names_the_page() -> None:
    assert "docs/when-something-goes-wrong.md" in (ROOT / "README.md").read_text()
