"""Modules that are imported inside functions: all that their import does counts."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.abc import Work
from jackfield_memo.key_maker import PythonKeyMaker
from jackfield_system.works import run_work

if TYPE_CHECKING:
    from types import ModuleType

    Importer = Callable[..., ModuleType]
    Runner = Callable[..., str]

PRINT = """
import sys
from jackfield.abc import Work
from jackfield_system.works import run_work
from jackfield_memo.key_maker import PythonKeyMaker
from jackfield.abc import Work
from jackfield_system.works import run_work
identity = PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ())
before = identity.function(f).digest.hex()
def call():  # as the kernel does on a thread: the key is looked at after the call
    return f(1), identity.function(f).digest.hex()
_, error, outcome = run_work(Work(1, 1, "f", call, (), {}))
result, after = outcome
print(before, result, before == after == identity.function(f).digest.hex())
"""

PROJECTS: dict[str, tuple[str, dict[str, str]]] = {
    "a package that imports its submodule": (
        "import pkg; return pkg.sub.go(x)",
        {
            "pkg/__init__.py": "from . import sub",
            "pkg/sub.py": "def go(x): return x + {}",
        },
    ),
    "a submodule imported under its full name by the package": (
        "import pkg; return pkg.sub.go(x)",
        {
            "pkg/__init__.py": "import pkg.sub",
            "pkg/sub.py": "def go(x): return x + {}",
        },
    ),
    "a submodule imported under another name": (
        "import pkg; return pkg.other.go(x)",
        {
            "pkg/__init__.py": "from . import sub as other",
            "pkg/sub.py": "def go(x): return x + {}",
        },
    ),
    "a module below a module below": (
        "from pkg import a; return a.b.go(x)",
        {
            "pkg/__init__.py": "",
            "pkg/a/__init__.py": "from . import b",
            "pkg/a/b.py": "def go(x): return x + {}",
        },
    ),
    "a constant that is not for type checkers": (
        "from other import go; return go(x)",
        {
            "other.py": "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n"
            "    K = {}\ndef go(x): return x + K"
        },
    ),
    "a constant of a module that is not the main one": (
        "from other import go; return go(x)",
        {"other.py": "if __name__ != '__main__':\n    K = {}\ndef go(x): return x + K"},
    ),
    "a registry filled by a decorator": (
        "from reg import go; return go(x)",
        {
            "reg.py": "REG = dict()\ndef reg(f): REG[f.__name__] = f; return f\n"
            "@reg\ndef h(x): return x + {}\ndef go(x): return REG['h'](x)"
        },
    ),
    "a registry filled by a decorator with arguments": (
        "from reg import go; return go(x)",
        {
            "reg.py": "class R(dict):\n    def at(self, name):\n"
            "        return lambda f: self.setdefault(name, f)\nREG = R()\n"
            "@REG.at('h')\ndef h(x): return x + {}\ndef go(x): return REG['h'](x)"
        },
    ),
    "a registry filled by a call": (
        "from reg import go; return go(x)",
        {
            "reg.py": "REG = []\ndef register(f): REG.append(f)\n"
            "register(lambda x: x + {})\ndef go(x): return REG[0](x)"
        },
    ),
    "a registry filled by an assignment that calls": (
        "from reg import go; return go(x)",
        {
            "reg.py": "REG = []\ndef register(f): REG.append(f); return f\n"
            "unused = register(lambda x: x + {})\ndef go(x): return REG[0](x)"
        },
    ),
    "a registry filled by subclassing": (
        "from reg import go; return go(x)",
        {
            "reg.py": "class Base:\n    known = []\n"
            "    def __init_subclass__(cls): Base.known.append(cls)\n"
            "class H(Base):\n    def run(self, x): return x + {}\n"
            "def go(x): return Base.known[0]().run(x)"
        },
    ),
    "a registry filled by subclassing a subclass": (
        "from reg import go; return go(x)",
        {
            "reg.py": "class Base:\n    known = []\n"
            "    def __init_subclass__(cls): Base.known.append(cls)\n"
            "class Middle(Base): pass\n"
            "class H(Middle):\n    def run(self, x): return x + {}\n"
            "def go(x): return Base.known[-1]().run(x)"
        },
    ),
    "a registry filled by a metaclass": (
        "from reg import go; return go(x)",
        {
            "reg.py": "KNOWN = dict()\nclass Meta(type):\n"
            "    def __init__(cls, name, bases, names): KNOWN[name] = cls\n"
            "class H(metaclass=Meta):\n    def run(self, x): return x + {}\n"
            "def go(x): return KNOWN['H']().run(x)"
        },
    ),
    "a registry filled by another module": (
        "from app import go; return go(x)",
        {
            "app.py": "import handlers\nfrom reg import REG\n"
            "def go(x): return REG['h'](x)",
            "reg.py": "REG = dict()\ndef reg(f): REG[f.__name__] = f; return f",
            "handlers.py": "from reg import reg\n@reg\ndef h(x): return x + {}",
        },
    ),
    "a registry filled by the package": (
        "from pkg.reg import go; return go(x)",
        {
            "pkg/__init__.py": "from . import handlers",
            "pkg/reg.py": "REG = dict()\ndef go(x): return REG['h'](x)",
            "pkg/handlers.py": "from .reg import REG\nREG['h'] = lambda x: x + {}",
        },
    ),
    "a registry filled by making an instance": (
        "from reg import go; return go(x)",
        {
            "reg.py": "KNOWN = []\nclass H:\n"
            "    def __init__(self, by): KNOWN.append(by)\n"
            "unused = H({})\ndef go(x): return x + KNOWN[0]"
        },
    ),
    "functions of one name by type": (
        "from reg import go; return go(x)",
        {
            "reg.py": "import functools\n@functools.singledispatch\n"
            "def go(x): return 0\n@go.register\ndef _(x: int): return x + {}"
        },
    ),
    "a method in a class body that is registered": (
        "from reg import go; return go(x)",
        {
            "reg.py": "REG = []\ndef reg(f): REG.append(f); return f\nclass A:\n"
            "    @reg\n    def h(x): return x + {}\ndef go(x): return REG[0](x)"
        },
    ),
    "a name that is set by other means": (
        "from other import go; return go(x)",
        {"other.py": "globals().update(go=lambda x: x + {})"},
    ),
    "a function found by name": (
        "from other import go; return go(x)",
        {"other.py": "def h(x): return x + {}\ndef go(x): return globals()['h'](x)"},
    ),
    "a module imported by a name that is written out": (
        "import importlib; return importlib.import_module('other').go(x)",
        {"other.py": "def go(x): return x + {}"},
    ),
    "a constant read from a file": (
        "from other import go; return go(x)",
        {
            "other.py": "import json, pathlib\n"
            "TEXT = pathlib.Path(__file__).parent / 'data' / 'rate.json'\n"
            "K = json.loads(TEXT.read_text())\ndef go(x): return x + K",
            "data/rate.json": "{}",
        },
    ),
    "a constant read from a file of the current directory": (
        "from other import go; return go(x)",
        {
            "other.py": "def load(name):\n    with open(name) as file:\n"
            "        return int(file.read())\nK = load('rate.txt')\n"
            "def go(x): return x + K",
            "rate.txt": "{}",
        },
    ),
    "a constant read from the file beside the module": (
        "from other import go; return go(x)",
        {
            "other.py": "import pathlib\n"
            "K = int(pathlib.Path(__file__).with_suffix('.txt').read_text())\n"
            "def go(x): return x + K",
            "other.txt": "{}",
        },
    ),
    "constants read from all files of a directory": (
        "from other import go; return go(x)",
        {
            "other.py": "import pathlib\nHERE = pathlib.Path(__file__).parent\n"
            "K = [int(p.read_text()) for p in (HERE / 'data').glob('*.txt')]\n"
            "def go(x): return x + sum(K)",
            "data/one.txt": "{}",
        },
    ),
}


@pytest.mark.parametrize(("body", "files"), PROJECTS.values(), ids=PROJECTS)
def test_what_a_late_import_does_counts(
    body: str, files: dict[str, str], tmp_path: Path, python: Runner
) -> None:
    (tmp_path / "script.py").write_text(f"def f(x):\n    {body}\n{PRINT}")
    found = []
    for number in (1, 1, 2):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{}", str(number)) + "\n")
        found.append(python("-B", "script.py").split())

    (one, result, stays), (same, *_), (other, otherwise, _) = found
    assert (result, otherwise) == ("2", "3")
    assert one == same
    assert one != other
    assert stays == "True", "once it is imported, the calls must still be hits"


QUIET = """
import dataclasses, enum, functools, math, typing
from collections import namedtuple
T = typing.TypeVar("T")
Point = namedtuple("Point", "x y")
@dataclasses.dataclass
class Unused(typing.Generic[T]):
    x: int = {}
    @property
    def y(self): return {}
    @y.setter
    def y(self, value): self.x = {}
