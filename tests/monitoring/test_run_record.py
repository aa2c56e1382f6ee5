"""``run.json``: every run has one, it tells the truth, and it keeps secrets."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield_monitoring import facts
from jackfield_monitoring.fields import FORMAT, Record
from jackfield_monitoring.record import RunRecord
from jackfield_testing.footprint import settled

LIMIT_S = 60.0
SECRET = "hunter2-canary"


def record_of(run_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_dir / "run.json").read_text())
    return found


@jf.python_app
def double(x: int) -> int:
    return 2 * x


@jf.python_app
def fail(words: str) -> None:
    raise ValueError(words)


def test_every_run_has_one_without_being_asked(tmp_path: Path) -> None:
    with jf.load(jf.Config(run_dir=tmp_path / "runs")) as kernel:
        assert double(1).result(LIMIT_S) == 2
        fail("no such thing").exception(LIMIT_S)

    record = record_of(kernel.run_dir)
    assert set(record) <= set(Record.__annotations__)
    assert record["format"] == FORMAT
    assert record["state"] == "failed"
    assert record["counts"] == {"succeeded": 1, "failed": 1}
    assert record["failed"] == 1
    assert "no such thing" in record["failures"][0]
    assert record["began"] <= record["beat"] <= record["ended"] + 1
    assert record["executors"] == ["threads"]
    assert record["settings"]["run_dir"] == str(tmp_path / "runs")
    assert record["program"]["pid"] == os.getpid()
    assert record["program"]["cwd"] == str(Path.cwd())
    assert record["versions"]["pytest"] == pytest.__version__


def test_a_failure_that_quotes_megabytes_leaves_a_small_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with jf.load(jf.Config(run_dir=tmp_path / "runs")) as kernel:
        fail("x" * 3_000_000)
        fail(f"{'x' * 1_900} https://ada:{SECRET}{'y' * 1_000}@host/x")

    assert (kernel.run_dir / "run.json").stat().st_size < 20_000
    assert (kernel.run_dir / "jackfield.log").stat().st_size < 20_000
    assert SECRET not in (kernel.run_dir / "run.json").read_text()
    assert "2 of 2 tasks failed" in (told := capfd.readouterr().err)
    assert len(told) < 20_000


def test_a_run_in_which_nothing_failed_is_done(tmp_path: Path) -> None:
    with jf.load(jf.Config(run_dir=tmp_path)) as kernel:
        double(1)

    assert record_of(kernel.run_dir)["state"] == "done"


def test_it_is_there_while_the_run_goes_on(tmp_path: Path) -> None:
    gate = threading.Event()
    with jf.load(jf.Config(run_dir=tmp_path)) as kernel:
        kernel.submit(gate.wait, LIMIT_S)
        path = kernel.run_dir / "run.json"
        assert settled(path.exists, LIMIT_S)
        record = record_of(kernel.run_dir)
        gate.set()

    assert record["state"] == "running"
    assert "ended" not in record


def test_no_two_runs_have_the_same_id(tmp_path: Path) -> None:
    ids = set()
    for _ in range(3):
        with jf.load(jf.Config(run_dir=tmp_path)) as kernel:
            pass
        ids.add(record_of(kernel.run_dir)["id"])

    assert len(ids) == 3


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with jf.load(jf.Config(run_dir=tmp_path)) as kernel:
            pass
    finally:
        os.umask(before)

    mode = (kernel.run_dir / "run.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert [one.name for one in kernel.run_dir.glob(".run.json*")] == []


@pytest.mark.parametrize(
    "words",
    [
        f"https://ada:{SECRET}@host/x is not there",
        f"https://host/x?sig={SECRET} is not there",
        f"refused: {{'password': '{SECRET}'}}",
        f"curl -H 'Authorization: Bearer {SECRET}'",
        f"get(auth=('me', '{SECRET}'))",
        f"Cookie: sid={SECRET}; other={SECRET}",
        f"[('password', '{SECRET}')]",
        f"the password is: {SECRET}",
        f"mysql -h db -p{SECRET} lab",
        f"curl -u me:{SECRET} http://host",
    ],
)
def test_secrets_of_failures_are_not_kept_and_not_printed(
    tmp_path: Path, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with jf.load(jf.Config(run_dir=tmp_path / "runs")) as kernel:
        wait([fail(words)], LIMIT_S)

    assert SECRET not in (kernel.run_dir / "run.json").read_text()
    assert "ValueError" in record_of(kernel.run_dir)["failures"][0]
    log = (kernel.run_dir / "jackfield.log").read_text()
    assert "ValueError" in log
    assert SECRET not in log
    told = capfd.readouterr().err
    assert "nobody has asked for the result" in told
    assert SECRET not in told


@pytest.mark.parametrize(
    "arguments",
    [
        [f"--password={SECRET}"],
        ["--api-key", SECRET],
        ["--token", SECRET, "--verbose"],
        [f"AWS_SECRET_ACCESS_KEY={SECRET}"],
        [f"https://me:{SECRET}@host/x"],
        [f"--url=https://host/x?sig={SECRET}"],
        ["-H", f"Authorization: Bearer {SECRET}"],
        [f"Basic {SECRET}"],
        ["-u", f"me:{SECRET}"],
        [f"--user=me:{SECRET}"],
        ["-H", f"Cookie: sid={SECRET}; b"],
        [f"password is: {SECRET}"],
    ],
    ids=lambda arguments: arguments[0].partition("=")[0],
)
def test_secrets_of_the_command_line_are_not_in_it(
    tmp_path: Path, arguments: list[str]
) -> None:
    script = tmp_path / "script.py"
    script.write_text("import jackfield\nwith jackfield.load(): pass\n")
    command = [sys.executable, str(script), *arguments, "--colour", "red"]
    subprocess.run(
        command,
        cwd=tmp_path,
        check=True,
        timeout=LIMIT_S,
        env={**os.environ, "MY_VARIABLE": SECRET},
    )

    (path,) = tmp_path.glob("runs/*/run.json")
    assert SECRET not in path.read_text()
    argv = json.loads(path.read_text())["program"]["argv"]
    assert argv[1] == str(script)
    assert argv[-2:] == ["--colour", "red"]


def test_the_value_behind_an_option_without_one_is_shown() -> None:
    shown = facts.without_secrets(["run", "--token", "--verbose", "plain"])

    assert shown == ["run", "--token", "--verbose", "plain"]


def test_a_run_whose_file_cannot_be_written_is_none_the_worse(tmp_path: Path) -> None:
    def stands_in_its_way() -> bool:
        """Put a directory where the new text is to go, as soon as none goes there."""
        with suppress(FileExistsError):
            (kernel.run_dir / ".run.json.new").mkdir()
            return True
        return False

    with jf.load(jf.Config(run_dir=tmp_path)) as kernel:
        assert settled((kernel.run_dir / "run.json").exists, LIMIT_S)
        assert settled(stands_in_its_way, LIMIT_S)
        assert double(1).result(LIMIT_S) == 2

    log = (kernel.run_dir / "jackfield.log").read_text()
    assert "run.json" in log
    assert "Kernel ended" in log


def test_it_can_be_blocked_as_any_plugin(tmp_path: Path) -> None:
    with jf.load(jf.Config(run_dir=tmp_path, block_plugins=("record",))) as kernel:
        pass

    assert not (kernel.run_dir / "run.json").exists()


# -- The script's text


def git(place: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b", *arguments]
    return subprocess.run(
        command, cwd=place, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    script = (
        "import jackfield, time\n"
        "with jackfield.load() as kernel:\n"
        "    end = time.monotonic() + 60\n"
        "    while time.monotonic() < end:\n"
        "        path = kernel.run_dir / 'run.json'\n"
        "        if path.exists() and '\"code\"' in path.read_text(): break\n"
    )
    (tmp_path / "script.py").write_text(script)
    git(tmp_path, "add", "script.py")
    git(tmp_path, "commit", "--quiet", "-m", "Begin")
    return tmp_path


def test_the_scripts_commit_is_told_wherever_it_runs(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, str(repository / "script.py")]
    subprocess.run(command, cwd=elsewhere, check=True, timeout=LIMIT_S)

    (path,) = elsewhere.glob("runs/*/run.json")
    code = json.loads(path.read_text())["code"]
    assert code["commit"] == git(repository, "rev-parse", "HEAD")
    assert code["root"] == str(repository)


@pytest.mark.parametrize("changed", [False, True])
def test_changes_since_the_commit_are_told(repository: Path, changed: bool) -> None:
    if changed:
        (repository / "script.py").write_text("pass\n")
    (repository / "not_followed.txt").write_text("x")

    code = facts.Git().code_of(repository)

    assert code is not None
    assert code["dirty"] is changed


def test_a_program_named_by_the_repository_is_not_started(repository: Path) -> None:
    (repository / "watch.sh").write_text(f"#!/bin/sh\ntouch {repository}/started\n")
    (repository / "watch.sh").chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(repository / "watch.sh"))

    code = facts.Git().code_of(repository)

    assert code is not None
    assert not (repository / "started").exists()


def test_outside_of_a_repository_there_is_no_code(tmp_path: Path) -> None:
    assert facts.Git().code_of(tmp_path) is None


def test_once_stopped_git_is_not_asked(repository: Path) -> None:
    asked = facts.Git()
    asked.stop()

    assert asked.code_of(repository) is None


def test_whatever_is_among_the_modules_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "no_module", object())
    monkeypatch.setitem(sys.modules, "none_module", None)

    assert facts.imported_versions()["pytest"] == pytest.__version__


class Ender:
    """Ends a kernel before any other plugin is told that it has started."""

    @jf.hookimpl(tryfirst=True)
    def jackfield_kernel_started(self, kernel: jf.DataFlowKernel) -> None:
        kernel.cleanup()


def test_a_kernel_that_ends_before_its_start_is_told_leaves_no_thread(
    tmp_path: Path,
) -> None:
    jf.load(jf.Config(run_dir=tmp_path, plugins=[Ender()]))

    assert settled(
        lambda: "jackfield-record" not in [one.name for one in threading.enumerate()],
        LIMIT_S,
    )


def test_a_kernel_that_ends_before_its_start_is_told_has_a_record(
    tmp_path: Path,
) -> None:
    kernel = jf.load(jf.Config(run_dir=tmp_path, plugins=[Ender()]))

    record = record_of(kernel.run_dir)
    assert record["state"] == "done"
    assert record["program"]["cwd"] == str(Path.cwd())
    assert record["ended"] >= record["began"]


def test_an_end_that_is_told_while_the_start_is_waits_for_the_thread(
    tmp_path: Path,
) -> None:
    record, raised = RunRecord(), list[BaseException]()

    def end() -> None:
        try:
            record.jackfield_kernel_closing(kernel)
        except BaseException as error:
            raised.append(error)

    ender = threading.Thread(target=end)

    def end_before_the_thread_is_started(frame: Any, event: str, _: object) -> None:
        starts = event == "call" and frame.f_code is threading.Thread.start.__code__
        if starts and frame.f_locals["self"].name == "jackfield-record":
            sys.setprofile(None)
            ender.start()
            ender.join(0.5)  # it waits for us, or has ended too early

    config = jf.Config(run_dir=tmp_path, block_plugins=("record",))
    with jf.load(config) as kernel:
        sys.setprofile(end_before_the_thread_is_started)
        try:
            record.jackfield_kernel_started(kernel)
        finally:
            sys.setprofile(None)
        ender.join(LIMIT_S)

    assert not ender.is_alive()
    assert raised == []
    assert record_of(kernel.run_dir)["state"] == "done"
