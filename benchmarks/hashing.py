"""How fast values, files and functions are identified.

    python benchmarks/hashing.py [GIGABYTES]

Big things are compared with the digest's own speed, which is the bound; the key of a
call with small arguments is to take at most 10 microseconds, its function included.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jackfield import File
from jackfield.memo_keys import ValueHook, with_parts
from jackfield_memo.key_maker import PythonKeyMaker

ROUNDS = 3
LIMIT = 3


def helper(x: int) -> int:
    return x + LIMIT


def app(x: Any, y: Any = 2, *rest: Any, **more: Any) -> Any:
    return helper(x), y, rest, more


def value_hooks(kind: type) -> tuple[ValueHook, ...]:
    if kind.__module__ != "numpy":
        return ()
    from jackfield_memo import numpy

    return (with_parts(numpy.jackfield_hash_value),)


def key_maker() -> PythonKeyMaker:
    return PythonKeyMaker(value_hooks=value_hooks, function_hooks=lambda: ())


def speed(size: int, run: Callable[[], object]) -> float:
    """Return bytes a second, the best of some rounds."""
    best = min(timeit.repeat(run, number=1, repeat=ROUNDS))
    return size / best


def big(size: int) -> None:
    block = os.urandom(1 << 20)
    data = block * (size >> 20)
    print(f"{'':26}  GB/s   of the digest's")
    bound = speed(len(data), lambda: hashlib.sha256(data).digest())
    print(f"{'sha256':26} {bound / 1e9:5.2f}")

    def report(name: str, run: Callable[[], object]) -> None:
        found = speed(len(data), run)
        print(f"{name:26} {found / 1e9:5.2f}   {found / bound:.2f}")

    report("bytes", lambda: key_maker().value("a", "x", data))
    mutable = bytearray(data)
    report("bytearray", lambda: key_maker().value("a", "x", mutable))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "data"
        path.write_bytes(data)
        report("file, just written", lambda: key_maker().value("a", "x", File(path)))
    arrays(data, report)


def arrays(data: bytes, report: Callable[[str, Callable[[], object]], None]) -> None:
    try:
        import numpy as np
    except ImportError:
        print("no arrays: pip install numpy")
        return
    array = np.frombuffer(data).reshape(-1, 1 << 10)
    report("array", lambda: key_maker().value("a", "x", array))
    turned = np.asfortranarray(array)
    report("array in Fortran order", lambda: key_maker().value("a", "x", turned))


def small() -> None:
    print(f"\n{'key of a call':40}  microseconds")
    maker = key_maker()
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((1,), {}),
        ((1, 2.5), {"name": "value"}),
        (("a", b"b"), {"c": None, "d": True}),
        (([1, 2, 3],), {"options": {"a": 1, "b": 2}}),
        ((list(range(1000)),), {}),
        (([{"a": n} for n in range(1000)],), {}),
    ]
    for args, kwargs in calls:

        def run(args: Any = args, kwargs: Any = kwargs) -> object:
            return maker.key("app", maker.function(app), args, kwargs)

        number = 200
        best = min(timeit.repeat(run, number=number, repeat=20)) / number
        shown = repr((args, kwargs))
        print(f"{shown[:38]:40}  {best * 1e6:6.1f}")


def functions() -> None:
    start = time.perf_counter()
    found = key_maker().function(app)
    took = time.perf_counter() - start
    print(
        f"\n{'a function that reaches':26} {len(found.parts)} parts: {took * 1e3:.1f} ms"
    )


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    big(int(gigabytes * (1 << 30)))
    small()
    functions()


if __name__ == "__main__":
    main()
