"""The suite's own machinery: a run with tests that hang or die ends, and names them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_S = 170.0
CONFTEST = Path(__file__).with_name("conftest.py")

TESTS = """
import os, threading, pytest

@pytest.mark.timeout(1)
@pytest.mark.parametrize("number", [1, 2])
def test_hangs(number):
    threading.Event().wait()

def test_dies():
    os.abort()

@pytest.fixture(scope="module")
def shared():
    return os.getpid()

@pytest.mark.parametrize("number", range(4))
def test_of_a_group(shared, number):
    if number == 1:
        os.abort()

def test_passes():
    pass

@pytest.mark.slow
def test_has_an_hour(request):
    assert request.node.get_closest_marker("timeout").args == (3600.0,)
"""


LEAVES_OPEN = """
import gc, pytest

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

def test_leaves_a_file_open():
    gc.disable()  # or it could be collected by chance, before the next test
    circle = [open(__file__)]
    circle.append(circle)
"""

ALLOWS_NO_SUCH_THING = """
import gc

def test_collects():
    gc.enable()
    gc.collect()
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite with our conftest, and tests that do what ours must not."""
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_trouble.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\ntimeout = 60\nmarkers =\n    slow: takes long\n"
    )
    return tmp_path


def run(suite: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=suite,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return done.stdout


def test_what_hangs_or_dies_fails_once_by_its_name_and_the_others_run(
    suite: Path,
) -> None:
    said = run(suite, "-n", "2", "--dist", "loadgroup")

    failed = re.findall(r"^FAILED test_trouble.py::(\S+)", said, re.MULTILINE)
    assert sorted(failed) == [
        "test_dies",
        "test_hangs[1]",
        "test_hangs[2]",
        "test_of_a_group[1]@test_trouble",
    ], said
    assert "4 failed, 5 passed" in said


def test_without_other_processes_a_hang_fails_by_its_name_too(suite: Path) -> None:
    said = run(suite, "-k", "hangs or passes or hour")

    assert re.findall(r"^FAILED \S+::(\S+)", said, re.MULTILINE) == [
        "test_hangs[1]",
        "test_hangs[2]",
    ], said
    assert "2 failed, 2 passed" in said


def test_a_quick_run_leaves_out_what_has_been_noted_as_long(suite: Path) -> None:
    conftest = suite / "conftest.py"
    conftest.write_text(conftest.read_text().replace("= 50.0", "= 3.0"))
    (suite / "test_trouble.py").write_text(
        "import time, pytest\n"
        "def test_long():\n    time.sleep(3)\n"
        "def test_short():\n    pass\n"
        "def test_needs_a_server(nginx):\n    pass\n"
        "@pytest.mark.xdist_group('engines')\n"
        "def test_on_an_engine():\n    pass\n"
    )

    run(suite, "--note-long")
    said = run(suite, "--quick", "-v")

    assert (suite / "long_tests.txt").read_text() == "test_long\n"
    assert "test_trouble.py::test_short PASSED" in said
    assert "1 passed, 3 deselected" in said


INTERRUPTED = """
import signal, subprocess, sys

def test_of_a_program():
    code = "import signal; signal.raise_signal(signal.SIGINT)"
    run = subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    assert run.returncode == -signal.SIGINT
"""


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["one", "xdist"])
def test_programs_of_tests_hear_ctrl_c_though_a_shell_has_it_ignored(
    suite: Path, options: tuple[str, ...]
) -> None:
    (suite / "test_trouble.py").write_text(INTERRUPTED)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        said = run(suite, *options)
    finally:
        signal.signal(signal.SIGINT, before)

    assert "1 passed" in said


def test_what_a_test_may_leave_open_fails_no_other_test(suite: Path) -> None:
    (suite / "test_a.py").write_text(LEAVES_OPEN)
    (suite / "test_b.py").write_text(ALLOWS_NO_SUCH_THING)

    said = run(suite, "-n", "0", "-W", "error", "test_a.py", "test_b.py")

    assert "2 passed" in said, said
