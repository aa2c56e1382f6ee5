"""The provider of files in archives passes the kit."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from jackfield_testing import StagingConformance, StagingSite


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
