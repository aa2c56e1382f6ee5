"""Outputs go into archives that nobody sees by halves, and what is wrong is said."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield_archives import zip as archives
from jackfield_transfers.transfer import Transfer

LIMIT_S = 60.0


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
        ("zip:/tmp/%FF.zip/b", "no UTF-8"),
        ("zip:/tmp/%00.zip/b", "a NUL in its path"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(
    kernel: jf.DataFlowKernel, url: str, reason: str
) -> None:
    with pytest.raises(jf.TransferError, match=reason):
        kernel.submit(str, jf.File(url)).result(LIMIT_S)


def test_a_damaged_file_of_an_archive_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"content of x")
    path.write_bytes(path.read_bytes().replace(b"content of x", b"contemp of x"))
    transfer = Transfer(url=f"zip:{path}/x", path=tmp_path / "part")

    with pytest.raises(jf.TransferError, match="the archive is damaged") as caught:
        archives.jackfield_stage_in(transfer)

    assert not caught.value.transient


def test_a_file_with_a_password_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"content")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag of its own head
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and of the directory's
    path.write_bytes(data)
    transfer = Transfer(url=f"zip:{path}/x", path=tmp_path / "part")

    with pytest.raises(jf.TransferError, match="password"):
        archives.jackfield_stage_in(transfer)


def test_an_error_of_the_local_file_is_told_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"content")
    transfer = Transfer(url=f"zip:{path}/x", path=tmp_path / "gone" / "part")

    with pytest.raises(FileNotFoundError) as caught:
        archives.jackfield_stage_in(transfer)

    assert not isinstance(caught.value, jf.TransferError)


def test_what_looks_like_a_query_is_part_of_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x?y#z", b"content")

    info = archives.jackfield_stat_file(jf.Remote(url=f"zip:{path}/x?y#z"))

    assert info is not None
    assert info.size == len(b"content")
