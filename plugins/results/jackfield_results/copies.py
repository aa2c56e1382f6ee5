"""Results as bytes: whoever gets one gets it as the function returned it.

What a caller, or another task, does with a result must not change what a later hit
gives. So a result that could be changed is kept pickled, and each hit unpickles it.

Classes and functions of the script have no importable name. They are kept by name all
the same, with their identity, and come back as the running ones: so that ``isinstance``
and ``is`` hold on a hit. If the running one is another, or gone, it is a miss.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from jackfield_serialize import cloud_pickler, dump_parts, loads, worker_can_import

if TYPE_CHECKING:
    import pickle

    from jackfield.keeping import IdentifyCode


class ChangedCodeError(Exception):
    """A result refers to a class or function of the script that is not the same."""


def result_bytes(value: Any, identify: IdentifyCode) -> bytes:
    """Pickle a result, with references to code of the script by name.

    Raises:
        TypeError: It is an iterator: whoever reads it uses it up.
        Exception: Whatever the pickler raises for a result that it cannot do.
    """
    if isinstance(value, Iterator) and not isinstance(value, io.BytesIO | io.StringIO):
        raise TypeError(f"a {type(value).__name__} is used up by reading it")
    with _identifying(identify):
        return b"".join(dump_parts(value, fallback=_pickler))


def result_value(data: bytes | memoryview, identify: IdentifyCode | None) -> Any:
    """Undo ``result_bytes``; runs code of the result's classes.

    Raises:
        ChangedCodeError: Code of the script that it refers to is not the same now.
        Exception: Whatever unpickling raises.
    """
    with _identifying(identify):
        return loads(data)


_context: Final = threading.local()
"""``identify``: while a result is pickled or unpickled on this thread."""


@contextmanager
def _identifying(identify: IdentifyCode | None) -> Iterator[None]:
    before = getattr(_context, "identify", None)
    _context.identify = identify
    try:
        yield
    finally:
        _context.identify = before


@cache
def _pickler() -> type[pickle.Pickler]:
    class ResultPickler(cloud_pickler()):  # type: ignore[misc]  # cloudpickle is untyped
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type | FunctionType) and not worker_can_import(
                obj.__module__
            ):
                name = obj.__qualname__
                if _found(obj.__module__, name) is obj:
                    return running, (obj.__module__, name, _context.identify(obj))
            return super().reducer_override(obj)

    return ResultPickler


def running(module: str, name: str, identity: bytes) -> Any:
    """Return the running class or function of a name; called by unpickling."""
    found = _found(module, name)
    if found is None:
        raise ChangedCodeError(f"needs {module}.{name}, which is gone")
    identify = getattr(_context, "identify", None)
    if identify is None or identify(found) != identity:
        raise ChangedCodeError(f"needs {module}.{name}, which has changed")
    return found


def _found(module: str, name: str) -> Any:
    value: Any = sys.modules.get(module)
    for part in name.split("."):
        value = getattr(value, part, None)
    return value if isinstance(value, type | FunctionType) else None
