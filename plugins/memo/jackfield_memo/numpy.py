"""The identity of numpy's arrays, scalars and dtypes: by shape, dtype and elements.

How an array lies in memory does not count: a transposed array is the one that it
equals. Elements count bit by bit, so 0.0 and -0.0 differ.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from jackfield import hookimpl
from jackfield.memo_keys import part_identity

if TYPE_CHECKING:
    from collections.abc import Iterator

JACKFIELD_API = ">=0,<2"

_BLOCK: Final = 1 << 19
"""Bytes to bring into order at a time, where an array does not lie in order."""
_USED_BYTES: Final = 10 if np.finfo(np.longdouble).nmant == 63 else None
"""Bytes of a long double that mean something: Intel's have 80 bits, in 16 bytes."""


@hookimpl
def jackfield_hash_value(value: object) -> bytes | None:
    """Give the identity of an array, a scalar or a dtype."""
    if isinstance(value, np.ma.MaskedArray):
        parts = (value.data, np.ma.getmaskarray(value), value.fill_value)
        return b"".join(map(part_identity, parts))
    if isinstance(value, np.ndarray | np.generic):
        return _array(np.asarray(value))
    if isinstance(value, np.dtype):
        return repr(value).encode()
    return None


def _array(array: np.ndarray[Any, Any]) -> bytes:
    return repr((array.dtype, array.shape)).encode() + b"\0" + _elements(array)


def _elements(array: np.ndarray[Any, Any]) -> bytes:
    """Return a digest of the elements in C order."""
    dtype = array.dtype
    if dtype.hasobject or dtype.kind == "T":  # the memory has pointers
        return part_identity(array.ravel().tolist())
    if dtype.names is not None:  # there may be gaps between the fields
        return b"".join(_elements(array[name]) for name in dtype.names)
    digest = hashlib.sha256()
    for block in _blocks(array):
        octets = block.reshape(-1).view(np.uint8)
        if dtype.char in "gG" and _USED_BYTES:
            octets = octets.reshape(-1, 16)[:, :_USED_BYTES].copy()
        digest.update(octets.data)
    return digest.digest()


def _blocks(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Give an array in contiguous pieces, in C order."""
    if not array.nbytes:
        return
    if array.flags.c_contiguous:
        yield array
    elif array.nbytes <= _BLOCK or not array.ndim:
        yield np.ascontiguousarray(array)
    else:
        rows = max(1, _BLOCK * len(array) // array.nbytes)
        for start in range(0, len(array), rows):
            part = array[start : start + rows]
            yield from _blocks(part if rows > 1 else part[0])
