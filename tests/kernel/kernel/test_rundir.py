"""The directory of a run and its log."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.kernel.rundir import make_run_dir
from jackfield.steps.call import stream_path

LIMIT_S = 60.0


def test_runs_are_numbered(tmp_path: Path) -> None:
    for number in ("000", "001"):
        with jf.load(run_dir=tmp_path / "runs") as kernel:
            assert kernel.run_dir == tmp_path / "runs" / number


def test_a_number_is_never_given_twice(tmp_path: Path) -> None:
    """Eight processes at once."""
    code = (
        "import sys, pathlib; from jackfield.kernel.rundir import make_run_dir\n"
        "for _ in range(20): print(make_run_dir(pathlib.Path(sys.argv[1])))"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
        for _ in range(8)
    ]
    lines = [
        line
        for child in children
        for line in child.communicate(timeout=LIMIT_S)[0].decode().split()
    ]

    assert len(set(lines)) == len(lines) == 160


def test_what_is_no_number_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "007").mkdir()

    assert make_run_dir(tmp_path).name == "008"


def test_a_run_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(jf.ConfigurationError, match=r"file.*\(run_dir\)"):
        jf.load(run_dir=tmp_path / "file")


def test_the_log_tells_of_the_run(tmp_path: Path) -> None:
    with jf.load(run_dir=tmp_path) as kernel, pytest.raises(TypeError):
        kernel.submit(len, 3).result(LIMIT_S)
    text = (kernel.run_dir / "jackfield.log").read_text()

    assert "Kernel started; executors: threads" in text
    assert "Task 0 (len) failed: TypeError" in text
    assert "failed 1" in text


def test_the_log_can_be_switched_off(tmp_path: Path) -> None:
    with jf.load(run_dir=tmp_path, log_level="OFF") as kernel:
        kernel.submit(len, "a").result(LIMIT_S)

    assert not (kernel.run_dir / "jackfield.log").exists()


def test_an_application_may_show_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "jackfield"), jf.load(run_dir=tmp_path):
        pass

    assert any("Kernel started" in message for message in caplog.messages)


def test_a_directory_of_task_logs_holds_ten_thousand(tmp_path: Path) -> None:
    assert Path(stream_path(tmp_path, 9_999, "f", "", "stdout")).parent.name == "0000"
    assert Path(stream_path(tmp_path, 10_000, "f", "", "stdout")).parent.name == "0001"


def test_a_label_cannot_leave_its_directory(tmp_path: Path) -> None:
    path = Path(stream_path(tmp_path, 1, "f", "../../etc/x y\n" + "z" * 300, "stderr"))

    assert path.parent == tmp_path / "task_logs" / "0000"
    assert len(path.name) < 160
    assert " " not in path.name


@pytest.mark.parametrize(
    "wrong",
    [
        {"executors": {"x": {"plugin": "processes", "workres": 1}}},
        {"executors": {"x": {"plugin": "no-such-plugin"}}},
        {"staging": {"htps": {}}},
        {"use_plugins": {"journal": {"max_megabytes": -1}}},
        {"use_plugins": {"no-such-plugin": {}}},
        {"checkpoint": {"store": "no-such-plugin:///x"}},
    ],
)
def test_a_load_that_fails_leaves_no_run(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(jf.JackfieldError):
        jf.load(run_dir=tmp_path / "runs", **wrong)

    assert [*tmp_path.rglob("[0-9]*")] == []


def test_a_scheme_that_no_plugin_serves_is_met_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(jf.ConfigurationError, match=r"staging\.htps .*mean 'https'"):
        jf.load(run_dir=tmp_path, staging={"htps": {"attempts": 3}})


def test_options_for_a_scheme_of_the_programs_own_plugin_pass(tmp_path: Path) -> None:
    class Shelf:
        @jf.hookimpl
        def jackfield_stat_file(self, remote: jf.Remote) -> None:
            return None

    with jf.load(run_dir=tmp_path, staging={"shelf": {"x": 1}}, plugins=[Shelf()]):
        pass


def test_a_place_that_cannot_be_written_is_told_absolutely_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()

    with pytest.raises(jf.ConfigurationError) as caught:
        jf.load(run_dir="file/runs")

    assert str(caught.value) == (
        f"The run directory cannot be made in '{tmp_path}/file/runs' (run_dir): Not a "
        f"directory. Name a place that you may write to, in run_dir or "
        f"JACKFIELD_RUN_DIR."
    )
