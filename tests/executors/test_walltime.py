"""Walltimes on threads: an exception raised in the function."""

from __future__ import annotations

import gc
import math
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import Capabilities, LimitedCall, Work
from jackfield.errors import PluginLoadError
from jackfield.steps.launch import apply_walltime
from jackfield.steps.lazy import Lazy
from jackfield_executors.walltime import AGAIN_S, SoftWalltime

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


def test_without_any_enforcer_such_a_task_fails_and_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACKFIELD_PLUGINS", "-soft")
    with jf.load(run_dir=tmp_path):
        app = jf.python_app(len)
        error = app("ab", walltime=LIMIT_S).exception(LIMIT_S)
        assert app("ab").result(LIMIT_S) == 2

    assert isinstance(error, PluginLoadError)
    assert "soft" in str(error)


class Afterwards(LimitedCall):
    """Lets the function end, and fails then."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        self.function(*args, **kwargs)
        raise jf.AppTimeout(self.name, self.seconds)


def test_another_enforcer_is_asked_first_and_once_a_task(tmp_path: Path) -> None:
    class Plugin:
        made = 0

        @jf.hookimpl
        def jackfield_create_walltime(self) -> type[LimitedCall]:
            self.made += 1
            return Afterwards

    plugin = Plugin()
    calls: list[int] = []
    with jf.load(run_dir=tmp_path, plugins=[plugin], retries=2):
        future = jf.python_app(calls.append)(1, walltime=LIMIT_S)
        assert isinstance(future.exception(LIMIT_S), jf.AppTimeout)

    assert (plugin.made, calls) == (1, [1, 1, 1])


def test_a_limit_never_fires_after_the_end() -> None:
    """Many functions end just about when their time is over: one or the other."""
    ends = {"value": 0, "timeout": 0}
    for _ in range(300):
        until = time.monotonic() + 0.002
        limited = SoftWalltime(_until, "f", 0.002)
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

    assert SoftWalltime(stubborn, "f", 0.05)() == "done"
    assert seen == ["_Expired"]


def test_the_inner_of_two_limits_is_told() -> None:
    inner = SoftWalltime(spin, "inner", 0.05)
    outer = SoftWalltime(inner, "outer", LIMIT_S)

    with pytest.raises(jf.AppTimeout, match="inner"):
        outer(threading.Event())


def test_the_outer_of_two_limits_is_told() -> None:
    inner = SoftWalltime(spin, "inner", LIMIT_S)
    outer = SoftWalltime(inner, "outer", 0.05)

    with pytest.raises(jf.AppTimeout, match="outer"):
        outer(threading.Event())


def test_an_inner_limit_may_be_caught_inside_an_outer_one() -> None:
    def tries_twice() -> str:
        with pytest.raises(jf.AppTimeout, match="inner"):
            SoftWalltime(spin, "inner", 0.02)(threading.Event())
        return "second"

    assert SoftWalltime(tries_twice, "outer", LIMIT_S)() == "second"


def test_an_outer_limit_may_strike_anywhere_within_inner_ones() -> None:
    """Neither the watchdog is lost by it, nor is an inner limit left armed."""
    # What other tests have left would be collected within this one. An exception that
    # strikes in a ``__del__`` is lost, as the test after this tells.
    gc.collect()
    brief = SoftWalltime(len, "inner", LIMIT_S)

    def many(end: float) -> None:
        while time.monotonic() < end:
            brief("ab")

    for _ in range(100):
        with pytest.raises(jf.AppTimeout, match="outer"):
            SoftWalltime(many, "outer", 0.001)(time.monotonic() + LIMIT_S)
    assert not [limit for limit in _limits() if limit.armed]


class Deaf:
    """Loses an exception that is raised while it is deleted."""

    def __init__(self, lost: list[object]) -> None:
        self.lost = lost

    def __del__(self) -> None:
        try:
            while not self.lost:
                time.sleep(0.001)
        except BaseException as error:
            self.lost.append(error)


def test_an_exception_that_was_lost_comes_again() -> None:
    lost: list[object] = []

    def runs(event: threading.Event) -> None:
        Deaf(lost)
        spin(event)

    with pytest.raises(jf.AppTimeout, match="lost"):
        SoftWalltime(runs, "lost", 0.01)(threading.Event())
    assert len(lost) == 1


def test_what_a_function_does_at_its_end_is_not_disturbed_again() -> None:
    done: list[int] = []

    def runs(event: threading.Event) -> None:
        try:
            spin(event)
        finally:
            end = time.monotonic() + 3 * AGAIN_S
            while time.monotonic() < end:
                time.sleep(0.001)
            done.append(1)

    with pytest.raises(jf.AppTimeout, match="tidy"):
        SoftWalltime(runs, "tidy", 0.01)(threading.Event())
    assert done == [1]


def test_limits_of_functions_that_have_returned_do_not_pile_up() -> None:
    for _ in range(2_000):
        SoftWalltime(len, "len", 3600.0)("ab")

    assert len(_limits()) < 500


def _limits() -> list[Any]:
    return [one for one in gc.get_objects() if type(one).__name__ == "_Limit"]


@pytest.mark.parametrize("endless", [math.inf, 1e300])
def test_an_endless_walltime_hurts_no_other_limit(endless: float) -> None:
    assert SoftWalltime(len, "len", endless)("ab") == 2
    with pytest.raises(jf.AppTimeout, match="short"):
        SoftWalltime(spin, "short", 0.05)(threading.Event())


def test_a_functions_own_error_comes_through() -> None:
    with pytest.raises(TypeError, match="len"):
        SoftWalltime(len, "f", LIMIT_S)(3)


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

    @jf.python_app(walltime=1.0, retries=20)
    def slow_at_first() -> int:
        tries.append(1)
        if len(tries) == 1:
            spin(threading.Event())
        return len(tries)

    # On a busy machine, a later try may take too long as well.
    assert slow_at_first().result(LIMIT_S) >= 2


def test_a_walltime_that_a_function_has_is_not_given_twice() -> None:
    soft = Capabilities()
    enforcer: Lazy[type[LimitedCall]] = Lazy(lambda: SoftWalltime)
    work = Work(1, 1, "len", len, ("ab",), {})

    def enforced(seconds: float, capabilities: Capabilities) -> Any:
        entry: Any = SimpleNamespace(capabilities=capabilities)
        apply_walltime(work, seconds, entry, enforcer)
        return work.function

    limited = enforced(2.0, soft)
    assert enforced(2.0, soft) is limited
    assert enforced(3.0, soft).function is limited
    assert enforced(4.0, Capabilities(walltime="kill")) is limited
    assert enforced(4.0, Capabilities(walltime="kill")) is len
    assert work.walltime == 4.0
