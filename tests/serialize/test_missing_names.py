"""What a worker lacks of the script is told, with the way out, on processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_S = 60.0

SCRIPT = """
import sys
import jackfield as jf

def helper(x):
    return x + 1

class Shape:
    def __init_subclass__(cls, *, sides, **others):
        super().__init_subclass__(**others)
        cls.sides = sides

class Square(Shape, sides=4):
    pass

class Counting(type):
    def __new__(meta, name, bases, body, *, step):
        return super().__new__(meta, name, bases, body)
    def __init__(cls, name, bases, body, *, step):
        super().__init__(name, bases, body)

class ByTwo(metaclass=Counting, step=2):
    pass

def by_globals(name):
    return globals()[name](1)

def by_text():
    return eval("helper(1)")

def by_module():
    return getattr(sys.modules["__main__"], "helper")(1)

def sides():
    return Square.sides

def by_two():
    return ByTwo()

def of_another(name):
    return mentioned[name]

def mentioned_after_all():
    return helper, globals()["helper"](1)

mentioned = {}
calls = {
    "globals": (by_globals, "helper"), "text": (by_text,), "module": (by_module,),
    "keywords": (sides,), "metaclass": (by_two,), "table": (of_another, "red"),
    "right": (mentioned_after_all,),
}
executors = {"one": {"plugin": "processes", "workers": 1}}
with jf.load({"executors": executors}) as kernel:
    future = kernel.submit(*calls[sys.argv[1]])
    error = future.exception()
    print(type(error).__name__, error, *getattr(error, "__notes__", []))
"""


def told(tmp_path: Path, what: str) -> str:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", what]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    return ended.stdout


@pytest.mark.parametrize("what", ["globals", "text", "module"])
def test_a_name_that_a_function_looks_up_is_told_with_the_way_out(
    tmp_path: Path, what: str
) -> None:
    text = told(tmp_path, what)

    assert "'helper' is looked up by its name: mention it in the function" in text


@pytest.mark.parametrize("what", ["keywords", "metaclass"])
def test_a_class_with_keywords_is_told_with_the_way_out(
    tmp_path: Path, what: str
) -> None:
    text = told(tmp_path, what)

    assert "SerializationError" in text
    assert "without the keywords of its class line: put it into a module" in text


@pytest.mark.parametrize("what", ["table", "right"])
def test_nothing_is_said_of_other_errors(tmp_path: Path, what: str) -> None:
    assert "looked up by its name" not in told(tmp_path, what)
