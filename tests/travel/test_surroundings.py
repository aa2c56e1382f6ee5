"""A task finds the script's directory, and nothing that an earlier task has changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield_executors.surroundings import Surroundings, Visit
from jackfield_serialize import dump_call, dump_function, load_outcome

LIMIT_S = 60.0


def look() -> tuple[str, int, str | None, bool]:
    umask = os.umask(0o022)
    os.umask(umask)
    return str(Path.cwd()), umask, os.environ.get("TRAVEL"), "HOME" in os.environ


def change_everything(*, fail: bool = False) -> None:
    os.chdir("/")
    os.umask(0o007)
    os.environ["TRAVEL"] = "changed"
    os.environ.pop("HOME", None)
    if fail:
        raise ValueError("it fails after the change")


def change_nothing(value: Any) -> Any:
    return value


@pytest.mark.parametrize("fail", [False, True])
def test_what_a_task_changes_is_put_back(
    isolated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAVEL", "the script's")
    monkeypatch.setenv("HOME", "/home")
    with isolated() as kernel:
        before = kernel.submit(look).result(LIMIT_S)
        kernel.submit(change_everything, fail=fail).exception(LIMIT_S)
        after = kernel.submit(look).result(LIMIT_S)

    assert before == after
    assert (before[0], before[2:]) == (str(tmp_path), ("the script's", True))


def set_umask_by_c() -> None:
    import ctypes

    ctypes.CDLL(None).umask(0o007)


def test_a_umask_that_c_has_set_is_put_back(isolated: Any) -> None:
    with isolated() as kernel:
        before = kernel.submit(look).result(LIMIT_S)
        for _ in range(2):
            kernel.submit(set_umask_by_c).result(LIMIT_S)
            assert kernel.submit(look).result(LIMIT_S) == before


def test_also_between_tasks_that_are_sent_together(isolated: Any) -> None:
    with isolated() as kernel:
        futures = []
        for number in range(50):
            futures += [
                kernel.submit(change_everything),
                kernel.submit(change_nothing, number),
                kernel.submit(look),
            ]
        found = {one.result(LIMIT_S) for one in futures[2::3]}

    assert len(found) == 1
    assert next(iter(found))[2] is None


def test_tasks_follow_the_script_to_another_directory(
    isolated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with isolated() as kernel:
        for name in ("a", "b", "c"):
            (tmp_path / name).mkdir()
            monkeypatch.chdir(tmp_path / name)
            assert kernel.submit(os.getcwd).result(LIMIT_S) == str(tmp_path / name)


def test_if_the_directory_is_gone_tasks_stay_where_they_are(
    isolated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, gone = tmp_path / "first", tmp_path / "gone"
    first.mkdir()
    gone.mkdir()
    with isolated() as kernel:
        monkeypatch.chdir(first)
        assert kernel.submit(abs, -1).result(LIMIT_S) == 1
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert kernel.submit(abs, -1).result(LIMIT_S) == 1
        os.chdir("/")


def test_what_an_initializer_sets_stays(tmp_path: Path) -> None:
    def initialize(directory: str) -> None:
        os.chdir(directory)
        os.umask(0o027)
        os.environ["TRAVEL"] = "the initializer's"

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    executor = {
        "plugin": "processes",
        "workers": 1,
        "initializer": initialize,
        "initargs": [str(scratch)],
    }
    with jf.load(executors={"one": executor}, run_dir=tmp_path / "runs") as kernel:
        for _ in range(2):
            found = kernel.submit(look).result(LIMIT_S)
            assert found[:3] == (str(scratch), 0o027, "the initializer's")
            kernel.submit(change_everything).result(LIMIT_S)


def test_what_a_module_sets_when_it_is_imported_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "sets_a_variable.py"
    module.write_text(
        "import os\nos.environ['TRAVEL'] = 'imported'\n"
        "def variable():\n    return os.environ.get('TRAVEL')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("TRAVEL", raising=False)
    import sets_a_variable  # type: ignore[import-not-found]  # written above

    executor = {"plugin": "processes", "workers": 1}
    try:
        with jf.load(executors={"one": executor}, run_dir=tmp_path / "runs") as kernel:
            for _ in range(3):
                found = kernel.submit(sets_a_variable.variable)
                assert found.result(LIMIT_S) == "imported"
    finally:
        del sys.modules["sets_a_variable"]


def test_a_directory_that_cannot_be_entered_fails_the_task_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    around = Surroundings()
    around.follow("/no/such/directory")
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match="cannot run where the script is"):
            around.restore()
        assert around.changed
    around.follow(str(tmp_path))
    around.restore()
    assert not around.changed

    kind, *_, text = Visit("/no/such/directory").run(b"", b"")
    assert kind == "error"
    assert "cannot run where the script is" in text
    assert Path.cwd() == tmp_path


def test_a_visit_leaves_no_call_another_ones_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLOUR", "blue")
    there = tmp_path / "there"
    there.mkdir()

    def change() -> None:
        os.chdir("/")
        os.environ["COLOUR"] = "red"
        os.umask(0o111)

    def look() -> tuple[Path, str, int]:
        umask = os.umask(0)
        return Path.cwd(), os.environ["COLOUR"], umask

    umask = look()[2]
    os.umask(umask)
    call = dump_call("look", None, (), {})
    visit = Visit(str(there))
    for function in (change, change):
        assert visit.run(dump_function("change", function), call)[0] == "ok"
        packed = visit.run(dump_function("look", look), call)
        assert load_outcome("look", packed) == (None, (there, "blue", umask))
    visit.leave()

    assert look() == (tmp_path, "blue", umask)
    os.umask(umask)
