"""A function of the script that a task returns is the script's own, unless changed."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import weakref
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from jackfield_serialize import (
    dump_call,
    dump_function,
    load_function,
    load_outcome,
    run_packed,
)

LIMIT_S = 120.0
DASK = (
    "{'plugin': 'dask', 'cluster_options': {'n_workers': 1, 'threads_per_worker': 1, "
    "'silence_logs': 'CRITICAL'}}"
)
ADAPTED = (
    "{'plugin': 'adapter', 'executor': concurrent.futures.ProcessPoolExecutor(1, "
    "multiprocessing.get_context('forkserver'))}"
)
WHERE = {
    "threads": "{'plugin': 'threads', 'workers': 1}",
    "processes": "{'plugin': 'processes', 'workers': 1}",
    "adapted": ADAPTED,
    "dask": DASK,
}

SCRIPT = """\
import concurrent.futures, functools, multiprocessing
import jackfield as jf

def plain(x=(1, 2)): return x
def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
def around(function):
    @functools.wraps(function)
    def inner(*args): return function(*args)
    return inner
@around
def wrapped(): return 3
def counter():
    n = 0
    def count():
        nonlocal n
        n += 1
        return n
    return count
def holding(thing):
    def held(): return thing
    return held
class Tools:
    def method(self): return 1
    @staticmethod
    def static(): return 2
@jf.python_app
def app(): return 1
counts, counted = counter(), counter()
nameless = lambda: 5
settings = holding({"a": [1, 2]})

def named(): return [plain, factorial, wrapped, counts, Tools.method, Tools.static, app]
def given(*things): return list(things)
def within(): return {plain: 1, "p": functools.partial(plain, 2), "c": holding(plain)}
def raises():
    error = ValueError("no")
    error.function = plain
    raise error
def made(): return counter()

# Changed by a task, each in its own way.
def attributed(): pass
def defaulted(x=1): return x
def listed(x=[]): return x
def recoded(): return 1
outer = holding(counted)
edited = holding([1])
def change(attributed, defaulted, listed, recoded, counted, outer, edited):
    attributed.k = 2
    defaulted.__defaults__ = (2,)
    listed().append(1)
    recoded.__code__ = (lambda: 2).__code__
    counted()
    edited()[0] = 2
    return attributed, defaulted, listed, recoded, counted, outer, edited
changing = attributed, defaulted, listed, recoded, counted, outer, edited

def same(found, ought): return [a is b for a, b in zip(found, ought, strict=True)]

def run(kernel):
    def ran(function, *args, **options):
        return kernel.submit(function, *args, **options).result(100)
    print("named", all(same(ran(named), named())))
    things = nameless, settings, plain, counts, outer, Tools.method, app
    print("given", all(same(ran(given, *things), things)))
    print("again", all(same(ran(given, *things), things)))
    on_its_way = kernel.submit(given, nameless, app)
    print("handed on", same(ran(given, on_its_way)[0], [nameless, app]))
    found = ran(within)
    print("within", found[plain], found["p"].func is plain, found["c"]() is plain)
    try:
        ran(raises)
    except ValueError as error:
        print("error", error.function is plain)
    new = ran(made)
    print("made", new is not counts, new(), new(), new is ran(given, new)[0])
    for _ in range(2):
        print("cached", all(same(ran(named, cache=True)[:3], named()[:3])))
    found = ran(change, *changing)
    print("changed", same(found, changing))
    print(found[0].k, found[1](), found[2](), found[3](), found[4](), end=" ")
    print(found[5]()(), found[6]())

if __name__ == "__main__":
    with jf.load({"executors": {"one": WHERE}}) as kernel:
        run(kernel)
"""
SAME = """\
named True
given True
again True
handed on [True, True]
within 1 True True
error True
"""
MADE = "made True 1 2 True\ncached True\ncached True\n"
CHANGED = "changed {}\n2 2 [1] 2 2 3 [2]\n"


@pytest.mark.parametrize("where", sorted(WHERE))
def test_functions_of_the_script_come_back_as_themselves(
    where: str, tmp_path: Path
) -> None:
    if where == "dask":
        pytest.importorskip("distributed", reason="pip install 'jackfield[dask]'")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("WHERE", WHERE[where]))

    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=LIMIT_S,
        check=False,
    )

    shared = where == "threads"
    ought = SAME + MADE + CHANGED.format([shared] * 7)
    assert done.stdout == ought, done.stderr


def test_a_lost_function_comes_back_as_another() -> None:
    function, call = _sent("def f(): return 1")

    packed = _elsewhere(function, call)
    gc.collect()
    error, value = load_outcome("app", packed)

    assert error is None
    assert value() == 1


def test_what_a_worker_was_sent_does_not_last_in_it() -> None:
    """A function that calls itself holds itself, by its own closure."""

    def outer() -> Any:
        def inner(n: int) -> Any:
            return inner

        return inner

    there = _loaded(dump_function("app", outer()))
    alive = weakref.ref(there)

    del there
    gc.collect()

    assert alive() is None


def test_a_function_that_holds_an_unknown_object_comes_back_as_another() -> None:
    """Whether a task has changed that object cannot be told."""

    class Box:
        content = 1

    box = Box()

    def holds() -> int:
        return box.content

    error, value = load_outcome("app", _elsewhere(*_packed(lambda f: f, holds)))

    assert error is None
    assert value is not holds
    assert value() == 1


def test_a_worker_in_the_same_process_gets_a_copy() -> None:
    """It has the script's variables as they were when the function was sent."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("RATE = 1\ndef rate(): return RATE\ndef given(f): return f(), f", names)
    packed = _packed(names["given"], names["rate"])
    names["RATE"] = 2

    error, value = load_outcome("app", run_packed(*packed))

    assert error is None
    assert value[0] == 1
    assert value[1] is names["rate"]


def test_what_was_pickled_before_is_sent_as_it_is() -> None:
    class Stand:
        jackfield_pickled = dump_function("app", len)

        def __call__(self) -> None: ...

    assert dump_function("app", Stand()) is Stand.jackfield_pickled


def _sent(text: str) -> tuple[bytes, bytes]:
    """Return a call with a function that nobody has any more."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(text, names)
    return _packed(lambda f: f, names.pop("f"))


def _packed(function: Any, *args: Any) -> tuple[bytes, bytes]:
    return dump_function("app", function), dump_call("app", function, args, {})


_PROGRAM = """\
import pickle, sys
from jackfield_serialize import run_packed
function, call = pickle.load(sys.stdin.buffer)
pickle.dump(run_packed(function, call), sys.stdout.buffer)
"""


def _elsewhere(function: bytes, call: bytes) -> Any:
    """Return the outcome of a call that another process has run."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=pickle.dumps((function, call)),
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return pickle.loads(done.stdout)


def _loaded(data: bytes) -> FunctionType:
    """Load a function as a worker does."""
    function = load_function(data)
    assert isinstance(function, FunctionType)
    return function
