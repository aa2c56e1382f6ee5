"""Command lines as tasks: exit codes, streams, outputs, walltimes."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import (
    BadStdStreamFile,
    BashAppError,
    BashAppNoReturn,
    MissingOutputs,
)
from jackfield.steps.call import stream_path
from jackfield_bash.process import end, ends_within, start
from jackfield_system import programs

LIMIT_S = 60.0


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
        jf.BashExitFailure, match=r"(?s)exit code 3.*no such thing"
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


@pytest.mark.parametrize("bad", [3, ("a", "b", "c"), ("a", 1), "a\0b"], ids=repr)
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

    missing = r"'nothing' returned NoneType.*`return` missing"
    with pytest.raises(BashAppNoReturn, match=missing):
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


def test_futures_among_the_arguments_are_waited_for(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    @jf.bash_app
    def echo(*words: Any, numbers: Any, stdout: Any) -> str:
        return f"echo {' '.join(words)} {sum(numbers)}"

    word, number = kernel.submit(str, "text"), kernel.submit(int, "4")
    echo("a", word, numbers=[1, number], stdout=tmp_path / "out").result(LIMIT_S)

    assert (tmp_path / "out").read_text() == "a text 5\n"


def test_the_command_is_bashs_own_language(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    command = """
        set -o pipefail
        words=(one 'two  three' "four's")
        printf '%s|' "${words[@]}" | tr a-z A-Z
        [[ ${#words[@]} == 3 ]]
    """

    assert run(command, stdout=tmp_path / "out").result(LIMIT_S) == 0
    assert (tmp_path / "out").read_text() == "ONE|TWO  THREE|FOUR'S|"


def test_a_pipeline_may_fail_at_any_part(kernel: jf.DataFlowKernel) -> None:
    assert run("false | true").result(LIMIT_S) == 0
    with pytest.raises(jf.BashExitFailure, match="exit code 1"):
        run("set -o pipefail; false | true").result(LIMIT_S)


def test_a_command_reads_nothing_from_the_drivers_input(
    kernel: jf.DataFlowKernel,
) -> None:
    assert run("! read line").result(LIMIT_S) == 0


def test_the_end_of_a_long_standard_error_is_shown(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    future = run("seq 100000 >&2; exit 2", stderr=(tmp_path / "err", "w"))

    with pytest.raises(jf.BashExitFailure, match="99999\n100000") as info:
        future.result(LIMIT_S)
    assert str(tmp_path / "err") in str(info.value)
    assert len(str(info.value)) < 3000


def test_an_unknown_command_is_bashs_127(kernel: jf.DataFlowKernel) -> None:
    with pytest.raises(jf.BashExitFailure, match="exit code 127"):
        run("no-such-command-anywhere 2> /dev/null").result(LIMIT_S)


def test_a_failed_command_can_be_retried(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    flaky = run.options(retries=2)
    count = tmp_path / "count"
    command = f"echo x >> {count}; [ $(wc -l < {count}) = 3 ]"

    assert flaky(command).result(LIMIT_S) == 0
    assert count.read_text() == "x\n" * 3


def test_missing_outputs_can_be_retried(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    first, made = tmp_path / "first", tmp_path / "made"
    command = f"[ -e {first} ] && touch {made}; touch {first}"

    app = run.options(retries=1)
    assert app(command, outputs=[made]).result(LIMIT_S) == 0


def test_task_logs_come_in_directories_of_ten_thousand(tmp_path: Path) -> None:
    paths = [
        Path(stream_path(tmp_path, task, "f", label, "stderr"))
        for task, label in [(9_999, ""), (10_000, "a/b c"), (123_456_789, "x" * 300)]
    ]

    assert [str(path.relative_to(tmp_path / "task_logs")) for path in paths] == [
        "0000/task_9999_f.stderr",
        "0001/task_10000_f_a_b_c.stderr",
        f"12345/task_123456789_f_{'x' * 100}.stderr",
    ]
    assert all(path.parent.is_dir() for path in paths)


@pytest.mark.parametrize("walltime", [0, -1, "5", True], ids=repr)
def test_a_bad_walltime_is_an_error_at_once(
    kernel: jf.DataFlowKernel, walltime: Any
) -> None:
    with pytest.raises(jf.ConfigurationError, match="walltime= of 'run'"):
        run("true", walltime=walltime)


def test_the_function_may_take_what_the_kernel_reads(kernel: jf.DataFlowKernel) -> None:
    seen: list[Any] = []

    @jf.bash_app
    def curious(label: str, outputs: Any = (), stdout: Any = None) -> str:
        seen.append((label, [file.filename for file in outputs], stdout))
        return f"touch {outputs[0]}"

    curious(label="l", outputs=["o"], stdout="s").result(LIMIT_S)

    assert seen == [("l", ["o"], "s")]


def test_the_walltime_kills_the_command_and_its_children(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    for walltime in (0.3, 3.0, 30.0):  # until it is enough on a busy machine
        future = run(f"sleep 1000 & echo $! > {pid}; wait", walltime=walltime)

        with pytest.raises(jf.AppTimeout, match=rf"walltime of {walltime:g} s"):
            future.result(LIMIT_S)
        if pid.exists() and pid.read_text():
            break

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


CODES = """
import os, signal, subprocess, sys, threading, time
import jackfield as jf

{prelude}

@jf.bash_app
def run(command, **_):
    return command

def said(command, **options):
    try:
        return run(command, **options).result(60)
    except jf.BashExitFailure as error:
        return error.exitcode
    except Exception as error:
        return type(error).__name__

with jf.load({{"executors": {{"x": {{"plugin": "{plugin}", "workers": 1}}}}}}):
    print([said(command, **options) for command, options in {commands!r}])
"""

IGNORED = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
INHERITED = f"""
if not sys.argv[1:]:
    {IGNORED}
    os.execv(sys.executable, [sys.executable, __file__, "again"])
"""
REAPED = """
def reap():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.0005)
threading.Thread(target=reap, daemon=True).start()
"""
COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("exit 3", {}),
    ("sleep 0.05; exit 4", {}),
    ("true", {}),
    ("kill -9 $$", {}),
    ("sleep 0.05 & exit 5", {}),
    ("sleep 60", {"walltime": 0.2}),
]


def codes(
    tmp_path: Path, prelude: str, plugin: str, commands: list[tuple[str, Any]]
) -> list[Any]:
    script = tmp_path / "codes.py"
    text = CODES.format(prelude=prelude, plugin=plugin, commands=commands)
    script.write_text(text)
    ended = subprocess.run(
        [sys.executable, script], check=True, stdout=subprocess.PIPE, text=True
    )
    found: list[Any] = ast.literal_eval(ended.stdout)
    return found


@pytest.mark.parametrize("plugin", ["threads", "processes"])
@pytest.mark.parametrize("prelude", [IGNORED, INHERITED], ids=["ignored", "inherited"])
def test_exit_codes_are_right_where_sigchld_is_ignored(
    tmp_path: Path, prelude: str, plugin: str
) -> None:
    found = codes(tmp_path, prelude, plugin, COMMANDS)

    assert found == [3, 4, 0, 137, 5, "AppTimeout"]


def test_a_code_that_goes_in_the_last_moment_is_unknown(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "exit 3"]
    process = start(command, (None, None), (), None, os.fspath(tmp_path), programs.ends)
    assert ends_within(process, LIMIT_S)
    os.waitpid(process.pid, 0)  # as somebody else's thread, after all that was asked

    assert end(process) is None


def test_a_command_is_waited_for_where_no_descriptor_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    command = ["/bin/sh", "-c", "read line; exit 3"]
    process = start(command, (None, None), (), None, os.fspath(tmp_path), programs.ends)

    assert ends_within(process, LIMIT_S)
    assert end(process) == 3


def test_an_exit_code_that_something_else_took_is_no_success(tmp_path: Path) -> None:
    found = codes(tmp_path, REAPED, "threads", COMMANDS * 3)

    wanted = [3, 4, 0, 137, 5, "AppTimeout"] * 3
    lost = [one for one, right in zip(found, wanted, strict=True) if one != right]
    assert set(lost) <= {"BashAppError"}
    assert len(lost) <= 1  # later ones are asked for their code


@pytest.mark.parametrize(
    ("command", "what"),
    [("echo a\0b", "NUL at character 6"), ("echo \ud800", "surrogate at character 5")],
    ids=ascii,
)
@pytest.mark.parametrize("more", ["", "x" * 200_000], ids=["short", "in a file"])
def test_a_command_that_no_program_can_be_given_is_told(
    kernel: jf.DataFlowKernel, command: str, what: str, more: str
) -> None:
    with pytest.raises(BashAppError, match=f"'run' .* holds a {what}"):
        run(command + more).result(LIMIT_S)


def test_a_command_may_have_bytes_that_are_no_utf_8(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    run(os.fsdecode(b"printf '\xff'"), stdout=str(tmp_path / "out")).result(LIMIT_S)

    assert (tmp_path / "out").read_bytes() == b"\xff"


def test_no_outputs_may_be_given_as_none(kernel: jf.DataFlowKernel) -> None:
    assert run("true", outputs=None).result(LIMIT_S) == 0


def test_an_output_with_a_name_that_is_too_long_is_told(
    kernel: jf.DataFlowKernel,
) -> None:
    with pytest.raises(MissingOutputs, match=r"x \(File name too long\)"):
        run("true", outputs=["x" * 300]).result(LIMIT_S)


def test_a_label_of_letters_that_take_many_bytes_is_cut(
    kernel: jf.DataFlowKernel,
) -> None:
    future = run("echo written", stdout=jf.AUTO_LOGNAME, label="\u6f22" * 300)

    assert future.result(LIMIT_S) == 0
    assert Path(future.stdout).read_text() == "written\n"
    assert "\u6f22" * 30 in future.stdout
