"""The identity of numpy's and pandas' values, by the plugins."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jackfield.memo_keys import ValueHook, with_parts
from jackfield.plugins import PluginManager
from jackfield.plugins.key_makers import create_key_maker
from jackfield_memo.key_maker import PythonKeyMaker

INSTALL = "needs numpy and pandas: pip install numpy pandas"
np = pytest.importorskip("numpy", reason=INSTALL)
pd = pytest.importorskip("pandas", reason=INSTALL)

PLUGINS = Path(__file__).parents[2] / "plugins" / "memo"


@pytest.fixture(scope="module")
def identity() -> PythonKeyMaker:
    """Asks each plugin for the types of its package, as the kernel does."""
    from jackfield_memo import numpy as for_numpy
    from jackfield_memo import pandas as for_pandas

    def value_hooks(kind: type) -> tuple[ValueHook, ...]:
        root = kind.__module__.partition(".")[0]
        plugins = {"numpy": for_numpy, "pandas": for_pandas}
        if root not in plugins:
            return ()
        return (with_parts(plugins[root].jackfield_hash_value),)

    return PythonKeyMaker(value_hooks=value_hooks, function_hooks=lambda: ())


def of(identity: Any, value: object) -> str:
    found: str = identity.value("app", "argument 'x'", value).hex()
    return found


def expressions(text: str) -> list[str]:
    """Split a text at line ends and double spaces."""
    return [one for line in text.splitlines() for one in line.split("  ") if one]


# -- numpy


ARRAYS = expressions("""
np.array(1.0)  np.array([1.0])  np.array([[1.0]])  np.array([1])
np.array([1], dtype="i4")  np.array([1], dtype=">i4")  np.array([True])
np.array([0.0])  np.array([-0.0])  np.array([1.0], dtype="f4")
np.array([1.0], dtype=np.longdouble)  np.array([1j])  np.array([])  np.zeros((0, 3))
np.zeros((3, 0))  np.array([], dtype="i8")  np.arange(4.0)
np.arange(4.0).reshape(2, 2)  np.arange(4.0).reshape(2, 2).T  np.nan
np.array([np.nan])  np.array(["a"])  np.array(["b"])  np.array(["a"], dtype="U2")
np.array([b"a"])  np.array(["a"], dtype=object)  np.array([1], dtype=object)
np.array([None])  np.array([[1, 2], [3]], dtype=object)  np.array([{"a": 1}])
np.array(["a", "bb"], dtype=np.dtypes.StringDType())  np.datetime64("2020-01-01")
np.array(["bb", "a"], dtype=np.dtypes.StringDType())  np.datetime64("2020-01-01", "s")
np.timedelta64(1, "D")  np.array(["2020-01-01"], dtype="M8[D]")  np.float64(1)
np.int64(1)  np.float32(1)  np.bool_(True)  np.str_("a")  np.bytes_(b"a")
np.dtype("f8")  np.dtype("f4")  np.zeros(1, dtype=[("a", "i4"), ("b", "i4")])
np.zeros(1, dtype=[("a", "i4"), ("c", "i4")])  np.zeros(1, dtype=[("a", "i8")])
np.ma.array([1, 2])  np.ma.array([1, 2], mask=[0, 1])
np.ma.array([1, 3], mask=[0, 1])  np.rec.array([(1,)], dtype=[("a", "i8")])  np.add
np.subtract  np.sum  np.random.default_rng(1)  np.random.default_rng(2)  np.float64
np.ndarray  np.linalg.norm  np.polynomial.Polynomial([1, 2])  slice(np.int64(1))
""")


def test_different_values_of_numpy_differ(identity: PythonKeyMaker) -> None:
    found: dict[str, list[str]] = {}
    for expression in ARRAYS:
        found.setdefault(of(identity, eval(expression)), []).append(expression)

    assert [group for group in found.values() if len(group) > 1] == []


@pytest.mark.parametrize("expression", ARRAYS)
def test_equal_values_of_numpy_are_the_same(
    expression: str, identity: PythonKeyMaker
) -> None:
    assert of(identity, eval(expression)) == of(identity, eval(expression))


@pytest.mark.parametrize(
    "arrange",
    [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.T.copy().T,
        lambda a: np.lib.stride_tricks.as_strided(a, a.shape, a.strides),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3), (700, 300), (2, 200_000), (1, 5, 7)])
@pytest.mark.parametrize("dtype", ["f8", "i2", "U3", "O", "M8[s]"])
def test_how_an_array_lies_in_memory_does_not_matter(
    arrange: Callable[[Any], Any],
    shape: tuple[int, ...],
    dtype: str,
    identity: PythonKeyMaker,
) -> None:
    if dtype == "O" and np.prod(shape) > 1000:
        shape = (*shape[:1], 10)
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)

    assert of(identity, arrange(array)) == of(identity, array)


def test_a_view_that_repeats_is_what_it_shows(identity: PythonKeyMaker) -> None:
    repeated = np.broadcast_to(np.arange(3), (4, 3))

    assert of(identity, repeated) == of(identity, repeated.copy())


@pytest.mark.parametrize("fill", [0, 255])
def test_gaps_between_fields_do_not_matter(fill: int, identity: PythonKeyMaker) -> None:
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    memory = np.full(dtype.itemsize * 2, fill, dtype="u1")
    array = memory.view(dtype)
    array["a"], array["b"] = 1, 2.0

    zeros = np.zeros(2, dtype=dtype)
    zeros["a"], zeros["b"] = 1, 2.0

    assert of(identity, array) == of(identity, zeros)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="no gaps here")
def test_gaps_in_long_doubles_do_not_matter(identity: PythonKeyMaker) -> None:
    array = np.array([1, 2], dtype=np.longdouble)
    dirty = array.copy()
    dirty.view("u1").reshape(-1, 16)[:, 10:] = 7

    assert of(identity, array) == of(identity, dirty)


def test_a_mapped_file_counts_by_content(
    identity: PythonKeyMaker, tmp_path: Path
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(5))
    first = of(identity, np.load(path, mmap_mode="r"))
    np.save(path, np.arange(5) + 1)

    assert of(identity, np.load(path, mmap_mode="r")) != first


def test_arrays_count_inside_other_values(identity: PythonKeyMaker) -> None:
    def value(last: int) -> Any:
        return {"a": [np.array([1, last]), (np.float64(last),)]}

    assert of(identity, value(1)) == of(identity, value(1))
    assert of(identity, value(1)) != of(identity, value(2))


# -- pandas


FRAMES = expressions("""
pd.DataFrame({"a": [1, 2]})  pd.DataFrame({"b": [1, 2]})  pd.DataFrame({"a": [1, 3]})
pd.DataFrame({"a": [1.0, 2.0]})  pd.DataFrame({"a": [1, 2]}, index=[1, 2])
pd.DataFrame({"a": [1, 2]}, index=["x", "y"])  pd.DataFrame({"a": [1], "b": [2]})
pd.DataFrame({"b": [2], "a": [1]})  pd.DataFrame([[1, 2]], columns=["a", "a"])
pd.DataFrame()  pd.DataFrame({"a": []})  pd.DataFrame(index=[0])  pd.Series([1, 2])
pd.Series([1, 2], name="a")  pd.Series([1, 2], dtype="Int64")  pd.Series([1, None])
pd.Series([1, None], dtype="Int64")  pd.Series([1, 0], dtype="Int64")
pd.Series([True, None], dtype="boolean")  pd.Series([1.0, None], dtype="Float64")
pd.Series(["a", None])  pd.Series(["a", "b"])  pd.Series(["a", "b"], dtype=object)
pd.Series(["a", "b"], dtype="category")  pd.Series(["b", "a"], dtype="category")
pd.Series(pd.Categorical(["a", "b"], ordered=True))
pd.Series(pd.Categorical(["a", "b"], categories=["b", "a"]))
pd.Series(pd.to_datetime(["2020", "2021"]))
pd.Series(pd.to_datetime(["2020", "2021"])).dt.tz_localize("UTC")
pd.Series(pd.to_timedelta([1, 2]))
pd.Series(pd.period_range("2020", periods=2, freq="Y"))
pd.Series(pd.interval_range(0, 2))  pd.Series(pd.arrays.SparseArray([0, 1]))
pd.Series([[1], [2]])  pd.Index([1, 2])  pd.Index([1, 2], name="a")
pd.RangeIndex(1, 3)  pd.RangeIndex(1, 4)  pd.Index(["a", "b"])
pd.MultiIndex.from_tuples([(1, 2)])  pd.MultiIndex.from_tuples([(1, 3)])
pd.MultiIndex.from_tuples([(1, 2)], names=["a", "b"])
pd.date_range("2020", periods=2)  pd.date_range("2020", periods=2, freq="h")
pd.CategoricalIndex(["a"])  pd.array([1, 2])  pd.Timestamp("2020")
pd.Timestamp("2021")  pd.Timestamp("2020", tz="UTC")  pd.Timedelta(1)  pd.Timedelta(2)
pd.Period("2020")  pd.Interval(0, 1)  pd.Interval(0, 1, closed="left")  pd.NA  pd.NaT
pd.offsets.Day(2)
""")


def test_different_values_of_pandas_differ(identity: PythonKeyMaker) -> None:
    found: dict[str, list[str]] = {}
    for expression in FRAMES:
        found.setdefault(of(identity, eval(expression)), []).append(expression)

    assert [group for group in found.values() if len(group) > 1] == []


@pytest.mark.parametrize("expression", FRAMES)
def test_equal_values_of_pandas_are_the_same(
    expression: str, identity: PythonKeyMaker
) -> None:
    value = eval(expression)
    if hasattr(value, "memory_usage"):  # which fills caches
        value.memory_usage()

    assert of(identity, value) == of(identity, eval(expression))


def test_how_a_table_came_about_does_not_matter(identity: PythonKeyMaker) -> None:
    plain = pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": ["x", "y"]})
    grown = pd.DataFrame({"a": [1, 2]})
    grown["b"] = [3, 4]
    grown["c"] = ["x", "y"]
    cut = pd.DataFrame({"a": [0, 1, 2], "b": [0, 3, 4], "c": ["w", "x", "y"]})
    cut = cut.iloc[1:].reset_index(drop=True)

    assert of(identity, grown) == of(identity, plain)
    assert of(identity, cut) == of(identity, plain)


@pytest.mark.parametrize("value", [["a", None], ["b"], []])
def test_which_array_keeps_texts_does_not_matter(
    value: list[str | None], identity: PythonKeyMaker
) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    found = set()
    for storage in ("python", "pyarrow"):
        with pd.option_context("mode.string_storage", storage):
            column = pd.Series(value, dtype="str")
            assert (type(column.array).__name__ == "ArrowStringArray") == (
                storage == "pyarrow"
            )
            table = pd.DataFrame({"x": column})
            found.add((of(identity, column), of(identity, table)))

    assert len(found) == 1


def test_what_is_under_a_mask_does_not_matter(identity: PythonKeyMaker) -> None:
    one = pd.Series([1, 2], dtype="Int64")
    other = pd.Series([1, 9], dtype="Int64")
    one[1] = pd.NA
    other[1] = pd.NA

    assert of(identity, one) == of(identity, other)


def test_notes_on_a_table_count(identity: PythonKeyMaker) -> None:
    table = pd.DataFrame({"a": [1]})
    first = of(identity, table)
    table.attrs["unit"] = "m"

    assert of(identity, table) != first


# -- Every process gives the same


SCRIPT = """
import sys
import numpy as np, pandas as pd
from jackfield.memo_keys import with_parts
from jackfield_memo.key_maker import PythonKeyMaker
from jackfield_memo import numpy as for_numpy, pandas as for_pandas
plugins = {"numpy": for_numpy, "pandas": for_pandas}
def value_hooks(kind):
    root = kind.__module__.partition(".")[0]
    found = plugins.get(root)
    return (with_parts(found.jackfield_hash_value),) if found else ()
