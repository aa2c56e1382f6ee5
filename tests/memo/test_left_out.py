"""What pickling leaves out of values, and what is set where no name shows it.

Each case is a module whose function is called, plainly and cached, on threads and on
processes, before and after something in the module has been changed by the script. The
answer is always that of a call in the script; or, where a worker cannot be made equal,
that is told and the result is not kept.
"""

from __future__ import annotations

import builtins
import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.plugins import PluginManager
from jackfield.plugins.key_makers import create_key_maker

LIMIT_S = 60.0
Imported = Callable[[str], Any]
CASES: dict[str, tuple[str, str]] = {
    "a reduce method leaves out what is set later": (
        """
class P:
    extra = 0
    def __init__(self, x):
        self.x = x
    def __reduce__(self):
        return P, (self.x,)
VALUE = P(1)
def f(x):
    return x + VALUE.x + VALUE.extra
""",
        "m.VALUE.extra = 7",
    ),
    "the same in a slot": (
        """
class P:
    __slots__ = ("x", "extra")
    def __init__(self, x):
        self.x = x
    def __reduce__(self):
        return P, (self.x,)
VALUE = P(1)
def f(x):
    return x + VALUE.x + getattr(VALUE, "extra", 0)
""",
        "m.VALUE.extra = 7",
    ),
    "copyreg leaves out what is set later": (
        """
import copyreg
class P:
    extra = 0
    def __init__(self, x):
        self.x = x
copyreg.pickle(P, lambda value: (P, (value.x,)))
VALUE = P(1)
def f(x):
    return x + VALUE.x + VALUE.extra
""",
        "m.VALUE.extra = 7",
    ),
    "an attribute of a time zone": (
        """
import datetime
class Zone(datetime.tzinfo):
    hours = 1
    def utcoffset(self, when):
        return datetime.timedelta(hours=self.hours)
    def dst(self, when):
        return None
WHEN = datetime.datetime(2020, 1, 1, tzinfo=Zone())
def f(x):
    return x + WHEN.utcoffset().seconds
""",
        "m.WHEN.tzinfo.hours = 2",
    ),
    "an attribute of the zone of a time of day": (
        """
import datetime
class Zone(datetime.tzinfo):
    hours = 1
    def utcoffset(self, when):
        return datetime.timedelta(hours=self.hours)
    def dst(self, when):
        return None
TIMES = {"noon": datetime.time(12, tzinfo=Zone())}
def f(x):
    return x + TIMES["noon"].utcoffset().seconds
""",
        "m.TIMES['noon'].tzinfo.hours = 2",
    ),
    "what a new type is made of": (
        """
import typing
Id = typing.NewType("Id", int)
def f(x):
    return x, Id.__supertype__.__name__
""",
        "m.Id.__supertype__ = str",
    ),
    "a default value of what attrs has made": (
        """
import attrs
@attrs.define
class P:
    x: int = 1
    _hidden: int = 2
    items: list = attrs.Factory(list)
def f(x):
    one = P()
    return x, one.x, one._hidden, one.items
""",
        "m.P.__init__.__defaults__ = (5, *m.P.__init__.__defaults__[1:])",
    ),
    "an attribute of a decorated function": (
        """
import functools
class Times:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function, self.factor = function, 1
    def __call__(self, x):
        return self.function(x) * self.factor
@Times
def times(x):
    return x + 1
def f(x):
    return times(x)
""",
        "m.times.factor = 3",
    ),
    "an item of a deque of an own class": (
        """
import collections
class Items(collections.deque):
    pass
VALUE = Items([1])
VALUE.unit = 1
def f(x):
    return x + len(VALUE) + VALUE.unit
""",
        "m.VALUE.append(2)",
    ),
    "a text of an own class": (
        """
class Text(str):
    pass
VALUE = Text("a")
def f(x):
    return VALUE, x
""",
        "m.VALUE = m.Text('b')",
    ),
    "a number of an own class": (
        """
import decimal
class Money(decimal.Decimal):
    pass
VALUE = Money(1)
VALUE.unit = "m"
def f(x):
    return int(VALUE), VALUE.unit, x
""",
        "m.VALUE = m.Money(2); m.VALUE.unit = 'm'",
    ),
    "a struct": (
        """
import struct
HEAD = struct.Struct("<i")
def f(x):
    return HEAD.pack(x)
""",
        "m.HEAD = m.struct.Struct('<q')",
    ),
    "what compares in sorting": (
        """
import functools
def compare(one, other):
    return one - other
ORDER = functools.cmp_to_key(compare)
def f(x):
    return sorted([x, 3, 2], key=ORDER)
""",
        "m.compare.__code__ = (lambda one, other: other - one).__code__",
    ),
    "an attribute of a wrapper that refers to itself": (
        """
import functools
def times(function):
    @functools.wraps(function)
    def wrapper(x):
        return function(x) * wrapper.factor
    wrapper.factor = 1
    return wrapper
@times
@times
def g(x):
    return x + 1
def f(x):
    return g(x)
""",
        "m.g.factor = 3; m.g.__wrapped__.factor = 5",
    ),
    "the name of a function": (
        """
def g(x):
    return x
def f(x):
    return g.__name__, x
""",
        "m.g.__name__ = 'other'",
    ),
    "a method of the class of a decorated function": (
        """
import functools
class Times:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function
    def __call__(self, x):
        return self.function(x)
@Times
def times(x):
    return x + 1
def f(x):
    return times(x)
""",
        "m.Times.__call__ = lambda self, x: 17",
    ),
}


