"""A hit is what the function returned, whatever was done to an earlier result."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import CheckpointWarning

LIMIT_S = 60
MEMORY = {"store": "memory"}


class Box:
    """An object that everybody may change."""

    def __init__(self, content: list[int]) -> None:
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and self.content == other.content

    def __hash__(self) -> int:
        return 0


MAKERS: dict[str, Callable[[], Any]] = {
    "list": lambda: [1, 2],
    "dict": lambda: {"a": [1]},
    "set": lambda: {1, 2},
    "bytearray": lambda: bytearray(b"ab"),
    "array": lambda: array.array("i", [1, 2]),
    "deque": lambda: collections.deque([1, 2]),
    "list in a tuple": lambda: (1, [2]),
    "object": lambda: Box([1]),
    "object in a dict": lambda: {"a": Box([1])},
}


def spoil(value: Any) -> None:
    """Change a value in place, however deep."""
    if isinstance(value, tuple):
        spoil(value[1])
    elif isinstance(value, dict):
        spoil(value["a"])
    elif isinstance(value, set):
        value.add("theirs")
    elif isinstance(value, Box):
        value.content.append(7)
    else:
        value.append(7)


RAN: list[str] = []


@jf.python_app(cache=True, version="1")
def made_by(name: str) -> Any:
    RAN.append(name)
    return MAKERS[name]()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("store", ["memory", "sqlite:///results.db"])
def test_a_result_that_a_caller_changed_is_not_what_others_get(
    name: str,
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    RAN.clear()

    for _ in "12":
        with jf.load({"checkpoint": {"store": store}, "run_dir": "runs"}):
            for _ in "123":
                value = made_by(name).result(LIMIT_S)
                assert value == MAKERS[name]()
                spoil(value)
    assert len(RAN) == (2 if store == "memory" else 1)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_result_that_a_task_changed_is_not_what_others_get(executor: str) -> None:
    @jf.python_app(cache=True)
    def rows(n: int) -> list[int]:
        return list(range(n))

    @jf.python_app
    def change(values: list[int]) -> None:
        values.append(-1)

    table = {"x": {"plugin": executor, "workers": 1}}
    with jf.load({"checkpoint": MEMORY, "executors": table}):
        change(rows(3)).result(LIMIT_S)
        assert rows(3).result(LIMIT_S) == [0, 1, 2]
        change(rows(3)).result(LIMIT_S)
        again = rows(3)
        assert again.result(LIMIT_S) == [0, 1, 2]
        assert again.memo.status == "hit"


KEPT: list[list[int]] = []


@jf.python_app(cache=True, version="1")
def remembering() -> list[int]:
    KEPT.append([1])
    return KEPT[-1]


def test_what_the_function_keeps_of_its_result_may_change() -> None:
    with jf.load({"checkpoint": MEMORY}):
        remembering().result(LIMIT_S)
        KEPT[0].append(2)
        again = remembering()
        assert again.result(LIMIT_S) == [1]
        assert again.memo.status == "hit"


def test_calls_that_waited_for_one_execution_share_nothing() -> None:
    begin = threading.Event()

    @jf.python_app(cache=True, version="1")
    def made() -> list[int]:
        assert begin.wait(LIMIT_S)
        return []

    with jf.load({"checkpoint": MEMORY}):
        futures = [made() for _ in range(5)]
        begin.set()
        values = [future.result(LIMIT_S) for future in futures]

    assert values == [[]] * 5
    assert len(set(map(id, values))) == 5


def test_many_threads_that_change_what_they_get_do_not_meet() -> None:
    @jf.python_app(cache=True)
    def rows(n: int) -> list[int]:
        return list(range(n))

    wrong: list[object] = []

    def work() -> None:
        for turn in range(50):
            value = rows(turn % 5).result(LIMIT_S)
            if value != list(range(turn % 5)):
                wrong.append(value)
            value.append(threading.get_ident())

    with jf.load({"checkpoint": MEMORY}):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)

    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


FIXED = [
    1,
    "a",
    b"b",
    None,
    (1, ("a", 2.5)),
    frozenset({1}),
    datetime.date(2026, 1, 2),
    decimal.Decimal("1.5"),
    range(3),
]


@pytest.mark.parametrize("value", FIXED, ids=repr)
def test_what_nobody_can_change_is_not_copied(value: Any) -> None:
    @jf.python_app(cache=True, version="1")
    def made(name: str) -> Any:
        return value

    with jf.load({"checkpoint": MEMORY}):
        assert made(repr(value)).result(LIMIT_S) is value
        again = made(repr(value))
        assert again.result(LIMIT_S) is value
        assert again.memo.status == "hit"


def generator() -> Iterator[int]:
    yield from (0, 1, 4)


USED_UP: dict[str, Callable[[], Any]] = {
    "generator": generator,
    "iterator": lambda: iter([0, 1, 4]),
    "map": lambda: map(int, "014"),
    "zip": lambda: zip([0, 1, 4], strict=True),
    "lock": threading.Lock,
    "list of generators": lambda: [generator()],
}


@pytest.mark.parametrize("make", USED_UP.values(), ids=USED_UP)
@pytest.mark.parametrize("store", ["memory", "sqlite:///results.db"])
def test_what_cannot_be_copied_is_made_anew(
    make: Callable[[], Any],
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    @jf.python_app(cache=True, version="1")
    def made() -> Any:
        return make()

    with (
        warnings.catch_warnings(record=True) as told,
        jf.load({"checkpoint": {"store": store}, "run_dir": "runs"}),
    ):
        warnings.simplefilter("always")
        futures = [made() for _ in range(3)]  # some of which wait for another
        values = [future.result(LIMIT_S) for future in futures]

    assert len(set(map(id, values))) == 3
    assert {future.memo.status for future in futures} == {"miss"}
    if isinstance(values[0], Iterator):
        assert len({str(list(value)) for value in values}) == 1
    found = [one for one in told if issubclass(one.category, CheckpointWarning)]
    assert len(found) == (0 if store == "memory" else 1)


def test_an_open_file_is_opened_by_each_call(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")

    @jf.python_app(cache=True)
    def opened(name: str) -> Any:
        return Path(name).open()

    with jf.load({"checkpoint": MEMORY}):
        for _ in "12":
            with opened(str(path)).result(LIMIT_S) as file:
                assert file.read() == "text"


def test_a_large_result_is_copied_off_the_threads_that_others_wait_for() -> None:
    @jf.python_app(cache=True)
    def large(n: int) -> bytearray:
        return bytearray(n)

    with jf.load({"checkpoint": MEMORY}):
        for _ in "123":
            value = large(3 << 20).result(LIMIT_S)
            assert not any(value[:100])
            value[0] = 1


# -- Classes and functions of the script

SCRIPT = """
import dataclasses, enum, sys
import jackfield as jf
@dataclasses.dataclass
class Point:
    x: int
    def far(self): return self.x > 5
