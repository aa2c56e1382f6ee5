"""A provider as a script would have it passes the kit: a folder, by another name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

import jackfield as jf
from jackfield_testing import DirectorySite, StagingConformance


class Folder:
    """Serves ``folder://`` URLs from a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, url: str) -> Path:
        return self.root / unquote(urlsplit(url).path).lstrip("/")

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo | None:
        if transfer.scheme != "folder":
            return None
        with self.path(transfer.url).open("rb") as file:
            return transfer.receive(file)

    @jf.hookimpl
    def jackfield_stage_out(self, transfer: jf.Transfer) -> jf.RemoteInfo | None:
        if transfer.scheme != "folder":
            return None
        path = self.path(transfer.url)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(transfer.path.read_bytes())
        return jf.RemoteInfo(size=path.stat().st_size)

    @jf.hookimpl
    def jackfield_list_files(self, remote: jf.Remote) -> Mapping[str, jf.RemoteInfo]:
        top = self.path(remote.url)
        if not top.is_dir():
            raise FileNotFoundError(f"no directory {remote}")
        return {
            remote.url + quote(path.relative_to(top).as_posix()): jf.RemoteInfo()
            for path in top.rglob("*")
            if path.is_file()
        }


class TestScriptProvider(StagingConformance):
    replaces_whole = False
    verified = "none"
    notices_changes = False
    resumes = False
    caches = False
    checks_options = False

    @pytest.fixture
    def site(self, tmp_path: Path) -> DirectorySite:
        root = tmp_path / "served"
        root.mkdir()
        return DirectorySite(root, "folder://here/", plugins=[Folder(root)])
