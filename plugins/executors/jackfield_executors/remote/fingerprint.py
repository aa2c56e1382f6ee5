"""What two processes must have in common to understand each other's pickles.

Functions that go by value are bytecode, which another version of Python takes for
something else: at best it raises a riddle, at worst the process crashes. So each
message says first what its sender is, as plain text, and a receiver that is something
else unpickles nothing and answers with what it is.
"""

from __future__ import annotations

import functools
import platform
from typing import Final

WIRE: Final = 5
"""Version of what drivers and workers say to each other. Raised with each change."""


@functools.cache
def fingerprint() -> str:
    """Return what this process is: ``"CPython 3.11, wire 5, cloudpickle 3.1.3"``."""
    import cloudpickle

    major, minor, _ = platform.python_version_tuple()
    python = f"{platform.python_implementation()} {major}.{minor}"
    return f"{python}, wire {WIRE}, cloudpickle {cloudpickle.__version__}"
