"""Which edits of a project change the identity of a function, and which do not.

One project, written to disk; each case edits one file of it. The digests are computed
in two processes with different hash seeds, all cases in one go, and must agree.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = {
    "app.py": '''
"""What the module is."""

import helpers
import pkg.deep
from functools import lru_cache, partial, singledispatch, wraps
from helpers import THRESHOLD, Config, Mode, Point, Shape, Square, clean as tidy
from pkg import inner
import jackfield as jf

LIMIT = 3
UNUSED = 1
SETTINGS = {"depth": 1, "widths": [1, 2]}


def plain(x: int, y=2, *, z=5) -> int:
    """Adds."""
    total = x + y + z  # a comment
    return [total, (1, 2)]


def calls(x):
    return tidy(x) + helpers.scale(x) + inner.bump(x) + pkg.deep.leaf(x)


def constants(x):
    return x + LIMIT + THRESHOLD + SETTINGS["depth"]


def nested(x):
    def step(y, by=1):
        return [helpers.scale(v) + by for v in y]
    return step(x)


def classes(x):
    return Square(x).area() + Config.depth + Point(x).left


def modes(x):
    return Mode.FAST if x else Mode.SLOW


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def factory(by, label="a"):
    def add(x):
        return x + by
    return add


closure = factory(10)
double, triple = lambda x: x * 2, lambda x: x * 3
bound = partial(tidy, 1)


def logged(level):
    def decorate(function):
        @wraps(function)
        def wrapper(*args):
            return function(*args), level
        return wrapper
    return decorate


@logged(1)
def decorated(x):
    return x + 1


@lru_cache(maxsize=10)
def cached(x):
    return x + 2


@singledispatch
def show(x):
    return "any"


@show.register
def _(x: int):
    return "int"


def shows(x):
    return show(x) + str(cached(x)) + str(decorated(x)) + str(bound())


@jf.python_app(cache=True, retries=1)
def app(x):
    return helpers.scale(x)


def uses_app(x):
    return app(x)


def handlers(x):
    return {"clean": tidy, "scale": helpers.scale}[x]


TABLE = {"clean": tidy, "scale": helpers.scale}
CHOICES = {tidy, helpers.scale, closure, factory(11)}


def table(x):
    return TABLE[x], CHOICES


def local_import(x):
    import textwrap
    from pkg.lazy import work
    return work(x)


def local_module(x):
    import pkg.lazy as lazy
    return lazy.other(x)


class Base:
    step = 1

    def run(self):
        return self.step


class Job(Base):
    """A job."""

    def __init__(self, size):
        self.size = size

    @property
    def half(self):
        return self.size / 2

    @staticmethod
    def name():
        return "job"

    @classmethod
    def make(cls):
        return cls(UNSEEN)


UNSEEN = 1


def jobs(x):
    return Job(x).run()
''',
    "helpers.py": '''
import enum
from dataclasses import dataclass, field

THRESHOLD = 0.5
FACTOR = 2


def unrelated(x):
    return x + 99


def scale(x):
    """Scales."""
    return x * FACTOR


def clean(x):
    return strip(x)


def strip(x):
    return x - 1


class Shape:
    sides = 0

    def area(self):
        return self.sides


class Square(Shape):
    sides = 4


class Config:
    depth = 1
    width = 2


@dataclass
class Point:
    left: int
    right: int = 0
    tags: list = field(default_factory=list)


class Mode(enum.Enum):
    FAST = 1
    SLOW = 2
''',
    "pkg/__init__.py": "VERSION = 1\n",
    "pkg/inner.py": """
from .deep import leaf


def bump(x):
    return leaf(x) + 1
""",
    "pkg/deep.py": """
def leaf(x):
    return x + 7


def unused_leaf(x):
    return x
""",
    "pkg/lazy.py": '''
"""Imported when it is needed."""

from .deep import leaf
from .stars import *

RATE = 3
TABLE = {}
TABLE["a"] = 1


def work(x: int) -> int:
    """Works."""
    return leaf(x) * RATE + starred(x) + TABLE["a"] + Tool().use()


def other(x):
    return x - 2


class Tool:
    def use(self):
        return base()


def base():
    return 5


print("loading", end="")
''',
    "pkg/stars.py": """
