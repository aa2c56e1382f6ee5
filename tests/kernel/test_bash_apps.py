"""Command lines as tasks: exit codes, streams, outputs, walltimes."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import BadStdStreamFile, BashAppNoReturn

LIMIT_S = 10.0


@jf.bash_app
def run(command: str, **_: Any) -> str:
    return command


@jf.bash_app
def copy(inputs: Any = (), outputs: Any = ()) -> str:
    return f"cp '{inputs[0]}' '{outputs[0]}'"


def test_a_command_that_succeeds_gives_0(kernel: jf.DataFlowKernel) -> None:
    assert run("true").result(LIMIT_S) == 0


def test_an_exit_code_is_a_failure_with_what_was_said(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    future = run("echo no such thing >&2; exit 3", stderr=str(tmp_path / "err"))

    with pytest.raises(
        jf.BashExitFailure, match="(?s)exit code 3.*no such thing"
    ) as info:
        future.result(LIMIT_S)
    assert info.value.exitcode == 3


def test_a_signal_is_named(kernel: jf.DataFlowKernel) -> None:
    with pytest.raises(jf.BashExitFailure, match="SIGKILL") as info:
        run("kill -9 $$").result(LIMIT_S)
    assert info.value.exitcode == 137


@pytest.mark.parametrize("form", ["str", "path", "file", "tuple"])
def test_standard_output_goes_where_it_is_told(
    kernel: jf.DataFlowKernel, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "deep" / "out.txt"
    given = {
        "str": str(path),
        "path": path,
        "file": jf.File(path),
        "tuple": (path, "w"),
    }

    future = run("echo hello", stdout=given[form])

    assert future.result(LIMIT_S) == 0
    assert path.read_text() == "hello\n"


def test_streams_are_appended_to_unless_a_mode_is_given(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old\n")

    run("echo new", stdout=str(path)).result(LIMIT_S)
    assert path.read_text() == "old\nnew\n"
    run("echo only", stdout=(path, "w")).result(LIMIT_S)
    assert path.read_text() == "only\n"


def test_auto_logname_is_a_path_of_the_task(kernel: jf.DataFlowKernel) -> None:
    future = run("echo x", stdout=jf.AUTO_LOGNAME, label="my label")
    future.result(LIMIT_S)

    path = Path(future.stdout)
    assert path.parent == kernel.run_dir / "task_logs" / "0000"
    assert path.name == f"task_{future.tid:04}_run_my_label.stdout"
    assert path.read_text() == "x\n"


def test_a_stream_that_is_a_file_has_a_future(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    first = run("echo hello", stdout=jf.File(tmp_path / "a"))
    second = copy(inputs=[first.stdout], outputs=[jf.File(tmp_path / "b")])

    assert isinstance(first.stdout, jf.DataFuture)
    assert first.outputs == []
    assert Path(second.outputs[0].result(LIMIT_S)).read_text() == "hello\n"


@pytest.mark.parametrize("bad", [3, ("a", "b", "c"), ("a", 1)], ids=str)
def test_a_bad_stream_is_an_error_at_once(kernel: jf.DataFlowKernel, bad: Any) -> None:
    with pytest.raises(BadStdStreamFile, match="stdout= of 'run'"):
        run("true", stdout=bad)


def test_a_stream_that_cannot_be_opened_fails_the_task(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    with pytest.raises(BadStdStreamFile, match="cannot be opened"):
        run("true", stdout=str(tmp_path)).result(LIMIT_S)


def test_what_is_no_command_line_is_an_error(kernel: jf.DataFlowKernel) -> None:
    @jf.bash_app
    def nothing() -> str:
        return None  # type: ignore[return-value]  # the point

    with pytest.raises(BashAppNoReturn, match="'nothing' returned NoneType"):
        nothing().result(LIMIT_S)


def test_missing_outputs_are_named(kernel: jf.DataFlowKernel, tmp_path: Path) -> None:
    future = run("true", outputs=[jf.File(tmp_path / "x"), jf.File(tmp_path / "y")])

    with pytest.raises(jf.MissingOutputs, match=r"/x', '.*/y'"):
        future.result(LIMIT_S)
    with pytest.raises(jf.MissingOutputs):
        future.outputs[1].result(LIMIT_S)


def test_futures_of_files_lead_from_app_to_app(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    make = run(f"echo data > '{tmp_path}/a b'", outputs=[jf.File(tmp_path / "a b")])
    last = copy(inputs=[make.outputs[0]], outputs=[tmp_path / "c"])

    assert Path(last.outputs[0].result(LIMIT_S)).read_text() == "data\n"


def test_the_walltime_kills_the_command_and_its_children(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    future = run(f"sleep 1000 & echo $! > {pid}; wait", walltime=0.3)

    with pytest.raises(jf.AppTimeout, match=r"walltime of 0\.3 s"):
        future.result(LIMIT_S)

    assert _ends(int(pid.read_text()))


def test_the_walltime_of_the_app_counts_too(kernel: jf.DataFlowKernel) -> None:
    @jf.bash_app(walltime=0.2)
    def long() -> str:
        return "sleep 1000"

    with pytest.raises(jf.AppTimeout):
        long().result(LIMIT_S)


def _ends(pid: int) -> bool:
    """Wait until a process is gone, or is a zombie that init has not met yet."""
    ended = threading.Event()
    for _ in range(int(LIMIT_S / 0.02)):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        ended.wait(0.02)
    os.kill(pid, 9)
    return False
