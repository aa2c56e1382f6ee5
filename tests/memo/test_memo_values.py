"""Equal values have one identity, in every process; different values have two."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
import threading
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.errors import MemoKeyError
from jackfield_memo.key_maker import PythonKeyMaker

IDENTITY = PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ())


def of(value: object) -> str:
    return IDENTITY.value("app", "argument 'x'", value).hex()


# -- Generated values


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 2)
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=5)
    | st.text(st.characters(), max_size=2)
    | st.binary(max_size=5)
    | st.sampled_from(["", "a" * 127, "a" * 128, "a" * 129, b"a" * 128, 2**63, 2**64])
)
KEYS = st.recursive(
    ATOMS,
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(st.integers(-1, 1), min_size=14, max_size=18)
        | st.lists(st.sampled_from(["a", "aa", ""]), min_size=15, max_size=17)
        | st.lists(st.sampled_from([0.0, -0.0, math.nan]), min_size=15, max_size=17)
        | st.tuples(inner, inner)
        | st.builds(tuple, st.lists(inner, max_size=3))
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.sets(KEYS, max_size=5)
        | st.sets(st.integers(-20, 20), min_size=14, max_size=18)
        | st.frozensets(KEYS, max_size=5)
        | st.builds(OrderedDict, st.dictionaries(KEYS, inner, max_size=3))
        | st.builds(bytearray, st.binary(max_size=4))
    ),
    max_leaves=12,
)


def canonical(value: Any) -> Any:
    """Say what a value is in terms of ``==`` on types and texts alone."""
    kind = type(value).__name__
    if isinstance(value, list | tuple):
        return kind, tuple(map(canonical, value))
    if isinstance(value, OrderedDict):
        return kind, tuple((canonical(k), canonical(v)) for k, v in value.items())
    if isinstance(value, dict):
        pairs = ((canonical(k), canonical(v)) for k, v in value.items())
        return kind, tuple(sorted(pairs, key=repr))
    if isinstance(value, set | frozenset):
        return kind, tuple(sorted(map(canonical, value), key=repr))
    if isinstance(value, complex):
        return kind, repr(value.real), repr(value.imag)
    return kind, value.encode(errors="surrogatepass").hex() if kind == "str" else repr(
        value
    )


def shuffled(value: Any) -> Any:
    """Build a value again, sets and dicts in the other order."""
    if isinstance(value, OrderedDict):
        return OrderedDict((k, shuffled(v)) for k, v in value.items())
    if isinstance(value, dict):
        return {k: shuffled(v) for k, v in reversed(value.items())}
    if isinstance(value, set | frozenset):
        return type(value)(reversed(list(map(shuffled, value))))
    if isinstance(value, list | tuple):
        return type(value)(map(shuffled, value))
    return copy.copy(value)


@settings(max_examples=150)
@given(VALUES)
def test_a_value_built_in_another_order_is_the_same(value: Any) -> None:
    assert of(shuffled(value)) == of(value)


@settings(max_examples=100)
@given(VALUES)
def test_a_value_is_the_same_after_pickling(value: Any) -> None:
    assert of(pickle.loads(pickle.dumps(value))) == of(value)


@settings(max_examples=250)
@given(VALUES, VALUES)
def test_different_values_are_different(one: Any, other: Any) -> None:
    same = canonical(one) == canonical(other)

    assert (of(one) == of(other)) is same


@settings(max_examples=100)
@given(st.lists(VALUES, min_size=2, max_size=4), st.data())
def test_a_change_deep_inside_is_a_change(values: list[Any], data: Any) -> None:
    place = data.draw(st.integers(0, len(values) - 1))
    changed: list[Any] = copy.deepcopy(values)
    changed[place] = [changed[place]]

    assert of({"a": (1, values)}) != of({"a": (1, changed)})


@settings(max_examples=100)
@given(VALUES)
def test_an_identity_is_short(value: Any) -> None:
    assert len(of(value)) <= 2 * 130


# -- A collection of values that are all different, and were not everywhere


CORPUS = """
None  Ellipsis  NotImplemented  ()  []  {}  set()  frozenset()  ""  b""  bytearray()
memoryview(b"")  0  0.0  -0.0  0j  complex(0,-0.0)  complex(-0.0,0)  False  1  1.0
True  1+0j  "1"  b"1"  "1.0"  "True"  "None"  nan  inf  -inf  [nan]  [None]  [[]]
[()]  ((),)  [1]  (1,)  {1}  frozenset({1})  {1:1}  {1:True}  {True:1}  {1.0:1}
{1:1.0}  {True}  {1.0}  [True]  [1.0]  ["1"]  range(1)  range(0,1,2)  range(0)
range(1,1)  slice(1)  slice(0,1)  slice(None,1,1)  [[1],[2]]  [[1,2]]  [[1],2]
[1,[2]]  [1,2]  [2,1]  [12]  ["1","2"]  ["12"]  ["12",""]  ["","12"]  "['1', '2']"
("1","2")  "1, 2"  "1,2"  b"a"  "a"  bytearray(b"a")  memoryview(b"a")
array("b",b"a")  array("B",b"a")  ["a"]  array("h",[1])  array("i",[1])
array("f",[1])  array("d",[1])  memoryview(b"abcd").cast("i")  memoryview(b"abcd")
memoryview(b"abcd").cast("B",(2,2))  b"abcd"  "a"*127  "a"*128  "a"*129  b"a"*128
bytearray(b"a"*128)  [0]*15  [0]*16  [0]*17  [0.0]*16  [-0.0]*16  [False]*16  (0,)*16
[0]*15+[0.0]  [0]*15+[False]  ["a"]*16  ["a"]*15+["b"]  [""]*15+["a"*16]
["a"*16]+[""]*15  [b"a"]*16  ["\\ud83d","\\ude00"]*8  ["\\U0001f600",""]*8
"\\ud83d\\ude00"  "\\U0001f600"  "\\ud800"  [nan]*16  2**63  2**63-1  -2**63  2**64
-2**64  [2**64]*16  set(range(16))  frozenset(range(16))  set(range(17))
list(range(16))  {"a":1}  {"a":2}  {"b":1}  {"a":1,"b":2}  {"a":2,"b":1}  [("a",1)]
{"a":{"b":1}}  {"a":{}, "b":1}  OrderedDict(a=1)  OrderedDict(a=1,b=2)
OrderedDict(b=2,a=1)  Counter("a")  Counter(a=1,b=0)  defaultdict(int,a=1)
defaultdict(list,a=1)  MappingProxyType({"a":1})  SimpleNamespace(a=1)
SimpleNamespace(a=2)  SimpleNamespace()  deque()  deque([1])  deque([1],1)
deque([1],2)  ChainMap({"a":1})  UserDict(a=1)  Decimal(1)  Decimal("1.0")
Decimal("1.00")  Decimal("NaN")  Decimal("-0")  Decimal(0)  Fraction(1)  Fraction(1,3)
date(2020,1,1)  datetime(2020,1,1)  datetime(2020,1,1,fold=1)
datetime(2020,1,1,tzinfo=UTC)
datetime(2020,1,1,1,tzinfo=CET)
datetime(2020,1,1,tzinfo=ZoneInfo("Europe/Berlin"))
datetime(2020,1,1,tzinfo=ZoneInfo("Europe/Paris"))  time(1)  time(1,fold=1)
timedelta(1)  timedelta(seconds=1)  UTC  timezone(timedelta(0),"x")  ZoneInfo("UTC")
UUID(int=1)  UUID(int=2)  Path("a")  PurePosixPath("a")  PureWindowsPath("a")
Path("a/b")  Path("b")  Color.RED  Color.BLUE  Number.ONE  Flags.A  Flags.A|Flags.B
Flags(0)  Pair(1,2)  Triple(1,2)  Point(1,2)  Point(1,2.0)  Spot(1,2)  Frozen(1)
Slotted(1)  Slotted(2)  Text("a")  Whole(1)  Items([1])  Items([2])  Table(a=1)
Unique({1})  Unique({2})  int  float  bool  Point  Pair  Color  list[int]  list[str]
int|None  int|str  dict[str,int]  len  max  str.join  "a".join  "b".join  [].append
math  os.path  json.dumps  math.sqrt  partial(int)  partial(int,"1")
partial(int,base=2)  partial(int,"1",base=2)  partial(float)  itemgetter(1)
itemgetter(2)  attrgetter("a")  re.compile("a")  re.compile("b")  re.compile("a",re.I)
re.compile(b"a")  ValueError()  ValueError("a")  ValueError("a","b")  TypeError("a")
KeyError("a")  OSError(2,"a")  OSError(2,"a","b")  caused(ValueError("a"))
noted(ValueError("a"))  (lambda: 1)  (lambda: 2)  (lambda x: 1)  adder(1)  adder(2)
plus  minus  Point(1,2).norm  Point(1,3).norm  Point.norm  Point.make  Spot.make
Random(1)  Random(2)  ip_address("1.1.1.1")  ip_address("1.1.1.2")  Template("a")
File("missing-1")  File("missing-2")  [File("missing-1")]  "missing-1"  getLogger("a")
getLogger("b")  Holder(1)  Holder(2)  Holder([1])  Taught(1)  Taught(2)  MISSING
cyclic(1)  cyclic(2)  [cyclic(1)]  ring(2)  ring(3)  TypeVar("T")  TypeVar("U")
Generic  GenericAlias  BytesWarning  StrEnum
"""

PRELUDE = """
import enum, json, math, os, re, sys
from array import array
from collections import ChainMap, Counter, OrderedDict, UserDict
from collections import defaultdict, deque, namedtuple
from dataclasses import MISSING, dataclass
from datetime import date, datetime, time, timedelta, timezone, UTC
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import partial
from ipaddress import ip_address
from logging import getLogger
from math import nan, inf
from operator import attrgetter, itemgetter
from pathlib import Path, PurePosixPath, PureWindowsPath
from random import Random
from string import Template
from types import GenericAlias, MappingProxyType, SimpleNamespace
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo
from jackfield import File

