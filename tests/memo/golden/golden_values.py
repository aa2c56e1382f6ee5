# mypy: ignore-errors
# The code is as users write it: without types.
"""Values of all types, and files."""

import array
import collections
import datetime
import decimal
import fractions
import functools
import math
import os
import pathlib
import re
import types
import uuid

import golden_functions
import golden_helpers as h

from jackfield import File


def cyclic_list():
    value = [1]
    value.append(value)
    return value


def cyclic_objects():
    first, second = h.Base("a"), h.Base("b")
    first.other, second.other = second, {"first": first, "both": (first, second)}
    return [first, second]


def with_cause():
    error = ValueError("a", 1)
    error.__cause__ = KeyError("b")
    return error


def with_slow():
    value = h.Derived(2)
    assert value.slow == 2
    return value


def files():
    pathlib.Path("golden.txt").write_text("content\n")
    os.utime("golden.txt", (1e9, 1e9))
    tree = pathlib.Path("golden-tree")
    (tree / "below").mkdir(parents=True, exist_ok=True)
    (tree / "a.txt").write_text("a")
    (tree / "below" / "b.txt").write_text("b")
    for one in (tree / "a.txt", tree / "below" / "b.txt"):
        os.utime(one, (1e9, 1e9))
    return {
        "file": File("golden.txt"),
        "file missing": File("nowhere.txt"),
        "file tree": File("golden-tree"),
        "file remote": File("https://example.org/a", sha256="ab" * 32),
        "file list": [File("golden.txt"), {"a": File("nowhere.txt")}],
    }


def numpy_values():
    try:
        import numpy as np
    except ImportError:
        return {}
    grid = np.arange(12.0).reshape(3, 4)
    pairs = np.zeros(3, dtype=[("a", "i4"), ("b", "f8")])
    return {
        "np array": grid,
        "np fortran": np.asfortranarray(grid),
        "np strided": grid[::2, ::-1],
        "np empty": np.zeros((0, 3)),
        "np zero-dim": np.array(3.5),
        "np bool": np.array([True, False]),
        "np object": np.array([1, "a", None, h.Base(1)], dtype=object),
        "np text": np.array(["a", "bcd"]),
        "np time": np.array(["2026-01-02"], dtype="datetime64[D]"),
        "np structured": pairs,
        "np scalar": np.float32(1.5),
        "np long double": np.longdouble(1.5),
        "np dtype": np.dtype("f4"),
        "np masked": np.ma.masked_array([1, 2, 3], [0, 1, 0]),
        "np generator class": np.random.Generator,
        "np function": np.linalg.norm,
        "np in containers": {"a": [np.arange(3), (np.int64(1),)]},
        "np big": np.arange(100_000),
    }


def pandas_values():
    try:
        import pandas as pd
    except ImportError:
        return {}
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, math.nan]})
    return {
        "pd frame": frame,
        "pd frame by a": frame.set_index("a"),
        "pd series": frame["a"],
        "pd range": pd.RangeIndex(3),
        "pd index": pd.Index([1, 2], name="n"),
        "pd multi": pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]),
        "pd times": pd.date_range("2026-01-01", periods=3),
        "pd categories": pd.Categorical(["a", "b", "a"]),
        "pd nullable": pd.array([1, None], dtype="Int64"),
        "pd timestamp": pd.Timestamp("2026-01-01"),
    }


