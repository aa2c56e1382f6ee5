"""Walltimes on threads: an exception raised in the function."""

from __future__ import annotations

import gc
import math
import threading
import time
from typing import Any

import pytest

import jackfield as jf
from jackfield.executors.walltime import soft_walltime, without_walltime

LIMIT_S = 60.0


def spin(stop: threading.Event) -> str:
    while not stop.is_set():
        pass
    return "stopped"


def test_a_busy_loop_is_stopped(kernel: jf.DataFlowKernel) -> None:
    future = jf.python_app(spin)(threading.Event(), walltime=0.2)

    with pytest.raises(jf.AppTimeout, match=r"spin .* walltime of 0\.2 s"):
        future.result(LIMIT_S)


def test_the_apps_own_walltime_counts(kernel: jf.DataFlowKernel) -> None:
    future = jf.python_app(walltime=0.2)(spin)(threading.Event())

    with pytest.raises(TimeoutError):
        future.result(LIMIT_S)


def test_what_ends_in_time_is_left_alone(kernel: jf.DataFlowKernel) -> None:
    app = jf.python_app(walltime=LIMIT_S)(len)

    assert [app("ab").result(LIMIT_S) for _ in range(50)] == [2] * 50


def test_the_walltime_that_a_function_has_is_not_given_twice() -> None:
    limited = soft_walltime(len, "len", 2.0)

    assert soft_walltime(limited, "len", 2.0) is limited
    assert without_walltime(soft_walltime(limited, "len", 3.0)) is limited


def test_a_limit_never_fires_after_the_end() -> None:
    """Many functions end just about when their time is over: one or the other."""
    ends = {"value": 0, "timeout": 0}
    for _ in range(300):
        until = time.monotonic() + 0.002
        limited = soft_walltime(_until, "f", 0.002)
        try:
            limited(until)
            ends["value"] += 1
        except jf.AppTimeout:
            ends["timeout"] += 1
        for _ in range(1000):  # a late exception would be raised here
            pass

    assert sum(ends.values()) == 300


def _until(when: float) -> None:
    while time.monotonic() < when:
        pass


def test_a_function_that_catches_everything_goes_on() -> None:
    seen: list[str] = []

    def stubborn() -> str:
        try:
            spin(threading.Event())
        except BaseException as error:
            seen.append(type(error).__name__)
        return "done"

    assert soft_walltime(stubborn, "f", 0.05)() == "done"
    assert seen == ["_Expired"]


def test_the_inner_of_two_limits_is_told() -> None:
    inner = soft_walltime(spin, "inner", 0.05)
    outer = soft_walltime(inner, "outer", LIMIT_S)

    with pytest.raises(jf.AppTimeout, match="inner"):
        outer(threading.Event())


def test_the_outer_of_two_limits_is_told() -> None:
    inner = soft_walltime(spin, "inner", LIMIT_S)
    outer = soft_walltime(inner, "outer", 0.05)

    with pytest.raises(jf.AppTimeout, match="outer"):
        outer(threading.Event())


def test_an_inner_limit_may_be_caught_inside_an_outer_one() -> None:
    def tries_twice() -> str:
        with pytest.raises(jf.AppTimeout, match="inner"):
            soft_walltime(spin, "inner", 0.02)(threading.Event())
        return "second"

    assert soft_walltime(tries_twice, "outer", LIMIT_S)() == "second"


def test_an_outer_limit_may_strike_anywhere_within_inner_ones() -> None:
    """Neither the watchdog is lost by it, nor is an inner limit left armed."""
    brief = soft_walltime(len, "inner", LIMIT_S)

    def many(end: float) -> None:
        while time.monotonic() < end:
            brief("ab")

    for _ in range(100):
        with pytest.raises(jf.AppTimeout, match="outer"):
            soft_walltime(many, "outer", 0.001)(time.monotonic() + LIMIT_S)
    assert not [limit for limit in _limits() if limit.armed]


def test_limits_of_functions_that_have_returned_do_not_pile_up() -> None:
    for _ in range(2_000):
        soft_walltime(len, "len", 3600.0)("ab")

    assert len(_limits()) < 500


def _limits() -> list[Any]:
    return [one for one in gc.get_objects() if type(one).__name__ == "_Limit"]


@pytest.mark.parametrize("endless", [math.inf, 1e300])
def test_an_endless_walltime_hurts_no_other_limit(endless: float) -> None:
    assert soft_walltime(len, "len", endless)("ab") == 2
    with pytest.raises(jf.AppTimeout, match="short"):
        soft_walltime(spin, "short", 0.05)(threading.Event())


def test_a_functions_own_error_comes_through() -> None:
    with pytest.raises(TypeError, match="len"):
        soft_walltime(len, "f", LIMIT_S)(3)


def test_many_limits_at_once_end_each_their_own(kernel: jf.DataFlowKernel) -> None:
    app = jf.python_app(spin)
    stop = threading.Event()
    short = [app(stop, walltime=0.05 + n / 100) for n in range(3)]
    long = app(stop, walltime=LIMIT_S)

    assert all(isinstance(f.exception(LIMIT_S), jf.AppTimeout) for f in short)
    stop.set()
    assert long.result(LIMIT_S) == "stopped"


def test_a_timeout_is_retried(kernel: jf.DataFlowKernel) -> None:
    tries: list[int] = []

    @jf.python_app(walltime=1.0, retries=1)
    def slow_at_first() -> int:
        tries.append(1)
        if len(tries) == 1:
            spin(threading.Event())
        return len(tries)

    assert slow_at_first().result(LIMIT_S) == 2


def test_a_limit_can_be_taken_off() -> None:
    assert without_walltime(soft_walltime(len, "len", 1.0)) is len
    assert without_walltime(len) is len
