"""A relative name means the directory in which the script was when it called."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0


@dataclasses.dataclass
class Holds:
    file: jf.File


@jf.python_app
def read(file: Any, _after: Any = None) -> str:
    return Path(file).read_text()


@jf.python_app
def read_nested(given: Any, _after: Any = None) -> list[str]:
    return [Path(given["files"][0]).read_text(), Path(given["held"].file).read_text()]


@jf.python_app
def write(text: str, _after: Any = None, outputs: Any = ()) -> None:
    Path(outputs[0]).write_text(text)


@jf.bash_app
def echo(text: str, _after: Any = None, **_: Any) -> str:
    return f"echo out-{text}; echo err-{text} >&2; echo {text} > plain.txt"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two directories with a file of the same name; the test begins in neither."""
    places = [tmp_path / name for name in ("one", "two")]
    for place in places:
        place.mkdir()
        (place / "in.txt").write_text(place.name)
    (tmp_path / "start").mkdir()
    monkeypatch.chdir(tmp_path / "start")
    return places


def test_files_among_the_arguments(load: Any, places: list[Path]) -> None:
    begin: Future[None] = Future()
    found: list[jf.AppFuture[Any]] = []
    with load():
        for place in places:
            os.chdir(place)
            given = {"files": [jf.File("./in.txt")], "held": Holds(jf.File("in.txt"))}
            found += [read(jf.File("in.txt"), begin), read_nested(given, begin)]
        os.chdir("/")
        begin.set_result(None)

        assert [one.result(LIMIT_S) for one in found] == [
            "one", ["one", "one"], "two", ["two", "two"],
        ]  # fmt: skip


def test_outputs_and_their_futures(load: Any, places: list[Path]) -> None:
    begin: Future[None] = Future()
    with load():
        copies = []
        for place in places:
            os.chdir(place)
            made = write(place.name, begin, outputs=["out.txt"])
            copies.append(read(made.outputs[0]))
            assert made.outputs[0].filepath == str(place / "out.txt")
            assert made.outputs[0].file_obj == jf.File("out.txt")
        os.chdir("/")
        begin.set_result(None)

        assert [one.result(LIMIT_S) for one in copies] == ["one", "two"]
    assert [(place / "out.txt").read_text() for place in places] == ["one", "two"]


@pytest.mark.parametrize("form", [str, Path, jf.File, lambda name: (name, "w")])
def test_streams_and_the_command_itself(
    load: Any, places: list[Path], form: Any
) -> None:
    begin: Future[None] = Future()
    ended = []
    with load():
        for place in places:
            os.chdir(place)
            name = place.name
            ended.append(echo(name, begin, stdout=form("o/out"), stderr=form("err")))
        os.chdir("/")
        begin.set_result(None)

        assert [one.result(LIMIT_S) for one in ended] == [0, 0]
    for place in places:
        assert (place / "o/out").read_text() == f"out-{place.name}\n"
        assert (place / "err").read_text() == f"err-{place.name}\n"
        assert (place / "plain.txt").read_text() == f"{place.name}\n"


def test_a_stream_is_told_as_an_absolute_path(load: Any, places: list[Path]) -> None:
    with load():
        os.chdir(places[0])
        future = echo("x", stdout="out")

        assert future.stdout == str(places[0] / "out")
        future.result(LIMIT_S)


def test_files_with_a_digest(load: Any, places: list[Path]) -> None:
    begin: Future[None] = Future()
    digest = hashlib.sha256(b"two").hexdigest()
    with load():
        os.chdir(places[1])
        right = read(jf.File("in.txt", sha256=digest), begin)
        os.chdir(places[0])
        wrong = read(jf.File("in.txt", sha256=digest), begin)
        begin.set_result(None)

        assert right.result(LIMIT_S) == "two"
        with pytest.raises(jf.JackfieldError, match="sha256"):
            wrong.result(LIMIT_S)


def test_files_that_are_defaults(load: Any, places: list[Path]) -> None:
    @jf.python_app
    def reads(file: Any = jf.File("in.txt"), _after: Any = None) -> str:
        return Path(file).read_text()

    begin: Future[None] = Future()
    found = []
    with load():
        for place in places:
            os.chdir(place)
            found.append(reads(_after=begin))
        begin.set_result(None)

        assert [one.result(LIMIT_S) for one in found] == ["one", "two"]


def test_cached_calls_in_two_directories_are_two_calls(
    load: Any, places: list[Path]
) -> None:
    @jf.python_app(cache=True)
    def cached(file: Any, _after: Any = None) -> str:
        return Path(file).read_text()

    begin: Future[None] = Future()
    with load():
        found = []
        for place in places:
            os.chdir(place)
            found.append(cached(jf.File("in.txt"), begin))
        begin.set_result(None)

        assert [one.result(LIMIT_S) for one in found] == ["one", "two"]


def test_cached_outputs_in_two_directories_are_made_twice(
    load: Any, places: list[Path]
) -> None:
    @jf.bash_app(cache=True)
    def made(outputs: Any = (), stdout: Any = None) -> str:
        return f"echo {outputs[0]} > {outputs[0]}; echo said"

    with load():
        for place in (*places, places[0]):
            os.chdir(place)
            made(outputs=["out.txt"], stdout=("said", "w")).result(LIMIT_S)
            assert (place / "out.txt").read_text() == f"{place / 'out.txt'}\n"
            assert (place / "said").read_text() == "said\n"


def test_cached_outputs_are_made_in_two_directories_at_once(
    load: Any, places: list[Path]
) -> None:
    @jf.bash_app(cache=True)
    def made(_after: Any, outputs: Any = ()) -> str:
        return f"echo {outputs[0]} > {outputs[0]}"

    begin: Future[None] = Future()
    ended = []
    with load(workers=2):
        for place in places:
            os.chdir(place)
            ended.append(made(begin, outputs=["out.txt"]))
        begin.set_result(None)
        assert [one.result(LIMIT_S) for one in ended] == [0, 0]
    for place in places:
        assert (place / "out.txt").read_text() == f"{place / 'out.txt'}\n"


def test_a_project_may_move_with_its_results(
    tmp_path: Path, places: list[Path], load: Any
) -> None:
    @jf.python_app(cache=True)
    def cached(file: Any) -> str:
        return Path(file).read_text()

    with load():
        os.chdir(places[0])
        assert cached(jf.File("in.txt")).result(LIMIT_S) == "one"
        os.chdir(places[1])
        (places[1] / "in.txt").write_text("one")
        again = cached(jf.File("in.txt"))
        assert again.result(LIMIT_S) == "one"
        assert again.memo.status == "hit"


def test_one_relative_path_in_two_directories_is_two_files(places: list[Path]) -> None:
    file = jf.File("in.txt")
    located = []
    for place in places:
        os.chdir(place)
        located.append(file.located())

    assert located[0] != located[1]
    assert located == [file, file]
    assert [str(one) for one in located] == [str(p / "in.txt") for p in places]
    assert [one.url for one in located] == ["in.txt", "in.txt"]


def test_without_a_working_directory_the_call_says_so(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    with load():
        monkeypatch.chdir(gone)
        gone.rmdir()

        with pytest.raises(FileNotFoundError, match="working directory is gone"):
            read(jf.File("in.txt"))
        with pytest.raises(FileNotFoundError, match="working directory is gone"):
            write("x", outputs=["out.txt"])
        os.chdir("/")