CET = timezone(timedelta(hours=1))
Pair = namedtuple("Pair", "a b")
class Triple(NamedTuple):
    a: int
    b: int
class Color(enum.Enum):
    RED = 1
    BLUE = 2
class Number(enum.IntEnum):
    ONE = 1
class Flags(enum.Flag):
    A = 1
    B = 2
@dataclass
class Point:
    a: int
    b: int
    def norm(self): return self.a
    @classmethod
    def make(cls): return cls(1, 2)
@dataclass
class Spot(Point):
    pass
@dataclass(frozen=True)
class Frozen:
    a: int
@dataclass(slots=True)
class Slotted:
    a: int
class Text(str): pass
class Whole(int): pass
class Items(list): pass
class Table(dict): pass
class Unique(set): pass
class Holder:
    def __init__(self, held): self.held = held
class Taught:
    def __init__(self, a): self.a, self.lock = a, sys.stdout
    def __jackfield_hash__(self): return self.a
def adder(n): return lambda x: x + n
def plus(x): return x + 1
def minus(x): return x - 1
def caused(error):
    error.__cause__ = KeyError("b")
    return error
def noted(error):
    error.add_note("b")
    return error
def cyclic(n):
    made = [n]
    made.append(made)
    return made
def ring(n):
    nodes = [Holder(i) for i in range(n)]
    for i, node in enumerate(nodes): node.next = nodes[i - 1]
    return nodes[0]
