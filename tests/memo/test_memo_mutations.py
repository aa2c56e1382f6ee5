"""Whatever edit changes what a function returns, changes its identity.

Every constant, operator and name of a small project is changed, one at a time. The
functions are run: where a result is another one, the identity has to be as well.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = {
    "app": """
import functools
import math as numbers
import tools
from operator import add as put
from shapes import Box, Kind, Pair, make as build
from tools import LIMITS, scale as by

OFFSET = 4
HANDLERS = {"a": by, "b": tools.shift}
CHAIN = [functools.partial(tools.power, 2), lambda v: v + 10]


def traced(level):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return [level, function(*args, **kwargs)]
        return wrapper
    return decorate


def plain(x, y=2, *, z=3):
    total = x * y - z
    if total > 5:
        total += OFFSET
    return put(total, 1), numbers.sqrt(x)


def helpers(x):
    return by(x) + tools.shift(x) + sum(h(x) for h in HANDLERS.values())


def chained(x):
    for step in CHAIN:
        x = step(x)
    return x


@traced(7)
def wrapped(x):
    return tools.inner.deep(x)


def classes(x):
    box = Box(x)
    return [box.area(), box.half, Box.unit().area(), Kind.BIG.value, Pair(x), Pair.n]


def built(x):
    high = {k: v for k, v in LIMITS.items() if k != "low"}
    return build(x)(1), LIMITS["high"][1], high


def late(x):
    from lazy import work
    import lazy as other
    return work(x), other.again(x)


def recursive(x):
    return 1 if x < 2 else x * tools.step_down(x)


def matched(x):
    match x:
        case 3:
            return "three"
        case [a, *_]:
            return a
    return "other"


def generated(x):
    def numbers():
        for n in range(x):
            yield n ** 2
    try:
        return [*numbers(), f"{x:>4}", not x, -x, x and 8, (lambda q=6: q)()]
    except ValueError:
        return 0
""",
    "tools": """
import app
import inner

LIMITS = {"low": 1, "high": [5, 6]}
FACTOR = 3


def scale(x):
    return x * FACTOR


def shift(x, by=11):
    return x - by


def power(n, x):
    return x ** n


def step_down(x):
    return app.recursive(x - 1)
""",
    "inner": """
BASE = 12


def deep(x):
    def once(y):
        return y + BASE
    return once(once(x))
""",
    "shapes": """
import enum
from dataclasses import dataclass, field


class Kind(enum.Enum):
    SMALL = 1
    BIG = 20


class Shape:
    sides = 4

    def area(self):
        return self.side * self.sides


class Box(Shape):
    def __init__(self, side, scale=1):
        self.side = side * scale

    @property
    def half(self):
        return self.side / 2

    @classmethod
    def unit(cls):
        return cls(1)


@dataclass
class Pair:
    left: int
    right: int = 9
    more: list = field(default_factory=lambda: [13])
    n = 15


def make(by):
    def made(x):
        return x + by + 14
    return made
""",
    "lazy": """
import math as numbers
from inner import deep
from operator import add as put
from late_names import *
from math import *

RATE = 16
TABLE = {}
for number in range(3):
    TABLE[number] = number + 17


def work(x):
    return deep(x) + RATE + TABLE[2] + starred(x) , Tool().use()


class Tool:
    value = 18

    def use(self):
        return put(self.value, base()), numbers.sqrt(4), sqrt(9)


def base():
    return 19


def again(x):
    return work(x) if x > 100 else x - 21


""",
    "late_names": """
def starred(x):
    return x * 22
""",
}
FUNCTIONS = [
    "plain",
    "helpers",
    "chained",
    "wrapped",
    "classes",
    "built",
    "late",
    "recursive",
    "matched",
    "generated",
]

PROBE = """
import importlib, json, sys
from jackfield_memo.key_maker import PythonKeyMaker

project, cases = json.load(sys.stdin)
found = []
for directory in cases:
    sys.path.insert(0, directory)
    importlib.invalidate_caches()
    results = {}
    try:
        app = importlib.import_module("app")
        identity = PythonKeyMaker(
            value_hooks=lambda kind: (), function_hooks=lambda: ()
        )
        for name in project["functions"]:
            function = getattr(app, name, None)
            if function is not None:
                digest = identity.function(function).digest.hex()
                try:
                    result = repr(function(3))
                except Exception as error:
                    result = repr(error)
                results[name] = digest, result
    except Exception:
        pass
    found.append(results)
    sys.path.remove(directory)
    for name in project["modules"]:
        sys.modules.pop(name, None)
print(json.dumps(found))
"""

OTHER: dict[type[ast.AST], Any] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
}
IMPORTS = {"math": "cmath", "add": "sub", "deep": "BASE", "scale": "shift"}


def mutants(text: str) -> Iterator[str]:
    """Give a text with one thing changed, for each thing that can be."""
    places = len(list(ast.walk(ast.parse(text))))
    for place in range(places):
        tree = ast.parse(text)
        node = list(ast.walk(tree))[place]
        if mutate(node):
            yield ast.unparse(tree)


def mutate(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node.value += "!"
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        node.value = node.value * 2 + 1
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OTHER:
        node.op = OTHER[type(node.op)]()
    elif isinstance(node, ast.alias) and node.name in IMPORTS:
        node.name = IMPORTS[node.name]
    elif isinstance(node, ast.ImportFrom) and node.module in IMPORTS:
        node.module = IMPORTS[node.module]
    elif isinstance(node, ast.Compare):
        node.ops = [ast.NotEq() if isinstance(node.ops[0], ast.Eq) else ast.Eq()]
    elif isinstance(node, ast.Return) and node.value:
        node.value = ast.Tuple([node.value], ast.Load())
    elif isinstance(node, ast.FunctionDef) and len(node.body) > 1:
        del node.body[0]
    else:
        return False
    return True


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[str]]]:
    root = tmp_path_factory.mktemp("mutants")
    projects = [PROJECT]
    for name, text in PROJECT.items():
        projects += [{**PROJECT, name: mutant} for mutant in mutants(text)]
    cases = []
    for number, files in enumerate(projects):
        directory = root / str(number)
        directory.mkdir()
        for name, text in files.items():
            (directory / f"{name}.py").write_text(text)
        cases.append(str(directory))
    project = {"functions": FUNCTIONS, "modules": [*PROJECT]}
    return probe(project, cases)


def probe(
    project: dict[str, list[str]], cases: list[str]
) -> list[dict[str, list[str]]]:
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE],
        input=json.dumps([project, cases]),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(cases[0]).parent,
        check=True,
    )
    found: list[dict[str, list[str]]] = json.loads(done.stdout)
    return found


def test_enough_edits_change_results(outcomes: list[dict[str, list[str]]]) -> None:
    base, *edited = outcomes

    for name in FUNCTIONS:
        changed = [
            one for one in edited if name in one and one[name][1] != base[name][1]
        ]
        assert len(changed) >= 3, name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_edit_that_changes_the_result_changes_the_identity(
    name: str, outcomes: list[dict[str, list[str]]]
) -> None:
    base, *edited = outcomes

    for number, one in enumerate(edited):
        if name in one and one[name][1] != base[name][1]:
            assert one[name][0] != base[name][0], f"mutant {number + 1}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_most_other_edits_do_not_change_the_identity(
    name: str, outcomes: list[dict[str, list[str]]]
) -> None:
    base, *edited = outcomes
    same = [one for one in edited if name in one and one[name][1] == base[name][1]]
    kept = [one for one in same if one[name][0] == base[name][0]]

    assert len(kept) >= 0.8 * len(same)
