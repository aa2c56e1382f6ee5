"""Streams of cached apps, stores that are only read, names that are no parameters."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import CheckpointError, ConfigurationError

LIMIT_S = 60


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@jf.bash_app(cache=True)
def both(text: str, stdout: Any = None, stderr: Any = None) -> str:
    return f"echo {text}; echo {text} >&2"


@pytest.mark.parametrize("plugin", ["threads", "processes"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize(
    "given", ["a.txt", Path("a.txt"), ("a.txt", "w"), jf.File("a.txt")]
)
def test_a_stream_counts_like_an_output(plugin: str, name: str, given: Any) -> None:
    statuses = []

    def call() -> None:
        config = {"executors": {"x": {"plugin": plugin, "workers": 1}}}
        with jf.load(config, run_dir="runs"):
            future = both("one", **{name: given})
            assert future.result(LIMIT_S) == 0
            statuses.append(future.memo.status)
        assert Path("a.txt").read_text().endswith("one\n")

    call()
    call()
    Path("a.txt").unlink()
    call()
    Path("a.txt").write_text("another's")
    call()

    assert statuses == ["miss", "hit", "miss", "miss"]


def test_a_stream_with_a_name_of_its_own_does_not_count() -> None:
    statuses = []
    for _ in "12":
        with jf.load(run_dir="runs"):
            future = both("one", stdout=jf.AUTO_LOGNAME)
            future.result(LIMIT_S)
            statuses.append(future.memo.status)

    assert statuses == ["miss", "hit"]


def test_a_run_that_keeps_results_in_memory_reads_those_of_others() -> None:
    @jf.python_app(cache=True)
    def square(x: int) -> int:
        return x * x

    for name, x in (("a", 2), ("b", 3)):
        with jf.load({"checkpoint": {"store": f"sqlite:///{name}.db"}}, run_dir="r"):
            square(x).result(LIMIT_S)
    before = Path("a.db").read_bytes()
    table = {"store": "memory", "read": ["sqlite:///a.db", "sqlite:///b.db"]}
    with jf.load({"checkpoint": table}, run_dir="r") as kernel:
        futures = [square(x) for x in (2, 3, 4)]
        assert [future.result(LIMIT_S) for future in futures] == [4, 9, 16]
        assert [future.memo.status for future in futures] == ["hit", "hit", "miss"]
        assert square(4).result(LIMIT_S) == 16
        with pytest.raises(CheckpointError, match="memory only"):
            kernel.checkpoint()
    assert Path("a.db").read_bytes() == before


def test_a_database_is_whole_without_the_files_beside_it() -> None:
    @jf.python_app(cache=True)
    def square(x: int) -> int:
        return x * x

    with jf.load({"checkpoint": {"store": "sqlite:///a.db"}}, run_dir="r"):
        square(2).result(LIMIT_S)
    shutil.copy("a.db", "copy.db")
    with jf.load({"checkpoint": {"store": "sqlite:///copy.db"}}, run_dir="r"):
        future = square(2)
        future.result(LIMIT_S)

    assert future.memo.status == "hit"


def test_an_ignored_argument_that_there_is_not_is_an_error() -> None:
    def work(x: int, verbose: bool = False) -> int:
        return x + verbose

    def taking(**rest: Any) -> int:
        return len(rest)

    with pytest.raises(ConfigurationError, match=r"'verbos'.*mean 'verbose'"):
        jf.python_app(cache=True, ignore_for_cache=["verbos"])(work)
    jf.python_app(cache=True, ignore_for_cache=["verbose"])(work)
    jf.python_app(cache=True, ignore_for_cache=["anything"])(taking)
    jf.bash_app(cache=True, ignore_for_cache=["stdout"])(lambda x, stdout=None: "true")
