"""``jackfield runs``: finding runs, and telling how they are from their files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.monitoring.conftest import record

import jackfield as jf
from jackfield_cli import main
from jackfield_monitoring import facts
from jackfield_monitoring.pages.overview import name_of
from jackfield_monitoring.runs import RunError, find, read, runs_in
from jackfield_monitoring.store.made_up import MadeUp
from jackfield_monitoring.store.reader import Store
from jackfield_testing.footprint import settled

LIMIT_S = 40.0


def cli(parent: Path, *arguments: str, **options: Any) -> Result:
    command = ["runs", arguments[0], "--dir", str(parent), *arguments[1:]]
    return CliRunner().invoke(main, command, **options)


def a_run(parent: Path, *, failures: int = 0) -> Path:
    with jf.load(jf.Config(run_dir=parent)) as kernel:
        for number in range(failures):
            kernel.submit(int, f"x{number}")
        kernel.submit(abs, -1)
    return kernel.run_dir


def alter(run_dir: Path, **values: Any) -> None:
    record = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps(record | values))


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run of another process that goes on, in ``runs/000``."""
    script = tmp_path / "goes_on.py"
    script.write_text(
        "import sys, jackfield\n"
        "with jackfield.load() as kernel:\n"
        "    kernel.submit(abs, -1).result()\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        path = tmp_path / "runs/000/run.json"
        assert settled(path.exists, LIMIT_S)
        yield process
        process.kill()


# -- How a run is


def test_a_run_goes_on_until_it_has_ended(
    tmp_path: Path, program: subprocess.Popen[str]
) -> None:
    path = tmp_path / "runs/000"
    assert read(path).state == "running"

    program.communicate(timeout=LIMIT_S)

    assert read(path).state == "done"


def test_a_run_that_was_killed_is_lost(
    tmp_path: Path, program: subprocess.Popen[str]
) -> None:
    program.send_signal(signal.SIGKILL)
    program.wait(LIMIT_S)

    assert read(tmp_path / "runs/000").state == "lost"
    shown = cli(tmp_path / "runs", "show")
    assert "lost" in shown.output
    assert "killed" in shown.output


def test_a_pid_that_is_another_process_by_now_is_not_the_run(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    mine = facts.program()
    alter(run_dir, state="running", program={**mine, "started": 1})

    assert read(run_dir).state == "lost"


def test_this_process_is_alive(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    alter(run_dir, state="running", program=facts.program(), beat=0.0)

    assert read(run_dir).state == "running"


def test_a_run_whose_history_has_its_end_is_not_lost(tmp_path: Path) -> None:
    monitors = {"db": {"plugin": "sqlite"}}
    with jf.load(run_dir=tmp_path, monitors=monitors) as kernel:
        jf.python_app(abs)(-1).result(LIMIT_S)
    run_dir = kernel.run_dir
    ended = read(run_dir)
    # As where the disk was full when the record was to be written for the last time.
    gone = {**facts.program(), "started": 1}
    alter(run_dir, state="running", counts={}, elapsed=0.0, program=gone)

    run = read(run_dir)

    assert run.state == "done"
    assert run.counts == ended.counts == {"succeeded": 1}
    assert "done" in cli(tmp_path, "ls").output
    with sqlite3.connect(run_dir / "monitor.db") as database:
        database.execute("UPDATE run SET ended = NULL, state = 'running'")
    database.close()
    assert read(run_dir).state == "lost"


def test_a_killed_run_has_the_counts_of_its_history(tmp_path: Path) -> None:
    run_dir = tmp_path / "000"
    run_dir.mkdir()
    MadeUp(tasks=50, unfinished=5, failed=0.1).write(run_dir / "monitor.db")
    with Store(run_dir) as store:
        counts = {state.value: n for state, n in store.counts().items()}
        written = store.run().wall_of(store.run().beat)
    # As in the first half minute, in which the record had seldom been written.
    gone = {**facts.program(), "started": 1}
    record(run_dir, state="running", counts={}, program=gone, beat=written - 1.0)

    run = read(run_dir)

    assert (run.state, run.counts, run.problem) == ("lost", counts, None)
    assert run.elapsed is not None
    assert run.elapsed > 1.0
    assert run.failures
    shown = cli(tmp_path, "show").output
    assert run.failures[0] in shown
    assert f"jackfield report {run_dir}" in shown
    # Where the history could not be written for a while, the record knows more.
    record(run_dir, state="running", program=gone, beat=written + 1.0)
    assert read(run_dir).counts == {"succeeded": 3, "failed": 1}


@pytest.mark.parametrize("text", [None, b"", b"{", b'{"state": 7, "counts": 7}'])
@pytest.mark.parametrize("unfinished", [0, 5])
def test_what_a_damaged_record_should_say_is_in_the_history(
    tmp_path: Path, text: bytes | None, unfinished: int
) -> None:
    run_dir = tmp_path / "000"
    run_dir.mkdir()
    MadeUp(tasks=50, unfinished=unfinished, failed=0.0).write(run_dir / "monitor.db")
    if text is not None:
        (run_dir / "run.json").write_bytes(text)

    run = read(run_dir)

    assert run.state == ("lost" if unfinished else "done")
    assert sum(run.counts.values()) == 50
    assert run.argv == ["python", "steps.py"]
    assert run.began == 1_790_000_000.0
    assert "50 tasks" in cli(tmp_path, "ls").output
    shown = cli(tmp_path, "show").output
    assert "ada@lovelace, process 4711" in shown
    assert run.problem is None or run.problem in shown


@pytest.mark.parametrize("what", ["host", "boot", "namespace"])
@pytest.mark.parametrize(("age", "state"), [(10.0, "running"), (1000.0, "lost")])
def test_elsewhere_the_beats_tell(
    tmp_path: Path, what: str, age: float, state: str
) -> None:
    run_dir = a_run(tmp_path)
    elsewhere: dict[str, Any] = {**facts.program(), what: "another"}
    alter(run_dir, state="running", program=elsewhere, beat=time.time() - age)

    assert read(run_dir).state == state


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"state": "running"}',
        b'{"state": 7, "began": "x", "counts": [], "failures": 3, "program": []}',
        b'{"state": "done", "counts": {"failed": "x"}, "elapsed": true}',
        b'{"state": "done", "began": 1e300, "elapsed": 1e300}',
        b'{"state": "done", "began": NaN, "elapsed": -1, "failed": "many"}',
        b'{"failures": [null, {}], "failed": 1e400, "program": {"argv": 7}}',
    ],
)
def test_a_damaged_record_breaks_no_command(tmp_path: Path, text: bytes) -> None:
    run_dir = a_run(tmp_path)
    (run_dir / "run.json").write_bytes(text)

    for arguments in (["ls"], ["ls", "--json"], ["show"], ["show", "--json"], ["tail"]):
        result = cli(tmp_path, *arguments)
        assert result.exit_code == 0, (arguments, result.output, result.exception)


