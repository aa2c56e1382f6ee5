"""A distribution of somebody else's: built, installed, used, broken and removed.

Everything is as it is for a user: wheels, an environment of its own, the command line
and scripts in processes of their own. Nothing is fetched from an index, though: what
Jackfield depends on is copied from the environment that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import files
from importlib.util import find_spec
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs/example-plugin"
LIMIT_S = 120.0

SCRIPT = """
import threading
import jackfield as jf

@jf.python_app
def double(x):
    return 2 * x

@jf.python_app
def where(x):
    return f"{x} on {threading.current_thread().name}"

with jf.load(PROFILE) as kernel:
    print(where(double(double(1))).result())
tally = kernel.run_dir / "tally.txt"
print(tally.read_text() if tally.exists() else "no tally")
"""


@dataclass
class Place:
    """An environment with Jackfield and the example, and a directory to work in."""

    python: Path
    site: Path
    wheels: list[Path]
    cwd: Path

    def run(self, *args: object) -> CompletedProcess[str]:
        """Run the environment's Python."""
        return _run(self.python, "-I", *args, cwd=self.cwd)

    def script(self, profile: str = "'newest-first'") -> CompletedProcess[str]:
        return self.run("-c", SCRIPT.replace("PROFILE", profile))

    def cli(self, *args: str) -> CompletedProcess[str]:
        """Run the installed command ``jackfield``."""
        return _run(self.python.with_name("jackfield"), *args, cwd=self.cwd)

    def listed(self, *args: str) -> dict[str, dict[str, Any]]:
        """Run ``jackfield plugins --json``; return kind and name to the entry."""
        told = json.loads(self.cli("plugins", "--json", *args).stdout)
        return {f"{one['kind']} {one['name']}": one for one in told}

    def install(self) -> None:
        _pip(
            "--python", self.python, "install", "--no-index", "--no-deps", *self.wheels
        )

    def uninstall_example(self) -> None:
        _pip("--python", self.python, "uninstall", "--yes", "jackfield-example")

    @contextmanager
    def changed(self, path: str, old: str, new: str) -> Iterator[None]:
        """Change a file of the environment for the time of a test."""
        file = self.site / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        try:
            yield
        finally:
            file.write_text(text)


