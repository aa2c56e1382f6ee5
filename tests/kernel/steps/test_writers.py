"""The places of files that tasks write; two that write one at once are warned of."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.futures.future import task_of
from jackfield_testing.footprint import WAIT_S

EXECUTORS = ["threads", "processes"]


@jf.python_app
def hold(gate: str, outputs: Sequence[Any] = ()) -> None:
    """Write when the gate, a named pipe, is opened and closed."""
    Path(gate).read_bytes()
    Path(outputs[0]).write_text("held")


@jf.python_app
def write(after: Any = None, outputs: Sequence[Any] = ()) -> None:
    for one in outputs:
        Path(one).write_text("written")


@jf.python_app
def copy(after: Any = None, outputs: Sequence[Any] = ()) -> None:
    Path(outputs[0]).write_text("copied")


@jf.python_app(cache=True)
def cached(number: int, outputs: Sequence[Any] = ()) -> int:
    Path(outputs[0]).write_text("cached")
    return number


@jf.join_app
def inner(outputs: Sequence[Any] = ()) -> jf.AppFuture[None]:
    return write(outputs=outputs)


@jf.bash_app
def say(word: str, stdout: Any = None, stderr: Any = None) -> str:
    return f"echo {word}; echo {word} >&2"


@jf.bash_app
def wait(gate: str, stdout: Any = None, stderr: Any = None) -> str:
    return f"cat {gate}; echo waited; echo waited >&2"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("gate")
    return tmp_path


@contextmanager
def run(executor: str = "threads") -> Iterator[Callable[[], list[str]]]:
    """Give what returns the warnings in the run's log."""
    config = jf.Config(executors={"e": {"plugin": executor, "workers": 2}})
    with jf.load(config) as kernel:
        log = kernel.run_dir / "jackfield.log"
        yield lambda: [
            line.partition(" WARNING ")[2]
            for line in log.read_text().splitlines()
            if "neither waits for the other" in line
        ]


def at_once(first: jf.AppFuture[Any], second: jf.AppFuture[Any]) -> None:
    """Let the first, which waits at the gate, end when the second has ended."""
    second.result(WAIT_S)
    Path("gate").write_text("")
    first.result(WAIT_S)


@jf.bash_app
def shout(word: str, outputs: Sequence[Any] = ()) -> str:
    return f"echo {word} > {outputs[0]}"


@pytest.mark.parametrize("executor", EXECUTORS)
def test_directories_of_outputs_are_made(place: Path, executor: str) -> None:
    with run(executor):
        one = write(outputs=["new/a/b.txt", jf.File("new/c/d.txt")])
        two = shout("loud", outputs=[place / "new" / "e" / "f.txt"])

        one.result(WAIT_S)
        two.result(WAIT_S)

    assert (place / "new" / "c" / "d.txt").read_text() == "written"
    assert (place / "new" / "e" / "f.txt").read_text() == "loud\n"


def test_an_output_whose_directory_cannot_be_made_fails_in_the_app(place: Path) -> None:
    Path("file").write_text("")
    with run():
        failed = write(outputs=["file/below.txt"])

        assert isinstance(failed.exception(WAIT_S), NotADirectoryError)


def absolute(path: Path) -> Any:
    return str(path)


def relative(path: Path) -> Any:
    return path.name


def roundabout(path: Path) -> Any:
    return f"./../{path.parent.name}/{path.name}"


def linked(path: Path) -> Any:
    Path("other").symlink_to(path.parent, target_is_directory=True)
    return jf.File(f"other/{path.name}")


def as_url(path: Path) -> Any:
    return jf.File(f"file://{path}")


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("spelled", [absolute, relative, roundabout, linked, as_url])
def test_two_running_tasks_with_one_output_are_warned_of(
    place: Path, executor: str, spelled: Callable[[Path], Any]
) -> None:
    path = place / "result.txt"
    with run(executor) as warnings:
        at_once(hold("gate", outputs=[spelled(path)]), write(outputs=[path]))

        (warning,) = warnings()

    assert f"{path} is written by task 0 (hold) and by task 1 (write)" in warning


def test_it_is_said_once_for_each_pair_of_apps(place: Path) -> None:
    with run() as warnings:
        first = hold("gate", outputs=["a"])
        for _ in range(3):
            write(outputs=["a"]).result(WAIT_S)
        assert len(warnings()) == 1
        at_once(first, copy(outputs=["a"]))
        assert len(warnings()) == 1  # of those it meets the last, which has ended

        at_once(hold("gate", outputs=["b"]), copy(outputs=["b"]))
        assert len(warnings()) == 2


@pytest.mark.parametrize("executor", EXECUTORS)
def test_one_that_waits_for_the_other_is_not_warned_of(
    place: Path, executor: str
) -> None:
    with run(executor) as warnings:
        first = hold("gate", outputs=["a"])
        second = write(first, outputs=["a"])
        third = write([second.outputs[0]], outputs=["a"])
        Path("gate").write_text("")
        third.result(WAIT_S)
        write(outputs=["a"]).result(WAIT_S)

        assert warnings() == []


def test_one_that_follows_a_join_is_not_warned_of(place: Path) -> None:
    with run() as warnings:
        made = inner(outputs=["a"])
        copy(made, outputs=["a"]).result(WAIT_S)

        assert warnings() == []


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("first", "second", "number"),
    [
        ({"stdout": "log"}, {"stdout": "log"}, 1),
        ({"stdout": "log"}, {"stderr": Path("log")}, 1),
        ({"stdout": ("log", "w")}, {"stdout": ("log", "a")}, 0),
        ({"stdout": ("log", "w")}, {"stdout": ("log", "w")}, 1),
        ({"stdout": jf.File("log")}, {"stdout": "log"}, 1),
        ({"stdout": ("log", "a")}, {"stdout": ("log", "a")}, 0),
        ({"stdout": "log", "stderr": "log"}, {"stdout": "other"}, 0),
        ({"stdout": "/dev/null"}, {"stdout": "/dev/null"}, 0),
        ({"stdout": jf.AUTO_LOGNAME}, {"stdout": jf.AUTO_LOGNAME}, 0),
        ({}, {}, 0),
    ],
)
def test_streams_of_bash_apps_count_unless_they_are_to_be_appended(
    place: Path, executor: str, first: Any, second: Any, number: int
) -> None:
    with run(executor) as warnings:
        at_once(wait("gate", **first), say("yes", **second))

        assert len(warnings()) == number


def test_equal_cached_calls_write_once_and_others_do_not(place: Path) -> None:
    with run() as warnings:
        equal = [cached(1, outputs=["a"]) for _ in range(5)]
        assert [one.result(WAIT_S) for one in equal] == [1] * 5
        assert warnings() == []

        at_once(hold("gate", outputs=["a"]), cached(2, outputs=["a"]))
        assert len(warnings()) == 1


def test_a_join_app_leaves_its_outputs_to_its_inner_tasks(place: Path) -> None:
    with run() as warnings:
        inner(outputs=["a"]).result(WAIT_S)

        assert warnings() == []


def test_a_task_is_not_kept_for_its_file(place: Path) -> None:
    with run():
        future = write(outputs=["a"])
        future.result(WAIT_S)
        task = weakref.ref(task_of(future))
        del future
        gc.collect()

        assert task() is None
