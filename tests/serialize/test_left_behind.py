"""What a value's own pickling leaves behind goes along with it."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import functools
import ipaddress
import pathlib
import random
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jackfield as jf
from jackfield_serialize import dumps, loads

LIMIT_S = 60.0

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
    "Path": (type(pathlib.Path()), ("a/b",)),
    "IPv4Address": (ipaddress.IPv4Address, ("10.0.0.1",)),
    "Random": (random.Random, (4,)),
    "dict": (dict, ({"a": 1},)),
    "set": (set, ({1, 2},)),
}


def of(base: Any, **names: Any) -> Any:
    """Return a class as a script would have it: it goes by value."""
    return type("Derived", (base,), {"__module__": "__main__", **names})


@pytest.mark.parametrize(("base", "args"), BASES.values(), ids=BASES)
def test_attributes_go_along(base: Any, args: tuple[Any, ...]) -> None:
    value = of(base)(*args)
    value.unit = ["s"]

    again = loads(dumps({"a": [value]}))["a"][0]

    assert type(again).__name__ == "Derived"
    assert again.unit == ["s"]
    assert str(again) == str(value) or base is random.Random


SLOTTED = ["Decimal", "Fraction", "date", "timedelta", "Counter", "deque", "Path"]


@pytest.mark.parametrize("name", SLOTTED)
def test_slots_go_along(name: str) -> None:
    base, args = BASES[name]
    value = of(base, __slots__=("other", "unit"))(*args)
    value.unit = "s"

    again = loads(dumps(value))

    assert again.unit == "s"
    assert not hasattr(again, "other")


class Unitful(np.ndarray[Any, Any]):
    unit = "m"


class Labelled(pd.Series):  # type: ignore[misc]  # pandas is untyped
    unit = "m"


class Pair(decimal.Decimal):
    """Has an attribute by a class of a module, which goes by its name."""

    unit = "m"


def test_arrays_and_columns_keep_what_their_classes_add() -> None:
    array = np.arange(3).view(Unitful)
    column = Labelled([1, 2])
    pair = Pair(2)
    for value in (array, column, pair):
        object.__setattr__(value, "unit", "s")

    others = loads(dumps((array, column, pair)))

    assert [type(one) for one in others] == [Unitful, Labelled, Pair]
    assert [one.unit for one in others] == ["s"] * 3
    assert others[0].tolist() == [0, 1, 2]
    assert others[1].tolist() == [1, 2]


def test_a_value_may_lead_back_to_itself() -> None:
    value = of(collections.Counter)("aab")
    value.me = value

    again = loads(dumps(value))

    assert again.me is again
    assert again["a"] == 2


class Half:
    """Leaves out on purpose what it can do without."""

    def __init__(self, x: int) -> None:
        self.x = x
        self.lock: Any = threading.Lock()

    def __reduce__(self) -> Any:
        return Half, (self.x,)


class Cached(decimal.Decimal):
    @functools.cached_property
    def twice(self) -> Any:
        return threading.Lock()


def test_what_a_class_leaves_out_on_purpose_stays() -> None:
    cached = Cached(1)
    assert cached.twice is cached.twice  # a lock, which could not be pickled

    again = loads(dumps([Half(3), cached]))

    assert again[0].x == 3
    assert again[1] == 1


def test_what_cannot_go_along_is_refused() -> None:
    value = of(decimal.Decimal)("1")
    value.lock = threading.Lock()

    with pytest.raises(TypeError, match="lock"):
        dumps(value)


def unit_of(value: Any) -> tuple[str, Any]:
    value.also = "back"
    return value.unit, value


def test_a_task_elsewhere_sees_what_the_script_has_set(tmp_path: Any) -> None:
    value = of(decimal.Decimal, unit="m")("1")
    value.unit = "s"
    one: Any = {"plugin": "processes", "workers": 1}
    with jf.load(executors={"one": one}, run_dir=tmp_path) as kernel:
        unit, back = kernel.submit(unit_of, value).result(LIMIT_S)

    assert unit == "s"
    assert (back, back.unit, back.also) == (1, "s", "back")


def test_a_module_may_have_a_class_of_its_own(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lazy_one.py").write_text(
        "import sys, types\n"
        "class Lazy(types.ModuleType):\n"
        "    @property\n"
        "    def later(self):\n        return 5\n"
        "sys.modules[__name__].__class__ = Lazy\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import lazy_one  # type: ignore[import-not-found]  # just written

    assert loads(dumps([lazy_one]))[0] is lazy_one