def _run(*args: object, cwd: Path, **variables: str) -> CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD_")}
    variables |= {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    return subprocess.run(
        [str(arg) for arg in args],
        capture_output=True,
        check=False,
        text=True,
        cwd=cwd,
        env=environ | variables,
        timeout=LIMIT_S,
    )


def _pip(*args: object) -> None:
    ran = _run(sys.executable, "-m", "pip", "--quiet", *args, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr


def _build(target: Path) -> list[Path]:
    """Build both wheels, with the build backend that is there or a fetched one."""
    isolation = ["--no-build-isolation"] if find_spec("hatchling") else []
    _pip("wheel", "--no-deps", *isolation, "--wheel-dir", target, ROOT, EXAMPLE)
    wheels = sorted(target.glob("*.whl"))
    assert [wheel.name.partition("-")[0] for wheel in wheels] == [
        "jackfield",
        "jackfield_example",
    ]
    return wheels


def _copy_dependencies(site: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name = re.split(r"[^\w.-]", requirement)[0]
        for file in files(name) or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Place:
    home = tmp_path_factory.mktemp("outside")
    wheels = _build(home / "wheels")
    made = _run(sys.executable, "-m", "venv", "--without-pip", home / "env", cwd=home)
    assert made.returncode == 0, made.stderr
    [site] = (home / "env/lib").glob("python*/site-packages")
    _copy_dependencies(site)
    place = Place(home / "env/bin/python", site, wheels, home)
    place.install()
    return place


@pytest.fixture
def place(environment: Place, tmp_path: Path) -> Place:
    environment.cwd = tmp_path
    return environment


EXECUTOR = "jackfield_example/executor.py"
OBSERVER = "jackfield_example/observer.py"
ENTRY_POINTS = "jackfield_example-0.1.0.dist-info/entry_points.txt"


def test_its_plugins_are_listed_and_work(place: Place) -> None:
    found = place.listed("--check")

    ours = [one for one in found.values() if one["distribution"] == "jackfield-example"]
    assert [one["problem"] for one in ours] == [None, None, None]
    assert found["executor newest-first"]["hooks"] == ["jackfield_create_executor"]
    assert found["plugin example-tally"]["loaded"]
    assert found["profile newest-first"]["version"] == "0.1.0"


def test_its_profile_executor_and_observer_serve_a_script(place: Place) -> None:
    ran = place.script()

    assert ran.stdout.split("\n")[:2] == ["4 on main", "3 succeeded"], ran.stderr
    assert ran.stderr == ""


def test_an_executor_that_cannot_be_imported_is_an_error_where_it_is_used(
    place: Place,
) -> None:
    with place.changed(EXECUTOR, "JACKFIELD_API", "import nowhere\nJACKFIELD_API"):
        used, unused = place.script(), place.script("{}")
        checked = place.cli("plugins", "--check")

    assert used.returncode == 1
    assert "PluginLoadError: Plugin 'newest-first' (jackfield-example 0.1.0)" in (
        used.stderr
    )
    assert "No module named 'nowhere'" in used.stderr
    assert unused.returncode == 0, unused.stderr
    assert checked.returncode == 1
    assert "jackfield-example 0.1.0  PROBLEM:  importing" in checked.stdout


def test_an_observer_with_a_misspelt_hook_is_left_out_with_a_warning(
    place: Place,
) -> None:
    with place.changed(OBSERVER, "jackfield_kernel_closing", "jackfield_kernel_close"):
        ran = place.script()

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "4 on main\nno tally\n"
    assert (
        "PluginWarning: Plugin 'example-tally' (jackfield-example 0.1.0)" in ran.stderr
    )
    assert "did you mean 'jackfield_kernel_closing'?" in ran.stderr


def test_a_plugin_for_another_version_of_the_hooks_is_refused(place: Place) -> None:
    with place.changed(EXECUTOR, '">=1,<2"', '">=2"'):
        ran = place.script()

    assert ran.returncode == 1
    assert "it needs plugin API >=2, and this Jackfield has 1.0." in ran.stderr


def test_a_built_in_name_cannot_be_taken(place: Place) -> None:
    with place.changed(
        ENTRY_POINTS,
        "[jackfield.executors]\n",
        "[jackfield.executors]\nthreads = jackfield_example.executor\n",
    ):
        ran = place.script("{}")
        listed = place.listed()

    assert ran.returncode == 0, ran.stderr
    assert "jackfield-example 0.1.0 offers executor 'threads' too" in ran.stderr
    assert "Our own is used" in ran.stderr
    assert "of that name too" in listed["executor threads"]["problem"]


def test_a_blocked_observer_is_not_used(place: Place) -> None:
    (place.cwd / "jackfield.toml").write_text('[plugins]\nblock = ["example-tally"]\n')

    ran = place.script()

    assert ran.stdout == "4 on main\nno tally\n", ran.stderr
    assert ran.stderr == ""


def test_nothing_is_left_of_it_when_it_is_uninstalled(place: Place) -> None:
    place.uninstall_example()
    try:
        ran, found = place.script(), place.listed()
    finally:
        place.install()

    assert "jackfield-example" not in {one["distribution"] for one in found.values()}
    assert ran.returncode == 1
    assert (
        "PluginNotFoundError: No profile plugin is named 'newest-first'" in ran.stderr
    )


def test_its_executor_passes_the_conformance_kit(tmp_path: Path) -> None:
    arguments = ["-q", "-p", "no:cacheprovider", "-m", "not slow"]
    base = tmp_path / "pytest"

    ran = _run(
        *[sys.executable, "-m", "pytest", *arguments, "--basetemp", base, EXAMPLE],
        cwd=tmp_path,
        PYTHONPATH=str(EXAMPLE),
    )

    assert ran.returncode == 0, ran.stdout