@pytest.fixture(params=["threads", "processes"])
def kernel(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[jf.DataFlowKernel]:
    """Give a kernel with one worker."""
    table = {"plugin": request.param, "workers": 1}
    config = {
        "run_dir": str(tmp_path / "runs"),
        "executors": {"x": table},
        "checkpoint": {"store": "memory"},
    }
    with jf.load(config) as loaded:
        yield loaded


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Imported:
    """Import a module of a text, with a name that no other test has."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def imported(text: str) -> Any:
        name = f"left_out_{abs(hash(str(tmp_path)))}"
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    return imported


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(("text", "change"), CASES.values(), ids=CASES)
def test_a_change_is_seen_by_every_call(
    text: str, change: str, imported: Imported
) -> None:
    module = imported(text)
    plain, cached = jf.python_app(module.f), jf.python_app(cache=True)(module.f)
    for _ in range(2):
        assert plain(1).result(LIMIT_S) == module.f(1)
        assert cached(1).result(LIMIT_S) == module.f(1)
    before = module.f(1)
    exec(change, {"m": module})

    assert module.f(1) != before
    for status in ("miss", "hit"):
        future = cached(1)
        assert plain(1).result(LIMIT_S) == module.f(1)
        assert future.result(LIMIT_S) == module.f(1)
        assert future.memo.status == status


@pytest.mark.usefixtures("kernel")
def test_a_built_in_name_that_was_set_is_itself_again(
    monkeypatch: pytest.MonkeyPatch, imported: Imported
) -> None:
    text = "def f(x):\n    return abs(x)\n"
    module = imported(text)
    plain = jf.python_app(module.f)
    found = [plain(-1).result(LIMIT_S)]
    with monkeypatch.context() as context:
        context.setattr(builtins, "abs", lambda x: 17)
        found.append(plain(-1).result(LIMIT_S))
    found.append(plain(-1).result(LIMIT_S))

    assert found == [1, 17, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("__import__('hashlib').sha256(b'a')", "__import__('hashlib').sha256(b'b')"),
        ("__import__('hashlib').sha256()", "__import__('hashlib').md5()"),
        ("__import__('hashlib').shake_128()", "__import__('hashlib').shake_128(b'b')"),
        ("compile('1', '', 'eval')", "compile('2', '', 'eval')"),
        ("__import__('struct').Struct('i')", "__import__('struct').Struct('q')"),
    ],
)
def test_values_that_cannot_be_pickled_count_by_what_they_are(
    one: str, other: str, imported: Imported
) -> None:
    text = f"VALUE = {one}\ndef f(x):\n    return VALUE\n"
    text += "def make(text):\n    return eval(text)\n"
    module = imported(text)
    keys = create_key_maker(PluginManager())
    digests = [keys.function(module.f).digest]
    for expression in (one, other):
        module.VALUE = module.make(expression)
        digests.append(keys.function(module.f).digest)

    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


ARGUMENTS = """
import copyreg
class Reduced:
    extra = 0
    def __init__(self, x):
        self.x = x
    def __reduce__(self):
        return Reduced, (self.x,)
class Registered:
    extra = 0
    def __init__(self, x):
        self.x = x
copyreg.pickle(Registered, lambda value: (Registered, (value.x,)))
def f(value):
    return value.x + value.extra
"""


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("kind", ["Reduced", "Registered"])
def test_an_argument_has_what_its_pickling_forgets(
    kind: str, imported: Imported
) -> None:
    module = imported(ARGUMENTS)
    cached = jf.python_app(cache=True)(module.f)
    found = []
    for extra in (1, 2, 1):
        value = getattr(module, kind)(10)
        value.extra, value.lock = extra, iter(())  # the latter cannot be pickled well
        future = cached(value)
        found.append((future.result(LIMIT_S), future.memo.status))

    assert found == [(11, "miss"), (12, "miss"), (11, "hit")]


ON_PURPOSE = """
class P:
    def __init__(self):
        self.x, self.kept = 1, 1
    def __getstate__(self):
        return {"x": self.x}
    def __setstate__(self, state):
        self.x, self.kept = state["x"], 1
VALUE = P()
def f(x):
    return x + VALUE.kept
"""


def test_what_cannot_be_made_equal_in_a_worker_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, imported: Imported
) -> None:
    module = imported(ON_PURPOSE)
    config = {
        "run_dir": str(tmp_path / "runs"),
        "executors": {"x": {"plugin": "processes", "workers": 1}},
    }
    with jf.load(config), caplog.at_level(logging.WARNING, "jackfield.memo"):
        plain = jf.python_app(module.f)
        assert plain(1).result(LIMIT_S) == 2
        module.VALUE.kept = 5
        plain(1).result(LIMIT_S)

    assert "VALUE" in caplog.text
    assert "cannot be made equal" in caplog.text


BY_TYPE = """
import logging
import queue
import weakref
class Thing:
    pass
THING = Thing()
QUEUE, WEAK, LOG = queue.Queue(), weakref.WeakValueDictionary(), logging.getLogger("l")
def f(x):
    return x + QUEUE.qsize() + len(WEAK) + LOG.level
"""


def test_what_stands_for_something_outside_counts_by_its_type_and_is_told(
    monkeypatch: pytest.MonkeyPatch, imported: Imported
) -> None:
    module = imported(BY_TYPE)
    keys = create_key_maker(PluginManager())
    before = keys.function(module.f)
    module.QUEUE.put(1)
    module.WEAK["a"] = module.THING
    monkeypatch.setattr(module.LOG, "level", 10)

    assert keys.function(module.f).digest == before.digest
    told = " ".join(before.blind)
    assert "holds a queue.Queue, which counts by its type only" in told
    assert "holds a weakref.WeakValueDictionary, which counts by its type only" in told
