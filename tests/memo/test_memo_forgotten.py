"""Attributes count that a value's own pickling leaves behind."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import ipaddress
import pathlib
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield_memo.key_maker import PythonKeyMaker

if TYPE_CHECKING:
    Runner = Callable[..., str]

BASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "Decimal": (decimal.Decimal, ("1.5",)),
    "Fraction": (fractions.Fraction, (1, 3)),
    "date": (datetime.date, (2026, 1, 2)),
    "datetime": (datetime.datetime, (2026, 1, 2)),
    "time": (datetime.time, (1, 2)),
    "timedelta": (datetime.timedelta, (1,)),
    "Counter": (collections.Counter, ("aab",)),
    "defaultdict": (collections.defaultdict, (list,)),
    "OrderedDict": (collections.OrderedDict, ()),
    "deque": (collections.deque, ((1, 2),)),
    "PurePosixPath": (pathlib.PurePosixPath, ("a/b",)),
    "Path": (type(pathlib.Path()), ("a/b",)),
    "IPv4Address": (ipaddress.IPv4Address, ("10.0.0.1",)),
    "Random": (random.Random, (4,)),
    "int": (int, (3,)),
    "str": (str, ("a",)),
    "bytearray": (bytearray, (b"a",)),
    "dict": (dict, ({"a": 1},)),
    "list": (list, ([1],)),
    "set": (set, ({1, 2},)),
    "frozenset": (frozenset, ({1, 2},)),
    "tuple": (tuple, ((1, 2),)),
    "exception": (ValueError, ("a",)),
    "exception of a file": (OSError, (2, "a", "b")),
}


def derived(base: Any, **names: Any) -> Any:
    return type("Derived", (base,), {"__module__": __name__, **names})


def identify(value: object) -> bytes:
    maker = PythonKeyMaker(value_hooks=lambda _: (), function_hooks=lambda: ())
    return maker.value("app", "argument 'x'", value)


@pytest.mark.parametrize(("base", "args"), BASES.values(), ids=BASES)
def test_attributes_in_the_dict_count(base: Any, args: tuple[Any, ...]) -> None:
    kind = derived(base)
    found = []
    for unit in ("m", "m", "s"):
        value = kind(*args)
        value.unit = unit
        found.append(identify(value))

    assert found[0] == found[1]
    assert found[0] != found[2]


SLOTTED = [
    name for name in BASES if name not in {"int", "bytearray", "tuple", "IPv4Address"}
]


@pytest.mark.parametrize("name", SLOTTED)
def test_attributes_in_slots_count(name: str) -> None:
    base, args = BASES[name]
    kind = derived(base, __slots__=("unit",))
    found = []
    for unit in ("m", "m", "s"):
        value = kind(*args)
        value.unit = unit
        found.append(identify(value))

    assert found[0] == found[1]
    assert found[0] != found[2]


class Named:
    def __init__(self, rate: int) -> None:
        self.rate = rate

    def __reduce__(self) -> str:
        return "NAMED"


class NamedInSlots:
    __slots__ = ("rate",)

    def __init__(self, rate: int) -> None:
        self.rate = rate

    def __reduce__(self) -> str:
        return "NAMED_IN_SLOTS"


class Half:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __reduce__(self) -> tuple[Any, ...]:
        return Half, (self.x, 0)


NAMED, NAMED_IN_SLOTS = Named(1), NamedInSlots(1)


@pytest.mark.parametrize("value", [NAMED, NAMED_IN_SLOTS])
def test_a_value_that_is_pickled_by_name_counts_by_what_it_has(value: Any) -> None:
    before = identify(value)
    value.rate += 1
    after = identify(value)
    value.rate -= 1

    assert before != after
    assert identify(value) == before


def test_what_a_reduce_method_leaves_behind_counts() -> None:
    assert identify(Half(1, 2)) == identify(Half(1, 2))
    assert identify(Half(1, 2)) != identify(Half(1, 3))


def test_what_a_getstate_method_leaves_out_does_not_count() -> None:
    class Own:
        def __init__(self, x: int, cache: int) -> None:
            self.x, self.cache = x, cache

        def __getstate__(self) -> dict[str, int]:
            return {"x": self.x}

    assert identify(Own(1, 2)) == identify(Own(1, 3))
    assert identify(Own(1, 2)) != identify(Own(2, 2))


def test_what_is_left_behind_need_not_have_an_identity() -> None:
    one, other = derived(decimal.Decimal)("1"), derived(decimal.Decimal)("1")
    one.lock, other.lock = threading.Lock(), None

    assert identify(one) != identify(other)


def test_a_package_that_pickles_functions_by_name_does_not_hide_their_code(
    tmp_path: pathlib.Path, python: Runner
) -> None:
    site = tmp_path / "site-packages"
    (site / "thirdparty").mkdir(parents=True)
    (site / "thirdparty" / "__init__.py").write_text(
        "import functools\n"
        "def restore(name):\n    return name\n"
        "class curry:\n"
        "    def __init__(self, function, *args):\n"
        "        self._partial = functools.partial(function, *args)\n"
        "    def __call__(self, *args):\n        return self._partial(*args)\n"
        "    def __reduce__(self):\n"
        "        return restore, (self._partial.func.__qualname__,)\n"
    )
    info = site / "thirdparty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: thirdparty\nVersion: 1.0\n")
    found = []
    for number in (1, 1, 2):
        (tmp_path / "app.py").write_text(
            "import sys\nsys.path.insert(0, 'site-packages')\nimport thirdparty\n"
            f"@thirdparty.curry\ndef add(x, y):\n    return x + y + {number}\n"
            "def f(x):\n    return add(x, 1)\n"
            "from jackfield_memo.key_maker import PythonKeyMaker\n"
            "keys = PythonKeyMaker(value_hooks=lambda kind: (), "
            "function_hooks=lambda: ())\n"
            "print(keys.function(f).digest.hex(), keys.value('a', 'x', add).hex())\n"
        )
        found.append(python("-B", "app.py").split())

    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
    assert found[0][1] != found[2][1]


class Money(decimal.Decimal):
    unit: str


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_values_with_other_attributes_are_other_arguments(executor: str) -> None:
    @jf.python_app(cache=True)
    def shown(x: Money) -> str:
        return getattr(x, "unit", "lost")

    config = {
        "executors": {"x": {"plugin": executor, "workers": 1}},
        "checkpoint": {"store": "memory"},
    }
    with jf.load(config):
        statuses = []
        for unit in ("m", "s", "m"):
            value = Money("1")
            value.unit = unit
            future = shown(value)
            assert future.result(60) == unit
            statuses.append(future.memo.status)

    assert statuses == ["miss", "miss", "hit"]
