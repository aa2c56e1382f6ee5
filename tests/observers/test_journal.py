"""``[plugins.journal]``: what happened, in the run's directory, as JSON lines."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 40.0


def table(tmp_path: Path, **options: Any) -> dict[str, Any]:
    return {
        "run_dir": str(tmp_path / "runs"),
        "plugins": {"journal": options},
        "exit_grace": 1.0,
    }


def lines(kernel: jf.DataFlowKernel) -> list[dict[str, Any]]:
    text = (kernel.run_dir / "journal.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


@jf.python_app
def double(x: int) -> int:
    return 2 * x


@jf.python_app
def fail(words: str) -> None:
    raise ValueError(words)


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_each_task_is_told_with_its_states(tmp_path: Path, plugin: str) -> None:
    executors = {"cpu": {"plugin": plugin, "workers": 2}}
    with jf.load(table(tmp_path), executors=executors) as kernel:
        assert double(double(1)).result(LIMIT_S) == 4
        fail("no such thing").exception(LIMIT_S)

    first, *events, last = lines(kernel)
    assert first["what"] == "started"
    assert first["executors"] == ["cpu"]
    assert last["what"] == "ended"
    assert (last["succeeded"], last["failed"]) == (2, 1)
    assert {event["what"] for event in events} == {"task"}
    states = [(one["task"], one["state"]) for one in events]
    for task, told in enumerate(
        [
            ["submitted", "succeeded"],
            ["ready", "submitted", "succeeded"],
            ["submitted", "failed"],
        ]
    ):
        # The second one is told to wait, unless the first has ended before it comes.
        ours = [state for number, state in states if number == task]
        assert [state for state in ours if state != "waiting"] == told
    (failure,) = [one for one in events if one["state"] == "failed"]
    assert failure["app"] == "fail"
    assert failure["error"] == "ValueError: no such thing [in fail('no such thing')]"
    assert failure["executor"] == "cpu"
    assert all("error" not in one for one in events if one is not failure)


def test_transfers_are_told_without_their_progress(tmp_path: Path) -> None:
    class Shelf:
        @jf.hookimpl
        def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
            return transfer.receive([b"content"])

    @jf.python_app
    def read(file: jf.File) -> str:
        return Path(file).read_text()

    with jf.load(table(tmp_path), plugins=[Shelf()]) as kernel:
        read(jf.File("shelf://me:hunter2@host/x?token=abc")).result(LIMIT_S)

    moved = [one for one in lines(kernel) if one["what"] == "transfer"]
    assert [one["stage"] for one in moved] == ["started", "done"]
    assert moved[1]["moved"] == 7
    text = json.dumps(moved)
    assert "shelf://me:***@host/x" in text
    assert "hunter2" not in text
    assert "abc" not in text


@pytest.mark.parametrize(
    "words",
    [
        "cannot open ftp://me:hunter2@host/x",
        "GET https://host/x?signature=hunter2 failed",
        "login with password=hunter2 refused",
        "{'api_key': 'hunter2'}",
        "TOKEN: hunter2, for the lab",
        "login with password='correct hunter2' refused",
        "{'password': \"it's hunter2\"}",
        r"{'password': 'it\'s hunter2', 'user': 'me'}",
        r'answer "{\"api_key\": \"my hunter2\"}"',
        "password=b'my hunter2'",
        "password = 'of two lines\nhunter2'",
        "password='cut off hunter2",
    ],
)
def test_secrets_in_errors_are_hidden(tmp_path: Path, words: str) -> None:
    with jf.load(table(tmp_path)) as kernel:
        fail(words).exception(LIMIT_S)

    text = (kernel.run_dir / "journal.jsonl").read_text()
    assert "***" in text
    assert "hunter2" not in text


def test_what_follows_a_quoted_secret_stays(tmp_path: Path) -> None:
    with jf.load(table(tmp_path)) as kernel:
        fail("{'password': 'my secret', 'user': 'me'}").exception(LIMIT_S)

    (failure,) = [one for one in lines(kernel) if one.get("state") == "failed"]
    shown = "ValueError: {'password': '***', 'user': 'me'} [in fail('***')]"
    assert failure["error"] == shown


def test_a_line_stays_a_line_whatever_an_error_says(tmp_path: Path) -> None:
    with jf.load(table(tmp_path)) as kernel:
        fail("a\x1b[2J\u2028\udcff\x00b").exception(LIMIT_S)

    text = (kernel.run_dir / "journal.jsonl").read_bytes()
    assert text.isascii()
    assert b"\x1b" not in text
    assert [one["what"] for one in lines(kernel)][-1] == "ended"


def test_the_file_is_the_users_own(tmp_path: Path) -> None:
    with jf.load(table(tmp_path)) as kernel:
        mode = (kernel.run_dir / "journal.jsonl").stat().st_mode

    assert stat.S_IMODE(mode) == 0o600


def test_without_the_table_there_is_no_file(tmp_path: Path) -> None:
    with jf.load({"run_dir": str(tmp_path / "runs")}) as kernel:
        double(1).result(LIMIT_S)

    assert not (kernel.run_dir / "journal.jsonl").exists()


COMMAND = """
import jackfield as jf