VALUES = {
    "none": None,
    "ellipsis": ...,
    "not implemented": NotImplemented,
    "true": True,
    "zero": 0,
    "minus one": -1,
    "int 2**7": 128,
    "int large": 1 << 5000,
    "int -large": -(1 << 64),
    "float": 2.5,
    "float -0": -0.0,
    "float nan": math.nan,
    "float inf": math.inf,
    "complex": 1 - 2j,
    "text": "héllo",
    "text empty": "",
    "text long": "x" * 1000,
    "text surrogate": "\udc80",
    "bytes": b"abc",
    "bytes 127": b"a" * 127,
    "bytes 128": b"a" * 128,
    "bytearray": bytearray(b"abc"),
    "memoryview": memoryview(b"abcdef"),
    "memoryview strided": memoryview(b"abcdef")[::2],
    "memoryview cast": memoryview(b"abcdefgh").cast("I"),
    "array": array.array("d", [1.0, 2.0]),
    "list": [1, "a", None],
    "list empty": [],
    "list ints": list(range(100)),
    "list huge ints": [1 << 70] * 20,
    "list floats": [i / 3 for i in range(100)],
    "list nans": [math.nan] * 20,
    "list texts": [str(i) for i in range(100)],
    "list bytes": [b"%d" % i for i in range(100)],
    "list bools": [True] * 20,
    "list mixed": [1, 2.0] * 20,
    "list nested": [[[[1]], [2]], []],
    "list shared": [[1, 2]] * 3,
    "tuple": (1, (2, (3,))),
    "tuple ints": tuple(range(30)),
    "dict": {"a": 1, "b": [2]},
    "dict mixed keys": {1: "a", "b": 2, (3, 4): None, 2.5: b""},
    "dict empty": {},
    "dict big": {str(i): i for i in range(200)},
    "set": {1, "a", 2.5, (1, 2)},
    "set ints": set(range(50)),
    "set texts": {str(i) for i in range(50)},
    "frozenset": frozenset({frozenset({1}), frozenset()}),
    "mapping proxy": types.MappingProxyType({"a": 1}),
    "cyclic list": cyclic_list(),
    "cyclic objects": cyclic_objects(),
    "deque": collections.deque([1, 2], maxlen=5),
    "ordered dict": collections.OrderedDict(b=1, a=2),
    "default dict": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("abca"),
    "chain map": collections.ChainMap({"a": 1}, {}),
    "range": range(1, 10, 2),
    "slice": slice(1, 2),
    "decimal": decimal.Decimal("1.10"),
    "fraction": fractions.Fraction(1, 3),
    "datetime": datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
    "datetime zone": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "date": datetime.date(2026, 1, 2),
    "timedelta": datetime.timedelta(1, 2, 3),
    "uuid": uuid.UUID(int=7),
    "path": pathlib.Path("a/b"),
    "windows path": pathlib.PureWindowsPath("c:/a"),
    "pattern": re.compile("a+", re.IGNORECASE),
    "namespace": types.SimpleNamespace(a=1, b=[2]),
    "exception": ValueError("a", 1),
    "exception with cause": with_cause(),
    "enum member": h.Color.BLUE,
    "flag": h.Access.READ | h.Access.WRITE,
    "named tuple": h.Point(1, 2),
    "object": h.Base({"a": 1}),
    "derived object": h.Derived([1]),
    "object with cache": with_slow(),
    "record": h.Record("a", 2, ["x"]),
    "frozen record": h.Frozen(1.5),
    "slotted": h.Slotted(1, "b"),
    "stated": h.Stated(3),
    "taught": h.Taught("a"),
    "called": h.Called(2),
    "derived dict": h.Names(a=1),
    "derived set": h.Group({1, "a"}),
    "function": h.clean,
    "lambda": golden_functions.square,
    "closure": golden_functions.closed,
    "class": h.Derived,
    "builtin class": int,
    "module": h,
    "library module": math,
    "builtin": len,
    "bound C method": [1].append,
    "method": h.Base(1).run,
    "partial": functools.partial(h.clean, 1),
    "property": h.Base.double,
    "static method": h.Base.__dict__["name"],
    "class method": h.Base.__dict__["make"],
    "cached property": h.Derived.__dict__["slow"],
    "lru cache": golden_functions.cached,
    "decorated": golden_functions.decorated,
    "app": golden_functions.plain_app,
    "bash app": golden_functions.bash,
    "app as a method": golden_functions.plain_app.__get__(h.Base(2)),
    "File class": File,
}