class Below(Unused): rate = {}
class Color(enum.Enum): RED = {}
@functools.lru_cache
def other(x): return math.floor(x) + {}
TABLE = dict(a={})
TABLE["b"] = {}
def go(x): return x
"""


def test_definitions_that_do_nothing_but_define_do_not_count(
    project: Importer,
) -> None:
    app: Any = project(
        late=QUIET.replace("{}", "1"),
        app="def f():\n    import late\n    return late.go(1)\n",
    )
    found = []
    for number in ("1", "2"):
        Path(app.__file__).with_name("late.py").write_text(QUIET.replace("{}", number))
        maker = PythonKeyMaker(value_hooks=lambda _: (), function_hooks=lambda: ())
        found.append(maker.function(app.f).digest)

    assert found[0] == found[1]


LATE = """
import dataclasses
RATE = 1
TABLE = {"a": 1}
SEEN = []
@dataclasses.dataclass
class Model:
    x: int = 1
    def run(self): return self.x
def work():
    SEEN.append(1)
    return RATE, TABLE, Model().run()
"""


@pytest.mark.parametrize(
    "change",
    [
        "late.RATE = 2",
        "late.TABLE['a'] = 2",
        "late.Model.run = lambda self: 5",
        "late.work = lambda: 3",
        "late.work.__code__ = (lambda: 3).__code__",
    ],
)
def test_what_is_set_in_a_module_after_its_late_import_counts(
    change: str, identity: PythonKeyMaker, project: Importer
) -> None:
    app: Any = project(app="def f():\n    from late import work\n    return work()\n")
    Path(app.__file__).with_name("late.py").write_text(LATE)
    importlib.invalidate_caches()
    before = identity.function(app.f).digest
    app.f()
    assert identity.function(app.f).digest == before
    exec(textwrap.dedent(change), {"late": sys.modules["late"]})

    assert identity.function(app.f).digest != before


COMPUTED = """
import functools
TOTAL = sum([1, 2])
NAMES = dict(a=1)
class Settings:
    level = 1
    def __init__(self):
        self.rate = 2
        self.uses = 0
    def set_rate(self, rate):
        self.rate = rate
    def use(self):
        self.uses += 1
        return self.rate, self.level