def test_a_run_without_a_record_is_listed(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    (run_dir / "run.json").unlink()

    assert "unknown" in cli(tmp_path, "ls").output
    assert "has no run.json" in cli(tmp_path, "show").output


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    (run_dir / "run.json").unlink()
    os.mkfifo(run_dir / "run.json")

    assert "unknown" in cli(tmp_path, "ls").output
    assert "is no plain file" in cli(tmp_path, "show").output


def test_tasks_that_were_not_run_are_told(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    counts = {"succeeded": 1, "failed": 2, "dependency-failed": 3, "cancelled": 4}
    alter(run_dir, counts=counts)

    assert (
        "10 tasks, 2 failed, 3 dependency-failed, 4 cancelled"
        in cli(tmp_path, "ls").output
    )


# -- Which run is meant


def test_a_notebook_is_called_one(tmp_path: Path) -> None:
    place = a_run(tmp_path)
    argv = ["/usr/bin/python", "/lib/ipykernel_launcher.py", "-f", "/tmp/x.json"]
    alter(place, program={"argv": argv})

    assert "  notebook\n" in cli(tmp_path, "ls").output
    assert name_of(read(place)) == f"notebook · run {place.name}"


def test_a_run_has_many_names(tmp_path: Path) -> None:
    first, second = a_run(tmp_path), a_run(tmp_path)
    id_of_first = read(first).id

    for name in ("0", "000", id_of_first, id_of_first[:8], str(first)):
        assert find(name, tmp_path).path == first, name
    assert find("last", tmp_path).path == second


@pytest.mark.parametrize(
    "name", ["7", "xyz", "abc", "", "no/such/place", "9" * 5_000, "a/" + "b" * 5_000]
)
def test_a_name_that_means_nothing_is_told(tmp_path: Path, name: str) -> None:
    a_run(tmp_path)

    with pytest.raises(RunError, match=r"There is no run"):
        find(name, tmp_path)
    shown = cli(tmp_path, "show", "--", name)
    assert (shown.exit_code, "Traceback" in shown.output) == (1, False)


def test_an_id_that_two_runs_begin_with_is_told(tmp_path: Path) -> None:
    for number in range(2):
        alter(a_run(tmp_path), id=f"abcdef{number}")

    with pytest.raises(RunError, match=r"several runs: 000, 001"):
        find("abcdef", tmp_path)


def test_without_runs_it_says_where_it_looked(tmp_path: Path) -> None:
    assert f"no runs in {tmp_path} yet" in cli(tmp_path, "ls").output
    result = cli(tmp_path / "none", "ls")
    assert result.exit_code == 1
    assert str(tmp_path / "none") in result.output
    assert "--dir" in result.output


def test_a_directory_given_in_the_place_of_another_is_told(tmp_path: Path) -> None:
    run = a_run(tmp_path / "runs")

    as_run = cli(tmp_path, "show", str(run.parent))
    as_directory = cli(run, "ls")

    assert (as_run.exit_code, as_directory.exit_code) == (1, 1)
    assert f"say --dir {run.parent}." in as_run.output
    assert f"{run} is one run: name it as RUN, without --dir." in as_directory.output


def test_without_a_command_runs_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path / "runs")

    bare = CliRunner().invoke(main, ["runs"])

    assert bare.exit_code == 0
    assert bare.output == cli(tmp_path / "runs", "ls").output
    assert bare.output.startswith("000  done ")


def test_a_line_tells_how_many_results_were_there(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/results.db"
    config = {"run_dir": str(tmp_path / "runs"), "checkpoint": {"store": store}}
    for _ in range(2):
        with jf.load(config) as kernel:
            for number in range(3):
                kernel.submit(abs, number, cache=True)
    a_run(tmp_path / "runs", failures=1)

    made, found, failed = cli(tmp_path / "runs", "ls").output.splitlines()

    assert "3 tasks   " in made
    assert "3 tasks, 3 memoized  " in found
    assert "2 tasks, 1 failed    " in failed
    assert len({line.rindex("  ") for line in (made, found, failed)}) == 1


def test_runs_are_found_where_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = a_run(tmp_path / "my-runs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jackfield.toml").write_text('run_dir = "my-runs"\n')

    result = CliRunner().invoke(main, ["runs", "show", "--json"])

    assert json.loads(result.output)["path"] == str(run_dir)


def test_a_link_is_no_run(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    (tmp_path / "001").symlink_to(run_dir)

    assert [run.path for run in runs_in(tmp_path)] == [run_dir]


# -- What is shown


def test_the_list_has_a_line_a_run(tmp_path: Path) -> None:
    a_run(tmp_path)
    a_run(tmp_path, failures=2)

    first, second = cli(tmp_path, "ls").output.splitlines()

    assert first.split()[:2] == ["000", "done"]
    assert "1 task" in first
    assert second.split()[:2] == ["001", "failed"]
    assert "3 tasks, 2 failed" in second
    limited = cli(tmp_path, "ls", "--limit", "1").output.splitlines()
    assert [line[:3] for line in limited] == ["001"]


def test_one_run_is_shown_with_what_failed(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path, failures=7)

    output = cli(tmp_path, "show", "0").output

    assert "Run 000: failed" in output
    assert "1 succeeded, 7 failed" in output or "7 failed, 1 succeeded" in output
    assert output.count("invalid literal") == 5
    assert "... and 2 more" in output
    assert str(run_dir / "jackfield.log") in output
    assert os.uname().nodename in output


def test_json_has_the_record_and_the_state_of_now(
    tmp_path: Path, program: subprocess.Popen[str]
) -> None:
    program.kill()
    program.wait(LIMIT_S)

    (listed,) = json.loads(cli(tmp_path / "runs", "ls", "--json").output)
    shown = json.loads(cli(tmp_path / "runs", "show", "--json").output)

    assert listed == shown
    assert shown["state"] == "lost"
    assert shown["program"]["pid"] == program.pid


def test_nothing_in_a_run_commands_the_terminal(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    hostile = "\x1b]0;title\x07\u202e\x9b31m"
    argv = ["python", hostile]
    alter(run_dir, failures=[hostile], failed=1, id=hostile, program={"argv": argv})
    with (run_dir / "jackfield.log").open("a") as log:
        log.write(hostile + "\n")

    for arguments in (["ls"], ["show"], ["tail"]):
        output = cli(tmp_path, *arguments).output
        assert not set("\x1b\x07\u202e\x9b") & set(output), arguments


# -- The log


def test_the_end_of_the_log_is_printed(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)

    lines = (run_dir / "jackfield.log").read_text().splitlines()

    assert cli(tmp_path, "tail").output.splitlines() == lines
    assert cli(tmp_path, "tail", "-n", "1").output.splitlines() == lines[-1:]
    assert cli(tmp_path, "tail", "-n", "0").output == ""


def test_a_log_is_followed_until_the_run_has_ended(
    tmp_path: Path, program: subprocess.Popen[str]
) -> None:
    start = "from jackfield_cli import main; main()"
    command = [sys.executable, "-c", start, "runs", "tail", "--follow"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        assert "Kernel started" in following.stdout.readline()
        program.communicate(timeout=LIMIT_S)
        *_, last = following.stdout
        assert following.wait(LIMIT_S) == 0

    assert "Kernel ended" in last


def test_a_run_without_a_log_is_told(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    (run_dir / "jackfield.log").unlink()

    result = cli(tmp_path, "tail")

    assert result.exit_code == 1
    assert str(run_dir / "jackfield.log") in result.output


# -- Removing


def test_a_run_is_removed_after_a_question(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)

    assert run_dir.exists()
    assert cli(tmp_path, "rm", "0", input="n\n").exit_code == 0
    assert run_dir.exists()
    assert cli(tmp_path, "rm", "0", input="y\n").exit_code == 0
    assert not run_dir.exists()


def test_only_old_runs_are_removed(tmp_path: Path) -> None:
    old, new = a_run(tmp_path), a_run(tmp_path)
    alter(old, began=time.time() - 3 * 86_400)

    result = cli(tmp_path, "rm", "--older-than", "2", "--yes")

    assert result.exit_code == 0
    assert (old.exists(), new.exists()) == (False, True)


def test_a_run_that_goes_on_stays(
    tmp_path: Path, program: subprocess.Popen[str]
) -> None:
    result = cli(tmp_path / "runs", "rm", "last", "--yes")

    assert result.exit_code == 1
    assert "goes on" in result.output
    assert (tmp_path / "runs/000/run.json").exists()
    program.communicate(timeout=LIMIT_S)


def test_what_is_no_run_stays(tmp_path: Path) -> None:
    mine = tmp_path / "000"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")

    result = cli(tmp_path, "rm", "0", "--yes")

    assert result.exit_code == 1
    assert (mine / "thesis.tex").exists()


def test_a_link_in_a_run_is_removed_and_not_what_it_names(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path / "runs")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "data").write_text("x")
    (run_dir / "files").symlink_to(kept)

    assert cli(tmp_path / "runs", "rm", "0", "--yes").exit_code == 0
    assert (kept / "data").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_a_run_that_cannot_be_removed_is_told(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    run_dir.chmod(0o500)
    try:
        result = cli(tmp_path, "rm", "0", "--yes")
    finally:
        run_dir.chmod(0o700)

    assert result.exit_code == 1
    assert str(run_dir) in result.output


def test_runs_or_an_age_must_be_named(tmp_path: Path) -> None:
    shutil.rmtree(a_run(tmp_path))
    assert cli(tmp_path, "rm").exit_code == 2
    assert cli(tmp_path, "rm", "0", "--older-than", "3").exit_code == 2
