"""The provider of local files passes the kit, where they are to be copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackfield_testing import DirectorySite, StagingConformance


class TestFile(StagingConformance):
    resumes = False

    @pytest.fixture
    def site(self, tmp_path: Path) -> DirectorySite:
        root = tmp_path / "served"
        root.mkdir()
        return DirectorySite(root, root.as_uri(), options={"copy": True})
