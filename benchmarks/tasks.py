"""The functions that the benchmarks' tasks call; workers import them from here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

GATE = threading.Event()
"""What ``wait`` waits for, on systems whose tasks run in this process."""


def noop(x: int = 0, *rest: Any) -> int:
    return x


def add1(x: int) -> int:
    return x + 1


def total(*xs: Any) -> int:
    return len(xs)


def make(n: int) -> bytes:
    return bytes(n)


def counted(i: int) -> Callable[[], int]:
    """Return a function that has to be sent itself, as its like."""

    def constant() -> int:
        return i

    return constant


def wait() -> int:
    GATE.wait()
    return 0


def sleep(seconds: float, *parents: Any) -> int:
    time.sleep(seconds)
    return 1