settings = Settings()
def shift(x, by=1, *, more=(1, 2)):
    return x + by + len(more)
def traced(function):
    @functools.wraps(function)
    def wrapper(x):
        return function(x)
    return wrapper
@traced
def wrapped(x):
    return x
def work(x):
    return TOTAL, NAMES, settings.use(), shift(x), wrapped(x)
"""


@pytest.mark.parametrize("how", ["imported by the call", "imported by the script"])
@pytest.mark.parametrize(
    "change",
    [
        "late.TOTAL = 4",
        "late.NAMES['a'] = 4",
        "late.settings.rate = 4",
        "late.settings.set_rate(4)",
        "late.settings.extra = 4",
        "late.Settings.level = 4",
        "late.shift.__defaults__ = (4,)",
        "late.shift.__kwdefaults__['more'] = ()",
        "late.shift.extra = 4",
        "late.wrapped.__wrapped__ = 4",
        "late.wrapped.__closure__[0].cell_contents = late.shift",
    ],
)
def test_what_is_set_in_what_a_late_import_has_made_counts(
    change: str, how: str, identity: PythonKeyMaker, project: Importer
) -> None:
    app: Any = project(app="def f(x):\n    from late import work\n    return work(x)\n")
    Path(app.__file__).with_name("late.py").write_text(COMPUTED)
    importlib.invalidate_caches()
    text_only = identity.function(app.f).digest

    def call() -> bytes:
        app.f(1)
        return identity.function(app.f).digest

    if how == "imported by the script":
        importlib.import_module("late")
        identity.function(app.f)  # its key is made
    _, error, before = run_work(Work(1, 1, "f", call, (), {}))
    assert error is None
    app.f(1)
    assert identity.function(app.f).digest == before
    assert (text_only == before) == (how == "imported by the call")
    exec(change, {"late": sys.modules["late"]})

    changed = identity.function(app.f).digest
    assert changed != before
    app.f(1)
    assert identity.function(app.f).digest == changed


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_an_edit_of_what_a_late_import_registers_is_a_new_call(
    plugin: str, tmp_path: Path, python: Runner
) -> None:
    (tmp_path / "script.py").write_text(
        "import sys\nimport jackfield as jf\n"
        "@jf.python_app(cache=True)\ndef f(x):\n"
        "    from reg import go\n    return go(x)\n"
        "if __name__ == '__main__':\n"
        f"    table = {{'x': {{'plugin': {plugin!r}, 'workers': 1}}}}\n"
        "    with jf.load({'executors': table}):\n"
        "        one, two = f(1), f(1)\n"
        "        print(one.result(), two.result(), one.memo.status, two.memo.status)\n"
    )
    text = PROJECTS["a registry filled by a decorator"][1]["reg.py"]
    found = []
    for number in ("1", "1", "2"):
        (tmp_path / "reg.py").write_text(text.replace("{}", number) + "\n")
        found.append(python("-B", "script.py"))

    assert found == ["2 2 miss hit", "2 2 hit hit", "3 3 miss hit"]
