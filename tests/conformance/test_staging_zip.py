"""The provider of files in archives passes the kit, and is gentle to archives."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield_testing import StagingConformance, StagingSite

LIMIT_S = 60.0


class ZipSite(StagingSite):
    """A site whose files are in one archive."""

    def __init__(self, archive: Path) -> None:
        super().__init__(f"zip:{archive}")
        self.archive = archive

    def _all(self) -> dict[str, bytes]:
        if not self.archive.exists():
            return {}
        with zipfile.ZipFile(self.archive) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def _write(self, files: dict[str, bytes]) -> None:
        aside = self.archive.with_suffix(".new")
        with zipfile.ZipFile(aside, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        aside.replace(self.archive)

    def put(self, name: str, data: bytes) -> None:
        """Write the file."""
        self._write({**self._all(), name: data})

    def get(self, name: str) -> bytes | None:
        """Read the file."""
        return self._all().get(name)

    def delete(self, name: str) -> None:
        """Remove the file."""
        self._write({one: data for one, data in self._all().items() if one != name})


class TestZip(StagingConformance):
    resumes = False
    login_in_url = False

    @pytest.fixture
    def site(self, tmp_path: Path) -> StagingSite:
        root = tmp_path / "served"
        root.mkdir()
        return ZipSite(root / "all.zip")


@jf.bash_app
def write(text: str, outputs: Any) -> str:
    return f"printf '%s' {text} > {outputs[0]}"


def test_outputs_of_many_tasks_go_into_one_archive(tmp_path: Path) -> None:
    config = jf.Config(executors={"t": {"plugin": "threads"}}, run_dir=tmp_path / "r")
    archive = tmp_path / "out.zip"

    with jf.DataFlowKernel(config) as kernel:
        futures = [
            write.submit_to(
                kernel,
                (f"text-{number}",),
                {"outputs": [jf.File(f"zip:{archive}/in/{number}.txt")]},
            )
            for number in range(8)
        ]
        assert [future.result(LIMIT_S) for future in futures] == [0] * 8

    with zipfile.ZipFile(archive) as made:
        assert {name: made.read(name).decode() for name in made.namelist()} == {
            f"in/{number}.txt": f"text-{number}" for number in range(8)
        }
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("zip://host/a.zip/b", "another machine"),
        ("zip:/tmp/no/b", "no part of its path"),
        ("zip:/nowhere/a.zip/b", "no such archive"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(
    kernel: jf.DataFlowKernel, url: str, reason: str
) -> None:
    with pytest.raises(jf.TransferError, match=reason):
        kernel.submit(str, jf.File(url)).result(LIMIT_S)