def starred(x):
    return x + 13


def not_used(x):
    return x
""",
}

PROBE = """
import contextlib, importlib, io, json, linecache, sys
from jackfield_memo.key_maker import PythonKeyMaker

found = {}
for case, (directory, names) in json.load(sys.stdin).items():
    sys.path.insert(0, directory)
    importlib.invalidate_caches()
    with contextlib.redirect_stdout(io.StringIO()):
        app = importlib.import_module("app")
    identity = PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ())
    for name in names:
        found[f"{case}/{name}"] = identity.function(getattr(app, name)).digest.hex()
    sys.path.remove(directory)
    for name in [name for name in sys.modules if name.partition(".")[0] in
                 {"app", "helpers", "pkg"}]:
        del sys.modules[name]
    linecache.clearcache()
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Edit:
    """An edit, and whether it changes a function's identity."""

    title: str
    function: str
    file: str
    old: str
    new: str
    changes: bool


def edit(title: str, function: str, file: str, old: str, new: str) -> Edit:
    return Edit(title, function, file, old, new, changes=True)


def keep(title: str, function: str, file: str, old: str, new: str) -> Edit:
    return Edit(title, function, file, old, new, changes=False)


A, H, L = "app.py", "helpers.py", "pkg/lazy.py"

EDITS = [
    # -- the function itself
    keep("a comment", "plain", A, "# a comment", "# another comment"),
    keep("a docstring", "plain", A, '"""Adds."""', '"""Adds numbers."""'),
    keep("no docstring", "plain", A, '    """Adds."""\n', ""),
    keep("an annotation", "plain", A, "x: int, y=2", "x: float, y=2"),
    keep("a result's annotation", "plain", A, "-> int:", '-> "float":'),
    keep("a local annotation", "plain", A, "total = x + y", "total: int = x + y"),
    keep("formatting", "plain", A, "x + y + z", "(\n  x+y\n  + z)"),
    keep("a trailing comma", "plain", A, "(1, 2)]", "(1, 2,),]"),
    keep("line numbers", "plain", A, "LIMIT = 3", "\n\n\nLIMIT = 3"),
    keep("pass", "plain", A, "    return [total", "    pass\n    return [total"),
    keep("a string as a comment", "plain", A, "    total =", '    "note"\n    total ='),
    keep("an unrelated constant", "plain", A, "UNUSED = 1", "UNUSED = 2"),
    keep("an unrelated function", "plain", A, "def calls(x):", "def calls(x, y):"),
    keep("the module's docstring", "plain", A, "What the module is", "Something"),
    keep(
        "an unused import", "plain", A, "import pkg.deep\n", "import pkg.deep, json\n"
    ),
    edit("an operator", "plain", A, "x + y + z", "x + y - z"),
    edit("a constant", "plain", A, "(1, 2)", "(1, 3)"),
    edit("the type of a constant", "plain", A, "(1, 2)", "(1, 2.0)"),
    edit("tuple to list", "plain", A, "(1, 2)", "[1, 2]"),
    edit("a default", "plain", A, "y=2", "y=3"),
    edit("a keyword's default", "plain", A, "z=5", "z=6"),
    edit("a parameter's name", "plain", A, "x: int, y=2", "x: int, yy=2"),
    edit("a parameter's kind", "plain", A, "y=2, *, z=5", "y=2, z=5"),
    edit("an inner default", "nested", A, "by=1", "by=2"),
    edit("an inner function", "nested", A, "+ by", "- by"),
    keep("an inner docstring", "nested", A, "by=1):", 'by=1):\n        "Steps."'),
    edit("what an inner function calls", "nested", H, "x * FACTOR", "x / FACTOR"),
    # -- helpers
    edit("a helper", "calls", H, "return strip(x)", "return -strip(x)"),
    edit("a helper's helper", "calls", H, "x - 1", "x - 2"),
    edit("a helper's constant", "calls", H, "FACTOR = 2", "FACTOR = 3"),
    edit("a helper by attribute", "calls", H, "x * FACTOR", "FACTOR * x"),
    edit("a package's helper", "calls", "pkg/inner.py", "+ 1", "+ 2"),
    edit("a helper over two modules", "calls", "pkg/deep.py", "x + 7", "x + 8"),
    keep("a helper's docstring", "calls", H, "Scales.", "Multiplies."),
    keep("a helper's comment", "calls", H, "return x * F", "# yes\n    return x * F"),
    keep("an unrelated helper", "calls", H, "x + 99", "x + 98"),
    keep("an unrelated leaf", "calls", "pkg/deep.py", "return x\n", "return -x\n"),
    keep("an unrelated package constant", "calls", "pkg/__init__.py", "= 1", "= 2"),
    keep(
        "the order of helpers",
        "calls",
        H,
        "def clean(x):\n    return strip(x)\n\n\ndef strip(x):\n    return x - 1\n",
        "def strip(x):\n    return x - 1\n\n\ndef clean(x):\n    return strip(x)\n",
    ),
    keep(
        "an alias's file position",
        "calls",
        H,
        "THRESHOLD = 0.5\n",
        "\nTHRESHOLD = 0.5\n",
    ),
    edit("a mutual recursion", "even", A, "n != 0 and", "n != 1 and"),
    keep("beside a mutual recursion", "even", A, "def odd(n):", "# odd\ndef odd(n):"),
    # -- constants
    edit("a constant of the module", "constants", A, "LIMIT = 3", "LIMIT = 4"),
    edit("a constant's type", "constants", A, "LIMIT = 3", "LIMIT = 3.0"),
    edit("an imported constant", "constants", H, "THRESHOLD = 0.5", "THRESHOLD = 0.6"),
    edit("an inner constant", "constants", A, '"widths": [1, 2]', '"widths": [1, 3]'),
    keep("how a constant is made", "constants", A, "LIMIT = 3", "LIMIT = 1 + 2"),
    edit(
        "the order of a dict",
        "constants",
        A,
        '{"depth": 1, "widths": [1, 2]}',
        '{"widths": [1, 2], "depth": 1}',
    ),
    # -- classes
    edit("a base's method", "classes", H, "return self.sides", "return self.sides + 1"),
    edit("a class attribute", "classes", H, "sides = 4", "sides = 5"),
    edit("a class used as a namespace", "classes", H, "depth = 1", "depth = 2"),
    edit("its other attributes", "classes", H, "width = 2", "width = 3"),
    edit("a field's default", "classes", H, "right: int = 0", "right: int = 1"),
    edit("a field's type", "classes", H, "right: int = 0", "right: float = 0"),
    edit("a new field", "classes", H, "left: int\n", "left: int\n    top: int\n"),
    edit("a field's factory", "classes", H, "_factory=list", "_factory=dict"),
    edit(
        "a dataclass's options", "classes", H, "@dataclass\n", "@dataclass(eq=False)\n"
    ),
    edit("an enum's value", "modes", H, "FAST = 1", "FAST = 3"),
    edit("an enum's member", "modes", H, "SLOW = 2", "SLOW = 2\n    IDLE = 3"),
    keep("a class's docstring", "jobs", A, '"""A job."""', '"""Jobs."""'),
    edit("an inherited attribute", "jobs", A, "step = 1", "step = 2"),
    edit("a property", "jobs", A, "self.size / 2", "self.size / 3"),
    edit("a static method", "jobs", A, 'return "job"', 'return "jobs"'),
    edit("what a class method uses", "jobs", A, "UNSEEN = 1", "UNSEEN = 2"),
    edit("a base", "jobs", A, "class Job(Base)", "class Job(Base, Config)"),
    # -- closures, lambdas, decorators, partials
    edit("a closure's value", "closure", A, "factory(10)", "factory(12)"),
    edit("a closure's body", "closure", A, "x + by", "x - by"),
    keep("a factory's other argument", "closure", A, 'label="a"', 'label="b"'),
    edit("the first lambda", "double", A, "x: x * 2", "x: x * 4"),
    keep("the other lambda", "double", A, "x: x * 3", "x: x * 4"),
    edit("the second lambda", "triple", A, "x: x * 3", "x: x * 4"),
    keep("the lambda before it", "triple", A, "x: x * 2", "x: x * 4"),
    edit("a partial's argument", "bound", A, "partial(tidy, 1)", "partial(tidy, 2)"),
    edit("a partial's function", "bound", H, "return strip(x)", "return -strip(x)"),
    edit("what a decorator wraps", "decorated", A, "x + 1", "x + 3"),
    edit("a decorator's argument", "decorated", A, "@logged(1)", "@logged(2)"),
    edit("a decorator's wrapper", "decorated", A, "(*args), level", "(*args), -level"),
    edit("a cached helper", "shows", A, "x + 2", "x + 4"),
    keep("a cache's size", "shows", A, "maxsize=10", "maxsize=20"),
    edit("a dispatched function", "shows", A, 'return "int"', 'return "integer"'),
    edit("a dispatch by annotation", "shows", A, "def _(x: int)", "def _(x: float)"),
    edit("a partial that is used", "shows", A, "partial(tidy, 1)", "partial(tidy, 2)"),
    edit("an app that is used", "uses_app", H, "FACTOR = 2", "FACTOR = 3"),
    keep("an app's options", "uses_app", A, "retries=1", "retries=2"),
    keep("an app's own options", "app", A, "retries=1", "retries=2"),
    edit(
        "an app's body", "app", A, "return helpers.scale(x)", "return -helpers.scale(x)"
    ),
    edit("a function in a dict", "table", H, "x * FACTOR", "x + FACTOR"),
    edit("a closure in a set", "table", A, "factory(11)", "factory(12)"),
    edit("a function that is only named", "handlers", H, "x - 1", "x - 3"),
    # -- imports inside functions
    edit("a late import's body", "local_import", L, "leaf(x) * RATE", "leaf(x) + RATE"),
    edit("its constant", "local_import", L, "RATE = 3", "RATE = 4"),
    edit("what it imports", "local_import", "pkg/deep.py", "x + 7", "x + 8"),
    edit("by a star", "local_import", "pkg/stars.py", "x + 13", "x + 14"),
    edit("its class", "local_import", L, "return base()", "return -base()"),
    edit("what its class uses", "local_import", L, "return 5", "return 6"),
    edit("a change of its constant", "local_import", L, '["a"] = 1', '["a"] = 2'),
    edit("what its module does", "local_import", L, 'print("loading"', 'print("load"'),
    keep("its docstring", "local_import", L, '"""Works."""', '"""Does."""'),
    keep("its module's docstring", "local_import", L, "Imported when", "Used when"),
    keep("another function there", "local_import", L, "x - 2", "x - 3"),
    keep("another star", "local_import", "pkg/stars.py", "return x\n", "return -x\n"),
    edit("a module's function", "local_module", L, "x - 2", "x - 3"),
    keep("a module's other function", "local_module", L, "RATE = 3", "RATE = 4"),
]


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("projects")
    names = sorted({one.function for one in EDITS})
    cases: dict[str, tuple[str, list[str]]] = {}
    cases["base"] = write(root / "base", PROJECT), names
    for one in EDITS:
        assert one.old in PROJECT[one.file], one.title
        edited = PROJECT[one.file].replace(one.old, one.new)
        files = {**PROJECT, one.file: edited}
        directory = write(root / f"case-{len(cases)}", files)
        cases[f"{one.function}: {one.title}"] = directory, [one.function]
    first, second = probe(cases, "1"), probe(cases, "2")
    assert first == second, "the hash seed makes a difference"
    return first


def write(directory: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return str(directory)


def probe(cases: dict[str, tuple[str, list[str]]], seed: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("one", EDITS, ids=lambda one: f"{one.function}: {one.title}")
def test_an_edit_changes_the_identity_or_does_not(
    one: Edit, digests: dict[str, str]
) -> None:
    before = digests[f"base/{one.function}"]
    after = digests[f"{one.function}: {one.title}/{one.function}"]

    assert (before != after) is one.changes


def test_no_two_functions_of_the_project_are_the_same(digests: dict[str, str]) -> None:
    base = [digest for case, digest in digests.items() if case.startswith("base/")]

    assert len(set(base)) == len(base)
