"""What pickles as no more than a name counts by what it is made of.

A ``NewType`` and a type variable say their name only; a function that numpy has made of
one of the project's gives a name that stands for nothing; and a module may have a class
of its own, whose properties are the module's attributes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import jackfield as jf
from jackfield.errors import MemoKeyError

if TYPE_CHECKING:
    from jackfield_memo.key_maker import PythonKeyMaker

LIMIT_S = 60.0
Runner = Callable[..., str]

TYPES = {
    "NewType": ("N = typing.NewType('N', {})", "int", "str"),
    "bound": ("N = typing.TypeVar('N', bound={})", "int", "str"),
    "constraints": ("N = typing.TypeVar('N', int, {})", "bytes", "str"),
    "variance": ("N = typing.TypeVar('N', covariant={})", "True", "False"),
    "ParamSpec": ("N = typing.ParamSpec('N', bound={})", "int", "str"),
    "in a class": ("N = typing.NewType('N', Box[{}])", "int", "str"),
}
if sys.version_info >= (3, 12):
    TYPES["alias"] = ("type N = {}", "int", "str")


@pytest.mark.parametrize(("line", "one", "other"), TYPES.values(), ids=TYPES)
def test_what_a_type_is_made_of_counts(
    tmp_path: Path, python: Runner, line: str, one: str, other: str
) -> None:
    found = []
    for made_of in (one, one, other):
        (tmp_path / "app.py").write_text(
            "import json, typing\n"
            "class Box(typing.Generic[typing.TypeVar('T')]):\n    pass\n"
            f"{line.format(made_of)}\n"
            "def f(x):\n    return N\n"
            "from jackfield_memo.key_maker import PythonKeyMaker\n"
            "keys = PythonKeyMaker(value_hooks=lambda kind: (), "
            "function_hooks=lambda: ())\n"
            "print(json.dumps([keys.function(f).digest.hex(), "
            "keys.value('a', 'x', N).hex()]))\n"
        )
        found.append(json.loads(python("-B", "app.py")))

    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
    assert found[0][1] != found[2][1]


def plus(step: int) -> Any:
    """Return a function that numpy has made of one of Python's."""
    return np.frompyfunc(lambda value: value + step, 1, 1)


def test_code_that_cannot_be_seen_is_executed_each_time(tmp_path: Path) -> None:
    made = plus(1)

    @jf.python_app(cache=True)
    def app(x: int) -> Any:
        return made(x)

    options: Any = {
        "executors": {"x": {"plugin": "threads", "workers": 1}},
        "checkpoint": {"store": "memory"},
    }
    with jf.load(options, run_dir=tmp_path):
        with pytest.warns(jf.CheckpointWarning, match=r"numpy\.ufunc, whose code is"):
            assert app(1).result(LIMIT_S) == 2
        made = plus(2)
        again = app(1)
        assert again.result(LIMIT_S) == 3
        assert again.memo.status != "hit"


def test_such_code_is_no_argument(identity: PythonKeyMaker) -> None:
    with pytest.raises(MemoKeyError, match="argument 'x'"):
        identity.value("app", "argument 'x'", plus(1))


def test_functions_of_numpys_own_count_by_their_names(identity: PythonKeyMaker) -> None:
    found = {identity.value("app", "x", one) for one in (np.sin, np.cos, np.add)}

    assert len(found) == 3


OWN = """
import sys, types
VALUES = [1]
class Own(types.ModuleType):
    {}
sys.modules[__name__].__class__ = Own
"""
WAYS = {
    "a property": "rate = property(lambda self: VALUES[0])",
    "getattr": "__getattr__ = lambda self, name: VALUES[0] * (name == 'rate')",
}


@pytest.mark.parametrize("executor", ["threads", "processes"])
@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_class_of_a_module_counts(
    tmp_path: Path,
    project: Callable[..., Any],
    executor: str,
    way: str,
    cache: bool,
) -> None:
    app = project(
        owner=OWN.format(way), app="import owner\ndef f(x): return owner.rate"
    )
    owner: Any = sys.modules["owner"]
    asked: Any = jf.python_app(cache=cache)(app.f)
    one: Any = {"plugin": executor, "workers": 1}
    options: Any = {"executors": {"x": one}, "checkpoint": {"store": "memory"}}
    with jf.load(options, run_dir=tmp_path / "runs"):
        found = [asked(1).result(LIMIT_S), asked(1).result(LIMIT_S)]
        owner.VALUES[0] = 2
        found.append(asked(1).result(LIMIT_S))
        owner.Own.rate = property(lambda _: 3)
        found.append(asked(1).result(LIMIT_S))

    assert found == [1, 1, 2, 3]
