"""``jackfield new``: what it writes installs, works, passes its tests, lint and types.

The distributions are installed with pip into one directory, beside the Jackfield that
runs the tests; programs of their own then use them as anybody's plugins.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from click.testing import CliRunner

from jackfield_cli import main
from jackfield_cli._templates import LONGEST, PATTERNS

LIMIT_S = 300.0

KITS = {"checkpoint", "staging"}
"""Kinds whose conformance kits take seconds, which the long form of a test runs."""

SOME = "comes_back_as_it_was or byte_for_byte or url or option"
"""Tests of those kinds for the short form."""


def run(*args: object, cwd: Path, **variables: str) -> CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD_")}
    environ.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, *map(str, args)],
        capture_output=True,
        check=False,
        text=True,
        cwd=cwd,
        env=environ | variables,
        timeout=LIMIT_S,
    )


def make(parent: Path, kind: str, name: str) -> Path:
    made = CliRunner().invoke(main, ["new", "--into", str(parent), kind, name])
    assert made.exit_code == 0, made.output
    [home] = set(parent.glob(f"*{name.replace('_', '-').lower()}"))
    return home


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One distribution of each kind, with the longest name that one may have."""
    parent = tmp_path_factory.mktemp("made")
    return {
        kind: make(parent, kind, kind + "x" * (LONGEST - len(kind)))
        for kind in PATTERNS
    }


@pytest.fixture(scope="module")
def site(homes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all of them installed."""
    target = tmp_path_factory.mktemp("site")
    isolation = ["--no-build-isolation"] if find_spec("hatchling") else []
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", *isolation]
    ran = run(*pip, "--target", target, *homes.values(), cwd=target)
    assert ran.returncode == 0, ran.stderr
    return target


def test_each_kind_is_found_and_loads(homes: dict[str, Path], site: Path) -> None:
    ran = run("-m", "jackfield", "plugins", "--check", cwd=site, PYTHONPATH=str(site))

    assert ran.returncode == 0, ran.stdout
    for home in homes.values():
        assert f"{home.name} 0.1.0" in ran.stdout


@pytest.mark.parametrize("kind", PATTERNS)
def test_its_own_tests_pass(
    homes: dict[str, Path], site: Path, tmp_path: Path, kind: str
) -> None:
    chosen = ["-k", SOME] if kind in KITS else []

    _pytest(homes[kind], site, tmp_path, *chosen)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KITS))
def test_its_whole_conformance_kit_passes(
    homes: dict[str, Path], site: Path, tmp_path: Path, kind: str
) -> None:
    _pytest(homes[kind], site, tmp_path)


def _pytest(home: Path, site: Path, tmp_path: Path, *args: str) -> None:
    base = ["-q", "-p", "no:cacheprovider", "--basetemp", tmp_path / "pytest"]

    ran = run("-m", "pytest", *base, *args, cwd=home, PYTHONPATH=str(site))

    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


def test_lint_has_nothing_to_say_of_long_names_and_of_short_ones(
    homes: dict[str, Path], tmp_path: Path
) -> None:
    short = [make(tmp_path, kind, kind[:2]) for kind in PATTERNS]
    for home in [*homes.values(), *short]:
        checked = run("-m", "ruff", "check", "--no-cache", ".", cwd=home)
        formatted = run("-m", "ruff", "format", "--no-cache", "--diff", ".", cwd=home)
        assert checked.returncode == 0, checked.stdout
        assert formatted.returncode == 0, formatted.stdout


def test_types_are_strictly_right(
    homes: dict[str, Path], site: Path, tmp_path: Path
) -> None:
    sources = [part for home in homes.values() for part in home.glob("*/*.py")]

    cache = ["--cache-dir", tmp_path / "cache"]

    ran = run("-m", "mypy", "--strict", *cache, *sources, cwd=site)

    assert ran.returncode == 0, ran.stdout


# -- Names


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("executor", "Mine", "small letters"),
        ("executor", "../x", "small letters"),
        ("staging", "my_scheme", "URL scheme"),
        ("executor", "x" * (LONGEST + 1), "too long"),
        ("memo", "class", "word of Python"),
        ("memo", "numpy", "a memo of jackfield already"),
        ("executor", "threads", "an executor of jackfield already"),
        ("staging", "s3", "jackfield already"),
        ("command", "runs", "a command of jackfield already"),
        ("policy", "transient", "a policy of jackfield already"),
        ("policy", "block", "means something else"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason(
    tmp_path: Path, kind: str, name: str, told: str
) -> None:
    ran = CliRunner().invoke(main, ["new", "--into", str(tmp_path), kind, name])

    assert ran.exit_code == 2
    assert told in " ".join(ran.output.split())
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_is_not_changed(tmp_path: Path) -> None:
    home = make(tmp_path, "profile", "mine")
    (home / "README.md").write_text("Mine.\n")

    ran = CliRunner().invoke(main, ["new", "--into", str(tmp_path), "profile", "mine"])

    assert ran.exit_code == 1
    assert "was not changed" in ran.output
    assert (home / "README.md").read_text() == "Mine.\n"
