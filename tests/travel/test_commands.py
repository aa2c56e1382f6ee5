"""Command lines of every length and beginning; both streams in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import BadStdStreamFile

LIMIT_S = 60.0


@jf.bash_app
def run(command: str, **_: Any) -> str:
    return command


@pytest.mark.parametrize("size", [131_000, 131_071, 131_072, 131_100, 3_000_000])
def test_a_command_may_be_of_any_length(
    kernel: jf.DataFlowKernel, tmp_path: Path, size: int
) -> None:
    out = tmp_path / "out"
    end = 'echo "$0" "$#" end of ä; exit 3\n'
    command = f": {'x' * (size - len(end.encode()) - 3)}\n{end}"
    assert len(command.encode()) == size

    with pytest.raises(jf.BashExitFailure) as info:
        run(command, stdout=str(out)).result(LIMIT_S)

    assert info.value.exitcode == 3
    assert out.read_text() == "/bin/bash 0 end of ä\n"


def test_a_long_command_is_like_a_short_one(load: Any, tmp_path: Path) -> None:
    text = (
        f"cd {tmp_path}\n"
        "read x; echo \"read '$x'\" > out\n"
        "cat <<END >> out\nhere\nEND\n"
        "ls /proc/self/fd >> out\n"
        "set -o pipefail; false | true || echo failed >> out\n"
    )
    seen = []
    with load():
        for padding in ("", "#" * 200_000 + "\n"):
            assert run(padding + text).result(LIMIT_S) == 0
            seen.append((tmp_path / "out").read_text())

    assert seen[0] == seen[1]
    assert seen[0].startswith("read ''\nhere\n")
    assert seen[0].endswith("failed\n")


@pytest.mark.parametrize("command", ["-x", "--version", "-c exit", "+x", "-"])
def test_a_command_may_begin_as_an_option(
    kernel: jf.DataFlowKernel, tmp_path: Path, command: str
) -> None:
    with pytest.raises(jf.BashExitFailure, match="command not found") as info:
        run(command, stderr=str(tmp_path / "err")).result(LIMIT_S)
    assert info.value.exitcode == 127


@pytest.mark.parametrize("mode", ["a", "w", "x"])
@pytest.mark.parametrize("other", ["same", "linked", "relative", "file"])
def test_both_streams_may_go_to_one_file(
    load: Any,
    tmp_path: Path,
    mode: str,
    other: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "log"
    (tmp_path / "link").symlink_to(tmp_path)
    form: Any = {
        "same": str(path),
        "linked": tmp_path / "link" / "log",
        "relative": "log",
        "file": jf.File(path),
    }[other]
    command = "for i in {1..20}; do echo out $i; echo err $i >&2; done"
    with load():
        run(command, stdout=(str(path), mode), stderr=(form, mode)).result(LIMIT_S)

    wanted = [f"{name} {n}" for n in range(1, 21) for name in ("out", "err")]
    assert path.read_text().splitlines() == wanted


def test_a_failure_shows_the_end_of_the_one_file(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    log = str(tmp_path / "log")
    with pytest.raises(jf.BashExitFailure, match="the reason"):
        run("echo the reason >&2; exit 1", stdout=log, stderr=log).result(LIMIT_S)


@pytest.mark.parametrize("mode", ["r", "rb", "rt", ""])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_mode_that_only_reads_is_refused_at_the_call(
    kernel: jf.DataFlowKernel, tmp_path: Path, stream: str, mode: str
) -> None:
    streams: Any = {stream: (tmp_path / "log", mode)}
    with pytest.raises(BadStdStreamFile, match=f"{stream}= of 'run'.*only reads"):
        run("true", **streams)
    assert not (tmp_path / "log").exists()