class Color(enum.Enum):
    RED = 1
class Bad(Exception):
    pass
class Outer:
    class Inner:
        limit = 1
def helper(x):
    return x + 1
def calling(function):
    return function
@jf.python_app(cache=True, version="1")
def make():
    values = {Point: Point(1), "color": [Color.RED], "bad": Bad("b")}
    return values, Outer.Inner(), helper, Outer.Inner
if __name__ == "__main__":
    plugin = sys.argv[1]
    with jf.load({"executors": {"x": {"plugin": plugin, "workers": 1}}}):
        for _ in "12":
            future = make()
            values, inner, function, kind = future.result()
            print(
                future.memo.status,
                isinstance(values[Point], Point) and values[Point] == Point(1),
                values["color"][0] is Color.RED,
                isinstance(values["bad"], Bad),
                type(inner) is Outer.Inner is kind,
                function is helper,
            )
"""


def script(directory: Path, plugin: str, text: str) -> list[str]:
    """Run a script; return what it prints, and what it warns of."""
    (directory / "script.py").write_text(textwrap.dedent(text))
    done = subprocess.run(
        [sys.executable, "script.py", plugin],
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    warned = [line for line in done.stderr.splitlines() if "Warning" in line]
    return done.stdout.splitlines() + [line.partition(": ")[2] for line in warned]


def test_classes_of_the_script_come_back_as_the_running_ones(tmp_path: Path) -> None:
    right = "True True True True True"

    assert script(tmp_path, "threads", SCRIPT) == [f"miss {right}", f"hit {right}"]
    assert script(tmp_path, "threads", SCRIPT) == [f"hit {right}", f"hit {right}"]
    assert script(tmp_path, "processes", SCRIPT) == [f"hit {right}", f"hit {right}"]


def test_what_the_script_defines_comes_back_from_processes(tmp_path: Path) -> None:
    right = "True True True True True"
    assert script(tmp_path, "processes", SCRIPT) == [f"miss {right}", f"hit {right}"]
    assert script(tmp_path, "threads", SCRIPT) == [f"hit {right}", f"hit {right}"]


def test_a_class_of_the_script_stays_as_it_is_when_a_worker_returns_it(
    tmp_path: Path,
) -> None:
    text = """
    import sys
    import jackfield as jf
    RATE = 1
    class Model:
        def rate(self): return RATE
    @jf.python_app
    def make(): return Model()
    if __name__ == "__main__":
        before = Model.rate
        with jf.load({"executors": {"x": {"plugin": "processes", "workers": 1}}}):
            for RATE in (2, 3):
                print(make().result().rate() == RATE, Model.rate is before)
    """
    assert script(tmp_path, "processes", text) == ["True True"] * 2


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("self.x > 5", "self.x > 6", "needs __main__.Point, which has changed"),
        ("RED = 1", "RED = 1; BLUE = 2", "needs __main__.Color, which has changed"),
        ("limit = 1", "limit = 2", "needs __main__.Outer.Inner, which has changed"),
        ("return x + 1", "return x + 2", "needs __main__.helper, which has changed"),
    ],
)
def test_a_result_of_a_class_that_has_changed_is_a_miss(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    script(tmp_path, "threads", SCRIPT)
    found = script(tmp_path, "threads", SCRIPT.replace(old, new))

    assert found[0] == "miss True True True True True"
    assert found[1] == "hit True True True True True"
    assert told in found[2]


def test_a_result_of_a_class_that_is_gone_is_a_miss(tmp_path: Path) -> None:
    text = """
    import sys
    import jackfield as jf
    if sys.argv[1] == "first":
        class Early: pass
    @jf.python_app(cache=True, version="1")
    def make():
        return Early() if sys.argv[1] == "first" else None
    with jf.load():
        print(make().result() is None)
    """
    assert script(tmp_path, "first", text) == ["False"]
    found = script(tmp_path, "second", text)

    assert found[0] == "True"
    assert "needs __main__.Early, which is gone" in found[1]