with jf.load() as kernel:
    print(kernel.submit(abs, -1).result(), (kernel.run_dir / "journal.jsonl").exists())
"""


@pytest.mark.parametrize(
    ("options", "variables", "written"),
    [
        (["--set", "plugins.journal={}"], {}, True),
        ([], {"JACKFIELD_PLUGINS__JOURNAL": "{}"}, True),
        ([], {"JACKFIELD_PLUGINS__JOURNAL__MAX_MEGABYTES": "1"}, True),
        (["--set", "plugins.journal={}", "--no-plugin", "journal"], {}, False),
        ([], {}, False),
    ],
    ids=str,
)
def test_one_run_can_switch_it_on_and_off(
    tmp_path: Path, options: list[str], variables: dict[str, str], written: bool
) -> None:
    (tmp_path / "script.py").write_text(COMMAND)

    done = subprocess.run(
        [Path(sys.executable).with_name("jackfield"), "run", *options, "script.py"],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"1 {written}\n"


def test_events_are_in_the_file_while_the_run_goes_on(tmp_path: Path) -> None:
    with jf.load(table(tmp_path)) as kernel:
        double(1).result(LIMIT_S)
        end = time.monotonic() + LIMIT_S
        while "succeeded" not in (kernel.run_dir / "journal.jsonl").read_text():
            assert time.monotonic() < end


def test_the_size_is_bounded_and_what_is_missing_is_counted(tmp_path: Path) -> None:
    tasks, size = 200, 5_000
    with jf.load(table(tmp_path, max_megabytes=size / 1e6)) as kernel:
        for future in [double(n) for n in range(tasks)]:
            future.result(LIMIT_S)

    told = lines(kernel)
    events = [one for one in told if one["what"] == "task"]
    assert (kernel.run_dir / "journal.jsonl").stat().st_size < size + 500
    assert events
    assert told[-1]["left_out"] == 2 * tasks - len(events)


class Last:
    """Hears of events after all others."""

    def __init__(self) -> None:
        self.told = threading.Event()

    @jf.hookimpl
    def jackfield_task_events(self) -> None:
        self.told.set()


class Early:
    """Submits a task as soon as a kernel has started, and waits until it is told."""

    @jf.hookimpl
    def jackfield_kernel_started(self, kernel: jf.DataFlowKernel) -> None:
        last = Last()
        kernel.register(last)
        kernel.submit(abs, -1).result(LIMIT_S)
        assert last.told.wait(LIMIT_S)


def test_what_happens_before_the_file_is_there_is_not_lost(tmp_path: Path) -> None:
    # Plugins of the program are registered first, so this one is told first.
    with jf.load(table(tmp_path), plugins=[Early()]) as kernel:
        pass

    told = lines(kernel)
    assert [one["what"] for one in told] == ["started", "task", "task", "ended"]


class InTheWay:
    """Takes the journal's name for something else."""

    @jf.hookimpl
    def jackfield_kernel_started(self, kernel: jf.DataFlowKernel) -> None:
        (kernel.run_dir / "journal.jsonl").mkdir()


def test_a_file_that_cannot_be_made_is_logged_and_that_is_all(tmp_path: Path) -> None:
    with jf.load(table(tmp_path), plugins=[InTheWay()]) as kernel:
        assert double(1).result(LIMIT_S) == 2

    log = (kernel.run_dir / "jackfield.log").read_text()
    assert "plugin 'journal'" in log
    assert "FileExistsError" in log
    assert log.count("raised") == 1


FULL_DISK = """
import resource, sys
import jackfield as jf

@jf.python_app
def double(x):
    return 2 * x

resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
table = {"run_dir": sys.argv[1], "log_level": "OFF", "plugins": {"journal": {}}}
with jf.load(table) as kernel:
    print(sum(future.result(30) for future in [double(n) for n in range(300)]))
print(kernel.run_dir)
"""


def test_a_full_disk_disturbs_no_task(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(FULL_DISK)

    done = subprocess.run(
        [sys.executable, script, tmp_path / "runs"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    total, run_dir = done.stdout.splitlines()
    assert total == str(300 * 299)
    assert Path(run_dir, "journal.jsonl").stat().st_size <= 2_000


@pytest.mark.parametrize("size", [0, -1, "1", True, float("inf"), float("nan")])
def test_a_size_that_cannot_be_ends_the_start(tmp_path: Path, size: object) -> None:
    with (
        pytest.raises(jf.ConfigurationError, match="max_megabytes must be a number"),
        jf.load(table(tmp_path, max_megabytes=size)),
    ):
        pass


def test_a_kernel_that_ends_before_its_start_is_told_has_a_whole_journal(
    tmp_path: Path,
) -> None:
    class Ender:
        @jf.hookimpl(tryfirst=True)
        def jackfield_kernel_started(self, kernel: jf.DataFlowKernel) -> None:
            kernel.cleanup()

    kernel = jf.load(table(tmp_path), plugins=[Ender()])

    assert [line["what"] for line in lines(kernel)] == ["started", "ended"]
