"""The identity of pandas' tables: by their columns, labels and names.

How pandas keeps the columns (in blocks, as views of others) does not count. The
elements of numpy's types are left to the plugin for numpy; scalars such as
``Timestamp`` need none.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from jackfield import hookimpl
from jackfield.memo_keys import part_identity

JACKFIELD_API = ">=0,<2"


@hookimpl
def jackfield_hash_value(value: object) -> bytes | None:
    """Give the identity of a table, a column, an index or an array."""
    parts = _parts(value)
    return None if parts is None else b"".join(map(part_identity, parts))


def _parts(value: object) -> tuple[Any, ...] | None:
    if isinstance(value, pd.DataFrame):
        columns = [_array(value.iloc[:, place]) for place in range(value.shape[1])]
        return (value.index, value.columns, columns, *_extras(value))
    if isinstance(value, pd.Series):
        return (value.index, value.name, _array(value), *_extras(value))
    if isinstance(value, pd.RangeIndex):
        return value.start, value.stop, value.step, value.name
    if isinstance(value, pd.MultiIndex):
        levels = [value.get_level_values(place) for place in range(value.nlevels)]
        return list(value.names), levels
    if isinstance(value, pd.Index):
        return value.name, getattr(value, "freqstr", None), _array(value)
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return _array_parts(value)
    return None


def _array(holder: Any) -> Any:
    """Return the array of a column or an index, texts in pandas' own array.

    Where pyarrow is installed, texts of the type ``str`` are in an array of Arrow's. A
    table is the same one with and without it.
    """
    array = holder.array
    dtype = array.dtype
    if isinstance(dtype, pd.StringDtype) and dtype == "str":
        return array.astype(pd.StringDtype("python", na_value=dtype.na_value))
    return array


def _extras(value: Any) -> tuple[Any, ...]:
    return value.attrs, value.flags.allows_duplicate_labels


def _array_parts(array: Any) -> tuple[Any, ...]:
    """Take an array apart into numpy's arrays, or else into its elements."""
    dtype = array.dtype
    if isinstance(array, pd.Categorical):
        return array.codes, array.categories, array.ordered
    if isinstance(array, pd.arrays.NumpyExtensionArray):
        return (array.to_numpy(),)
    if hasattr(array, "asi8"):  # points in time, spans of time
        return repr(dtype), array.asi8
    numpy_dtype = getattr(dtype, "numpy_dtype", None)
    arrow = isinstance(dtype, pd.ArrowDtype)
    if arrow and getattr(numpy_dtype, "kind", "O") not in "biuf":
        return repr(dtype), array.__arrow_array__().to_pylist()
    if numpy_dtype is not None and hasattr(dtype, "na_value"):  # with a mask
        missing = array.isna()
        filled = array.to_numpy(dtype=numpy_dtype, na_value=numpy_dtype.type(0))
        return repr(dtype), missing, filled
    return repr(dtype), list(array.astype(object))