identity = PythonKeyMaker(value_hooks=value_hooks, function_hooks=lambda: ())
for line in sys.stdin:
    print(identity.value("app", "x", eval(line)).hex())
"""


def test_every_process_and_hash_seed_gives_the_same(identity: PythonKeyMaker) -> None:
    every = [*ARRAYS, *FRAMES]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input="\n".join(every),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(PLUGINS)},
        check=True,
    )

    here = [of(identity, eval(one)) for one in every]
    there = done.stdout.split()
    assert [e for e, a, b in zip(every, here, there, strict=True) if a != b] == []


def test_attributes_that_a_derived_class_adds_count() -> None:
    maker = create_key_maker(PluginManager())

    series: Any = type("Series", (pd.Series,), {"__module__": __name__})
    array: Any = type("Array", (np.ndarray,), {"__module__": __name__})

    def with_unit(kind: Any, unit: str) -> Any:
        made = np.arange(3).view(array) if kind is array else series([1, 2])
        object.__setattr__(made, "unit", unit)
        return made

    for kind in (series, array):
        found = [of(maker, with_unit(kind, unit)) for unit in ("m", "m", "s")]
        assert found[0] == found[1]
        assert found[0] != found[2]


@pytest.mark.parametrize(
    ("kind", "values", "others"),
    [
        ("int64[pyarrow]", [1, None], [1, 0]),
        ("double[pyarrow]", [1.5, None], [1.5, 0.0]),
        ("bool[pyarrow]", [True, None], [True, False]),
        ("string[pyarrow]", ["a", None], ["a", ""]),
        ("timestamp[ns][pyarrow]", ["2026-01-01", None], ["2026-01-02", None]),
        ("date32[pyarrow]", ["2026-01-01", None], ["2026-01-02", None]),
        ("binary[pyarrow]", [b"a", None], [b"a", b""]),
    ],
)
def test_columns_of_arrow_have_an_identity(
    kind: str, values: list[Any], others: list[Any]
) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    maker = create_key_maker(PluginManager())

    def column(content: list[Any]) -> Any:
        if isinstance(content[0], str) and "str" not in kind:
            content = [one and pd.Timestamp(one) for one in content]
        return (
            pd.Series(content).astype(kind)
            if "date" in kind
            else pd.Series(content, dtype=kind)
        )

    assert of(maker, column(values)) == of(maker, column(values))
    assert of(maker, column(values)) != of(maker, column(others))
    assert of(maker, column([*values, *values])[:2]) == of(maker, column(values))
