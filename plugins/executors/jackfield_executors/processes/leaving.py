"""How a worker ends that was told to: as Python does, but for what takes long.

Python clears all modules when it ends, object by object, which takes a quarter of a
second where pandas is loaded. A worker does all before that and behind it: it waits for
threads that are no daemons, runs ``atexit`` functions, closes files, and has the C
library run what native code has registered, which writes what C code has printed.
"""

from __future__ import annotations

import _io
import atexit
import gc
import os
import sys
import threading
from contextlib import suppress
from typing import Any, Final, NoReturn

_BUFFERS: Final = frozenset(
    {_io.BufferedWriter, _io.BufferedRandom, _io.BufferedRWPair, _io.BufferedReader}
)


def leave() -> NoReturn:
    """End this process, with code 0."""
    # Both are what Python itself calls first, and what ``multiprocessing`` calls in its
    # workers. There is no public way to it but to end.
    threading._shutdown()  # type: ignore[attr-defined]  # see above
    atexit._run_exitfuncs()
    _close_files()
    with suppress(Exception):
        import ctypes

        # With the GIL, so that no thread of Python's runs while things are torn down.
        ctypes.PyDLL(None).exit(0)
    os._exit(0)


def _close_files() -> None:
    """Close files that are open still, so that what was written to them is there."""
    files: list[Any] = [
        one for one in gc.get_objects() if issubclass(type(one), _io._IOBase)
    ]
    files.sort(key=lambda file: _depth(type(file)))
    for file in files:
        if file is not sys.stdout and file is not sys.stderr:
            with suppress(Exception):  # it writes to another one that is closed
                file.close()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def _depth(kind: type) -> int:
    """Tell how far within others files of a type are: the outer ones go first."""
    if issubclass(kind, _io._TextIOBase):
        return 0
    if kind is _io.FileIO:
        return 3
    return 2 if kind in _BUFFERS else 1  # what compresses, say
