"""Objects that pickle by a name which no worker can import arrive all the same."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import jackfield as jf
from jackfield.errors import SerializationError
from jackfield_serialize import dumps, loads

LIMIT_S = 60.0
SCRIPT = """
import dataclasses, functools, sys, typing
import concurrent.futures, contextvars, multiprocessing, threading
import jackfield as jf

LEVEL = contextvars.ContextVar("LEVEL", default=4)
BARE = contextvars.ContextVar("BARE")
LEVEL.set(3)
OWN = threading.local()
OWN.y = 2
Meters = typing.NewType("Meters", int)
P = typing.ParamSpec("P")
Ts = typing.TypeVarTuple("Ts")
NOTHING = object()
class Nothing:
    pass
UNSET = Nothing()
@functools.lru_cache(maxsize=4)
def tree(n):
    return 1 if n < 2 else tree(n - 1) + tree(n - 2)
@functools.singledispatch
def kind(x):
    return "any"
@kind.register
def _(x: int):
    return "int"
class Tools:
    @functools.lru_cache
    def kept(self, x):
        return x + 1
    @functools.cached_property
    def once(self):
        return 7
    @staticmethod
    def still():
        return 8
    @classmethod
    def own(cls):
        return cls.still()
    half = property(lambda self: self.own() / 2)
    @functools.singledispatchmethod
    def told(self, x):
        return "any"
    @told.register
    def _(self, x: str):
        return "str"
@dataclasses.dataclass
class Base:
    x: int
    _: dataclasses.KW_ONLY
    y: int = 2
if sys.version_info >= (3, 12):
    exec("type Pairs[T] = list[tuple[T, T]]")
else:
    Pairs = typing.List

def new_type(): return Meters(3), Meters.__name__, Meters.__supertype__ is int
def parameters(): return P.__name__, Ts.__name__
def alias(given): return given is Pairs
def is_nothing(x=NOTHING): return x is NOTHING
def is_unset(x=UNSET): return x is UNSET
def same(x): return x is Meters
def cached(): return tree(20), tree.cache_parameters()["maxsize"]
def dispatched(): return kind(1), kind("a")
def methods(tools):
    return tools.kept(1), tools.once, tools.told("a"), tools.told(1), tools.half
def derived():
    @dataclasses.dataclass
    class Sub(Base):
        z: int = 3
    fields = {f.name: f.default is dataclasses.MISSING for f in dataclasses.fields(Sub)}
    try:
        Sub()
    except TypeError:
        return fields, repr(Sub(1, y=5)).rpartition(".")[2]
def variables():
    before = LEVEL.get(), BARE.get("unset"), dict(vars(OWN))
    LEVEL.set(5)
    OWN.x = 1
    return before, LEVEL.get(), LEVEL.name, OWN.x
def kept(*given): return given == (LEVEL, OWN), given
def given_back(): return NOTHING, UNSET, Meters, P

with WHERE as k:
    def ran(function, *args):
        return k.submit(function, *args).result(60)
    print(ran(new_type), ran(parameters), ran(alias, Pairs))
    print(ran(is_nothing), ran(is_nothing, NOTHING), ran(is_nothing, object()))
    print(ran(is_unset), ran(is_unset, UNSET), ran(is_unset, Nothing()), end=" ")
    print(ran(same, Meters))
    print(ran(cached), ran(tree, 10), ran(dispatched), ran(kind, 1))
    print(ran(methods, Tools()), ran(Tools().kept, 4), ran(derived))
    print(ran(variables), end=" ")
    same, things = ran(kept, LEVEL, OWN)
    print(same, things == (LEVEL, OWN), LEVEL.get(), OWN.y)
    print([a is b for a, b in zip(ran(given_back), (NOTHING, UNSET, Meters, P))])
"""
OUGHT = """\
(3, 'Meters', True) ('P', 'Ts') True
True True False
True True False True
(10946, 4) 89 ('int', 'any') int
(2, 7, 'str', 'any', 4.0) 5 ({'x': True, 'y': False, 'z': False}, 'Sub(x=1, y=5, z=3)')
((4, 'unset', {}), 5, 'LEVEL', 1) True True 3 2
[True, True, True, True]
"""
FOREIGN = (
    "jf.load({'executors': {'x': {'plugin': 'adapter', 'executor': "
    "concurrent.futures.ProcessPoolExecutor(1, "
    "multiprocessing.get_context('forkserver'))}}})"
)
OWN = "jf.load({'executors': {'x': {'plugin': 'processes', 'workers': 1}}})"


@pytest.mark.parametrize("where", [OWN, FOREIGN], ids=["processes", "adapter"])
def test_objects_of_the_script_that_pickle_by_name_travel(
    where: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    text = SCRIPT.replace(
        "with WHERE as k:", f"if __name__ == '__main__':\n  with {where} as k:"
    )
    head, mark, tail = text.partition(f"with {where} as k:\n")
    script.write_text(head + mark + textwrap.indent(tail, "  "))

    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=LIMIT_S,
        env=dict(os.environ),
        check=False,
    )

    assert done.stdout == OUGHT, done.stderr


def test_markers_of_dataclasses_exist_once() -> None:
    markers = (dataclasses.MISSING, [dataclasses.KW_ONLY])

    again = loads(dumps(markers))

    assert again[0] is dataclasses.MISSING
    assert again[1][0] is dataclasses.KW_ONLY


def test_a_cached_property_comes_without_its_lock() -> None:
    class Sized:
        @functools.cached_property
        def size(self) -> int:
            return 3

    assert loads(dumps(Sized))().size == 3


class Named:
    """Pickles by a name of the script."""

    def __reduce__(self) -> str:
        return "NAMED"


def test_what_only_has_a_name_in_the_script_is_refused_with_the_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = Named()
    monkeypatch.setattr(sys.modules["__main__"], "NAMED", named, raising=False)
    monkeypatch.setattr(Named, "__module__", "__main__")
    config = {"executors": {"x": {"plugin": "processes", "workers": 1}}}

    with jf.load(config) as kernel, pytest.raises(SerializationError) as caught:
        kernel.submit(repr, [1, named]).result(LIMIT_S)

    told = str(caught.value)
    assert "[1]" in told
    assert "__main__.NAMED, and no worker can import that" in told


MUTABLE = """
import sys
import jackfield as jf

class Counter:
    pass
class Other:
    pass
NAMED = Counter()

def count(x):
    x.n = getattr(x, "n", 0) + 1
    return x.n
def name(x):
    return type(x).__name__
def make():
    return Counter()

if __name__ == "__main__":
    executors = {"x": {"plugin": "processes", "workers": 1}}
    with jf.load({"executors": executors, "checkpoint": {"store": "memory"}}) as kernel:
        local = Counter()
        for one in (local, NAMED):
            print([kernel.submit(count, one).result(60) for _ in range(2)], end=" ")
        print(kernel.submit(name, NAMED).result(60), end=" ")
        NAMED.__class__ = Other
        print(kernel.submit(name, NAMED).result(60), end=" ")
        app = jf.python_app(make, cache=True)
        first, second = app().result(60), app().result(60)
        first.n = 1
        print(first is second, vars(second), vars(app().result(60)))
"""


def test_objects_with_nothing_in_them_are_not_shared_by_tasks(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(MUTABLE)

    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=LIMIT_S,
        env=dict(os.environ),
        check=False,
    )

    assert done.stdout == "[1, 1] [1, 1] Counter Other False {} {}\n", done.stderr