"""

EXPRESSIONS = [one for line in CORPUS.split("\n") for one in line.split("  ") if one]

SCRIPT = (
    PRELUDE
    + """
if __name__ == "__main__":
    from jackfield_memo.key_maker import PythonKeyMaker
    identity = PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ())
    expressions = json.load(sys.stdin)
    print(json.dumps([identity.value("a", e, eval(e)).hex() for e in expressions]))
"""
)


def evaluated(directory: Any, seed: str) -> list[str]:
    script = directory / "corpus.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script],
        input=json.dumps(EXPRESSIONS),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    directory = tmp_path_factory.mktemp("corpus")
    return evaluated(directory, "1"), evaluated(directory, "2")


def test_every_process_and_hash_seed_gives_the_same(
    corpus: tuple[list[str], list[str]],
) -> None:
    first, second = corpus

    changed = [e for e, a, b in zip(EXPRESSIONS, first, second, strict=True) if a != b]
    assert changed == []


def test_no_two_values_of_the_collection_are_the_same(
    corpus: tuple[list[str], list[str]],
) -> None:
    seen: dict[str, list[str]] = {}
    for expression, found in zip(EXPRESSIONS, corpus[0], strict=True):
        seen.setdefault(found, []).append(expression)

    assert [group for group in seen.values() if len(group) > 1] == []


def test_threads_agree(corpus: tuple[list[str], list[str]]) -> None:
    value = {"a": [1, {2, 3}, ("x", b"y")], "b": frozenset("abcdef")}
    found: list[str] = []
    together = threading.Barrier(4)

    def look() -> None:
        together.wait(timeout=120)
        found.append(of(value))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_dict_that_another_thread_changes_does_not_fail() -> None:
    value: dict[Any, Any] = {(n,): n for n in range(200)}
    done = threading.Event()

    def change() -> None:
        number = 200
        while not done.is_set():
            value[number,] = number
            number += 1
            if number % 100 == 0:
                value.clear()

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(200):
            assert of({"a": value})
    finally:
        done.set()
        changer.join(60)


# -- Structure


def test_whether_equal_parts_are_one_object_does_not_matter() -> None:
    part = [1, 2]

    assert of([part, part]) == of([[1, 2], [1, 2]])


def test_what_is_shared_on_many_levels_takes_no_time() -> None:
    value: Any = ["leaf"]
    for _ in range(200):
        value = [value, value]

    assert of(value)


def test_a_dense_cyclic_structure_takes_no_time() -> None:
    nodes: list[list[Any]] = [[number] for number in range(30)]
    for node in nodes:
        node.extend(nodes)

    assert of(nodes) == of(copy.deepcopy(nodes))


def test_cyclic_values_differ_by_their_content() -> None:
    one: dict[str, Any] = {"n": 1}
    one["self"] = one
    other: dict[str, Any] = {"n": 2}
    other["self"] = other

    assert of(one) == of(copy.deepcopy(one))
    assert of(one) != of(other)


def test_a_set_that_contains_what_contains_it_is_refused() -> None:
    class Node:
        def __init__(self) -> None:
            self.others: set[Node] = set()

    one, other = Node(), Node()
    one.others.add(other)
    other.others.add(one)

    with pytest.raises(MemoKeyError, match="in which order"):
        of(one)


def test_what_is_nested_too_deeply_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(MemoKeyError, match="nested too deeply"):
        of(value)
    while value:  # or taking it apart would overflow the stack
        value = value.pop()


def test_keys_that_are_equal_only_in_content_are_ordered_by_their_values() -> None:
    class Key:
        pass

    pairs = [(Key(), number) for number in range(5)]

    assert of(dict(pairs)) == of(dict(reversed(pairs)))


@pytest.mark.parametrize("bits", [64, 5000, 200_000])
def test_huge_integers_have_an_identity(bits: int) -> None:
    assert of(1 << bits) != of((1 << bits) + 1)


def test_a_view_counts_by_what_it_shows() -> None:
    assert of(memoryview(b"abcd")[::2]) == of(memoryview(b"ac"))
