from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from jackfield.plugins.scan import GROUPS, EntryPoint, find_entry_points

if TYPE_CHECKING:
    from pathlib import Path

Install = Callable[..., None]

TWO = """
    [console_scripts]
    lab = lab:main

    [jackfield.executors]
    slurm = lab.slurm

    [jackfield.profiles]
    lab = lab.site:profile [cluster]
"""


def of(distribution: str) -> list[EntryPoint]:
    return [one for one in find_entry_points() if one.distribution == distribution]


def test_entry_points_of_our_groups_are_found_and_no_others(install: Install) -> None:
    install("lab-tools", TWO, version="2.1")

    assert of("lab-tools") == [
        EntryPoint("lab-tools", "lab", "profile", "lab.site:profile [cluster]", "2.1"),
        EntryPoint("lab-tools", "slurm", "executor", "lab.slurm", "2.1"),
    ]


def test_an_entry_point_knows_its_module_and_extras(install: Install) -> None:
    install("lab-tools", TWO)
    profile, executor = of("lab-tools")

    assert (profile.module, profile.extras) == ("lab.site", "cluster")
    assert (executor.module, executor.extras) == ("lab.slurm", "")


def test_the_answer_is_that_of_the_standard_library(install: Install) -> None:
    install("lab-tools", TWO)
    install("other", "[jackfield.plugins]\nwatch = other_watch:Watch\n")

    ours = {(GROUPS[one.kind], one.name, one.value) for one in find_entry_points()}

    theirs = {
        (one.group, one.name, one.value)
        for group in GROUPS.values()
        for one in entry_points(group=group)
    }
    assert ours == theirs
    assert ("jackfield.executors", "threads", "jackfield_executors.threads") in ours


def test_a_distribution_hides_one_of_its_name_later_on_the_path(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("lab-tools", TWO, version="1.0")
    nearer = tmp_path / "nearer"
    (nearer / "Lab_Tools-2.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(nearer))

    assert of("lab-tools") == []


def test_a_develop_install_is_found(site: Path) -> None:
    info = site / "lab_tools.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Name: lab-tools\nVersion: 3.0\n")
    (info / "entry_points.txt").write_text("[jackfield.staging]\nirods = lab.irods\n")

    assert of("lab-tools") == [
        EntryPoint("lab-tools", "irods", "staging", "lab.irods", "3.0")
    ]


def test_without_metadata_the_directory_names_the_distribution(site: Path) -> None:
    info = site / "lab_tools-0.9.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[jackfield.staging]\nirods = lab.irods\n")

    assert [one.origin for one in of("lab_tools")] == ["lab_tools 0.9"]


def test_lines_that_are_no_entry_points_are_passed_over(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.staging]\n# a = b\n\nnonsense\nirods=lab.irods\n"
        "[jackfield.what]\nx = y\n",
    )

    assert [(one.name, one.value) for one in of("lab-tools")] == [
        ("irods", "lab.irods")
    ]


def test_an_archive_on_the_path_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "tools.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(
            "lab_tools-1.5.dist-info/METADATA", "Name: lab-tools\nVersion: 1.5"
        )
        file.writestr(
            "lab_tools-1.5.dist-info/entry_points.txt", TWO.replace("    ", "")
        )
    monkeypatch.syspath_prepend(str(archive))

    assert {one.origin for one in of("lab-tools")} == {"lab-tools 1.5"}


def test_metadata_that_are_not_complete_do_no_harm_beside_an_archive(
    site: Path, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        monkeypatch.syspath_prepend(str(tmp_path / "empty.zip"))
    for name, headers in (("nameless", ""), ("unversioned", "Name: unversioned\n")):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(headers)
        (info / "entry_points.txt").write_text("[jackfield.plugins]\na = b\n")
    install("lab-tools", TWO)

    assert len(of("lab-tools")) == 2
    assert [one.version for one in of("unversioned")] == ["unknown"]


def test_the_backport_of_the_standard_library_is_no_reason_to_be_slow() -> None:
    code = (
        "import importlib_metadata, sys\n"
        "from jackfield.plugins.scan import find_entry_points\n"
        "names = [one.name for one in find_entry_points()]\n"
        "print('threads' in names, 'importlib.metadata' in sys.modules)"
    )
    pytest.importorskip("importlib_metadata", reason="needs the backport")

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.stdout.split() == ["True", "False"], done.stderr


def test_a_path_entry_that_is_not_there_does_no_harm(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("lab-tools", TWO)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "gone"), *sys.path])

    assert len(of("lab-tools")) == 2


def test_the_order_does_not_depend_on_the_path(install: Install) -> None:
    install("zeta", "[jackfield.plugins]\na = zeta\n")
    install("alpha", "[jackfield.plugins]\nz = alpha\nb = alpha\n")

    general = [
        (one.distribution, one.name)
        for one in find_entry_points()
        if one.distribution in {"alpha", "zeta"}
    ]

    assert general == [("alpha", "b"), ("alpha", "z"), ("zeta", "a")]
